"""The AWS endpoint of an instance: the front, and behind it the Quart app on hypercorn.

Quart and hypercorn take longer to import than everything else here together. They are imported in a worker thread when
the first connection needs them, so that neither start-up nor a request waits for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from api import front
from api.dispatch import Endpoint

if TYPE_CHECKING:
    from api.hypercorn_server import HypercornServer


async def serve(
    listeners: Sequence[trio.SocketListener],
    endpoint: Endpoint,
    *,
    limits: front.Limits | None = None,
    shutdown: trio.Event | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the endpoint until cancelled, or until `shutdown` is set (see `front.serve`)."""
    app = _AppServer(endpoint)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(app.run)
        await nursery.start(_serve_front, listeners, endpoint, app, limits, shutdown)
        task_status.started()
        if shutdown is not None:
            await shutdown.wait()
            app.shutdown.set()


async def _serve_front(
    listeners: Sequence[trio.SocketListener],
    endpoint: Endpoint,
    app: _AppServer,
    limits: front.Limits | None,
    shutdown: trio.Event | None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    await front.serve(listeners, endpoint, app, limits=limits, shutdown=shutdown, task_status=task_status)


class _AppServer:
    """The app's server, made when the first connection is handed on to it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.shutdown = trio.Event()
        self._endpoint = endpoint
        self._needed = trio.Event()
        self._ready = trio.Event()
        self._server: HypercornServer | None = None

    async def __call__(self, stream: trio.SocketStream, received: bytes) -> None:
        """Serve a connection that the front hands on."""
        self._needed.set()
        await self._ready.wait()
        if self._server is not None:
            await self._server.serve_connection(stream, received)

    async def run(self) -> None:
        """Wait until the app is needed, then run its server until `shutdown` is set."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_set_after, self.shutdown, self._needed)
            await self._needed.wait()
            nursery.cancel_scope.cancel()
        if self.shutdown.is_set():
            self._ready.set()
            return
        server = await trio.to_thread.run_sync(_load, self._endpoint)
        async with trio.open_nursery() as nursery:
            await nursery.start(_run_server, server, self.shutdown)
            self._server = server
            self._ready.set()


async def _set_after(first: trio.Event, then: trio.Event) -> None:
    await first.wait()
    then.set()


async def _run_server(
    server: HypercornServer, shutdown: trio.Event, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    await server.run(shutdown=shutdown, task_status=task_status)


def _load(endpoint: Endpoint) -> HypercornServer:
    from api.app import create_app
    from api.hypercorn_server import HypercornServer

    return HypercornServer(create_app(endpoint))
