"""The admin server of a control plane, with the routes that the commands call."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from actors.instance import ControlPlane
from api.admin.readiness import Readiness
from api.metrics import RequestFigures

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
    _leave_the_long_lived_alone()
    await server.run(listeners)


def _load(control_plane: ControlPlane, readiness: Readiness, figures: RequestFigures) -> HypercornServer:
    from api.admin.app import create_admin_app
    from api.admin.instance_routes import instance_routes
    from api.hypercorn_server import HypercornServer

    return HypercornServer(
        create_admin_app(control_plane, readiness, figures, blueprints=[instance_routes(control_plane)])
    )


def _leave_the_long_lived_alone() -> None:
    """Keep the garbage collector from walking the service model and the rendered records: a fifth of a request."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)
