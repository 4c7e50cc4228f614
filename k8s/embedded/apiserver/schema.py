"""The shapes of the built-in kinds, from Kubernetes' OpenAPI document, compiled once into a tree of types.

They tell unknown fields from known ones, a string from a number, and by which key the items of a list are told apart
when patches are merged. `schema/v1.33.json` holds the definitions that the kinds served here reach, without their
descriptions; `tests/k8s/embedded/apiserver/schema_source.py` makes it.

Source: https://github.com/kubernetes/kubernetes/blob/v1.33.0/api/openapi-spec/swagger.json
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final

import orjson
from attrs import define, field

from k8s.client import JsonObject
from k8s.embedded.apiserver.errors import StatusError, bad_request

_REF: Final = "#/components/schemas/"
_PYTHON_TYPES: Final[dict[str, type]] = {"string": str, "integer": int, "boolean": bool, "number": float}
_GO_TYPES: Final = {"string": "string", "integer": "int32", "boolean": "bool", "number": "float64"}


@define(eq=False)
class Shape:
    """One type. `kind`: object, map, list, any, or the JSON types of a scalar (string, integer, boolean, number)."""

    kind: str
    name: str = ""
    fields: dict[str, Shape] = field(factory=dict)
    items: Shape | None = None  # of a list or a map
    merge_key: str | None = None  # a list merged item by item, by this field, in a strategic merge patch
    merges: bool = False  # patchStrategy merge
    retains_keys: bool = False  # patchStrategy retainKeys
    map_keys: tuple[str, ...] = ()  # a list whose items are told apart by these fields in a server-side apply
    is_set: bool = False  # a list of scalars that is a set in a server-side apply
    atomic: bool = False  # replaced as a whole in a server-side apply
    python_type: type | None = field(init=False)  # of a scalar

    @python_type.default
    def _of_kind(self) -> type | None:
        return _PYTHON_TYPES.get(self.kind)

    def child(self, name: str) -> Shape:
        """The shape of a member (of an object or a map)."""
        if self.kind == "map" and self.items is not None:
            return self.items
        return self.fields.get(name, ANY)


ANY: Final = Shape("any")


@cache
def definitions() -> JsonObject:
    """The OpenAPI definitions by name, with `$ref`s to `#/components/schemas/`."""
    parsed: JsonObject = orjson.loads((Path(__file__).parent / "schema" / "v1.33.json").read_bytes())
    return parsed


@cache
def shape(name: str | None) -> Shape:
    """The shape of an OpenAPI definition; without a name, the shape that allows everything."""
    if name is None:
        return ANY
    definition = definitions()[name]
    if "properties" not in definition:
        return _plain(definition)
    compiled = Shape("object", name.rsplit(".", 1)[1], atomic=definition.get("x-kubernetes-map-type") == "atomic")
    _compile_later(compiled, definition)
    return compiled


_pending: list[tuple[Shape, JsonObject]] = []


def _compile_later(compiled: Shape, definition: JsonObject) -> None:
    """Fill in the fields; definitions refer to each other in circles (JSONSchemaProps), so not by plain recursion."""
    _pending.append((compiled, definition))
    if len(_pending) > 1:
        return
    while _pending:
        target, source = _pending[0]
        for name, member in source["properties"].items():
            target.fields[name] = _member(member)
        _pending.pop(0)


def _member(member: JsonObject) -> Shape:
    if "$ref" in member:
        return _with_list_rules(shape(member["$ref"].removeprefix(_REF)), member)
    if member.get("type") == "array":
        return _with_list_rules(Shape("list", items=_member(member["items"])), member)
    if isinstance(member.get("additionalProperties"), dict):
        return _with_list_rules(Shape("map", items=_member(member["additionalProperties"])), member)
    return _plain(member)


def _plain(definition: JsonObject) -> Shape:
    kind = definition.get("type")
    return _SCALARS.get(kind, ANY) if isinstance(kind, str) else ANY


_SCALARS: Final = {kind: Shape(kind) for kind in _GO_TYPES}


def _with_list_rules(base: Shape, member: JsonObject) -> Shape:
    strategies = (member.get("x-kubernetes-patch-strategy") or "").split(",")
    list_type, map_type = member.get("x-kubernetes-list-type"), member.get("x-kubernetes-map-type")
    if base.kind == "object" and strategies == [""] and map_type is None:
        return base
    return Shape(
        base.kind,
        base.name,
        base.fields,
        base.items,
        merge_key=member.get("x-kubernetes-patch-merge-key"),
        merges="merge" in strategies,
        retains_keys="retainKeys" in strategies,
        map_keys=tuple(member.get("x-kubernetes-list-map-keys") or ()),
        is_set=list_type == "set",
        atomic=base.atomic or (base.kind == "list" and list_type not in ("map", "set")) or map_type == "atomic",
    )


def decode(body: Any, form: Shape, unknown: list[str], *, keep_nulls: bool = False) -> Any:
    """`body` as Kubernetes would decode it: nulls and unknown fields left out; the latter are named in `unknown`.

    The answer is a copy, but for parts that the schema says nothing about.

    `keep_nulls` for merge patches, where null deletes; `$patch` and the other directives stay too.
    Raises StatusError 400 for a value of the wrong type.
    """
    try:
        return _decode(body, form, unknown, keep_nulls)
    except _WrongTypeError as error:
        raise _wrong_type(error) from None


class _WrongTypeError(Exception):
    """A value that is not of its type; the path is put together on the way out, so that right values pay nothing."""

    def __init__(self, value: object, form: Shape) -> None:
        self.value = value
        self.form = form
        self.path = ""


def _below(step: str | int, path: str) -> str:
    here = f"[{step}]" if isinstance(step, int) else step
    return here + ("." if path and not path.startswith("[") else "") + path


def _decode(value: Any, form: Shape, unknown: list[str], keep_nulls: bool) -> Any:
    kind, found = form.kind, type(value)
    if found is form.python_type or kind == "any":
        return value
    if kind == "object" and found is dict:
        return _decode_object(value, form.fields, unknown, keep_nulls)
    if kind == "list" and found is list:
        return _decode_list(value, form.items or ANY, unknown, keep_nulls)
    if kind == "map" and found is dict:
        return _decode_map(value, form.items or ANY, unknown, keep_nulls)
    if kind == "number" and found is int:
        return value
    if kind == "integer" and found is float and value.is_integer():
        return int(value)
    raise _WrongTypeError(value, form)


def _member_value(step: str | int, value: Any, form: Shape, unknown: list[str], keep_nulls: bool) -> Any:
    known = len(unknown)
    try:
        decoded = _decode(value, form, unknown, keep_nulls)
    except _WrongTypeError as error:
        error.path = _below(step, error.path)
        raise
    if len(unknown) > known:
        unknown[known:] = [_below(step, path) for path in unknown[known:]]
    return decoded


def _decode_object(value: JsonObject, fields: dict[str, Shape], unknown: list[str], keep_nulls: bool) -> JsonObject:
    decoded = {}
    for key, item in value.items():
        member = fields.get(key)
        if member is None:
            if keep_nulls and key.startswith("$"):
                decoded[key] = item
            else:
                unknown.append(key)
        elif type(item) is member.python_type:  # most of what there is: a scalar as it should be
            decoded[key] = item
        elif item is None:
            if keep_nulls:
                decoded[key] = None
        else:
            decoded[key] = _member_value(key, item, member, unknown, keep_nulls)
    return decoded


def _decode_list(value: list[Any], items: Shape, unknown: list[str], keep_nulls: bool) -> list[Any]:
    wanted = items.python_type
    if wanted is not None and all(type(item) is wanted for item in value):
        return value.copy()
    return [_member_value(at, item, items, unknown, keep_nulls) for at, item in enumerate(value) if item is not None]


def _decode_map(value: JsonObject, items: Shape, unknown: list[str], keep_nulls: bool) -> JsonObject:
    wanted = items.python_type
    if wanted is not None and all(type(item) is wanted for item in value.values()):
        return value.copy()
    return {
        key: None if item is None else _member_value(key, item, items, unknown, keep_nulls)
        for key, item in value.items()
        if keep_nulls or item is not None
    }


_JSON_NAMES: Final = {str: "string", bool: "bool", int: "number", float: "number", dict: "object", list: "array"}


def _wrong_type(error: _WrongTypeError) -> StatusError:
    found, form = _JSON_NAMES.get(type(error.value), "null"), error.form
    containers = {"list": "[]", "map": "map[string]", "object": ""}
    wanted = _GO_TYPES.get(form.kind) or containers.get(form.kind, "") + form.name
    return bad_request(f"json: cannot unmarshal {found} into Go struct field {error.path or '.'} of type {wanted}")
