"""What tells clients which resources there are: the classic documents, the aggregated ones, and OpenAPI.

Source: https://kubernetes.io/docs/concepts/overview/kubernetes-api/
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from k8s.client import JsonObject
from k8s.embedded.apiserver.catalog import Catalog
from k8s.embedded.apiserver.resources import ResourceType
from k8s.embedded.apiserver.schema import definitions

GIT_VERSION: Final = "v1.33.0+kecs"
VERSION: Final = {
    "major": "1",
    "minor": "33",
    "gitVersion": GIT_VERSION,
    "gitCommit": "0000000000000000000000000000000000000000",
    "gitTreeState": "clean",
    "buildDate": "2026-01-01T00:00:00Z",
    "goVersion": "go0 (KECS is Python)",
    "compiler": "cpython",
    "platform": "linux/amd64",
}
AGGREGATED_TYPE: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
ROOT_PATHS: Final = (
    "/api",
    "/api/v1",
    "/apis",
    "/healthz",
    "/livez",
    "/openapi/v2",
    "/openapi/v3",
    "/readyz",
    "/version",
)
_SUBRESOURCES: Final = {  # kind, group, version, verbs; without an entry: status
    "log": ("Pod", "", "v1", ("get",)),
    "exec": ("PodExecOptions", "", "v1", ("create", "get")),
    "binding": ("Binding", "", "v1", ("create",)),
    "eviction": ("Eviction", "policy", "v1", ("create",)),
    "finalize": ("Namespace", "", "v1", ("update",)),
}
_STATUS_VERBS: Final = ("get", "patch", "update")


def wants_aggregated(accept: str) -> bool:
    """Whether a client asks for the aggregated form of discovery (v2)."""
    return any(
        "as=APIGroupDiscoveryList" in choice and "v=v2" in choice.replace("v=v2beta1", "")
        for choice in accept.replace(" ", "").split(",")
    )


def _types(catalog: Catalog, group: str, version: str) -> list[ResourceType]:
    return [type_ for type_ in catalog if type_.group == group and type_.version == version]


def api_versions() -> JsonObject:
    """`/api`: the versions of the core group."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def group(catalog: Catalog, name: str) -> JsonObject | None:
    """`/apis/<group>`."""
    versions = catalog.versions().get(name)
    if not versions or not name:
        return None
    shown = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": shown, "preferredVersion": shown[0]}


def groups(catalog: Catalog) -> JsonObject:
    """`/apis`."""
    found = [group(catalog, name) for name in catalog.versions() if name]
    listed = [{key: one[key] for key in ("name", "versions", "preferredVersion")} for one in found if one]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}


def resources(catalog: Catalog, group_name: str, version: str) -> JsonObject | None:
    """`/api/v1` or `/apis/<group>/<version>`."""
    types = _types(catalog, group_name, version)
    if not types:
        return None
    listed = [entry for type_ in types for entry in _classic_entries(type_)]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": types[0].group_version,
        "resources": listed,
    }


def _classic_entries(type_: ResourceType) -> Iterable[JsonObject]:
    entry: JsonObject = {
        "name": type_.plural,
        "singularName": type_.singular_name,
        "namespaced": type_.namespaced,
        "kind": type_.kind,
        "verbs": list(type_.verbs),
    }
    if type_.short_names:
        entry["shortNames"] = list(type_.short_names)
    if type_.categories:
        entry["categories"] = list(type_.categories)
    yield entry
    for name in type_.subresources:
        kind, group_name, version, verbs = _subresource(type_, name)
        below: JsonObject = {
            "name": f"{type_.plural}/{name}",
            "singularName": "",
            "namespaced": type_.namespaced,
            "kind": kind,
            "verbs": list(verbs),
        }
        if group_name != type_.group:
            below |= {"group": group_name, "version": version}
        yield below


def _subresource(type_: ResourceType, name: str) -> tuple[str, str, str, Sequence[str]]:
    if name in _SUBRESOURCES:
        return _SUBRESOURCES[name]
    return type_.kind, type_.group, type_.version, _STATUS_VERBS


def aggregated(catalog: Catalog, core: bool) -> JsonObject:
    """`/api` or `/apis` with everything in one document (apidiscovery.k8s.io/v2)."""
    items = [
        {
            "metadata": {"name": name, "creationTimestamp": None} if name else {"creationTimestamp": None},
            "versions": [_aggregated_version(catalog, name, version) for version in versions],
        }
        for name, versions in catalog.versions().items()
        if (not name) == core
    ]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _aggregated_version(catalog: Catalog, name: str, version: str) -> JsonObject:
    found = [_aggregated_entry(type_) for type_ in _types(catalog, name, version)]
    return {"version": version, "resources": found, "freshness": "Current"}


def _kind(kind: str, group_name: str, version: str) -> JsonObject:
    return {"group": group_name, "version": version, "kind": kind}


def _aggregated_entry(type_: ResourceType) -> JsonObject:
    entry: JsonObject = {
        "resource": type_.plural,
        "responseKind": _kind(type_.kind, type_.group, type_.version),
        "scope": "Namespaced" if type_.namespaced else "Cluster",
        "singularResource": type_.singular_name,
        "verbs": list(type_.verbs),
    }
    if type_.short_names:
        entry["shortNames"] = list(type_.short_names)
    if type_.categories:
        entry["categories"] = list(type_.categories)
    if type_.subresources:
        entry["subresources"] = [_aggregated_subresource(type_, name) for name in type_.subresources]
    return entry


def _aggregated_subresource(type_: ResourceType, name: str) -> JsonObject:
    kind, group_name, version, verbs = _subresource(type_, name)
    return {"subresource": name, "responseKind": _kind(kind, group_name, version), "verbs": list(verbs)}


def openapi_index(catalog: Catalog) -> JsonObject:
    """`/openapi/v3`: where the document of each group and version is."""
    paths = {}
    for group_name, versions in catalog.versions().items():
        for version in versions:
            path = f"apis/{group_name}/{version}" if group_name else f"api/{version}"
            count = len(_types(catalog, group_name, version))
            paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={GIT_VERSION}-{count}"}
    return {"paths": paths}


def openapi(catalog: Catalog, group_name: str, version: str) -> JsonObject | None:
    """The OpenAPI v3 document of one group and version: what kubectl needs to validate, to patch and to explain."""
    types = _types(catalog, group_name, version)
    if not types:
        return None
    schemas = definitions() if any(type_.schema for type_ in types) else {}
    own = {type_.schema: _own_schema(schemas, type_) for type_ in types if type_.schema}
    custom = {_custom_name(type_): _own_schema({}, type_) for type_ in types if not type_.schema}
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": GIT_VERSION},
        "paths": {path: item for type_ in types for path, item in _paths(type_)},
        "components": {"schemas": {**schemas, **own, **custom}},
    }


def _custom_name(type_: ResourceType) -> str:
    return ".".join([*reversed(type_.group.split(".")), type_.version, type_.kind])


def _own_schema(schemas: JsonObject, type_: ResourceType) -> JsonObject:
    base = schemas.get(type_.schema or "") or {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {**base, "x-kubernetes-group-version-kind": [_kind(type_.kind, type_.group, type_.version)]}


_PARAMETERS: Final = [
    {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
    for name in ("dryRun", "fieldManager", "fieldValidation")
]


def _paths(type_: ResourceType) -> Iterable[tuple[str, JsonObject]]:
    body = {"schema": {"$ref": f"#/components/schemas/{type_.schema or _custom_name(type_)}"}}
    plain = {"application/json": body}
    patches = ["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"]
    if type_.schema:
        patches.append("application/strategic-merge-patch+json")
    named = type_.path("{namespace}", "{name}")
    yield type_.path("{namespace}"), {"get": _operation(type_, "list"), "post": _operation(type_, "post", plain)}
    if "patch" in type_.verbs:
        yield (
            named,
            {
                "get": _operation(type_, "get"),
                "put": _operation(type_, "put", plain),
                "patch": _operation(type_, "patch", {kind: {"schema": {"type": "object"}} for kind in patches}),
                "delete": _operation(type_, "delete"),
            },
        )


def _operation(type_: ResourceType, action: str, content: JsonObject | None = None) -> JsonObject:
    schema = {"schema": {"$ref": f"#/components/schemas/{type_.schema or _custom_name(type_)}"}}
    operation: dict[str, Any] = {
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": _kind(type_.kind, type_.group, type_.version),
        "parameters": _PARAMETERS if content is not None else [],
        "responses": {"200": {"description": "OK", "content": {"application/json": schema}}},
    }
    if content is not None:
        operation["requestBody"] = {"content": content, "required": True}
    return operation
