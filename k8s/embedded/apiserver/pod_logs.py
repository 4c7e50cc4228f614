"""`pods/log`: which container, which lines; the lines themselves come from the node."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from attrs import define

from k8s.client import JsonObject
from k8s.embedded.apiserver.errors import StatusError, bad_request, unavailable
from k8s.embedded.apiserver.messages import Response, SendBytes
from k8s.embedded.apiserver.reads import is_true, number_of
from k8s.embedded.apiserver.stored import Stored
from k8s.embedded.gateway import GatewayError, LogRequest, NodeGateway

_CONTAINERS: Final = ("initContainers", "containers", "ephemeralContainers")
_DEFAULT_CONTAINER: Final = "kubectl.kubernetes.io/default-container"


def chosen_container(pod: JsonObject, asked: str) -> str:
    """The container that a request means. Raises StatusError 400 when it is none or not clear."""
    names = [container["name"] for field in _CONTAINERS for container in pod["spec"].get(field) or ()]
    name = pod["metadata"]["name"]
    if asked:
        if asked not in names:
            raise bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    main = [container["name"] for container in pod["spec"].get("containers") or ()]
    if len(main) == 1:
        return str(main[0])
    preferred = (pod["metadata"].get("annotations") or {}).get(_DEFAULT_CONTAINER)
    if preferred in names:
        return str(preferred)
    choices = " ".join(main)
    raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{choices}]")


@define
class PodLogs:
    """Reads logs through the node, once there is one."""

    gateway: NodeGateway | None = None

    def answer(self, stored: Stored, params: Mapping[str, str]) -> Response:
        """The log that a request asks for. Raises StatusError 400, 503."""
        if self.gateway is None:
            raise unavailable("the node is not running yet")
        pod = stored.body()
        request = _log_request(pod, chosen_container(pod, params.get("container", "")), params)
        gateway = self.gateway

        async def produce(send: SendBytes) -> None:
            try:
                async with gateway.read_log(request) as chunks:
                    await send(b"")
                    async for chunk in chunks:
                        await send(chunk)
            except GatewayError as error:
                raise StatusError(error.status, error.reason, error.message) from error

        return Response(200, content_type="text/plain", producer=produce)


def _log_request(pod: JsonObject, container: str, params: Mapping[str, str]) -> LogRequest:
    metadata = pod["metadata"]
    return LogRequest(
        metadata["namespace"],
        metadata["name"],
        metadata["uid"],
        container,
        follow=is_true(params, "follow"),
        tail_lines=number_of(params, "tailLines") if params.get("tailLines") else None,
        since=_since(params),
        timestamps=is_true(params, "timestamps"),
        previous=is_true(params, "previous"),
        limit_bytes=number_of(params, "limitBytes") if params.get("limitBytes") else None,
    )


def _since(params: Mapping[str, str]) -> datetime | None:
    if params.get("sinceSeconds"):
        return datetime.now(UTC) - timedelta(seconds=number_of(params, "sinceSeconds"))
    if not params.get("sinceTime"):
        return None
    try:
        return datetime.fromisoformat(params["sinceTime"].replace("Z", "+00:00"))
    except ValueError:
        raise bad_request(f"sinceTime: Invalid value: {params['sinceTime']!r}") from None
