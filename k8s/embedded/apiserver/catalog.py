"""Which resources are served right now: the built-in ones, and those that custom resource definitions add.

A new definition is served at once, with the objects that the disk has of it, and gets the conditions that clients wait
for (`Established`, `NamesAccepted`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from k8s.client import JsonObject
from k8s.embedded.apiserver.errors import Cause, invalid_value, required
from k8s.embedded.apiserver.resources import BUILT_IN, CRDS, ResourceType
from k8s.embedded.apiserver.store import Store


class Catalog:
    """The resources by group, version and plural."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._types: dict[tuple[str, str, str], ResourceType] = {}
        for resource in BUILT_IN:
            self._add(resource)
        for stored in list(store.collection(CRDS).scan(None)):
            self.define(stored.body())

    def _add(self, resource: ResourceType) -> None:
        self._types[resource.group, resource.version, resource.plural] = resource
        self._store.register(resource)

    def find(self, group: str, version: str, plural: str) -> ResourceType | None:
        """The resource of that name."""
        return self._types.get((group, version, plural))

    def __iter__(self) -> Iterator[ResourceType]:
        return iter(list(self._types.values()))

    def stored_types(self) -> list[ResourceType]:
        """One resource for each collection."""
        return list({resource.storage: resource for resource in self}.values())

    def versions(self) -> dict[str, list[str]]:
        """The versions served of each group, the core group being ""."""
        versions: dict[str, list[str]] = {}
        for group, version, _ in self._types:
            if version not in versions.setdefault(group, []):
                versions[group].append(version)
        return versions

    def define(self, definition: JsonObject) -> None:
        """Serve the resources of a CustomResourceDefinition, in place of what it defined before."""
        self.withdraw(definition)
        for version in definition["spec"]["versions"]:
            if version.get("served", True):
                self._add(_custom_type(definition["spec"], version))

    def defined_by(self, definition: JsonObject) -> list[ResourceType]:
        """The resources that a definition added."""
        spec = definition["spec"]
        return [type_ for type_ in self if type_.group == spec["group"] and type_.plural == spec["names"]["plural"]]

    def withdraw(self, definition: JsonObject) -> None:
        """Serve the resources of a definition no longer."""
        for resource in self.defined_by(definition):
            del self._types[resource.group, resource.version, resource.plural]


def _custom_type(spec: JsonObject, version: JsonObject) -> ResourceType:
    names = spec["names"]
    subresources = version.get("subresources") or {}
    return ResourceType(
        group=spec["group"],
        version=version["name"],
        plural=names["plural"],
        kind=names["kind"],
        namespaced=spec["scope"] == "Namespaced",
        singular=names.get("singular", ""),
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=("status",) if "status" in subresources else (),
        has_generation=True,
        converts=len(spec["versions"]) > 1,
        columns=tuple(version.get("additionalPrinterColumns") or ()),
    )


def definition_defaults(definition: JsonObject) -> None:
    """Fill in what Kubernetes fills in in a CustomResourceDefinition."""
    spec = definition["spec"]
    names = spec.setdefault("names", {})
    names.setdefault("singular", names.get("kind", "").lower())
    names.setdefault("listKind", names.get("kind", "") + "List")
    spec.setdefault("conversion", {"strategy": "None"})


def begin_definition(definition: JsonObject) -> None:
    """The first status of a definition: accepted and established."""
    now = definition["metadata"]["creationTimestamp"]
    definition["status"] = {
        "acceptedNames": definition["spec"]["names"],
        "storedVersions": [version["name"] for version in definition["spec"]["versions"] if version.get("storage")],
        "conditions": [
            _condition("NamesAccepted", "NoConflicts", "no conflicts found", now),
            _condition("Established", "InitialNamesAccepted", "the initial names have been accepted", now),
        ],
    }


def _condition(kind: str, reason: str, message: str, now: str) -> JsonObject:
    return {"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now}


def definition_causes(definition: JsonObject) -> list[Cause]:
    """What is wrong with a CustomResourceDefinition."""
    spec = definition["spec"]
    names: Mapping[str, Any] = spec["names"]
    causes = [required(f"spec.{field}") for field in ("group", "scope") if not spec.get(field)]
    causes += [required(f"spec.names.{field}") for field in ("plural", "kind") if not names.get(field)]
    versions = spec.get("versions") or []
    causes += [
        required(f"spec.versions[{index}].name") for index, version in enumerate(versions) if not version.get("name")
    ]
    if sum(bool(version.get("storage")) for version in versions) != 1:
        detail = "must have exactly one version marked as storage version"
        causes.append(invalid_value("spec.versions", [version.get("name") for version in versions], detail))
    wanted = f"{names.get('plural')}.{spec.get('group')}"
    if definition["metadata"]["name"] != wanted:
        detail = 'must be spec.names.plural+"."+spec.group'
        causes.append(invalid_value("metadata.name", definition["metadata"]["name"], detail))
    return causes
