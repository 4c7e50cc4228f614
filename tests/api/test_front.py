from __future__ import annotations

from collections.abc import AsyncIterator

import orjson
import pytest
import trio

from api import front
from api.dispatch import BODY_LIMIT, Endpoint
from engine.errors import AwsError
from tests.api.raw_http import Wire, chunked, post
from tests.api.stub import StubControlPlane, cluster, endpoint_over, front_port

LIMITS = front.Limits(
    head=4096, head_s=0.3, body_s=0.3, idle_s=0.5, write_s=2, drain_s=2, grace_s=1, connections=8, check_s=0.05
)


@pytest.fixture
def stub() -> StubControlPlane:
    return StubControlPlane(cluster())


@pytest.fixture
def endpoint(stub: StubControlPlane) -> Endpoint:
    return endpoint_over(stub)


@pytest.fixture
async def port(endpoint: Endpoint) -> AsyncIterator[int]:
    async with front_port(endpoint, LIMITS) as port:
        yield port


@pytest.fixture
async def wire(port: int) -> AsyncIterator[Wire]:
    wire = await Wire.open(port)
    yield wire
    await wire.aclose()


async def test_one_connection_answers_many_requests(wire: Wire) -> None:
    for _ in range(3):
        await wire.send(post("ListClusters"))
        response = await wire.response()
        assert response.status == 200
        assert len(orjson.loads(response.body)["clusterArns"]) == 1
        assert response.headers["content-type"] == "application/x-amz-json-1.1"
        assert len(response.headers["x-amzn-requestid"]) == 36


async def test_pipelined_requests_are_answered_in_order(wire: Wire) -> None:
    await wire.send(post("ListClusters") + post("Nope") + chunked("ListClusters", b"{", b"}") + post("ListClusters"))
    assert [(await wire.response()).status for _ in range(4)] == [200, 400, 200, 200]


async def test_a_request_may_arrive_byte_by_byte(wire: Wire) -> None:
    for byte in chunked("ListClusters", b"{}"):
        await wire.send(bytes([byte]))
    assert (await wire.response()).status == 200


async def test_v1_paths_name_the_operation(wire: Wire) -> None:
    await wire.send(post("x", path="/v1/ListClusters"))
    assert (await wire.response()).status == 200
    await wire.send(post("x", path="/v1/Nope"))
    assert orjson.loads((await wire.response()).body)["__type"] == "UnknownOperationException"


async def test_expect_100_continue_is_met(wire: Wire) -> None:
    whole = post("ListClusters", b"{}", "Expect: 100-continue")
    await wire.send(whole[:-2])
    assert b"100 Continue" in await wire._until(b"\r\n\r\n")
    await wire.send(whole[-2:])
    assert (await wire.response()).status == 200


@pytest.mark.parametrize("where", ["length", "chunks"])
async def test_a_body_past_the_limit_is_refused_and_the_client_hears_it(wire: Wire, where: str) -> None:
    async with trio.open_nursery() as nursery:
        body = b" " * (BODY_LIMIT + 1)
        nursery.start_soon(
            wire.send, post("ListClusters", body) if where == "length" else chunked("ListClusters", body)
        )
        response = await wire.response()
    assert response.status == 413
    assert orjson.loads(response.body)["__type"] == "RequestEntityTooLarge"
    assert response.headers["connection"] == "close"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nx: \0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\n\r\n", 417),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}xx0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 5000, 431),
    ],
    ids=lambda value: (
        value[:60].decode("latin-1").encode("unicode_escape").decode() if isinstance(value, bytes) else ""
    ),
)
async def test_what_is_not_http_is_refused_and_the_connection_ends(wire: Wire, raw: bytes, status: int) -> None:
    await wire.send(raw)
    response = await wire.response()
    assert response.status == status
    assert "__type" in orjson.loads(response.body)
    assert await wire.is_closed_within(2)


async def test_an_idle_connection_is_closed(wire: Wire) -> None:
    await wire.send(post("ListClusters"))
    await wire.response()
    assert not await wire.is_closed_within(0.2)
    assert await wire.is_closed_within(2)


@pytest.mark.parametrize("begun", [b"P", b"POST / HTTP/1.1\r\nHost: a\r\n", post("ListClusters", b"{}")[:-1]])
async def test_a_slow_client_is_cut_off(wire: Wire, begun: bytes) -> None:
    """However often it sends a byte: the whole head, and the whole body, have one deadline."""
    await wire.send(begun)
    assert await wire.is_closed_within(2)


async def test_dripping_header_bytes_does_not_extend_the_deadline(wire: Wire) -> None:

    async def drip() -> None:
        await wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nX: ")
        while True:
            await wire.send(b"x")
            await trio.sleep(0.05)

    with trio.fail_after(3), pytest.raises(trio.BrokenResourceError):
        await drip()


async def test_a_full_house_closes_its_longest_idle_guest(port: int) -> None:
    wires = [await Wire.open(port) for _ in range(LIMITS.connections)]
    for wire in wires:
        await wire.send(post("ListClusters"))
        await wire.response()
    late = await Wire.open(port)
    await late.send(post("ListClusters"))
    assert (await late.response()).status == 200
    assert await wires[0].is_closed_within(0.3)
    for wire in (*wires, late):
        await wire.aclose()


async def test_connection_close_and_http_1_0_are_honoured(port: int) -> None:
    for request in (post("ListClusters", b"{}", "Connection: close"), post("ListClusters", version="1.0")):
        wire = await Wire.open(port)
        await wire.send(request)
        assert (await wire.response()).headers["connection"] == "close"
        assert await wire.is_closed_within(0.3)
        await wire.aclose()


async def test_what_is_not_hot_is_handed_on_with_the_bytes_read_so_far(wire: Wire) -> None:
    await wire.send(b"GET")
    await trio.sleep(0.05)
    await wire.send(b" /nothing HTTP/1.1\r\nHost: a\r\n\r\n")
    response = await wire.response()
    assert response.status == 404
    assert orjson.loads(response.body)["message"] == "GET /nothing is nothing that KECS serves."
    assert response.headers["x-amzn-requestid"]


async def test_a_connection_can_turn_from_hot_to_not_hot_and_still_ask_aws(wire: Wire) -> None:
    await wire.send(post("ListClusters") + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + post("ListClusters"))
    assert [(await wire.response()).status for _ in range(3)] == [200, 200, 200]


async def test_shutdown_closes_idle_connections_and_lets_answers_finish(
    stub: StubControlPlane, endpoint: Endpoint
) -> None:
    asked, release = trio.Event(), trio.Event()

    async def slow(_message: object) -> None:
        asked.set()
        await release.wait()
        raise AwsError("ClientException", "in time")

    stub.reply = slow
    shutdown = trio.Event()
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]

    async def hand_off(_stream: trio.SocketStream, _received: bytes) -> None:
        raise AssertionError("nothing is handed on")

    async def serve(task_status: trio.TaskStatus[None]) -> None:
        await front.serve([listener], endpoint, hand_off, limits=LIMITS, shutdown=shutdown, task_status=task_status)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(serve)
            idle, busy = await Wire.open(port), await Wire.open(port)
            await busy.send(post("CreateCluster"))
            await asked.wait()
            shutdown.set()
            assert await idle.is_closed_within(1)
            release.set()
            response = await busy.response()
            assert response.headers["connection"] == "close"
            assert orjson.loads(response.body)["message"] == "in time"
            await idle.aclose()
            await busy.aclose()


async def test_a_bug_is_a_500_with_a_request_id_and_the_traceback_stays_in_the_log(
    stub: StubControlPlane, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(_message: object) -> None:
        raise RuntimeError("a secret detail")

    stub.reply = broken
    await wire.send(post("CreateCluster"))
    response = await wire.response()
    assert response.status == 500
    body = orjson.loads(response.body)
    assert body["__type"] == "ServerException"
    assert response.headers["x-amzn-requestid"] in body["message"]
    assert b"secret" not in response.body
    assert "a secret detail" in caplog.text
