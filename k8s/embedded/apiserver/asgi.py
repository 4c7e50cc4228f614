"""The API server as an ASGI application: requests in, responses and streams out; exec over WebSockets.

It is reached over plain HTTP on the loopback interface, so it takes no request that a web page in the user's browser
could have made: none with an `Origin`, and none for a host name that a page's author could point here.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

import orjson
import trio

from k8s.embedded.apiserver.errors import StatusError, too_large
from k8s.embedded.apiserver.exec_proxy import FindPod, serve_exec
from k8s.embedded.apiserver.messages import Producer, Request, Response, error_response
from k8s.embedded.gateway import NodeGateway

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BODY_LIMIT: Final = 3 * 1024 * 1024  # as Kubernetes
_LOCAL_HOST: Final = re.compile(
    r"(\[[0-9a-fA-F:.]+\]|\d+\.\d+\.\d+\.\d+|localhost|[^.:\[\]]+|.*\.(internal|local|localhost))(:\d+)?"
)


class _ClientLeftError(Exception):
    """The connection ended before the request was complete."""


class AsgiApp:
    """The application. `handle` answers a request; `gateway` gives the node, if there is one."""

    def __init__(
        self,
        handle: Callable[[Request], Awaitable[Response]],
        find_pod: FindPod,
        gateway: Callable[[], NodeGateway | None],
    ) -> None:
        self._handle = handle
        self._find_pod = find_pod
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's request, WebSocket or life cycle, as ASGI says."""
        match scope["type"]:
            case "http":
                await self._http(scope, receive, send)
            case "websocket":
                await self._websocket(scope, receive, send)
            case "lifespan":
                await _lifespan(receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name: value for name, value in scope["headers"] if name in _READ_HEADERS}
        try:
            if refused := _foreign(headers):
                raise refused
            body = await _body(receive)
        except StatusError as error:
            await _send_whole(send, error_response(error), scope["method"])
            return
        except _ClientLeftError:
            return
        request = Request.of_query(
            scope["method"],
            scope["path"],
            scope["query_string"].decode("latin-1"),
            headers.get(b"accept", b"*/*").decode("latin-1"),
            headers.get(b"content-type", b"application/json").decode("latin-1"),
            body,
        )
        response = await self._handle(request)
        if response.producer is None:
            await _send_whole(send, response, request.method)
        else:
            await _send_stream(receive, send, response, response.producer)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        headers = dict(scope["headers"])
        if _foreign(headers):
            await send({"type": "websocket.close", "code": 1008})
            return
        await serve_exec(scope, receive, send, self._find_pod, self._gateway())


_READ_HEADERS: Final = frozenset((b"accept", b"content-type", b"host", b"origin"))


def _foreign(headers: dict[bytes, bytes]) -> StatusError | None:
    host = headers.get(b"host", b"localhost").decode("latin-1")
    if b"origin" not in headers and _LOCAL_HOST.fullmatch(host):
        return None
    return StatusError(403, "Forbidden", "requests from web pages, or to foreign host names, are not taken")


async def _body(receive: Receive) -> bytes:
    pieces: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _ClientLeftError
        piece = message.get("body", b"")
        size += len(piece)
        if size > BODY_LIMIT:
            raise too_large(BODY_LIMIT)
        pieces.append(piece)
        more = message.get("more_body", False)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def _send_whole(send: Send, response: Response, method: str) -> None:
    headers = [
        (b"content-type", response.content_type.encode()),
        (b"content-length", b"%d" % len(response.body)),
        *response.headers,
    ]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else response.body})


async def _send_stream(receive: Receive, send: Send, response: Response, producer: Producer) -> None:
    """Send what the producer writes until it ends or the client leaves."""
    started = False

    async def send_piece(piece: bytes) -> None:
        nonlocal started
        if not started:
            started = True
            headers = [(b"content-type", response.content_type.encode())]
            await send({"type": "http.response.start", "status": response.status, "headers": headers})
        if piece:
            await send({"type": "http.response.body", "body": piece, "more_body": True})

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_on_disconnect, receive, nursery.cancel_scope)
        try:
            await producer(send_piece)
        except StatusError as error:
            if not started:
                await _send_whole(send, error_response(error), "GET")
            else:
                await send({"type": "http.response.body", "body": orjson.dumps(error.as_object())})
        else:
            await send({"type": "http.response.body", "body": b""})
        nursery.cancel_scope.cancel()


async def _cancel_on_disconnect(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
