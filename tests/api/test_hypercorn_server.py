"""hypercorn's faults, as they were measured, and that they are mended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from api import hypercorn_server
from api.app import create_app
from api.hypercorn_server import HypercornServer
from tests.api.raw_http import Wire, post
from tests.api.stub import StubControlPlane, cluster, endpoint_over

IDLE_S = 0.3


@asynccontextmanager
async def served(app: Any, shutdown: trio.Event | None = None) -> AsyncIterator[int]:
    server = HypercornServer(app, idle_s=IDLE_S, grace_s=5)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")

    async def run(task_status: trio.TaskStatus[None]) -> None:
        await server.run([listener], shutdown=shutdown, task_status=task_status)

    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        yield listener.socket.getsockname()[1]
        if shutdown is None:
            nursery.cancel_scope.cancel()


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hypercorn_server, "_CHECK_S", 0.05)


def quart_app() -> Any:
    return create_app(endpoint_over(StubControlPlane(cluster())))


async def test_an_idle_connection_is_closed_also_after_its_first_request() -> None:
    async with served(quart_app()) as port:
        fresh, used = await Wire.open(port), await Wire.open(port)
        for _ in range(3):
            await used.send(post("ListClusters"))
            assert (await used.response()).status == 200
        for wire in (fresh, used):
            assert await wire.is_closed_within(2)
            await wire.aclose()


async def test_a_connection_may_carry_more_than_a_thousand_requests() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"{}"})

    async with served(app) as port:
        wire = await Wire.open(port)
        for _ in range(1010):
            await wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert "connection" not in (await wire.response()).headers
        await wire.aclose()


async def test_shutdown_does_not_wait_for_idle_clients() -> None:
    shutdown = trio.Event()
    with trio.fail_after(2):
        async with served(quart_app(), shutdown) as port:
            wire = await Wire.open(port)
            await wire.send(post("ListClusters"))
            await wire.response()
            shutdown.set()
            assert await wire.is_closed_within(1)
            await wire.aclose()


async def test_shutdown_lets_an_answer_finish() -> None:
    shutdown, asked, release = trio.Event(), trio.Event(), trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            asked.set()
            await release.wait()
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"{}"})

    with trio.fail_after(4):
        async with served(app, shutdown) as port:
            wire = await Wire.open(port)
            await wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await asked.wait()
            shutdown.set()
            await trio.sleep(0.05)
            release.set()
            assert (await wire.response()).body == b"{}"
            await wire.aclose()


async def test_a_streaming_response_is_neither_idle_nor_held_back() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(3):
                await trio.sleep(IDLE_S)
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
            await send({"type": "http.response.body"})

    async with served(app) as port:
        wire = await Wire.open(port)
        await wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        with trio.fail_after(5):
            await wire._until(b"\r\n\r\n")
            await wire._until(b"0\r\n\r\n")
        await wire.aclose()
