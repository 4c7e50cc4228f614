"""What the `kecs` command asks of a running control plane: a backup, and to forget everything.

Only from this machine: a request that carries an Origin or comes from elsewhere is refused, so that no web page can
empty an instance.
"""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

from quart import Blueprint, Response, request

from actors.instance import ControlPlane
from actors.ports import StoreFailedError
from api.admin.answers import json_answer


def instance_routes(control_plane: ControlPlane) -> Blueprint:
    """Routes for the admin server: POST /backup with an optional `path`, POST /reset."""
    routes = Blueprint("instance", __name__)

    @routes.before_request
    async def only_from_here() -> Response | None:
        if "Origin" in request.headers or not _is_loopback(request.remote_addr):
            return json_answer({"message": "This is only for commands on the instance's own machine."}, 403)
        return None

    @routes.post("/backup")
    async def backup() -> Response:
        wanted = (await request.get_json(force=True, silent=True) or {}).get("path")
        try:
            written = await control_plane.backup(Path(wanted) if wanted else None)
        except (StoreFailedError, OSError) as failure:
            return json_answer({"message": f"The backup could not be written: {failure}"}, 500)
        return json_answer({"path": str(written)})

    @routes.post("/reset")
    async def reset() -> Response:
        await control_plane.reset()
        return json_answer({"state": "empty"})

    return routes


def _is_loopback(address: str | None) -> bool:
    try:
        return address is not None and ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False
