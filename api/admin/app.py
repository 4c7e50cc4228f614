"""The admin server's app: health, readiness, metrics and the actor inspector, on an address of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from quart import Blueprint, Response
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from api.admin import inspector, metrics
from api.admin.answers import json_answer
from api.admin.readiness import Readiness
from api.metrics import RequestFigures

if TYPE_CHECKING:
    from actors.instance import ControlPlane


def create_admin_app(
    control_plane: ControlPlane,
    readiness: Readiness,
    figures: RequestFigures,
    blueprints: Sequence[Blueprint] = (),
) -> QuartTrio:
    """A new app; it can be served once. `blueprints` are routes of other parts of the program."""
    app = QuartTrio("kecs-admin", static_folder=None)
    collect = metrics.collector(control_plane, figures)

    async def health() -> Response:
        return json_answer({"status": "ok"})

    async def ready() -> Response:
        awaited = readiness.awaited()
        return json_answer({"ready": not awaited, "awaited": awaited}, 503 if awaited else 200)

    async def exposition() -> Response:
        return Response(metrics.exposition(collect), content_type=metrics.CONTENT_TYPE)

    async def refuse(error: HTTPException) -> Response:
        return json_answer({"error": error.name}, error.code or 500)

    app.add_url_rule("/health", "health", health)
    app.add_url_rule("/ready", "ready", ready)
    app.add_url_rule("/metrics", "metrics", exposition)
    app.register_error_handler(HTTPException, refuse)
    for blueprint in (inspector.routes(control_plane), *blueprints):
        app.register_blueprint(blueprint)
    return app
