"""Get, list and watch, with selectors, pages and versions.

A page's `continue` token names the version of the first page and the last key. Later pages show the objects as they
are now, under the version of the first page: a watch from there tells the rest. So no old state has to be kept.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
"""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import orjson
from attrs import evolve

from k8s.client import JsonObject
from k8s.embedded.apiserver.conversion import storage_field
from k8s.embedded.apiserver.errors import Cause, StatusError, bad_request, expired, forbidden_field, invalid, not_found
from k8s.embedded.apiserver.history import FORGOTTEN, History
from k8s.embedded.apiserver.messages import Request, Response
from k8s.embedded.apiserver.representation import Representation, wanted_form
from k8s.embedded.apiserver.resources import ResourceType
from k8s.embedded.apiserver.selectors import Selector, parse_fields, parse_labels
from k8s.embedded.apiserver.store import Key, Store
from k8s.embedded.apiserver.stored import Stored
from k8s.embedded.apiserver.watch import Filter, Watch

_TABLE_TYPE: Final = "application/json;as=Table;g=meta.k8s.io;v=v1"


def version_of(params: Mapping[str, str]) -> int | None:
    """The `resourceVersion` parameter; None without one. Raises StatusError 400 for what is no version."""
    text = params.get("resourceVersion")
    if not text:
        return None
    if not text.isdecimal():
        raise bad_request(f"resourceVersion: Invalid value: {text!r}: must be a decimal number")
    return int(text)


def number_of(params: Mapping[str, str], name: str) -> int:
    """A parameter that counts something, 0 without it. Raises StatusError 400."""
    text = params.get(name) or "0"
    if not text.isdecimal():
        raise bad_request(f"{name}: Invalid value: {text!r}: must be a number, 0 or greater")
    return int(text)


def is_true(params: Mapping[str, str], name: str) -> bool:
    """Whether a parameter says yes."""
    return params.get(name, "false").lower() in ("true", "1")


class Reads:
    """Reads objects of one store."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now

    def representation(self, resource: ResourceType, request: Request) -> Representation:
        """How this request wants to see objects."""
        form = wanted_form(request.accept)
        return Representation(resource, self._now, form, request.params.get("includeObject", "Metadata"))

    def find(self, resource: ResourceType, namespace: str | None, name: str) -> Stored:
        """The object of that name. Raises StatusError 404."""
        found = self._store.collection(resource).get(namespace or "", name)
        if found is None:
            raise not_found(resource, name)
        return found

    def get(self, resource: ResourceType, namespace: str | None, name: str, request: Request) -> Response:
        """Answer with one object."""
        self._not_future(version_of(request.params))
        representation = self.representation(resource, request)
        return Response(200, representation.encoded(self.find(resource, namespace, name)))

    def filter(self, resource: ResourceType, namespace: str | None, params: Mapping[str, str]) -> Filter:
        """Which objects the parameters mean. Raises StatusError 400 for selectors that are none."""
        known = {"metadata.name", "metadata.namespace", *resource.fields}
        fields = parse_fields(params.get("fieldSelector"), known)
        if resource.converts:
            renamed = (evolve(one, key=storage_field(resource, one.key)) for one in fields.requirements)
            fields = Selector(tuple(renamed))
        return Filter(namespace, parse_labels(params.get("labelSelector")), fields)

    def select(self, resource: ResourceType, wanted: Filter, after: Key | None = None) -> list[Stored]:
        """All objects that a filter means, by namespace and name."""
        collection = self._store.collection(resource)
        name, namespace = wanted.fields.exact("metadata.name"), wanted.namespace
        if name is not None and (namespace is not None or not resource.namespaced):
            found = collection.get(namespace or "", name)
            return [found] if found is not None and wanted.matches(found) else []
        every = collection.scan(namespace, after)
        if not wanted.labels and not wanted.fields:
            return list(every)
        labels, fields = wanted.labels.matches, wanted.fields.matches
        return [stored for stored in every if labels(stored.labels) and fields(stored.fields)]

    def _not_future(self, version: int | None) -> None:
        if version is not None and version > self._store.version:
            message = f"Too large resource version: {version}, current: {self._store.version}"
            cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
            raise StatusError(504, "Timeout", message, {"causes": [cause], "retryAfterSeconds": 1})

    def list(self, resource: ResourceType, namespace: str | None, request: Request) -> Response:
        """Answer with a list, or a page of one."""
        params, newest = request.params, self._store.version
        version = version_of(params)
        self._not_future(version)
        self._check_match(resource, params, version)
        limit, after = number_of(params, "limit"), None
        if params.get("continue"):
            newest, after = self._continued(params["continue"], self._store.collection(resource).history.floor)
        objects = self.select(resource, self.filter(resource, namespace, params), after)
        metadata: JsonObject = {"resourceVersion": str(newest)}
        if limit and len(objects) > limit:
            metadata["continue"] = _token(newest, objects[limit - 1])
            if not params.get("labelSelector") and not params.get("fieldSelector"):
                metadata["remainingItemCount"] = len(objects) - limit
            objects = objects[:limit]
        return Response(200, self.representation(resource, request).encoded_list(objects, metadata))

    def _check_match(self, resource: ResourceType, params: Mapping[str, str], version: int | None) -> None:
        match = params.get("resourceVersionMatch")
        causes: list[Cause] = []
        if match and version is None:
            causes = [forbidden_field("resourceVersionMatch", "is forbidden unless resourceVersion is provided")]
        elif match and params.get("continue"):
            causes = [forbidden_field("resourceVersionMatch", "is forbidden when continue is provided")]
        elif match == "Exact" and version == 0:
            causes = [forbidden_field("resourceVersionMatch", '"Exact" is forbidden for resourceVersion "0"')]
        if causes:
            raise invalid(resource, "", causes)
        if match == "Exact" and version != self._store.version:
            raise expired("The resourceVersion for the provided list is too old.")

    def _continued(self, token: str, floor: int) -> tuple[int, Key]:
        try:
            content = orjson.loads(urlsafe_b64decode(token + "=" * (-len(token) % 4)))
            boot, version, namespace, name = content
        except (ValueError, TypeError):
            raise bad_request("continue key is not valid") from None
        if boot != _BOOT or version < floor:
            raise expired(
                "The provided continue parameter is too old to display a consistent list result. You can start a new "
                "list without the continue parameter."
            )
        return int(version), (str(namespace), str(name))

    def watch(self, resource: ResourceType, namespace: str | None, request: Request) -> Response:
        """Answer with a watch. Raises StatusError 400 and 422; an expired version is told in the stream (410)."""
        watch = self._watch(resource, namespace, request)
        return Response(200, content_type=_watch_type(watch), producer=watch.produce, watch=watch)

    def _watch(self, resource: ResourceType, namespace: str | None, request: Request) -> Watch:
        params, collection = request.params, self._store.collection(resource)
        wanted, version = self.filter(resource, namespace, params), version_of(params)
        initial_asked, bookmarks = is_true(params, "sendInitialEvents"), is_true(params, "allowWatchBookmarks")
        self._check_watch(resource, params, initial_asked)
        position, initial = collection.history.end, []
        if initial_asked or not version:
            initial = self.select(resource, wanted)
        else:
            position = _position(collection.history, version, self._store.version)
        return Watch(
            collection,
            wanted,
            self.representation(resource, request),
            lambda: self._store.version,
            position,
            number_of(params, "timeoutSeconds") or 1800 + secrets.randbelow(1800),
            initial,
            initial_asked and bookmarks,
            bookmarks,
        )

    def _check_watch(self, resource: ResourceType, params: Mapping[str, Any], initial_asked: bool) -> None:
        match, causes = params.get("resourceVersionMatch"), []
        if "sendInitialEvents" in params:
            if match != "NotOlderThan":
                detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
                causes.append(forbidden_field("resourceVersionMatch", detail))
            if initial_asked and not is_true(params, "allowWatchBookmarks"):
                detail = "sendInitialEvents requires allowWatchBookmarks"
                causes.append(forbidden_field("sendInitialEvents", detail))
        elif match:
            causes.append(forbidden_field("resourceVersionMatch", "is forbidden for watch unless sendInitialEvents"))
        if causes:
            raise invalid(resource, "", causes)


def _position(history: History, version: int, newest: int) -> int:
    """Where to go on; for a version that has expired a place that is forgotten, so that the stream begins with that."""
    try:
        return history.position_after(version, newest)
    except StatusError:
        return FORGOTTEN


_BOOT: Final = secrets.token_hex(4)


def _token(version: int, last: Stored) -> str:
    content = orjson.dumps([_BOOT, version, last.namespace, last.name])
    return urlsafe_b64encode(content).decode().rstrip("=")


def _watch_type(watch: Watch) -> str:
    return "application/json" if watch.representation.form != "Table" else _TABLE_TYPE
