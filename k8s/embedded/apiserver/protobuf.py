"""Objects that clients send as protobuf: kubectl's `create` commands and client-go's typed clients do so.

Answers are JSON, which such clients take too. `schema/protobuf.json` names the fields of the messages by their numbers,
as `number: [name, type, "" | list | map | inline]`; a field with a newer number is refused, not dropped. It is made by
`tests/k8s/embedded/apiserver/protobuf_source.py`.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding and
the `generated.proto` files of https://github.com/kubernetes/api
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeAlias

import orjson

from k8s.client import JsonObject

PROTOBUF: Final = "application/vnd.kubernetes.protobuf"

_MAGIC: Final = b"k8s\x00"
_PACKAGES: Final = {
    "v1": "core",
    "networking.k8s.io/v1": "networking",
    "coordination.k8s.io/v1": "coordination",
    "events.k8s.io/v1": "events",
    "authorization.k8s.io/v1": "authorization",
    "authentication.k8s.io/v1": "authentication",
    "policy/v1": "policy",
    "policy/v1beta1": "policy",
    "meta.k8s.io/v1": "meta",
}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER_POINTERS: Final = frozenset(("nodePort", "hostPort", "generation", "count", "status", "targetPort", "resources"))
"""Fields that Go writes even when they are not set: an empty value of theirs means nothing."""

_Wire: TypeAlias = int | bytes
_Fields: TypeAlias = Mapping[int, tuple[str, str, str]]


class ProtobufError(ValueError):
    """The bytes are no such object, or one with fields that are not known here."""


@cache
def _messages() -> dict[str, _Fields]:
    raw = orjson.loads((Path(__file__).parent / "schema" / "protobuf.json").read_bytes())
    return {
        message: {int(number): (field[0], field[1], (*field, "")[2]) for number, field in fields.items()}
        for message, fields in raw.items()
    }


def parse(data: bytes) -> JsonObject:
    """The object in a protobuf body, as JSON would say it. Raises ProtobufError."""
    if not data.startswith(_MAGIC):
        raise ProtobufError("the body does not begin as Kubernetes' protobuf does")
    envelope = dict(_wire_fields(data[len(_MAGIC) :]))
    meta = dict(_wire_fields(_bytes(envelope.get(1, b""))))
    version, kind = _text(meta.get(1, b"")), _text(meta.get(2, b""))
    package = "meta" if kind == "DeleteOptions" else _PACKAGES.get(version, "")
    message = f"{package}.{kind}"
    if message not in _messages():
        raise ProtobufError(f"{kind} of {version} is not known in protobuf here: send JSON")
    return {"apiVersion": version, "kind": kind, **_message(_bytes(envelope.get(2, b"")), message)}


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ProtobufError("the body is cut off")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7


def _wire_fields(data: bytes) -> Iterator[tuple[int, _Wire]]:
    """The fields of a message as they are on the wire: number and value."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        match tag & 7:
            case 0:
                value, at = _varint(data, at)
                yield tag >> 3, value
                continue
            case 1:
                length = 8
            case 2:
                length, at = _varint(data, at)
            case 5:
                length = 4
            case other:
                raise ProtobufError(f"wire type {other} is not used by Kubernetes")
        if at + length > len(data):
            raise ProtobufError("the body is cut off")
        yield tag >> 3, data[at : at + length]
        at += length


def _bytes(value: _Wire) -> bytes:
    if isinstance(value, int):
        raise ProtobufError("a number where bytes are due")
    return value


def _text(value: _Wire) -> str:
    try:
        return _bytes(value).decode()
    except UnicodeDecodeError as error:
        raise ProtobufError(str(error)) from None


def _integer(value: _Wire) -> int:
    if not isinstance(value, int):
        raise ProtobufError("bytes where a number is due")
    return value - (1 << 64) if value >= 1 << 63 else value


def _message(data: bytes, message: str) -> Any:
    special = _SPECIAL.get(message)
    if special is not None:
        return special(dict(_wire_fields(data)))
    fields = _messages()[message]
    result: JsonObject = {}
    for number, wire in _wire_fields(data):
        if number not in fields:
            if wire in (0, b""):
                continue
            raise ProtobufError(f"field {number} of {message} is not known in protobuf here: send JSON")
        name, type_, how = fields[number]
        _set(result, name, type_, how, wire)
    return result


def _set(result: JsonObject, name: str, type_: str, how: str, wire: _Wire) -> None:
    if type_ == "ignored":
        return
    if how == "map":
        entry = dict(_wire_fields(_bytes(wire)))
        result.setdefault(name, {})[_text(entry.get(1, b""))] = _value(entry.get(2, b""), type_)
        return
    value = _value(wire, type_)
    if how == "list":
        result.setdefault(name, []).append(value)
    elif how == "inline":
        result.update(value)
    elif value not in ("", None) and not (name in _NEVER_POINTERS and not value):
        result[name] = value


def _value(wire: _Wire, type_: str) -> Any:
    match type_:
        case "string":
            return _text(wire)
        case "bytes":
            return b64encode(_bytes(wire)).decode()
        case "bool":
            return bool(_integer(wire))
        case "int32" | "int64":
            return _integer(wire)
    return _message(_bytes(wire), type_)


def _time(fields: dict[int, _Wire]) -> str | None:
    """A time without seconds is Go's zero: not set."""
    seconds, nanos = _integer(fields.get(1, 0)), _integer(fields.get(2, 0))
    if not fields or seconds <= 0:
        return None
    when = _EPOCH + timedelta(seconds=seconds)
    text = when.replace(tzinfo=None).isoformat()
    return f"{text}.{nanos // 1000:06}Z" if nanos else f"{text}Z"


def _micro_time(fields: dict[int, _Wire]) -> str | None:
    text = _time(fields)
    return text.replace("Z", ".000000Z") if text and "." not in text else text


def _number_or_text(fields: dict[int, _Wire]) -> int | str:
    return _text(fields.get(3, b"")) if fields.get(1) else _integer(fields.get(2, 0))


def _raw_json(fields: dict[int, _Wire]) -> Any:
    raw = _bytes(fields.get(1, b""))
    try:
        return orjson.loads(raw) if raw else None
    except orjson.JSONDecodeError as error:
        raise ProtobufError(str(error)) from None


def _items(fields: dict[int, _Wire]) -> list[str]:
    return [_text(wire) for wire in fields.values()]


_SPECIAL: Final[Mapping[str, Callable[[dict[int, _Wire]], Any]]] = {
    "meta.Time": _time,
    "meta.MicroTime": _micro_time,
    "meta.FieldsV1": _raw_json,
    "RawExtension": _raw_json,
    "Quantity": lambda fields: _text(fields.get(1, b"")),
    "IntOrString": _number_or_text,
    "authorization.ExtraValue": _items,
}
