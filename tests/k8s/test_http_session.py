"""The lean session against servers that answer, dawdle and break off byte by byte as told."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from k8s import http_session
from k8s.http_session import Session, TransportError

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"

Serve = Callable[[trio.SocketStream, int], Awaitable[None]]


class _Server:
    """Counts connections and calls; what each connection does is the test's."""

    def __init__(self, serve: Serve) -> None:
        self.connections = 0
        self.requests: list[bytes] = []
        self._serve = serve

    async def handle(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        async with stream:
            await self._serve(stream, self.connections)

    async def next_request(self, stream: trio.SocketStream) -> bool:
        """Read one request (head and as much of a body as it announces); False at the end."""
        data = b""
        while b"\r\n\r\n" not in data:
            more = await stream.receive_some()
            if not more:
                return False
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                while len(body) < int(line.split(b":")[1]):
                    body += await stream.receive_some()
        self.requests.append(head + b"\r\n\r\n" + body)
        return True


@asynccontextmanager
async def _serving(serve: Callable[[_Server], Serve]) -> AsyncIterator[tuple[Session, _Server]]:
    server = _Server(lambda stream, number: serve(server)(stream, number))
    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(
            partial(trio.serve_tcp, server.handle, 0, host="127.0.0.1")
        )
        port = listeners[0].socket.getsockname()[1]
        session = Session(f"http://127.0.0.1:{port}/prefix", {"accept": "application/json"})
        with trio.fail_after(10):
            yield session, server
        await session.aclose()
        nursery.cancel_scope.cancel()


def _always(answer: bytes, close_after: bool = False) -> Callable[[_Server], Serve]:
    def serve(server: _Server) -> Serve:
        async def each(stream: trio.SocketStream, number: int) -> None:
            while await server.next_request(stream):
                await stream.send_all(answer)
                if close_after:
                    return

        return each

    return serve


async def test_a_call_sends_what_it_was_given() -> None:
    async with _serving(_always(OK)) as (session, server):
        answer = await session.request(
            method="POST", url="/api/v1/x y", params={"a": "1=2,3"}, content=b"{1}", headers={"content-type": "a/b"}
        )
        assert (answer.status_code, answer.content) == (200, b"{}")
        lines = server.requests[0].split(b"\r\n")
        assert lines[0] == b"POST /prefix/api/v1/x%20y?a=1%3D2%2C3 HTTP/1.1"
        assert {b"content-length: 3", b"content-type: a/b", b"accept: application/json"} <= set(lines)
        assert lines[-1] == b"{1}"


async def test_calls_one_after_the_other_share_a_connection() -> None:
    async with _serving(_always(OK)) as (session, server):
        for _ in range(5):
            await session.request(method="GET", url="/")
        assert server.connections == 1


async def test_calls_side_by_side_have_connections_of_their_own() -> None:
    async with _serving(_always(OK)) as (session, server):
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(lambda: session.request(method="GET", url="/"))
        assert len(server.requests) == 5


async def test_a_server_that_closes_after_each_answer_is_connected_to_again() -> None:
    async with _serving(_always(OK, close_after=True)) as (session, server):
        for _ in range(3):
            await session.request(method="GET", url="/")
        assert server.connections == 3


async def test_an_answer_may_end_with_its_connection() -> None:
    async with _serving(_always(b"HTTP/1.1 200 OK\r\n\r\nhello", close_after=True)) as (session, _):
        assert (await session.request(method="GET", url="/")).content == b"hello"
        assert (await session.request(method="GET", url="/")).content == b"hello"


def _dies_on_its_second_request(server: _Server) -> Serve:
    async def each(stream: trio.SocketStream, number: int) -> None:
        await server.next_request(stream)
        await stream.send_all(OK)
        if number > 1:
            await trio.sleep_forever()
        await server.next_request(stream)  # read, not answered: it may have been carried out

    return each


async def test_a_read_that_met_a_closing_connection_is_repeated() -> None:
    async with _serving(_dies_on_its_second_request) as (session, server):
        await session.request(method="GET", url="/")
        assert (await session.request(method="GET", url="/")).status_code == 200
        assert server.connections == 2


async def test_a_post_that_met_a_closing_connection_is_not_repeated() -> None:
    async with _serving(_dies_on_its_second_request) as (session, server):
        await session.request(method="GET", url="/")
        with pytest.raises(TransportError):
            await session.request(method="POST", url="/", content=b"{}")
        assert len(server.requests) == 2


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", CHUNKED + b"5\r\nhal", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 2"],
)
async def test_half_an_answer_is_no_answer(answer: bytes) -> None:
    async with _serving(_always(answer, close_after=True)) as (session, _):
        with pytest.raises(TransportError):
            await session.request(method="GET", url="/")


async def test_an_answer_has_a_greatest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_session, "MOST_BODY", 10)
    whole = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n" + b"x" * 10
    async with _serving(_always(whole)) as (session, _):
        assert (await session.request(method="GET", url="/x")).content == b"x" * 10
    async with _serving(_always(whole.replace(b" 10", b" 11") + b"x")) as (session, _):
        with pytest.raises(TransportError, match="more than 10 bytes"):
            await session.request(method="GET", url="/x")


async def test_a_flood_of_headers_is_no_answer() -> None:
    async with _serving(_always(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000)) as (session, _):
        with pytest.raises(TransportError, match="not HTTP"):
            await session.request(method="GET", url="/x")


async def test_nobody_listening_is_said_with_the_address() -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    with pytest.raises(TransportError, match=f"cannot connect to 127.0.0.1:{port}: .*refused"):
        await Session(f"http://127.0.0.1:{port}", {}).request(method="GET", url="/")


async def test_a_cancelled_call_leaves_no_connection_to_misread() -> None:
    def serve(server: _Server) -> Serve:
        async def each(stream: trio.SocketStream, number: int) -> None:
            while await server.next_request(stream):
                if number == 1:
                    await trio.sleep(0.05)
                await stream.send_all(OK)

        return each

    async with _serving(serve) as (session, server):
        with trio.move_on_after(0.01) as scope:
            await session.request(method="GET", url="/first")
        assert scope.cancelled_caught
        assert (await session.request(method="GET", url="/second")).content == b"{}"
        assert server.connections == 2


async def test_a_stream_gives_what_has_come_and_waits_for_more() -> None:
    go_on = trio.Event()

    def serve(server: _Server) -> Serve:
        async def each(stream: trio.SocketStream, number: int) -> None:
            await server.next_request(stream)
            await stream.send_all(CHUNKED + b"2\r\na\n\r\n2\r\nb\n\r\n")
            await go_on.wait()
            await stream.send_all(b"1\r\nc\r\n")
            await stream.send_all(b"0\r\n\r\n")

        return each

    async with _serving(serve) as (session, _), session.stream(method="GET", url="/") as answer:
        assert answer.status_code == 200
        assert await answer.read_some() == b"a\nb\n"
        go_on.set()
        assert await answer.aread() == b"c"
        assert await answer.read_some() == b""


async def test_a_stream_that_breaks_off_says_so() -> None:
    async with (
        _serving(_always(CHUNKED + b"1\r\na\r\n", close_after=True)) as (session, _),
        session.stream(method="GET", url="/") as answer,
    ):
        assert await answer.read_some() == b"a"
        with pytest.raises(TransportError):
            await answer.read_some()


async def test_a_connection_that_was_idle_for_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("k8s.http_session.IDLE_S", 0)
    async with _serving(_always(OK)) as (session, server):
        await session.request(method="GET", url="/")
        await session.request(method="GET", url="/")
        assert server.connections == 2
