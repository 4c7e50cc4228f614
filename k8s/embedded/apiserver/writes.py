"""Create, update and patch: what becomes of an object that a client sends, before it is stored.

Each write reads the newest version, decides and stores in one go, without awaiting, so that nothing comes in between.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Final

import orjson

from k8s.client import JsonObject
from k8s.embedded.apiserver.catalog import Catalog
from k8s.embedded.apiserver.deletion import Deletion, timestamp
from k8s.embedded.apiserver.errors import (
    Cause,
    already_exists,
    bad_request,
    conflict,
    forbidden_field,
    invalid,
    namespace_terminating,
    not_found,
)
from k8s.embedded.apiserver.event_expiry import EventExpiry
from k8s.embedded.apiserver.kind_rules import rules_of
from k8s.embedded.apiserver.resources import CRDS, EVENTS, NAMESPACES, PODS, ResourceType
from k8s.embedded.apiserver.store import Store
from k8s.embedded.apiserver.stored import Stored
from k8s.embedded.apiserver.validation import metadata_causes

_SERVER_FIELDS: Final = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "selfLink",
)
_OMITTED_EMPTY: Final = ("labels", "annotations", "finalizers", "ownerReferences", "managedFields", "generateName")
_SUFFIX_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"  # as Kubernetes: no vowels, no words
_NAME_LIMIT: Final = 63


class Writes:
    """Writes objects of one store."""

    def __init__(
        self, store: Store, catalog: Catalog, deletion: Deletion, now: Callable[[], datetime], node_name: str | None
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._deletion = deletion
        self._now = now
        self._node_name = node_name
        self._event_expiry = EventExpiry(store, now)

    def create(self, resource: ResourceType, namespace: str | None, body: JsonObject, dry_run: bool = False) -> Stored:
        """Store a new object.

        Raises StatusError 400, 403 (namespace being deleted), 404 (no such namespace), 409 (name taken), 422.
        """
        metadata = body.setdefault("metadata", {})
        if not isinstance(metadata, dict):
            raise bad_request("json: cannot unmarshal metadata into Go value of type v1.ObjectMeta")
        if metadata.get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        self._place(resource, namespace, metadata)
        self._tidy(metadata)
        for field in _SERVER_FIELDS:
            metadata.pop(field, None)
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = self._generated_name(resource, metadata)
        self._admit(resource, metadata)
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = timestamp(self._now())
        if resource.has_generation:
            metadata["generation"] = 1
        self._complete(resource, body)
        if dry_run:
            return self._unstored(resource, body)
        stored = self._store.put(resource, body, None)
        if resource is EVENTS:
            self._event_expiry.note(stored)
        if resource.storage == CRDS.storage:
            self._catalog.define(body)
        return stored

    def _place(self, resource: ResourceType, namespace: str | None, metadata: JsonObject) -> None:
        if not resource.namespaced:
            metadata.pop("namespace", None)
        elif metadata.setdefault("namespace", namespace) != namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")

    def _generated_name(self, resource: ResourceType, metadata: JsonObject) -> str:
        objects = self._store.collection(resource)
        for _ in range(8):
            suffix = "".join(secrets.choice(_SUFFIX_LETTERS) for _ in range(5))
            name = f"{metadata['generateName'][: _NAME_LIMIT - 5]}{suffix}"
            if objects.get(metadata.get("namespace", ""), name) is None:
                return name
        raise already_exists(resource, name)

    def _admit(self, resource: ResourceType, metadata: JsonObject) -> None:
        namespace, name = metadata.get("namespace", ""), metadata.get("name", "")
        if resource.namespaced:
            home = self._store.collection(NAMESPACES).get("", namespace)
            if home is None:
                raise not_found(NAMESPACES, namespace)
            if home.fields["status.phase"] == "Terminating":
                raise namespace_terminating(resource, name, namespace)
        if name and self._store.collection(resource).get(namespace, name) is not None:
            raise already_exists(resource, name)

    def _complete(self, resource: ResourceType, body: JsonObject) -> None:
        """Defaults, validity, first status, node."""
        rules = rules_of(resource.storage)
        self._need_spec(resource, body)
        causes = metadata_causes(body, resource.storage)
        if not body["metadata"].get("name"):
            raise invalid(resource, "", causes)
        rules.defaults(body)
        causes += rules.causes(body)
        if causes:
            raise invalid(resource, body["metadata"].get("name", ""), causes)
        if resource.has_status and resource.storage != "nodes":
            body.pop("status", None)
        rules.begin(body)
        if resource.storage == PODS.storage and self._node_name is not None:
            body["spec"].setdefault("nodeName", self._node_name)

    def _tidy(self, metadata: JsonObject) -> None:
        """Empty lists and maps are not kept, as Kubernetes' encoding leaves them out."""
        for field in _OMITTED_EMPTY:
            if field in metadata and not metadata[field]:
                del metadata[field]

    def _need_spec(self, resource: ResourceType, body: JsonObject) -> None:
        if resource.storage in (PODS.storage, CRDS.storage) and not isinstance(body.get("spec"), dict):
            body["spec"] = {}

    def _unstored(self, resource: ResourceType, body: JsonObject) -> Stored:
        return Stored.of(resource, body, 0, 0, orjson.dumps(body))

    def replace(
        self,
        stored: Stored,
        body: JsonObject,
        subresource: str | None = None,
        dry_run: bool = False,
        old: JsonObject | None = None,
    ) -> Stored:
        """Store a new version of an object: all but its status, or with `subresource` "status" nothing but that.

        Nothing changes when nothing differs. `old` spares the parsing of what is stored. Raises StatusError 400, 409
        (not the version that was read), 422.
        """
        resource = stored.resource
        metadata = body.get("metadata")
        if not isinstance(metadata, dict):
            raise bad_request("metadata is missing")
        self._match(stored, metadata)
        if subresource == "status":
            old = old or stored.body()
            return self._store_change(stored, old, self._status_change(old, body), dry_run)
        old = stored.body()  # of its own: the rules may change parts that `body` shares with another copy
        return self._store_change(stored, old, self._main_change(resource, old, body), dry_run)

    def _store_change(self, stored: Stored, old: JsonObject, new: JsonObject, dry_run: bool) -> Stored:
        resource = stored.resource
        if new == old:
            return stored
        if dry_run:
            return self._unstored(resource, new)
        with self._store.batch():
            replaced = self._deletion.settle(self._store.put(resource, new, stored))
        if resource is EVENTS:
            self._event_expiry.note(replaced)
        if resource.storage == CRDS.storage and self._store.collection(CRDS).get("", stored.name) is not None:
            self._catalog.define(new)
        return replaced

    def _match(self, stored: Stored, metadata: JsonObject) -> None:
        """The caller means this object and this version of it, as far as it says."""
        resource, name = stored.resource, stored.name
        if metadata.get("name") != name:
            raise bad_request(
                f"the name of the object ({metadata.get('name')}) does not match the name on the URL ({name})"
            )
        if metadata.get("namespace", stored.namespace) != stored.namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        if metadata.get("uid") not in (None, "", stored.uid):
            why = f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: {stored.uid}"
            raise conflict(resource, name, why)
        if metadata.get("resourceVersion") not in (None, "", "0", str(stored.version)):
            raise conflict(resource, name)

    def _status_change(self, old: JsonObject, body: JsonObject) -> JsonObject:
        new = dict(old)
        if body.get("status") is None:
            new.pop("status", None)
        else:
            new["status"] = body["status"]
        return new

    def _main_change(self, resource: ResourceType, old: JsonObject, body: JsonObject) -> JsonObject:
        metadata, before = body["metadata"], old["metadata"]
        for field in (*_SERVER_FIELDS, "namespace", "resourceVersion"):
            if field in before:
                metadata[field] = before[field]
            else:
                metadata.pop(field, None)
        self._tidy(metadata)
        if resource.has_status:
            body.pop("status", None)
            if "status" in old:
                body["status"] = old["status"]
        self._need_spec(resource, body)
        rules = rules_of(resource.storage)
        rules.defaults(body)
        if resource.storage == PODS.storage and "nodeName" in old["spec"]:
            body["spec"].setdefault("nodeName", old["spec"]["nodeName"])
        causes = metadata_causes(body, resource.storage) + rules.causes(body) + rules.update_causes(body, old)
        causes += _finalizer_causes(metadata, before)
        if causes:
            raise invalid(resource, metadata.get("name", ""), causes)
        if "generation" in before and _desired(body) != _desired(old):
            metadata["generation"] = before["generation"] + 1
        return body

    def bind(self, stored: Stored, target: str) -> Stored:
        """Give a pod its node. Raises StatusError 409 when it has another one."""
        pod = stored.body()
        assigned = pod["spec"].get("nodeName")
        if assigned:
            raise conflict(PODS, stored.name, f'pod {stored.name} is already assigned to node "{assigned}"')
        pod["spec"]["nodeName"] = target
        now = timestamp(self._now())
        conditions = [one for one in pod["status"].get("conditions") or () if one.get("type") != "PodScheduled"]
        conditions.append({"type": "PodScheduled", "status": "True", "lastTransitionTime": now})
        pod["status"]["conditions"] = conditions
        return self._store.put(PODS, pod, stored)

    def finalize(self, stored: Stored, body: JsonObject) -> Stored:
        """Set a namespace's own finalizers (`spec.finalizers`), and let it go when they were the last to hold it."""
        namespace = stored.body()
        namespace["spec"]["finalizers"] = (body.get("spec") or {}).get("finalizers") or []
        with self._store.batch():
            return self._deletion.settle(self._store.put(stored.resource, namespace, stored))


def _desired(body: JsonObject) -> JsonObject:
    """What the generation counts changes of: everything but metadata and status."""
    return {key: value for key, value in body.items() if key not in ("metadata", "status")}


def _finalizer_causes(new: JsonObject, old: JsonObject) -> list[Cause]:
    if "deletionTimestamp" not in old:
        return []
    added = [name for name in new.get("finalizers") or () if name not in (old.get("finalizers") or ())]
    if not added:
        return []
    names = ", ".join(f'"{name}"' for name in added)
    detail = "no new finalizers can be added if the object is being deleted, found new finalizers "
    return [forbidden_field("metadata.finalizers", f"{detail}[]string{{{names}}}")]
