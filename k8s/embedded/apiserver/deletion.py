"""How objects go: grace periods, finalizers, preconditions, owners and their dependents, whole namespaces.

An object goes in the write that takes its last obstacle away: the grace period becomes zero (the node's DELETE), the
last finalizer is removed (a PATCH), the last object of a namespace goes. What depends on it goes with it.

Source: https://github.com/kubernetes/kubernetes/blob/v1.33.0/staging/src/k8s.io/apiserver/pkg/registry/rest/delete.go
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from attrs import frozen

from k8s.client import JsonObject
from k8s.embedded.apiserver.catalog import Catalog
from k8s.embedded.apiserver.errors import bad_request, conflict, forbidden
from k8s.embedded.apiserver.resources import CRDS, NAMESPACES, ResourceType
from k8s.embedded.apiserver.store import Store
from k8s.embedded.apiserver.stored import Stored

ORPHAN: Final = "Orphan"
FOREGROUND: Final = "Foreground"
BACKGROUND: Final = "Background"
_FOREGROUND_FINALIZER: Final = "foregroundDeletion"
_KEPT_NAMESPACES: Final = ("default", "kube-system", "kube-public")


@frozen
class DeleteOptions:
    """How to delete: from the body of the request or its parameters."""

    grace_period_s: int | None = None
    uid: str | None = None  # precondition
    resource_version: str | None = None  # precondition
    propagation: str = BACKGROUND
    dry_run: bool = False

    @classmethod
    def of(cls, body: Mapping[str, Any], params: Mapping[str, str]) -> DeleteOptions:
        """What a request asks for. Raises StatusError 400 for values that make no sense."""
        grace = body.get("gracePeriodSeconds", params.get("gracePeriodSeconds"))
        if grace is not None:
            try:
                grace = int(grace)
            except (TypeError, ValueError):
                raise bad_request(f"gracePeriodSeconds: {grace!r} is no number") from None
            if grace < 0:
                grace = 1  # as in Kubernetes: a negative grace period means one second
        preconditions = body.get("preconditions") or {}
        propagation = body.get("propagationPolicy") or params.get("propagationPolicy") or BACKGROUND
        if body.get("orphanDependents") or params.get("orphanDependents") == "true":
            propagation = ORPHAN
        if propagation not in (ORPHAN, FOREGROUND, BACKGROUND):
            raise bad_request(f"propagationPolicy: {propagation!r} is none of Orphan, Foreground, Background")
        dry_run = bool(body.get("dryRun") or params.get("dryRun"))
        return cls(grace, preconditions.get("uid"), preconditions.get("resourceVersion"), propagation, dry_run)


def timestamp(when: datetime) -> str:
    """A time as Kubernetes writes it: RFC 3339 in whole seconds."""
    return when.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


class Deletion:
    """Deletes objects of one store, and finishes what an update has made possible."""

    def __init__(self, store: Store, catalog: Catalog, now: Callable[[], datetime]) -> None:
        self._store = store
        self._catalog = catalog
        self._now = now

    def resume(self) -> None:
        """Go on with the namespaces that were being deleted when the process died."""
        for stored in list(self._store.collection(NAMESPACES).scan(None)):
            if "deletionTimestamp" in stored.body()["metadata"]:
                self._empty_namespace(stored)

    def delete(self, stored: Stored, options: DeleteOptions) -> tuple[Stored, bool]:
        """Delete an object: its state now, and whether it is gone.

        Raises StatusError 409 for a precondition not met, 403 for a namespace that Kubernetes keeps.
        """
        body = stored.body()
        self._check(stored, options)
        if options.dry_run:
            return stored, True
        with self._store.batch():
            if options.propagation == ORPHAN:
                self._orphan(stored.uid)
            if self._mark(stored, body, options):
                stored = self._store.put(stored.resource, body, stored)
                if stored.resource.storage == NAMESPACES.storage:
                    return self._empty_namespace(stored)
            elif "deletionTimestamp" in body["metadata"] and not may_go(body):
                return stored, False
            if options.propagation == FOREGROUND:
                self._delete_dependents(stored.uid, FOREGROUND)
            return self._finish(stored, body)

    def _check(self, stored: Stored, options: DeleteOptions) -> None:
        resource, name = stored.resource, stored.name
        if options.uid is not None and options.uid != stored.uid:
            why = f"Precondition failed: UID in precondition: {options.uid}, UID in object meta: {stored.uid}"
            raise conflict(resource, name, why)
        if options.resource_version is not None and options.resource_version != str(stored.version):
            why = "Precondition failed: ResourceVersion in precondition: "
            why += f"{options.resource_version}, ResourceVersion in object meta: {stored.version}"
            raise conflict(resource, name, why)
        if resource.storage == NAMESPACES.storage and name in _KEPT_NAMESPACES:
            raise forbidden(resource, name, "this namespace may not be deleted")

    def _mark(self, stored: Stored, body: JsonObject, options: DeleteOptions) -> bool:
        """Write the deletion into the body where it has to wait; whether that changed anything."""
        metadata = body["metadata"]
        if "deletionTimestamp" in metadata:
            return self._shorten(metadata, options.grace_period_s)
        grace = _grace_period_s(stored, body, options.grace_period_s)
        waits_for_dependents = options.propagation == FOREGROUND and bool(self._store.dependents(stored.uid))
        if waits_for_dependents:
            metadata.setdefault("finalizers", []).append(_FOREGROUND_FINALIZER)
        is_namespace = stored.resource.storage == NAMESPACES.storage
        if not grace and not metadata.get("finalizers") and not is_namespace:
            return False
        metadata["deletionTimestamp"] = timestamp(self._now() + timedelta(seconds=grace))
        metadata["deletionGracePeriodSeconds"] = grace
        if "generation" in metadata:
            metadata["generation"] += 1
        if is_namespace:
            body["status"] = {**(body.get("status") or {}), "phase": "Terminating"}
            del metadata["deletionGracePeriodSeconds"]
        return True

    def _shorten(self, metadata: JsonObject, grace: int | None) -> bool:
        """A second deletion may only make the wait shorter."""
        before = metadata.get("deletionGracePeriodSeconds")
        if grace is None or before is None or grace >= before:
            return False
        due = datetime.fromisoformat(metadata["deletionTimestamp"].replace("Z", "+00:00"))
        metadata["deletionTimestamp"] = timestamp(due - timedelta(seconds=before - grace))
        metadata["deletionGracePeriodSeconds"] = grace
        return True

    def settle(self, stored: Stored) -> Stored:
        """After an update: remove the object if nothing holds it any more. Gives its last state."""
        if not stored.deleting:
            return stored
        if stored.resource.storage == NAMESPACES.storage:
            return self._empty_namespace(stored)[0]
        body = stored.body()
        return self._finish(stored, body)[0] if may_go(body) else stored

    def _finish(self, stored: Stored, body: JsonObject) -> tuple[Stored, bool]:
        if not may_go(body):
            return stored, False
        last = self._store.remove(stored)
        self._delete_dependents(stored.uid, BACKGROUND)
        self._release_owners(stored)
        if stored.resource.storage == CRDS.storage:
            self._withdraw(body)
        self._finish_namespace(stored.namespace)
        return last, True

    def _delete_dependents(self, uid: str, propagation: str) -> None:
        """Delete what `uid` owned, unless another owner is left."""
        for dependent in self._store.dependents(uid):
            others = [owner for owner in dependent.owners if owner != uid and self._exists(owner)]
            if others and propagation == BACKGROUND:
                continue
            if self._is_current(dependent):
                self.delete(dependent, DeleteOptions(propagation=propagation))

    def _is_current(self, stored: Stored) -> bool:
        return self._store.collection(stored.resource).get(stored.namespace, stored.name) is stored

    def _exists(self, uid: str) -> bool:
        return any(
            stored.uid == uid
            for type_ in self._catalog.stored_types()
            for stored in self._store.collection(type_).scan(None)
        )

    def _orphan(self, uid: str) -> None:
        for dependent in self._store.dependents(uid):
            body = dependent.body()
            owners = [owner for owner in body["metadata"]["ownerReferences"] if owner["uid"] != uid]
            body["metadata"]["ownerReferences"] = owners
            self._store.put(dependent.resource, body, dependent)

    def _release_owners(self, gone: Stored) -> None:
        """Owners being deleted in the foreground go when their last dependent has gone."""
        for uid in gone.owners:
            if self._store.dependents(uid):
                continue
            for type_ in self._catalog.stored_types():
                for owner in list(self._store.collection(type_).scan(gone.namespace or None)):
                    if owner.uid == uid:
                        self._release_owner(owner)

    def _release_owner(self, owner: Stored) -> None:
        body = owner.body()
        finalizers = body["metadata"].get("finalizers") or []
        if _FOREGROUND_FINALIZER in finalizers:
            finalizers.remove(_FOREGROUND_FINALIZER)
            self.settle(self._store.put(owner.resource, body, owner))

    def _contents(self, namespace: str) -> list[tuple[ResourceType, list[Stored]]]:
        types = [type_ for type_ in self._catalog.stored_types() if type_.namespaced]
        return [(type_, list(self._store.collection(type_).scan(namespace))) for type_ in types]

    def _empty_namespace(self, stored: Stored) -> tuple[Stored, bool]:
        """Delete all that is in a namespace, then the namespace itself if nothing was left waiting."""
        for _, contents in self._contents(stored.name):
            for content in contents:
                if self._is_current(content):
                    self.delete(content, DeleteOptions())
        self._finish_namespace(stored.name)
        left = self._store.collection(NAMESPACES).get("", stored.name)
        return (left, False) if left is not None else (stored, True)

    def _finish_namespace(self, name: str) -> None:
        stored = self._store.collection(NAMESPACES).get("", name) if name else None
        if stored is None or stored.fields["status.phase"] != "Terminating":
            return
        types = (type_ for type_ in self._catalog.stored_types() if type_.namespaced)
        if any(next(self._store.collection(type_).scan(name), None) for type_ in types):
            return
        body = stored.body()
        finalizers = body["spec"].get("finalizers") or []
        if "kubernetes" in finalizers:
            finalizers.remove("kubernetes")
            stored = self._store.put(NAMESPACES, body, stored)
        if not finalizers and not body["metadata"].get("finalizers"):
            self._store.remove(stored)

    def _withdraw(self, definition: JsonObject) -> None:
        """A definition is gone: its objects go too, and its resources are served no longer."""
        for resource in self._catalog.defined_by(definition):
            for stored in list(self._store.collection(resource).scan(None)):
                self._store.remove(stored)
            self._store.forget(resource)
        self._catalog.withdraw(definition)


def may_go(body: JsonObject) -> bool:
    """Whether nothing holds the object: no finalizer, and no grace period that still runs."""
    metadata = body["metadata"]
    return not metadata.get("finalizers") and not metadata.get("deletionGracePeriodSeconds")


def _grace_period_s(stored: Stored, body: JsonObject, asked: int | None) -> int:
    """Only pods have one; none for a pod that no node runs, or whose containers have all ended."""
    if stored.resource.storage != "pods":
        return 0
    if not stored.fields["spec.nodeName"] or stored.fields["status.phase"] in ("Succeeded", "Failed"):
        return 0
    grace: int = body["spec"].get("terminationGracePeriodSeconds", 30) if asked is None else asked
    return grace
