"""A lean HTTP/1.1 session on trio and httptools, in the place of the httpx session inside a kr8s `Api`.

It owns connections: opening, reusing and dropping them. It has what `Api.call_api` uses of httpx (`request`, `stream`,
`is_closed`, `aclose`) and no more: no cookies, redirects, decompression or proxies. httpx and httpcore cost several
milliseconds of CPU a call when tens of calls are in flight; this costs a tenth. It knows nothing of Kubernetes.
"""

from __future__ import annotations

import select
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final, TypeAlias
from urllib.parse import quote, urlencode, urlsplit

import httptools
import trio
from attrs import define, field, frozen

IDLE_S: Final = 50
"""A connection unused for so long is not used again: servers close theirs after 60 to 90 seconds."""

MOST_HEADERS: Final = 256
MOST_BODY: Final = 1 << 30
"""Bytes of one answer, and header lines: whoever sends more is no Kubernetes (500 of the largest objects are less)."""

_READ_SIZE: Final = 256 * 1024
_FAILED: Final = (OSError, ssl.SSLError, trio.BrokenResourceError, trio.ClosedResourceError)


class TransportError(Exception):
    """No whole answer came over this connection; `silent` says that not one byte of it did."""

    def __init__(self, message: str, silent: bool = False) -> None:
        super().__init__(message)
        self.silent = silent


@frozen
class Answer:
    """A whole response."""

    status_code: int
    content: bytes


_Stream: TypeAlias = "trio.SocketStream | trio.SSLStream[trio.SocketStream]"


class _Connection:
    """One connection, and the parser's callbacks (their names are httptools')."""

    def __init__(self, stream: _Stream, descriptor: int) -> None:
        self._stream = stream
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        self.idle_since = 0.0
        self._begin()

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._header_lines = 0
        self._heard = False
        self._framed = False
        self._kept_open = False
        self.headers_complete = False
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:  # noqa: ARG002  the parser's callback
        self._header_lines += 1
        if self._header_lines > MOST_HEADERS:
            raise httptools.HttpParserError("too many headers")
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self._framed = True

    def on_headers_complete(self) -> None:
        self.headers_complete = True

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        self.complete = True
        self._kept_open = bool(self._parser.should_keep_alive())  # true only inside this callback

    @property
    def status(self) -> int:
        """Of the response, once its headers are complete."""
        return int(self._parser.get_status_code())

    def is_fresh(self, now: float) -> bool:
        """Whether it can be used again: nothing to read on it, not even the end."""
        return now - self.idle_since < IDLE_S and not self._poll.poll(0)

    @property
    def can_be_kept(self) -> bool:
        """Whether the response leaves the connection open for another one."""
        return self._kept_open and self._framed

    async def send(self, request: bytes) -> None:
        """Begin a new exchange."""
        self._begin()
        try:
            await self._stream.send_all(request)
        except _FAILED as error:
            raise TransportError(f"sending failed: {error}", silent=True) from error

    async def receive(self) -> bytes:
        """Parse what comes next, at least one read, and return the part of the body in it."""
        try:
            data = await self._stream.receive_some(_READ_SIZE)
            if data:
                self._heard = True
                self._parser.feed_data(data)
            elif self.headers_complete and not self._framed:
                self.complete = True
            elif not self.complete:
                raise TransportError("the connection was closed before the answer was whole", silent=not self._heard)
        except httptools.HttpParserError as error:
            raise TransportError(f"not HTTP: {error}") from error
        except _FAILED as error:
            raise TransportError(f"receiving failed: {error}", silent=not self._heard) from error
        body, self._body = b"".join(self._body), []
        return body

    async def close(self) -> None:
        """Drop it at once, without goodbyes."""
        await trio.aclose_forcefully(self._stream)


class StreamedAnswer:
    """A response whose body is read as it comes."""

    def __init__(self, connection: _Connection, first: bytes) -> None:
        self._connection = connection
        self._first = first
        self.status_code = connection.status
        self.is_error = self.status_code >= 400

    async def read_some(self) -> bytes:
        """What arrived since the last call, or the next that arrives; empty at the end of the body."""
        data, self._first = self._first, b""
        while not data and not self._connection.complete:
            data = await self._connection.receive()
        return data

    async def aread(self) -> bytes:
        """The rest of the body."""
        parts = []
        while data := await self.read_some():
            parts.append(data)
        return b"".join(parts)


@define
class Session:
    """Connections to one server. Calls may run side by side, each on a connection of its own."""

    base_url: str
    headers: Mapping[str, str]
    tls: ssl.SSLContext | None = None  # for an https address; None there means the system's certificate authorities
    tls_server_name: str | None = None
    is_closed: bool = False
    timeout: object = None  # kr8s may set it; the callers of this session bring their own deadlines
    _idle: list[_Connection] = field(factory=list, init=False)

    async def request(
        self,
        *,
        method: str,
        url: str,
        params: Mapping[str, str] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        extensions: object = None,  # noqa: ARG002  how kr8s says tls_server_name, which this session knows
    ) -> Answer:
        """One call, its whole answer. Raises TransportError.

        A call other than POST that meets a connection which the server had closed meanwhile is repeated on a new one.
        """
        request = self._encoded(method, url, params, content, headers)
        idle = await self._reusable()
        if idle is not None:
            try:
                return await self._exchange(idle, request)
            except TransportError as error:
                if not error.silent or method == "POST":
                    raise
        return await self._exchange(await self._connect(), request)

    @asynccontextmanager
    async def stream(
        self,
        *,
        method: str,
        url: str,
        params: Mapping[str, str] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        extensions: object = None,  # noqa: ARG002  as above
    ) -> AsyncIterator[StreamedAnswer]:
        """One call on a connection of its own, open as long as the block. Entering and reading raise TransportError."""
        connection = await self._connect()
        try:
            await connection.send(self._encoded(method, url, params, content, headers))
            body = await connection.receive()
            while not connection.headers_complete:
                body += await connection.receive()
            yield StreamedAnswer(connection, body)
        finally:
            await connection.close()

    async def aclose(self) -> None:
        """Close the idle connections, and each other one when its call is over. Calls afterwards still work."""
        self.is_closed = True
        while self._idle:
            await self._idle.pop().close()

    async def _exchange(self, connection: _Connection, request: bytes) -> Answer:
        try:
            await connection.send(request)
            parts, size = [], 0
            while not connection.complete:
                parts.append(await connection.receive())
                size += len(parts[-1])
                if size > MOST_BODY:
                    raise TransportError(f"the answer has more than {MOST_BODY} bytes")
        except BaseException:
            await connection.close()
            raise
        answer = Answer(connection.status, b"".join(parts))
        if connection.can_be_kept and not self.is_closed:
            connection.idle_since = trio.current_time()
            self._idle.append(connection)
        else:
            await connection.close()
        return answer

    async def _reusable(self) -> _Connection | None:
        now = trio.current_time()
        while self._idle:
            connection = self._idle.pop()
            if connection.is_fresh(now):
                return connection
            await connection.close()
        return None

    async def _connect(self) -> _Connection:
        server = urlsplit(self.base_url)
        secure = server.scheme == "https"
        host, port = server.hostname or "localhost", server.port or (443 if secure else 80)
        try:
            stream = await trio.open_tcp_stream(host, port)
        except OSError as error:
            raise TransportError(f"cannot connect to {host}:{port}: {_first_cause(error)}") from error
        if not secure:
            return _Connection(stream, stream.socket.fileno())
        wrapped = trio.SSLStream(
            stream,
            self.tls or ssl.create_default_context(),
            server_hostname=self.tls_server_name or host,
            https_compatible=True,
        )
        try:
            await wrapped.do_handshake()
        except BaseException as error:
            await trio.aclose_forcefully(stream)
            if isinstance(error, _FAILED):
                raise TransportError(f"no TLS with {host}:{port}: {_first_cause(error)}") from error
            raise
        return _Connection(wrapped, stream.socket.fileno())

    def _encoded(
        self,
        method: str,
        url: str,
        params: Mapping[str, str] | None,
        content: bytes | None,
        headers: Mapping[str, str] | None,
    ) -> bytes:
        server = urlsplit(self.base_url)
        target = server.path.rstrip("/") + quote(url, safe="/:@!$&'()*+,;=~-._%")
        if params:
            target += "?" + urlencode(params)
        merged = {**self.headers, **(headers or {}), "host": server.netloc.rpartition("@")[2]}
        if content is not None or method in ("POST", "PUT", "PATCH"):
            merged["content-length"] = str(len(content or b""))
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in merged.items()), "", ""]
        return "\r\n".join(lines).encode("latin-1") + (content or b"")


def _first_cause(error: BaseException) -> BaseException:
    """What the operating system or the TLS library said, under what trio made of it."""
    cause = error.__cause__
    if isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    return error if cause is None else cause
