"""What a path of the API means: the parts of `/apis/<group>/<version>/namespaces/<namespace>/<plural>/<name>/<sub>`."""

from __future__ import annotations

from attrs import frozen


@frozen
class Target:
    """What a request is about. `rest` is what follows the subresource (of a proxy, say)."""

    group: str
    version: str
    namespace: str | None
    plural: str
    name: str | None
    subresource: str | None


def target(path: str) -> Target | None:
    """The resource that a path names, or None when it names none (discovery documents, say)."""
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) >= 3:
        return _below("", parts[1], parts[2:])
    if parts[0] == "apis" and len(parts) >= 4:
        return _below(parts[1], parts[2], parts[3:])
    return None


def _below(group: str, version: str, parts: list[str]) -> Target | None:
    namespace = None
    if parts[0] == "namespaces" and len(parts) > 2 and not (len(parts) == 3 and parts[2] in ("status", "finalize")):
        namespace, parts = parts[1], parts[2:]
    if len(parts) > 3 or not all(parts):
        return None
    plural, name, subresource = (*parts, None, None)[:3]
    return Target(group, version, namespace, plural, name, subresource)  # type: ignore[arg-type]  # the first is there
