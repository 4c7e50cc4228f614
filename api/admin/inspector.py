"""The actor inspector: every actor, its mailbox, its turns, its last messages, its state in short.

It shows what `ControlPlane.inspect` reports and nothing else; a report names no environment variable and no secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from quart import Blueprint, Response

from actors.registry import parse_address
from api.admin.answers import json_answer

if TYPE_CHECKING:
    from actors.instance import ActorReport, ControlPlane


def routes(control_plane: ControlPlane) -> Blueprint:
    """`/debug/actors` and `/debug/actors/<address>`."""
    blueprint = Blueprint("inspector", __name__)

    async def every_actor() -> Response:
        reports = sorted(control_plane.inspect(), key=lambda report: report.address)
        return json_answer({"count": len(reports), "actors": [_shown(report) for report in reports]})

    async def one_actor(address: str) -> Response:
        parsed = parse_address(address)
        report = None if parsed is None else control_plane.inspect_one(parsed)
        if report is None:
            return json_answer({"error": f"No actor lives at {address}."}, 404)
        return json_answer(_shown(report))

    blueprint.add_url_rule("/debug/actors", "every_actor", every_actor)
    blueprint.add_url_rule("/debug/actors/<path:address>", "one_actor", one_actor)
    return blueprint


def _shown(report: ActorReport) -> dict[str, Any]:
    fields = {field.name: getattr(report, field.name) for field in attrs.fields(type(report))}
    fields["state"] = dict(report.state)
    fields["last_messages"] = [{"message": name, "at": moment} for name, moment in report.last_messages]
    return fields
