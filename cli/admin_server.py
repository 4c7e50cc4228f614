"""The admin server of a control plane, with the routes that the commands call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import trio

from actors.instance import ControlPlane
from api.admin.readiness import Readiness
from api.metrics import RequestFigures


class AdminServer:
    """Quart on hypercorn, imported in a worker thread while the rest of the control plane starts."""

    def __init__(self, control_plane: ControlPlane, readiness: Readiness, figures: RequestFigures) -> None:
        self.ready = trio.Event()
        self._parts = (control_plane, readiness, figures)

    async def run(self, listeners: Sequence[trio.SocketListener]) -> None:
        """Serve until cancelled; sets `ready` once it answers."""
        server = await trio.to_thread.run_sync(self._load)
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: server.run(listeners, task_status=task_status))
            self.ready.set()

    def _load(self) -> Any:
        from api.admin.app import create_admin_app
        from api.admin.instance_routes import instance_routes
        from api.hypercorn_server import HypercornServer

        control_plane, readiness, figures = self._parts
        routes = instance_routes(control_plane)
        return HypercornServer(create_admin_app(control_plane, readiness, figures, blueprints=[routes]))
