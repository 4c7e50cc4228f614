"""The Kubernetes API as this package calls it: one small port, spoken in plain dicts.

`k8s.kr8s_client` implements it for any cluster, the embedded API server for its own process without a socket; one
contract suite runs over both. Paths are complete (`/api/v1/namespaces/x/pods`); nothing here knows kinds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol, TypeAlias

JsonObject: TypeAlias = dict[str, Any]
"""A JSON object as parsed: what it holds is not known to the type checker."""

JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH: Final = "application/strategic-merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"

_NO_PARAMS: Final[Mapping[str, str]] = {}


class KubeError(Exception):
    """The API server refused a call: the HTTP status, and `reason`, `message`, `details` of its `Status` object.

    Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
    """

    def __init__(self, status: int, reason: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.details: Mapping[str, Any] = details or {}

    @classmethod
    def of_status(cls, status_object: Mapping[str, Any], http_status: int = 0) -> KubeError:
        """The error that a `Status` object stands for, whether it came as a response or inside a watch."""
        return cls(
            int(status_object.get("code") or http_status),
            str(status_object.get("reason") or "Unknown"),
            str(status_object.get("message") or "the API server gave no message"),
            status_object.get("details") or None,
        )


class UnreachableError(KubeError):
    """No answer: refused, reset, cut off in the middle, or silent for too long. Whether a write was done is unknown."""

    def __init__(self, message: str) -> None:
        super().__init__(0, "Unreachable", message)


class KubeClient(Protocol):
    """What the reflector, the orchestrator and the node need of a Kubernetes API server."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] = _NO_PARAMS,
        body: object | None = None,
        content_type: str = JSON,
        timeout_s: float = 30,
    ) -> JsonObject:
        """Call the API once; the parsed answer of a 2xx.

        Raises KubeError for any other status, and UnreachableError when no whole answer came within `timeout_s`.
        The answer belongs to the caller, who may change it; `body` is not kept.
        """
        ...

    def stream(
        self, path: str, *, params: Mapping[str, str] = _NO_PARAMS, read_timeout_s: float = 90
    ) -> AbstractAsyncContextManager[AsyncIterator[Sequence[JsonObject]]]:
        """Open a watch (`params` has `watch=true`): its events, `{"type": ..., "object": ...}`, in order.

        Each item holds everything that arrived at once, never nothing. Ends when the server ends it. Entering raises
        what `request` raises; iterating raises UnreachableError when the peer breaks off or says nothing for
        `read_timeout_s` (so ask for bookmarks or a shorter `timeoutSeconds`); within one process no peer can die. An
        in-band `ERROR` event is an item like any other. Its objects may be shared with other watchers: read them,
        never change them.
        """
        ...
