"""The hot path: `POST /` and `POST /v1/<Operation>`, on trio and httptools, from the same `Endpoint` as the app.

Owns framing, limits and time: heads and bodies are bounded in size and in time, an idle connection is closed, and a
full house closes its longest idle guest. Everything else (another method or path, an upgrade, HTTP/2) is handed on to
hypercorn with the bytes read so far. It knows nothing of what an operation is.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from email.utils import formatdate
from http import HTTPStatus
from math import inf
from typing import Final, TypeAlias

import httptools
import trio
from attrs import frozen

from api.chunked import ChunkedBody, MalformedChunkError
from api.dispatch import BODY_LIMIT, Endpoint, Request
from api.protocol import faults
from api.protocol.faults import Answer
from engine.errors import AwsError

HandOff: TypeAlias = "Callable[[trio.SocketStream, bytes], Awaitable[None]]"
"""Serves a connection to its end, given the bytes already read from it. Closes the stream."""

_ROOT: Final = b"POST / "
_OPERATION: Final = b"POST /v1/"
_HEAD_END: Final = b"\r\n\r\n"
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_RECEIVE: Final = 64 * 1024
_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}
_log = logging.getLogger(__name__)


@frozen
class Limits:
    """What one connection may cost. Sizes in bytes, times in seconds."""

    head: int = 32 * 1024
    body: int = BODY_LIMIT
    head_s: float = 10.0
    body_s: float = 60.0
    idle_s: float = 75.0
    write_s: float = 30.0
    drain_s: float = 5.0
    grace_s: float = 3.0
    connections: int = 4096
    check_s: float = 1.0  # how often time limits are looked at: one task for all connections, no timer each


class _Head:
    """What httptools tells of a request's head."""

    def __init__(self) -> None:
        self.url = b""
        self.hosts = 0
        self.target = self.authorization = self.content_type = self.expect = self.encoding = self.origin = ""
        self.length = 0

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        match name.lower():
            case b"host":
                self.hosts += 1
            case b"content-length":
                self.length = int(value)
            case b"x-amz-target":
                self.target = value.decode("latin-1")
            case b"authorization":
                self.authorization = value.decode("latin-1")
            case b"content-type":
                self.content_type = value.decode("latin-1")
            case b"transfer-encoding":
                self.encoding += value.decode("latin-1").strip().lower()
            case b"origin":
                self.origin = value.decode("latin-1")
            case b"expect":
                self.expect = value.decode("latin-1").strip().lower()


class _Connection:
    """One client. `buffer` holds what was received and not yet answered, from the start of a request.

    It reads and writes the stream's descriptor: a stream tries to read before it waits, and lets others run after
    each write. A request and its answer need one wait, and less than half the CPU (60 µs, then 25).
    """

    __slots__ = ("_descriptor", "buffer", "deadline", "scope", "stream")

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._descriptor = stream.socket.fileno()
        self.buffer = bytearray()
        self.deadline = inf
        self.scope = trio.CancelScope()

    async def receive(self) -> bool:
        """Receive more into the buffer; False at the end of the stream."""
        data = await self.receive_some()
        self.buffer += data
        return bool(data)

    async def receive_some(self) -> bytes:
        """What comes next, empty at the end of the stream. A checkpoint, always."""
        while True:
            await trio.lowlevel.wait_readable(self._descriptor)
            try:
                return os.read(self._descriptor, _RECEIVE)
            except BlockingIOError:
                continue
            except OSError:
                raise _ClosedEarlyError from None

    async def send(self, data: bytes) -> None:
        """Send all of it. A checkpoint only where the client reads slower than we write."""
        try:
            sent = os.write(self._descriptor, data)
        except BlockingIOError:
            sent = 0
        except OSError:
            raise _ClosedEarlyError from None
        if sent < len(data):
            await self.stream.send_all(memoryview(data)[sent:])


class _ClosedEarlyError(Exception):
    """The client is gone, or went away in the middle of a request."""


class _HandedOnError(Exception):
    """The connection is not for the front."""


async def serve(
    listeners: Sequence[trio.SocketListener],
    endpoint: Endpoint,
    hand_off: HandOff,
    *,
    limits: Limits | None = None,
    shutdown: trio.Event | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled, or until `shutdown` is set.

    On `shutdown` no connection is accepted any more, idle ones are closed at once, and requests being answered have
    `limits.grace_s` to finish.
    """
    front = _Front(endpoint, hand_off, limits or Limits())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(front.keep_time)
        async with trio.open_nursery() as handlers:
            async with trio.open_nursery() as accepting:
                for listener in listeners:
                    accepting.start_soon(front.accept, listener, handlers)
                task_status.started()
                await (trio.Event() if shutdown is None else shutdown).wait()
                accepting.cancel_scope.cancel()
            front.close_idle()
            handlers.cancel_scope.deadline = trio.current_time() + front.limits.grace_s
        nursery.cancel_scope.cancel()


class _Front:
    def __init__(self, endpoint: Endpoint, hand_off: HandOff, limits: Limits) -> None:
        self.limits = limits
        self._endpoint = endpoint
        self._hand_off = hand_off
        self._connections: set[_Connection] = set()
        self._idle: dict[_Connection, None] = {}  # longest idle first
        self._draining = False
        self._date = formatdate(usegmt=True)

    async def accept(self, listener: trio.SocketListener, handlers: trio.Nursery) -> None:
        await trio.serve_listeners(self._guarded, [listener], handler_nursery=handlers)

    async def keep_time(self) -> None:
        """Close connections whose time is up."""
        while True:
            await trio.sleep(self.limits.check_s)
            self._date = formatdate(usegmt=True)
            now = trio.current_time()
            for connection in self._connections:
                if connection.deadline < now:
                    connection.scope.cancel()

    def close_idle(self) -> None:
        """Accept no further request: idle connections end now, the others after their answer."""
        self._draining = True
        for connection in self._idle:
            connection.scope.cancel()

    async def _guarded(self, stream: trio.SocketStream) -> None:
        """One connection, from accept to close. Never raises anything but trio.Cancelled."""
        connection = _Connection(stream)
        if not self._admit(connection):
            await trio.aclose_forcefully(stream)
            return
        try:
            with connection.scope:
                await self._converse(connection)
        except (trio.BrokenResourceError, trio.ClosedResourceError, _ClosedEarlyError):
            pass  # the client is gone
        except _HandedOnError:
            await self._hand_on(connection)
        except Exception:
            _log.exception("a connection failed")
        finally:
            self._connections.discard(connection)
            self._idle.pop(connection, None)
            await trio.aclose_forcefully(stream)

    async def _hand_on(self, connection: _Connection) -> None:
        connection.deadline = inf
        try:
            await self._hand_off(connection.stream, bytes(connection.buffer))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client is gone
        except Exception:
            _log.exception("a connection that was handed on failed")

    def _admit(self, connection: _Connection) -> bool:
        if self._draining:
            return False
        if len(self._connections) >= self.limits.connections:
            oldest = next(iter(self._idle), None)
            if oldest is None:
                return False
            del self._idle[oldest]
            oldest.scope.cancel()
        self._connections.add(connection)
        return True

    async def _converse(self, connection: _Connection) -> None:
        """Answer requests until the connection ends."""
        keep = True
        while keep:
            try:
                head_size = await self._await_head(connection)
                if head_size is None:
                    return
                keep = await self._answer_one(connection, head_size)
                if connection.buffer:
                    await trio.lowlevel.checkpoint()  # one who sends ahead of the answers does not keep others waiting
            except AwsError as error:
                await self._refuse(connection, error)
                return

    async def _await_head(self, connection: _Connection) -> int | None:
        """The size of the next request's head, once it is there; None when the client is done.

        Raises _HandedOnError as soon as the first bytes say that the request is not the front's.
        """
        buffer = connection.buffer
        if not buffer and not await self._await_first_bytes(connection):
            return None
        connection.deadline = trio.current_time() + self.limits.head_s
        while True:
            if not _is_for_front(buffer):
                raise _HandedOnError
            end = buffer.find(_HEAD_END)
            if end >= 0 and end <= self.limits.head:
                return end + len(_HEAD_END)
            if len(buffer) > self.limits.head:
                raise faults.malformed_http(f"The request's head is larger than {self.limits.head} bytes.", 431)
            if not await connection.receive():
                return None

    async def _await_first_bytes(self, connection: _Connection) -> bool:
        if self._draining:
            return False
        self._idle[connection] = None
        connection.deadline = trio.current_time() + self.limits.idle_s
        try:
            return await connection.receive()
        finally:
            self._idle.pop(connection, None)

    async def _answer_one(self, connection: _Connection, head_size: int) -> bool:
        """Answer the request whose head is complete; whether the connection goes on."""
        head = _Head()
        parser = httptools.HttpRequestParser(head)
        try:
            parser.feed_data(connection.buffer[:head_size])
        except httptools.HttpParserUpgrade:
            raise _HandedOnError from None
        except httptools.HttpParserError:
            raise faults.malformed_http("The request is not valid HTTP.") from None
        path, _, _ = head.url.partition(b"?")
        if b"%" in path:
            raise _HandedOnError
        version = parser.get_http_version()
        if head.hosts > 1 or (version == "1.1" and not head.hosts):
            raise faults.malformed_http("The request needs one Host header.")
        body = await self._body(connection, head, head_size)
        request = Request(
            "POST", path.decode("latin-1"), head.target, head.authorization, head.content_type, body, head.origin
        )
        outcome = self._endpoint.answer(request)
        if not isinstance(outcome, Answer):
            connection.deadline = inf  # a write has its own deadline
            outcome = await outcome
        keep = parser.should_keep_alive() and not outcome.close and not self._draining
        connection.deadline = trio.current_time() + self.limits.write_s
        await connection.send(self._response(outcome, keep, version))
        return keep

    async def _body(self, connection: _Connection, head: _Head, head_size: int) -> bytes:
        """The request's body, taken from the buffer with its head."""
        buffer = connection.buffer
        if head.length > self.limits.body:
            raise faults.too_large(self.limits.body)
        if head.encoding not in ("", "chunked"):
            raise faults.malformed_http("The only Transfer-Encoding that is read is chunked.", 501)
        if head.expect not in ("", "100-continue"):
            raise faults.malformed_http("The only expectation that is met is 100-continue.", 417)
        if head.expect and len(buffer) == head_size:
            await connection.send(_CONTINUE)
        if head.encoding:
            return await self._chunked_body(connection, head_size)
        end = head_size + head.length
        if len(buffer) < end:
            connection.deadline = trio.current_time() + self.limits.body_s
            while len(buffer) < end:
                if not await connection.receive():
                    raise _ClosedEarlyError
        body = bytes(buffer[head_size:end])
        del buffer[:end]
        return body

    async def _chunked_body(self, connection: _Connection, head_size: int) -> bytes:
        connection.deadline = trio.current_time() + self.limits.body_s
        chunks = ChunkedBody(self.limits.body)
        data = bytes(connection.buffer[head_size:])
        connection.buffer.clear()
        try:
            while not chunks.feed(data):
                data = await connection.receive_some()
                if not data:
                    raise _ClosedEarlyError
        except MalformedChunkError as error:
            raise faults.malformed_http(str(error)) from None
        connection.buffer += chunks.rest
        return chunks.body

    async def _refuse(self, connection: _Connection, error: AwsError) -> None:
        """Answer a request that cannot be read, and end the connection so that the client still gets the answer."""
        connection.deadline = trio.current_time() + self.limits.drain_s
        await connection.send(self._response(self._endpoint.refuse(error), keep=False, version="1.1"))
        await connection.stream.send_eof()
        while await connection.receive_some():
            pass  # closing on unread bytes would reset the connection, and the answer with it

    def _response(self, answer: Answer, keep: bool, version: str) -> bytes:
        ending = "" if keep else "Connection: close\r\n"
        if keep and version == "1.0":
            ending = "Connection: keep-alive\r\n"
        head = (
            f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, '')}\r\n"
            f"x-amzn-RequestId: {answer.request_id}\r\nContent-Type: {answer.content_type}\r\n"
            f"Content-Length: {len(answer.body)}\r\nDate: {self._date}\r\n{ending}\r\n"
        )
        return head.encode("latin-1") + answer.body


def _is_for_front(buffer: bytearray) -> bool:
    """Whether what has come so far begins, or may still begin, a request that the front answers."""
    if buffer.startswith((_ROOT, _OPERATION)):
        return True
    return len(buffer) < len(_OPERATION) and (_OPERATION.startswith(buffer) or _ROOT.startswith(buffer))
