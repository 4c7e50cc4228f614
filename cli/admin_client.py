"""Asks an instance's admin server, which listens on loopback, for what only the control plane can do."""

from __future__ import annotations

import http.client
import json
from typing import Any

from cli.instances import Instance, InstanceError


def post(instance: Instance, path: str, body: dict[str, Any] | None = None, deadline_s: float = 60) -> dict[str, Any]:
    """The answer to a POST. Raises InstanceError when there is none, or it is an error."""
    settings, ports = instance.load()
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    connection = http.client.HTTPConnection(host, ports.admin, timeout=deadline_s)
    try:
        connection.request("POST", path, json.dumps(body or {}), {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer: dict[str, Any] = json.loads(response.read() or b"{}")
    except (OSError, ValueError, http.client.HTTPException) as failure:
        raise InstanceError(
            f"The control plane of `{instance.name}` does not answer on port {ports.admin} ({failure}): "
            "`kecs status` tells how it is, `kecs logs control` why."
        ) from failure
    finally:
        connection.close()
    if response.status >= 300:
        raise InstanceError(answer.get("message", f"The control plane answered {response.status} to {path}."))
    return answer
