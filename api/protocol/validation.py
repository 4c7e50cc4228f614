"""Requests checked and read by closures that are compiled once from the service model's shapes.

Two kinds of refusal, as AWS's own framework (Coral) has them. A wrong JSON type anywhere is a `SerializationException`
at once. Everything else the model forbids (missing, too long, out of range, not in the enum, not of the pattern) is
collected into one `InvalidParameterException`: "2 validation errors detected: Value ...". Members that the model does
not know are ignored, and null is absent, as at AWS. The wording of type mismatches is that of ECS, for example
https://github.com/aws-actions/amazon-ecs-deploy-task-definition/issues/587 and /610.

What is read has snake_case names. Where the caller names an attrs class for a shape, the shape is read into that class.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import attrs

from api.protocol import faults
from api.protocol.model import ServiceModel, Shape, snake
from engine.errors import AwsError, invalid_parameter, unsupported

Where: TypeAlias = "tuple[Where | None, str]"
"""A path, innermost name last: rendered only when something is wrong with what is there."""

Reader: TypeAlias = Callable[[Any, Where, "list[str]"], Any]
"""Reads one value: returns it, appends violations, raises SerializationException."""

_SHOWN_VIOLATIONS = 20
_SHOWN_CHARACTERS = 200
_INTEGER_BITS = {"integer": 31, "long": 63}
_COLLECTION = "a collection"
_TOKENS = {str: "STRING_VALUE", int: "NUMBER_VALUE", float: "NUMBER_VALUE", type(None): "NULL_VALUE"}
_JAVA = {
    str: "java.lang.String",
    bool: "java.lang.Boolean",
    int: "java.lang.Integer",
    float: "java.lang.Double",
    type(None): "null",
}
_JAVA_SPACE = r" \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"


class Validation:
    """Readers for the inputs of one service, compiled at first use.

    `classes` maps shape names to the attrs classes they are read into. A member that a class has no field for is
    refused as unsupported when a request has it, never dropped in silence.
    """

    def __init__(self, model: ServiceModel, classes: Mapping[str, type]) -> None:
        self._model = model
        self._classes = classes
        self._readers: dict[str, Reader] = {}

    def reader(self, operation: str) -> Callable[[Any], dict[str, Any]]:
        """What reads the operation's input: a parsed JSON object in, the members it has by snake_case name out.

        The result raises AwsError: SerializationException or InvalidParameterException.
        """
        read = self._structure(self._model.shapes[self._model.input_shape(operation)], None)

        def read_input(value: Any) -> dict[str, Any]:
            violations: list[str] = []
            members: dict[str, Any] = read(value, (None, ""), violations)
            if violations:
                raise _refusal(violations)
            return members

        return read_input

    def _reader(self, name: str) -> Reader:
        reader = self._readers.get(name)
        if reader is None:
            self._readers[name] = lambda value, where, bad: self._readers[name](
                value, where, bad
            )  # for a shape in itself
            reader = self._readers[name] = self._compile(name, self._model.shapes[name])
        return reader

    def _compile(self, name: str, shape: Shape) -> Reader:
        match shape["type"]:
            case "structure" if shape.get("document"):
                return lambda value, _where, _bad: value
            case "structure":
                return self._structure(shape, self._classes.get(name))
            case "list":
                return self._list(shape)
            case "map":
                return self._map(shape)
            case "string":
                return _string(shape)
            case "boolean":
                return _boolean
            case "integer" | "long" | "double" | "float" | "timestamp":
                return _number(shape)
            case other:
                raise NotImplementedError(f"the model's type {other}")

    def _structure(self, shape: Shape, cls: type | None) -> Reader:
        fields = _fields(cls)
        members: dict[str, tuple[str, Reader]] = {}
        for name, member in shape["members"].items():
            known = fields is None or snake(name) in fields
            members[name] = (snake(name), self._reader(member["shape"]) if known else _unsupported)
        required = _required(shape, cls)
        build: Callable[..., Any] = cls or dict
        find = members.get

        def read(value: Any, where: Where, bad: list[str]) -> Any:
            if value.__class__ is not dict:
                raise _mismatch(value, _COLLECTION)
            found = {}
            for name, item in value.items():
                if item is not None and (member := find(name)) is not None:
                    found[member[0]] = member[1](item, (where, name), bad)
            bad.extend(_null((where, name)) for name in required if value.get(name) is None)
            return None if bad else build(**found)

        return read

    def _list(self, shape: Shape) -> Reader:
        member = self._reader(shape["member"]["shape"])
        check = _length(shape)

        def read(value: Any, where: Where, bad: list[str]) -> tuple[Any, ...]:
            if value.__class__ is not list:
                raise _mismatch(value, _COLLECTION)
            if check is not None:
                check(value, where, bad)
            found = []
            for place, item in enumerate(value, 1):
                at = ((where, str(place)), "member")
                if item is None:
                    bad.append(_null(at))
                else:
                    found.append(member(item, at, bad))
            return tuple(found)

        return read

    def _map(self, shape: Shape) -> Reader:
        key = self._reader(shape["key"]["shape"])
        item = self._reader(shape["value"]["shape"])

        def read(value: Any, where: Where, bad: list[str]) -> dict[str, Any]:
            if value.__class__ is not dict:
                raise _mismatch(value, _COLLECTION)
            return {
                key(name, where, bad): item(content, (where, f"{name}.member"), bad)
                for name, content in value.items()
                if content is not None
            }

        return read


def refuse_nul(value: Any) -> None:
    """Raise InvalidParameterException when any string in `value` holds U+0000: no process can be given one."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str) and "\0" in item:
            raise invalid_parameter("A string in the request contains the character U+0000.")
        if isinstance(item, dict):
            waiting.extend(item)
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def _fields(cls: type | None) -> Mapping[str, Any] | None:
    return None if cls is None else {field.name: field for field in attrs.fields(cls)}


def _required(shape: Shape, cls: type | None) -> Sequence[str]:
    """What the model requires, and what the engine's class cannot be made without."""
    names = list(shape.get("required", ()))
    fields = _fields(cls) or {}
    for name in shape["members"]:
        field = fields.get(snake(name))
        if field is not None and field.default is attrs.NOTHING and name not in names:
            names.append(name)
    return names


def _string(shape: Shape) -> Reader:
    checks: list[Callable[[Any, Where, list[str]], None]] = []
    if (length := _length(shape)) is not None:
        checks.append(length)
    if "pattern" in shape:
        checks.append(_pattern(shape["pattern"]))
    if "enum" in shape:
        checks.append(_enum(shape["enum"]))

    def read(value: Any, where: Where, bad: list[str]) -> str:
        if value.__class__ is not str:
            raise _mismatch(value, "String")
        for check in checks:
            check(value, where, bad)
        return str(value)

    def read_free(value: Any, _where: Where, _bad: list[str]) -> str:
        if value.__class__ is not str:
            raise _mismatch(value, "String")
        return str(value)

    return read if checks else read_free


def _boolean(value: Any, _where: Where, _bad: list[str]) -> bool:
    if value is not True and value is not False:
        raise _mismatch(value, "Boolean")
    return bool(value)


def _number(shape: Shape) -> Reader:
    kind = shape["type"]
    whole = kind in _INTEGER_BITS
    limit = 1 << _INTEGER_BITS.get(kind, 0)
    low, high = shape.get("min"), shape.get("max")
    word = {"integer": "Integer", "long": "Long", "timestamp": "Timestamp"}.get(kind, "Double")

    def read(value: Any, where: Where, bad: list[str]) -> int | float:
        if value.__class__ is not int and value.__class__ is not float:
            raise _mismatch(value, word)
        number: int | float = value
        if whole:
            if number != number // 1 or not -limit <= number < limit:
                raise faults.serialization(f"NUMBER_VALUE cannot be converted to {word}")
            number = int(number)
        if low is not None and number < low:
            _violate(value, where, f"Member must have value greater than or equal to {low}", bad)
        if high is not None and number > high:
            _violate(value, where, f"Member must have value less than or equal to {high}", bad)
        return number

    return read


def _unsupported(_value: Any, where: Where, _bad: list[str]) -> Any:
    raise unsupported(f"The parameter {_path(where)}")


def _length(shape: Shape) -> Callable[[Any, Where, list[str]], None] | None:
    low, high = shape.get("min", 0), shape.get("max")
    if not low and high is None:
        return None

    def check(value: Any, where: Where, bad: list[str]) -> None:
        if len(value) < low:
            _violate(value, where, f"Member must have length greater than or equal to {low}", bad)
        if high is not None and len(value) > high:
            _violate(value, where, f"Member must have length less than or equal to {high}", bad)

    return check


def _enum(values: Sequence[str]) -> Callable[[Any, Where, list[str]], None]:
    allowed = frozenset(values)
    message = f"Member must satisfy enum value set: [{', '.join(values)}]"

    def check(value: Any, where: Where, bad: list[str]) -> None:
        if value not in allowed:
            _violate(value, where, message, bad)

    return check


def _pattern(pattern: str) -> Callable[[Any, Where, list[str]], None]:
    matches = re.compile(python_pattern(pattern)).fullmatch

    def check(value: Any, where: Where, bad: list[str]) -> None:
        if matches(value) is None:
            _violate(value, where, f"Member must satisfy regular expression pattern: {pattern}", bad)

    return check


def python_pattern(pattern: str) -> str:
    r"""A Java pattern of the model in Python's syntax: `\p{L}` and `\p{N}` are within `\w`, `\p{Z}` is a short list."""
    return pattern.replace(r"\p{L}", r"\w").replace(r"\p{N}", r"\w").replace(r"\p{Z}", _JAVA_SPACE)


def _mismatch(value: Any, wanted: str) -> AwsError:
    if isinstance(value, list):
        return faults.serialization("Start of list found where not expected")
    if isinstance(value, dict):
        return faults.serialization("Start of structure or map found where not expected.")
    if wanted == _COLLECTION:
        return faults.serialization(f"Unrecognized collection type class {_JAVA[value.__class__]}")
    token = {True: "TRUE_VALUE", False: "FALSE_VALUE"}[value] if value.__class__ is bool else _TOKENS[value.__class__]
    return faults.serialization(f"{token} cannot be converted to {wanted}")


def _null(where: Where) -> str:
    return f"Value null at '{_path(where)}' failed to satisfy constraint: Member must not be null"


def _violate(value: Any, where: Where, constraint: str, bad: list[str]) -> None:
    if len(bad) <= _SHOWN_VIOLATIONS:
        shown = str(value) if len(str(value)) <= _SHOWN_CHARACTERS else str(value)[:_SHOWN_CHARACTERS] + "..."
        bad.append(f"Value '{shown}' at '{_path(where)}' failed to satisfy constraint: {constraint}")


def _path(where: Where | None) -> str:
    names: list[str] = []
    while where is not None:
        where, name = where
        if name:
            names.append(name if len(name) <= _SHOWN_CHARACTERS else name[:_SHOWN_CHARACTERS] + "...")
    return ".".join(reversed(names))


def _refusal(violations: Sequence[str]) -> AwsError:
    shown = violations[:_SHOWN_VIOLATIONS]
    noun = "error" if len(shown) == 1 else "errors"
    return invalid_parameter(f"{len(shown)} validation {noun} detected: {'; '.join(shown)}")
