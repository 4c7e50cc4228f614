"""The patches that Kubernetes takes: JSON patch (RFC 6902), JSON merge patch (RFC 7386), strategic merge patch.

None changes the object it is given: what a patch touches is copied, the rest is shared. Strategic merge knows lists
that merge by a key, `$patch: delete|replace|merge`, `$deleteFromPrimitiveList`, `$setElementOrder` and `$retainKeys`.

Source: https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Final

from k8s.embedded.apiserver.errors import StatusError, bad_request
from k8s.embedded.apiserver.schema import ANY, Shape

_MAX_OPERATIONS: Final = 10_000
_DIRECTIVES: Final = ("$patch", "$retainKeys", "$setElementOrder/", "$deleteFromPrimitiveList/")


def merge_patch(document: Any, patch: Any) -> Any:
    """RFC 7386: members of the patch replace those of the document, objects merge, null deletes."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = merge_patch(merged.get(key), value)
        else:
            merged[key] = value
    return merged


def json_patch(document: Any, operations: Any) -> Any:
    """RFC 6902: operations in order, all or nothing.

    Raises StatusError 400 for what is no patch, and 422 when an operation (a `test`, a missing path) fails.
    """
    if not isinstance(operations, list) or not all(isinstance(step, dict) for step in operations):
        raise bad_request("error decoding patch: json: cannot unmarshal into a list of JSON patch operations")
    if len(operations) > _MAX_OPERATIONS:
        message = f"The allowed maximum operations in a JSON patch is {_MAX_OPERATIONS}, got {len(operations)}"
        raise StatusError(413, "RequestEntityTooLarge", message)
    holder = {"": deepcopy(document)}
    for step in operations:
        _apply(holder, step)
    return holder.get("")


def _unprocessable(message: str) -> StatusError:
    return StatusError(422, "Invalid", f"the server rejected our request due to an error in our request: {message}")


def _tokens(pointer: Any) -> list[str]:
    if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
        raise _unprocessable(f"invalid JSON pointer {pointer!r}")
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")]


def _apply(holder: dict[str, Any], step: dict[str, Any]) -> None:
    operation, path = step.get("op"), _tokens(step.get("path"))
    if operation in ("add", "replace", "test") and "value" not in step:
        raise _unprocessable(f"the operation {operation} needs a value")
    match operation:
        case "add":
            _add(holder, path, step["value"])
        case "remove":
            _remove(holder, path)
        case "replace":
            _remove(holder, path) if path != [""] else None
            _add(holder, path, step["value"])
        case "move":
            source = _tokens(step.get("from"))
            if path[: len(source)] == source and len(path) > len(source):
                raise _unprocessable("a value cannot be moved into itself")
            _add(holder, path, _remove(holder, source))
        case "copy":
            _add(holder, path, deepcopy(_read(holder, _tokens(step.get("from")))))
        case "test":
            if _read(holder, path, missing_is_null=True) != step["value"]:
                raise _unprocessable(f"testing value {step['path']} failed")
        case _:
            raise _unprocessable(f"unknown operation {operation!r}")


def _index(token: str, limit: int) -> int:
    if not token.isdecimal() or (token != "0" and token.startswith("0")) or int(token) > limit:
        raise _unprocessable(f"the index {token} does not exist")
    return int(token)


def _step_into(container: Any, token: str) -> Any:
    if isinstance(container, dict) and token in container:
        return container[token]
    if isinstance(container, list):
        return container[_index(token, len(container) - 1)]
    raise _unprocessable(f"the path has no member {token!r}")


def _read(holder: Any, path: list[str], missing_is_null: bool = False) -> Any:
    for token in path[:-1]:
        holder = _step_into(holder, token)
    if missing_is_null and isinstance(holder, dict) and path[-1] not in holder:
        return None
    return _step_into(holder, path[-1])


def _add(holder: Any, path: list[str], value: Any) -> None:
    for token in path[:-1]:
        holder = _step_into(holder, token)
    last = path[-1]
    if isinstance(holder, dict):
        holder[last] = value
    elif isinstance(holder, list):
        holder.insert(len(holder) if last == "-" else _index(last, len(holder)), value)
    else:
        raise _unprocessable(f"the path has no member {last!r}")


def _remove(holder: Any, path: list[str]) -> Any:
    for token in path[:-1]:
        holder = _step_into(holder, token)
    last = path[-1]
    if isinstance(holder, dict) and last in holder:
        return holder.pop(last)
    if isinstance(holder, list):
        return holder.pop(_index(last, len(holder) - 1))
    raise _unprocessable(f"unable to remove nonexistent key: {last}")


def strategic_merge(document: Any, patch: Any, form: Shape = ANY) -> Any:
    """Merge `patch` into `document` by the rules of its kind.

    Raises StatusError 400 for a list item without its merge key and for an unknown directive.
    """
    if not isinstance(patch, dict):
        return patch
    directive = patch.get("$patch")
    if directive == "replace":
        return _without_directives(patch)
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise bad_request(f"Unknown patch type: {directive}")
    document = dict(document) if isinstance(document, dict) else {}
    if form.atomic and form.kind == "object" and not directive:
        return _without_directives(patch)
    _retain_keys(document, patch)
    for key, value in patch.items():
        if not key.startswith("$"):
            _merge_member(document, key, value, form.child(key))
    _primitive_deletions(document, patch)
    for key, order in patch.items():
        if key.startswith("$setElementOrder/"):
            name = key.partition("/")[2]
            if isinstance(document.get(name), list) and isinstance(order, list):
                document[name] = _ordered(document[name], order, form.child(name).merge_key)
    return document


def _merge_member(document: dict[str, Any], key: str, value: Any, member: Shape) -> None:
    if value is None:
        document.pop(key, None)
    elif isinstance(value, dict):
        if value.get("$patch") == "delete":
            document.pop(key, None)
        else:
            document[key] = strategic_merge(document.get(key), value, member)
    elif isinstance(value, list) and member.merges:
        document[key] = _merge_lists(document.get(key) or [], value, member)
    else:
        document[key] = _without_directives(value)


def _retain_keys(document: dict[str, Any], patch: dict[str, Any]) -> None:
    retained = patch.get("$retainKeys")
    if isinstance(retained, list):
        for key in [key for key in document if key not in retained]:
            del document[key]


def _primitive_deletions(document: dict[str, Any], patch: dict[str, Any]) -> None:
    for key, gone in patch.items():
        if key.startswith("$deleteFromPrimitiveList/"):
            name = key.partition("/")[2]
            if isinstance(document.get(name), list) and isinstance(gone, list):
                document[name] = [item for item in document[name] if item not in gone]


def _merge_lists(existing: list[Any], patch: list[Any], member: Shape) -> list[Any]:
    if member.merge_key is None:
        merged = list(existing)
        merged += [item for item in patch if item not in merged]
        return merged
    if any(isinstance(item, dict) and item.get("$patch") == "replace" for item in patch):
        return [_without_directives(item) for item in patch if not _is_bare_replace(item)]
    merged, key = list(existing), member.merge_key
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise bad_request(f"map: {item} does not contain declared merge key: {key}")
        _merge_item(merged, item, key, member.items or ANY)
    return merged


def _is_bare_replace(item: Any) -> bool:
    return isinstance(item, dict) and item.get("$patch") == "replace" and len(item) == 1


def _merge_item(merged: list[Any], item: dict[str, Any], key: str, form: Shape) -> None:
    found = [at for at, old in enumerate(merged) if isinstance(old, dict) and old.get(key) == item[key]]
    if item.get("$patch") == "delete":
        for at in reversed(found):
            del merged[at]
    elif found:
        merged[found[0]] = strategic_merge(merged[found[0]], item, form)
    else:
        merged.append(strategic_merge({}, item, form))


def _ordered(items: list[Any], order: list[Any], merge_key: str | None) -> list[Any]:
    """A merged list in the order that the patch says; items that it does not name keep their places."""

    def identity(item: Any) -> Any:
        return item.get(merge_key) if merge_key and isinstance(item, dict) else item

    wanted = [identity(item) for item in order]
    places = [at for at, item in enumerate(items) if identity(item) in wanted]
    ordered = sorted((items[at] for at in places), key=lambda item: wanted.index(identity(item)))
    result = list(items)
    for at, item in zip(places, ordered, strict=True):
        result[at] = item
    return result


def _without_directives(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _without_directives(item)
            for key, item in value.items()
            if item is not None and not key.startswith(_DIRECTIVES)
        }
    if isinstance(value, list):
        return [_without_directives(item) for item in value]
    return value
