"""Server-side apply: a manager declares the fields it wants; what it declared before and no longer does is removed.

Who declared what is kept in `metadata.managedFields`, as in Kubernetes, but for appliers only: other writes do not own
fields here. Two appliers that want different values for a field are in conflict, unless the later one forces it.

Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from k8s.client import JsonObject
from k8s.embedded.apiserver.errors import StatusError, bad_request
from k8s.embedded.apiserver.schema import ANY, Shape

Path = tuple[str, ...]
"""A field: members as `f:name`, items of keyed lists as `k:{json}`, of sets as `v:json`."""

_NOT_OWNED: Final = frozenset({("f:apiVersion",), ("f:kind",), ("f:metadata",)})
_NEVER_OWNED: Final = ("f:name", "f:namespace", "f:uid", "f:resourceVersion", "f:managedFields", "f:creationTimestamp")


def apply_configuration(
    current: JsonObject | None, wanted: JsonObject, form: Shape, manager: str, force: bool
) -> JsonObject:
    """`current` (None: no object yet) as `manager` wants it. Raises StatusError 409 with the fields in conflict."""
    if (wanted.get("metadata") or {}).get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    owned = {path: value for path, value in _leaves(wanted, form, ()) if _ownable(path)}
    base: JsonObject = current if current is not None else {}
    wanted.setdefault("metadata", {})
    entries = list((base.get("metadata") or {}).get("managedFields") or ())
    owners = {entry["manager"]: set(_paths(entry["fieldsV1"], ())) for entry in entries}
    before = owners.pop(manager, set())
    _settle_conflicts(base, owned, owners, form, force)
    for path in sorted(before - owned.keys(), key=len, reverse=True):
        if not any(path in others for others in owners.values()):
            _remove(base, path, form)
    result: JsonObject = _merge(base, {key: value for key, value in wanted.items() if key != "status"}, form)
    owners[manager] = set(owned)
    times = {entry["manager"]: entry.get("time") for entry in entries}
    if before == set(owned):
        times.setdefault(manager, None)
    else:
        times[manager] = None
    result["metadata"]["managedFields"] = [
        _entry(name, paths, result["apiVersion"], times.get(name)) for name, paths in owners.items() if paths
    ]
    return result


def _ownable(path: Path) -> bool:
    if path in _NOT_OWNED or path[0] in ("f:apiVersion", "f:kind", "f:status"):
        return False
    return not (path[0] == "f:metadata" and len(path) > 1 and path[1] in _NEVER_OWNED)


def _entry(manager: str, paths: Iterable[Path], version: str, time: str | None) -> JsonObject:
    tree: JsonObject = {}
    for path in sorted(paths):
        node = tree
        for step in path:
            node = node.setdefault(step, {})
    return {
        "manager": manager,
        "operation": "Apply",
        "apiVersion": version,
        "time": time or datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "fieldsType": "FieldsV1",
        "fieldsV1": tree,
    }


def _paths(tree: JsonObject, above: Path) -> Iterable[Path]:
    for step, below in tree.items():
        if step == ".":
            continue
        if below:
            yield from _paths(below, (*above, step))
        else:
            yield (*above, step)


def _item_step(item: Any, form: Shape) -> str:
    if form.map_keys:
        keys = {key: item.get(key, "TCP" if key == "protocol" else None) for key in form.map_keys}
        return "k:" + orjson.dumps(keys, option=orjson.OPT_SORT_KEYS).decode()
    return "v:" + orjson.dumps(item).decode()


def _is_granular(value: Any, form: Shape) -> bool:
    if form.atomic:
        return False
    if isinstance(value, dict):
        return True
    return isinstance(value, list) and bool(form.map_keys or form.is_set)


def _leaves(value: Any, form: Shape, above: Path) -> Iterable[tuple[Path, Any]]:
    """The fields that a configuration sets, each with its value."""
    if not _is_granular(value, form) or (not value and above):
        yield above, value
    elif isinstance(value, dict):
        for key, member in value.items():
            yield from _leaves(member, form.child(key), (*above, f"f:{key}"))
    else:
        for item in value:
            step = (*above, _item_step(item, form))
            if form.map_keys:
                yield from _leaves(item, form.items or ANY, step)
            else:
                yield step, item


_MISSING: Final = object()


def _settle_conflicts(
    base: JsonObject, owned: dict[Path, Any], owners: dict[str, set[Path]], form: Shape, force: bool
) -> None:
    conflicts = []
    for name, paths in owners.items():
        taken = [path for path in owned if path in paths and _value(base, path, form) != owned[path]]
        conflicts += [(name, path) for path in taken]
        if force:
            paths.difference_update(taken)
    if conflicts and not force:
        raise _conflict(conflicts)


def _conflict(conflicts: Sequence[tuple[str, Path]]) -> StatusError:
    causes = [
        {"reason": "FieldManagerConflict", "message": f'conflict with "{name}"', "field": _dotted(path)}
        for name, path in conflicts
    ]
    names = ", ".join(f'conflict with "{name}": {_dotted(path)}' for name, path in conflicts)
    plural = "s" if len(conflicts) > 1 else ""
    message = f"Apply failed with {len(conflicts)} conflict{plural}: {names}"
    return StatusError(409, "Conflict", message, {"causes": causes})


def _dotted(path: Path) -> str:
    return "".join(f".{step[2:]}" if step.startswith("f:") else f"[{step[2:]}]" for step in path)


def _position(items: Any, step: str, form: Shape) -> int | None:
    if isinstance(items, list):
        for at, item in enumerate(items):
            if _item_step(item, form) == step:
                return at
    return None


def _descend(value: Any, step: str, form: Shape) -> tuple[Any, Shape]:
    if step.startswith("f:"):
        name = step[2:]
        return (value.get(name, _MISSING) if isinstance(value, dict) else _MISSING), form.child(name)
    at = _position(value, step, form)
    return (_MISSING if at is None else value[at]), form.items or ANY


def _value(base: Any, path: Path, form: Shape) -> Any:
    for step in path:
        base, form = _descend(base, step, form)
    return base


def _remove(base: Any, path: Path, form: Shape) -> None:
    """Take a field away, and the list item it leaves with nothing but its keys."""
    if len(path) > 1:
        below, inner = _descend(base, path[0], form)
        if below is _MISSING:
            return
        _remove(below, path[1:], inner)
        if (
            path[0].startswith("k:")
            and set(below) <= set(form.map_keys)
            and path[1].removeprefix("f:") in form.map_keys
        ):
            base.remove(below)
        return
    step = path[0]
    if step.startswith("f:"):
        if isinstance(base, dict):
            base.pop(step[2:], None)
    elif (at := _position(base, step, form)) is not None:
        del base[at]


def _merge(base: Any, wanted: Any, form: Shape) -> Any:
    if not _is_granular(wanted, form):
        return wanted
    if isinstance(wanted, dict):
        merged = base if isinstance(base, dict) else {}
        for key, value in wanted.items():
            merged[key] = _merge(merged.get(key), value, form.child(key))
        return merged
    items = list(base) if isinstance(base, list) else []
    for item in wanted:
        at = _position(items, _item_step(item, form), form)
        if at is None:
            items.append(item)
        elif form.map_keys:
            items[at] = _merge(items[at], item, form.items or ANY)
    return items
