"""Between the version in which objects are stored and the one in which a client asks for them.

Only events (stored as core/v1, also served as events.k8s.io/v1) differ in shape; the versions of a custom resource
differ in `apiVersion` alone, as with Kubernetes' conversion strategy `None`.
"""

from __future__ import annotations

from typing import Final

from k8s.client import JsonObject
from k8s.embedded.apiserver.resources import ResourceType

_EVENT_NAMES: Final = {  # core/v1: events.k8s.io/v1
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_CORE_NAMES: Final = {new: old for old, new in _EVENT_NAMES.items()}


def _is_new_event(resource: ResourceType) -> bool:
    return resource.group == "events.k8s.io"


def to_storage(resource: ResourceType, body: JsonObject) -> JsonObject:
    """An object of this resource as it is stored."""
    if not _is_new_event(resource):
        return body
    renamed = {_CORE_NAMES.get(key, key): value for key, value in body.items()}
    return {**renamed, "apiVersion": "v1"}


def from_storage(resource: ResourceType, body: JsonObject) -> JsonObject:
    """A stored object as this resource shows it."""
    if _is_new_event(resource):
        body = {_EVENT_NAMES.get(key, key): value for key, value in body.items()}
    return {**body, "apiVersion": resource.group_version} if resource.converts else body


def storage_field(resource: ResourceType, field: str) -> str:
    """The stored name of a field that a selector of this resource names."""
    head, dot, rest = field.partition(".")
    return _CORE_NAMES.get(head, head) + dot + rest if _is_new_event(resource) else field
