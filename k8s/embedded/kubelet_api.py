"""The part of a kubelet's own API that `kubectl logs` needs when the node is joined to a real API server. An ASGI app.

The API server calls it over TLS (`kubelet_certificate`). exec, attach and port-forward come as SPDY there, which this
node does not speak: they answer 501 and say so. Through the embedded API server exec works.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qs

from k8s.embedded.gateway import GatewayError, LogRequest
from k8s.embedded.node_gateway import PodLogsAndExec

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Mapping[str, Any], Receive, Send], Awaitable[None]]

_STREAMING: Final = frozenset({"exec", "attach", "portForward", "run"})
_NO_SPDY: Final = "this node does not serve {} over SPDY; it works through the embedded API server"


def create_kubelet_app(gateway: PodLogsAndExec, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Application:
    """The app for the containers that `gateway` answers for."""

    async def app(scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await _respond(gateway, now(), scope, send)

    return app


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        event = (await receive())["type"]
        await send({"type": f"{event}.complete"})
        if event == "lifespan.shutdown":
            return


async def _respond(gateway: PodLogsAndExec, now: datetime, scope: Mapping[str, Any], send: Send) -> None:
    match scope["path"].strip("/").split("/"):
        case ["healthz"]:
            await _answer(send, 200, "ok")
        case ["containerLogs", namespace, pod, container]:
            await _send_log(gateway, namespace, pod, container, _query(scope), now, send)
        case [kind, *_] if kind in _STREAMING:
            await _answer(send, 501, _NO_SPDY.format(kind))
        case _:
            await _answer(send, 404, "404 page not found")


def _query(scope: Mapping[str, Any]) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(scope["query_string"].decode("latin-1")).items()}


async def _send_log(
    gateway: PodLogsAndExec,
    namespace: str,
    pod: str,
    container: str,
    query: Mapping[str, str],
    now: datetime,
    send: Send,
) -> None:
    known = gateway.named(namespace, pod)
    if known is None:
        await _answer(send, 404, f'pod "{pod}" not found in namespace "{namespace}" on this node')
        return
    try:
        request = _log_request(namespace, pod, known.pod.uid, container, query, now)
        async with gateway.read_log(request) as pieces:
            await _start(send, 200)
            async for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
    except ValueError as error:
        await _answer(send, 400, f"unreadable parameter: {error}")
    except GatewayError as error:
        await _answer(send, error.status, error.message)
    else:
        await send({"type": "http.response.body", "body": b""})


def _log_request(
    namespace: str, pod: str, uid: str, container: str, query: Mapping[str, str], now: datetime
) -> LogRequest:
    """The query of the kubelet's containerLogs as a request. Raises ValueError."""

    def number(name: str) -> int | None:
        return int(query[name]) if name in query else None

    since = datetime.fromisoformat(query["sinceTime"]) if "sinceTime" in query else None
    if (seconds := number("sinceSeconds")) is not None:
        since = now - timedelta(seconds=seconds)
    return LogRequest(
        namespace,
        pod,
        uid,
        container,
        follow=query.get("follow") == "true",
        tail_lines=number("tailLines"),
        since=since,
        timestamps=query.get("timestamps") == "true",
        previous=query.get("previous") == "true",
        limit_bytes=number("limitBytes"),
    )


async def _start(send: Send, status: int) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def _answer(send: Send, status: int, text: str) -> None:
    await _start(send, status)
    await send({"type": "http.response.body", "body": text.encode()})
