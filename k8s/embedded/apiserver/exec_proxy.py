"""`pods/exec` over a WebSocket, as kubectl speaks it: the first byte of each message is its channel.

Channels: 0 stdin, 1 stdout, 2 stderr, 3 the final `Status`, 4 the terminal's size; with protocol v5 also 255, which
ends the channel named in its second byte. SPDY, the older way, is refused.

Source: https://github.com/kubernetes/kubernetes/blob/v1.33.0/staging/src/k8s.io/apimachinery/pkg/util/remotecommand/constants.go
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, Protocol
from urllib.parse import parse_qs

import orjson
import trio

from k8s.client import JsonObject
from k8s.embedded.apiserver.errors import StatusError, bad_request, no_such_path, not_implemented, unavailable
from k8s.embedded.apiserver.pod_logs import chosen_container
from k8s.embedded.apiserver.routes import target
from k8s.embedded.apiserver.stored import Stored
from k8s.embedded.gateway import ExecRequest, ExecSession, GatewayError, NodeGateway

_PROTOCOLS: Final = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_STDIN, _STDOUT, _STDERR, _ERROR = 0, 1, 2, 3

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


class FindPod(Protocol):
    """Finds a stored pod; raises StatusError 404."""

    def __call__(self, namespace: str, name: str) -> Stored:
        """The pod of that name."""
        ...


def exec_request(path: str, query: str, find_pod: FindPod) -> ExecRequest:
    """What a WebSocket's path and query ask to run. Raises StatusError 400, 404, 501."""
    found = target(path)
    if found is None or found.plural != "pods" or not found.namespace:
        raise no_such_path()
    if found.subresource != "exec":
        raise not_implemented(f"pods/{found.subresource}")
    params = parse_qs(query, keep_blank_values=True)

    def asks(name: str) -> bool:
        return params.get(name, ["false"])[-1].lower() in ("true", "1")

    pod = find_pod(found.namespace, found.name or "").body()
    container = chosen_container(pod, params.get("container", [""])[-1])
    command = tuple(params.get("command") or ())
    if not command:
        raise bad_request("you must specify at least one command for the container")
    if not (asks("stdin") or asks("stdout") or asks("stderr")):
        raise bad_request("you must specify at least 1 of stdin, stdout, stderr")
    return ExecRequest(
        found.namespace,
        pod["metadata"]["name"],
        pod["metadata"]["uid"],
        container,
        command,
        stdin=asks("stdin"),
        stdout=asks("stdout"),
        stderr=asks("stderr"),
        tty=asks("tty"),
    )


async def serve_exec(
    scope: Mapping[str, Any], receive: _Receive, send: _Send, find_pod: FindPod, gateway: NodeGateway | None
) -> None:
    """Run a command in a container for one WebSocket, which has connected and is not accepted yet."""
    try:
        if gateway is None:
            raise unavailable("the node is not running yet")
        request = exec_request(scope["path"], scope["query_string"].decode("latin-1"), find_pod)
        protocol = _protocol(scope)
        if protocol is None:
            raise bad_request(f"exec needs one of the WebSocket protocols {', '.join(_PROTOCOLS)}")
    except StatusError as error:
        await _refuse(scope, send, error)
        return
    try:
        async with gateway.exec(request) as session:
            await send({"type": "websocket.accept", "subprotocol": protocol})
            await _run(session, receive, send)
    except GatewayError as error:
        await _refuse(scope, send, StatusError(error.status, error.reason, error.message))


def _protocol(scope: Mapping[str, Any]) -> str | None:
    return next((name for name in _PROTOCOLS if name in scope.get("subprotocols", ())), None)


async def _refuse(scope: Mapping[str, Any], send: _Send, error: StatusError) -> None:
    """Answer the handshake with a Status, where the ASGI server can; else close it (a 403 without words).

    A client that speaks our protocol is told over it: kubectl shows nothing of a handshake that fails, and would ask
    again by SPDY, which then is all that the user hears about.
    """
    if protocol := _protocol(scope):
        await send({"type": "websocket.accept", "subprotocol": protocol})
        await _send_channel(send, _ERROR, orjson.dumps(error.as_object()))
        await send({"type": "websocket.close", "code": 1000})
        return
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1000})
        return
    headers = [(b"content-type", b"application/json")]
    await send({"type": "websocket.http.response.start", "status": error.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": orjson.dumps(error.as_object())})


async def _run(session: ExecSession, receive: _Receive, send: _Send) -> None:
    """Carry output to the client and input to the command, until the command ends or the client leaves."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_carry_input, session, receive, nursery.cancel_scope)
        while (output := await session.receive()) is not None:
            channel = _STDERR if output.stream == "stderr" else _STDOUT
            await _send_channel(send, channel, output.data)
        await _send_channel(send, _ERROR, orjson.dumps(_outcome(session.exit_code())))
        await send({"type": "websocket.close", "code": 1000})
        nursery.cancel_scope.cancel()


async def _send_channel(send: _Send, channel: int, data: bytes) -> None:
    await send({"type": "websocket.send", "bytes": bytes([channel]) + data})


def _outcome(exit_code: int) -> JsonObject:
    if exit_code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "reason": "NonZeroExitCode",
        "message": f"command terminated with non-zero exit code: exit status {exit_code}",
        "details": {"causes": [{"reason": "ExitCode", "message": str(exit_code)}]},
    }


async def _carry_input(session: ExecSession, receive: _Receive, client_left: trio.CancelScope) -> None:
    while (message := await receive())["type"] == "websocket.receive":
        data = message.get("bytes") or b""
        if not data:
            continue
        match data[0]:
            case 0:
                await session.send_stdin(data[1:])
            case 4:
                await _resize(session, data[1:])
            case 255 if data[1:2] == bytes([_STDIN]):
                await session.close_stdin()
    client_left.cancel()


async def _resize(session: ExecSession, data: bytes) -> None:
    try:
        size = orjson.loads(data)
        columns, rows = int(size["Width"]), int(size["Height"])
    except (ValueError, KeyError, TypeError):
        return
    await session.resize(columns, rows)
