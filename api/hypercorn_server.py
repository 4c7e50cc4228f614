"""hypercorn, mended: the one place where its faults are known.

- Its idle timer is a task started and cancelled for every request; under quart-trio the cancellation gets lost and an
  idle connection is never closed. Here a connection only notes since when it is idle, and one task closes those whose
  time is up.
- Its shutdown waits for idle clients until the grace period is over. Here they are closed at once.
- It closes a connection after 1000 requests and after 5 s of idling, which breaks SDK clients' pools.
- It sends an empty write at the end of each response. Here that is left out.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from math import inf
from typing import Any, Final, cast

import trio
from hypercorn.config import Config
from hypercorn.events import Event, RawData
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import wrap_app

IDLE_S: Final = 75.0
GRACE_S: Final = 3.0
_CHECK_S = 1.0
_log = logging.getLogger(__name__)


class HypercornServer:
    """Serves one ASGI app on listeners, and on connections that another server hands over.

    An app with start-up code (`while_serving` in Quart) can be served by one server only.
    """

    def __init__(self, app: Any, *, idle_s: float = IDLE_S, grace_s: float = GRACE_S) -> None:
        config = Config()
        config.accesslog = None
        config.errorlog = None  # replaced by the process's own logging
        config.keep_alive_max_requests = 2**31
        config.keep_alive_timeout = idle_s
        config.graceful_timeout = grace_s
        config.include_server_header = False
        config.h11_max_incomplete_size = 64 * 1024
        self._config = config
        self._app = wrap_app(app, config.wsgi_max_body_size, "asgi")
        self._context = WorkerContext(None)
        self._state: Any = {}
        self._connections: set[_Connection] = set()
        self._idle_s = idle_s
        self._grace_s = grace_s

    async def run(
        self,
        listeners: Sequence[trio.SocketListener | trio.SSLListener[trio.SocketStream]] = (),
        *,
        shutdown: trio.Event | None = None,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled, or until `shutdown` is set; `started` once the app has started up."""
        lifespan = Lifespan(self._app, self._config, self._state)
        async with trio.open_nursery() as lifespan_nursery:
            await lifespan_nursery.start(lifespan.handle_lifespan)
            with suppress(trio.ClosedResourceError, trio.BrokenResourceError):  # an app may know no lifespan
                await lifespan.wait_for_startup()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._close_idle)
                async with trio.open_nursery() as handlers:
                    async with trio.open_nursery() as accepting:
                        for listener in listeners:
                            accepting.start_soon(self._accept, listener, handlers)
                        task_status.started()
                        await (trio.Event() if shutdown is None else shutdown).wait()
                        accepting.cancel_scope.cancel()
                    await self._context.terminated.set()
                    await self._close_idle_for(0.0)
                    handlers.cancel_scope.deadline = trio.current_time() + self._grace_s
                nursery.cancel_scope.cancel()
            with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
                await lifespan.wait_for_shutdown()
            lifespan_nursery.cancel_scope.cancel()

    async def serve_connection(
        self, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream], received: bytes = b""
    ) -> None:
        """Serve one connection to its end. `received` is what was already read from it. Closes the stream."""
        connection = _Connection(self._app, self._config, self._context, self._state, _Replayed(stream, received))
        self._connections.add(connection)
        try:
            await connection.run()
        except Exception:
            _log.exception("a connection failed")
        finally:
            self._connections.discard(connection)
            await trio.aclose_forcefully(stream)

    async def _accept(
        self, listener: trio.SocketListener | trio.SSLListener[trio.SocketStream], handlers: trio.Nursery
    ) -> None:
        await trio.serve_listeners(self.serve_connection, [cast(Any, listener)], handler_nursery=handlers)

    async def _close_idle(self) -> None:
        while True:
            await trio.sleep(_CHECK_S)
            await self._close_idle_for(self._idle_s)

    async def _close_idle_for(self, seconds: float) -> None:
        longest = trio.current_time() - seconds
        for connection in tuple(self._connections):
            if connection.idle.since <= longest:
                await connection.close_from_server()


class _IdleSince:
    """Stands in for hypercorn's timer task, with its interface: notes a time, starts nothing."""

    def __init__(self) -> None:
        self.since = inf

    async def restart(self, _task_group: object, _action: object) -> None:
        self.since = trio.current_time()

    async def stop(self) -> None:
        self.since = inf


class _Replayed:
    """A stream whose first bytes were already read by someone else. With TLS, hypercorn sees only what is inside."""

    def __init__(self, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream], received: bytes) -> None:
        self._stream = stream
        self._received = received
        self.send_all = stream.send_all
        self.aclose = stream.aclose
        if isinstance(stream, trio.SSLStream):
            self.socket = stream.transport_stream.socket
        else:
            self.socket = stream.socket
            self.send_eof = stream.send_eof

    async def receive_some(self, max_bytes: int) -> bytes:
        if self._received:
            data, self._received = self._received[:max_bytes], self._received[max_bytes:]
            return data
        return bytes(await self._stream.receive_some(max_bytes))


class _Connection(TCPServer):
    def __init__(self, app: Any, config: Config, context: WorkerContext, state: Any, stream: _Replayed) -> None:
        super().__init__(app, config, context, ConnectionState(state.copy()), cast(Any, stream))
        self.idle = _IdleSince()
        self.idle_task = cast(Any, self.idle)

    async def protocol_send(self, event: Event) -> None:
        if not isinstance(event, RawData) or event.data:
            await super().protocol_send(event)

    async def close_from_server(self) -> None:
        """End an idle connection."""
        self.idle.since = inf
        with trio.CancelScope(shield=True):
            await self._initiate_server_close()
