"""HTTP by hand: what a client library would never send."""

from __future__ import annotations

import trio
from attrs import frozen

TARGET = "AmazonEC2ContainerServiceV20141113"


@frozen
class Response:
    status: int
    headers: dict[str, str]
    body: bytes


class Wire:
    """One connection to a server on this machine."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._buffer = bytearray()

    @classmethod
    async def open(cls, port: int) -> Wire:
        return cls(await trio.open_tcp_stream("127.0.0.1", port))

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def response(self) -> Response:
        """The next response, past any 100 Continue. Fails when the connection ends first."""
        with trio.fail_after(10):
            while True:
                status, headers = self._head(await self._until(b"\r\n\r\n"))
                if status != 100:
                    break
            length = int(headers.get("content-length", "0"))
            while len(self._buffer) < length:
                await self._more()
            body = bytes(self._buffer[:length])
            del self._buffer[:length]
            return Response(status, headers, body)

    async def is_closed_within(self, seconds: float) -> bool:
        """Whether the server ends the connection, having sent nothing more."""
        with trio.move_on_after(seconds):
            try:
                return await self.stream.receive_some(1) == b""
            except trio.BrokenResourceError:
                return True
        return False

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self.stream)

    async def _until(self, end: bytes) -> bytes:
        while (at := self._buffer.find(end)) < 0:
            await self._more()
        found = bytes(self._buffer[:at])
        del self._buffer[: at + len(end)]
        return found

    async def _more(self) -> None:
        data = await self.stream.receive_some(65536)
        if not data:
            raise EOFError(f"the connection ended after {bytes(self._buffer)!r}")
        self._buffer += data

    def _head(self, head: bytes) -> tuple[int, dict[str, str]]:
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return int(first.split(" ", 2)[1]), headers


def post(operation: str, body: bytes = b"{}", *extra: str, path: str = "/", version: str = "1.1") -> bytes:
    """A POST with a Content-Length."""
    lines = [
        f"POST {path} HTTP/{version}",
        "Host: localhost",
        f"X-Amz-Target: {TARGET}.{operation}",
        "Content-Type: application/x-amz-json-1.1",
        f"Content-Length: {len(body)}",
        *extra,
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def chunked(operation: str, *chunks: bytes, ending: bytes = b"0\r\n\r\n", extra: str = "") -> bytes:
    """A POST in chunks."""
    head = f"POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: {TARGET}.{operation}\r\n{extra}"
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + framed + ending
