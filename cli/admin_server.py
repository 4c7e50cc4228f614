"""The admin server of a control plane, with the routes that the commands call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from actors.instance import ControlPlane
from api.admin.readiness import Readiness
from api.metrics import RequestFigures
from cli.lifetime import keep_what_is_loaded

if TYPE_CHECKING:
    from api.hypercorn_server import HypercornServer


async def serve_admin(
    listeners: Sequence[trio.SocketListener],
    control_plane: ControlPlane,
    readiness: Readiness,
    figures: RequestFigures,
) -> None:
    """Serve until cancelled.

    Quart takes longer to import than the AWS endpoint to start. So it is imported in a worker thread once that serves;
    a request that comes before waits in the listener's queue.
    """
    server = await trio.to_thread.run_sync(_load, control_plane, readiness, figures)
    keep_what_is_loaded()
    await server.run(listeners)


def _load(control_plane: ControlPlane, readiness: Readiness, figures: RequestFigures) -> HypercornServer:
    from api.admin.app import create_admin_app
    from api.admin.instance_routes import instance_routes
    from api.hypercorn_server import HypercornServer

    return HypercornServer(
        create_admin_app(control_plane, readiness, figures, blueprints=[instance_routes(control_plane)])
    )
