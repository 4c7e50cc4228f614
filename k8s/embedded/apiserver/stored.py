"""An object as the store holds it: its JSON, made once, and the few values that reads select by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from attrs import define

from k8s.client import JsonObject
from k8s.embedded.apiserver.resources import ResourceType


@define(eq=False)
class Stored:
    """One version of one object; never changed. Parsing it again costs less than keeping ten thousand parsed ones."""

    resource: ResourceType
    namespace: str
    name: str
    uid: str
    version: int
    row: int
    encoded: bytes
    labels: Mapping[str, str]
    fields: Mapping[str, str]  # for field selectors
    owners: tuple[str, ...]  # uids
    deleting: bool  # has a deletionTimestamp

    def body(self) -> JsonObject:
        """The object, a private copy."""
        parsed: JsonObject = orjson.loads(self.encoded)
        return parsed

    @classmethod
    def of(cls, resource: ResourceType, body: JsonObject, version: int, row: int, encoded: bytes) -> Stored:
        """What the store keeps of `body`, whose JSON is `encoded`."""
        metadata = body["metadata"]
        return cls(
            resource,
            metadata.get("namespace", ""),
            metadata["name"],
            metadata["uid"],
            version,
            row,
            encoded,
            metadata.get("labels") or {},
            selectable_fields(resource, body),
            tuple(owner["uid"] for owner in metadata.get("ownerReferences") or ()),
            "deletionTimestamp" in metadata,
        )


def selectable_fields(resource: ResourceType, body: JsonObject) -> dict[str, str]:
    """The values that field selectors compare; a field that is not there has its default."""
    metadata = body["metadata"]
    fields = {"metadata.name": metadata["name"], "metadata.namespace": metadata.get("namespace", "")}
    for path, steps, default in resource.field_steps:
        value: Any = body
        for step in steps:
            value = value.get(step) if type(value) is dict else None
        if path == "source" and isinstance(value, dict):
            value = value.get("component")
        fields[path] = value if type(value) is str else default if value is None else _text(value)
    return fields


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
