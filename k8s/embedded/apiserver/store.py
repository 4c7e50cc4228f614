"""All objects in memory, the truth for reads; each write is on disk before it returns, and in the history of its kind.

One counter gives every write its resourceVersion. No rule of Kubernetes is here but that one: names, conflicts,
finalizers and the rest are decided before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import orjson
from attrs import define, field
from sortedcontainers import SortedDict

from k8s.client import JsonObject
from k8s.embedded.apiserver.history import Event, History
from k8s.embedded.apiserver.journal import Journal
from k8s.embedded.apiserver.resources import ResourceType
from k8s.embedded.apiserver.stored import Stored

Key = tuple[str, str]  # namespace ("" for none), name


@define(eq=False)
class Collection:
    """The objects of one resource, by namespace and name, and what happened to them."""

    history: History
    objects: SortedDict[Key, Stored] = field(factory=SortedDict)

    def get(self, namespace: str, name: str) -> Stored | None:
        """The object of that name."""
        found: Stored | None = self.objects.get((namespace, name))
        return found

    def scan(self, namespace: str | None, after: Key | None = None) -> Iterator[Stored]:
        """The objects of one namespace, or all, in order of namespace and name; those after a key."""
        low: tuple[str, ...] | None = after or ((namespace,) if namespace else None)
        high = (namespace + "\0",) if namespace else None
        inclusive = (after is None, False)
        for key in self.objects.irange(low, high, inclusive):  # type: ignore[arg-type]  # a one-tuple sorts before its keys
            yield self.objects[key]


class Store:
    """The store over one journal."""

    def __init__(self, path: Path) -> None:
        self._journal = Journal(path)
        self._collections: dict[str, Collection] = {}
        self._by_owner: dict[str, dict[int, Stored]] = {}
        self._rows = 0
        self._unclaimed: dict[str, list[tuple[int, bytes]]] = {}
        for row, storage, encoded in self._journal.load():
            self._rows = max(self._rows, row)
            self._unclaimed.setdefault(storage, []).append((row, encoded))
        first, self._last_reserved = self._journal.reserve()
        self.version = first

    def register(self, resource: ResourceType) -> None:
        """Make a resource known, with the objects that the disk has of it; before any other use of it."""
        collection = self.collection(resource)
        for row, encoded in self._unclaimed.pop(resource.storage, ()):
            body = orjson.loads(encoded)
            stored = Stored.of(resource, body, int(body["metadata"]["resourceVersion"]), row, encoded)
            collection.objects[stored.namespace, stored.name] = stored
            self._own(stored)

    def forget(self, resource: ResourceType) -> None:
        """Let go of an empty collection, whose resource is no longer served."""
        self._collections.pop(resource.storage, None)

    def collection(self, resource: ResourceType) -> Collection:
        """The collection that holds a resource's objects."""
        found = self._collections.get(resource.storage)
        if found is None:
            found = self._collections[resource.storage] = Collection(History(self.version))
        return found

    def dependents(self, uid: str) -> list[Stored]:
        """The objects that name `uid` as an owner."""
        return list(self._by_owner.get(uid, {}).values())

    def batch(self) -> AbstractContextManager[None]:
        """Many writes, one transaction on the disk."""
        return self._journal.batch()

    def put(self, resource: ResourceType, body: JsonObject, previous: Stored | None) -> Stored:
        """Write a new object, or a new version of `previous`. `body` gets its resourceVersion and is not kept."""
        if previous is None:
            self._rows += 1
        row = self._rows if previous is None else previous.row
        version = self._next_version()
        body["metadata"]["resourceVersion"] = str(version)
        encoded = orjson.dumps(body)
        self._journal.put(row, resource.storage, encoded)
        stored = Stored.of(resource, body, version, row, encoded)
        collection = self.collection(resource)
        collection.objects[stored.namespace, stored.name] = stored
        if previous is not None:
            self._disown(previous)
        self._own(stored)
        kind = "ADDED" if previous is None else "MODIFIED"
        collection.history.append(Event(version, kind, stored, previous))
        return stored

    def remove(self, stored: Stored) -> Stored:
        """Forget an object; gives its last state, with the version of the deletion."""
        self._journal.remove(stored.row)
        version = self._next_version()
        body = stored.body()
        body["metadata"]["resourceVersion"] = str(version)
        last = Stored.of(stored.resource, body, version, stored.row, orjson.dumps(body))
        collection = self.collection(stored.resource)
        del collection.objects[stored.namespace, stored.name]
        self._disown(stored)
        collection.history.append(Event(version, "DELETED", last, stored))
        return last

    def _next_version(self) -> int:
        if self.version >= self._last_reserved:
            first, self._last_reserved = self._journal.reserve()
            self.version = max(self.version, first)
        self.version += 1
        return self.version

    def _own(self, stored: Stored) -> None:
        for uid in stored.owners:
            self._by_owner.setdefault(uid, {})[stored.row] = stored

    def _disown(self, stored: Stored) -> None:
        for uid in stored.owners:
            owned = self._by_owner.get(uid, {})
            owned.pop(stored.row, None)
            if not owned:
                self._by_owner.pop(uid, None)

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()
