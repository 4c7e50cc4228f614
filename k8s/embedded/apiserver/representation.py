"""In which form objects go out: as they are, as rows of a table, or as metadata only; in the version asked for.

The stored JSON goes out untouched wherever that is possible: lists and watches are then joined bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import orjson
from attrs import frozen

from k8s.client import JsonObject
from k8s.embedded.apiserver.conversion import from_storage
from k8s.embedded.apiserver.resources import ResourceType
from k8s.embedded.apiserver.stored import Stored
from k8s.embedded.apiserver.tables import cells, column_definitions

_META: Final = "meta.k8s.io/v1"


@frozen
class Representation:
    """How one request wants to see the objects of one resource."""

    resource: ResourceType
    now: Callable[[], datetime]
    form: str = ""  # "", Table, PartialObjectMetadata
    include_object: str = "Metadata"  # of a table: None, Metadata, Object

    @property
    def is_plain(self) -> bool:
        """Whether the stored JSON can go out as it is."""
        return not self.form and not self.resource.converts

    def encoded(self, stored: Stored) -> bytes:
        """One object."""
        return stored.encoded if self.is_plain else orjson.dumps(self.shown(stored))

    def shown(self, stored: Stored) -> JsonObject:
        """One object, as a dict."""
        body = from_storage(self.resource, stored.body())
        if self.form == "Table":
            return self._table([self._row(body)], {"resourceVersion": str(stored.version)})
        return _partial(body) if self.form else body

    def encoded_list(self, objects: Sequence[Stored], metadata: JsonObject) -> bytes:
        """A list of objects."""
        if self.form == "Table":
            rows = [self._row(from_storage(self.resource, stored.body())) for stored in objects]
            return orjson.dumps(self._table(rows, metadata))
        kind, version = f"{self.resource.kind}List", self.resource.group_version
        if self.form:
            kind, version = "PartialObjectMetadataList", _META
        head = orjson.dumps({"kind": kind, "apiVersion": version, "metadata": metadata})
        return b'%s,"items":[%s]}' % (head[:-1], b",".join(map(self.encoded, objects)))

    def _table(self, rows: Sequence[JsonObject], metadata: JsonObject) -> JsonObject:
        return {
            "kind": "Table",
            "apiVersion": _META,
            "metadata": metadata,
            "columnDefinitions": column_definitions(self.resource),
            "rows": list(rows),
        }

    def _row(self, body: JsonObject) -> JsonObject:
        row: JsonObject = {"cells": cells(self.resource, body, self.now())}
        if self.include_object == "Object":
            row["object"] = body
        elif self.include_object != "None":
            row["object"] = _partial(body)
        return row


def _partial(body: JsonObject) -> JsonObject:
    return {"kind": "PartialObjectMetadata", "apiVersion": _META, "metadata": body["metadata"]}


def wanted_form(accept: str) -> str:
    """The first form in an `Accept` header that can be answered: "", Table or PartialObjectMetadata."""
    if "as=" not in accept:
        return ""
    for choice in accept.split(","):
        parameters = dict(part.strip().split("=", 1) for part in choice.split(";")[1:] if "=" in part)
        if "json" not in choice.split(";")[0] and "*" not in choice:
            continue
        asked = parameters.get("as", "")
        if not asked:
            return ""
        if parameters.get("g") == "meta.k8s.io" and parameters.get("v") == "v1":
            if asked == "Table":
                return "Table"
            if asked in ("PartialObjectMetadata", "PartialObjectMetadataList"):
                return "PartialObjectMetadata"
    return ""
