"""Malformed requests, generated from the service model: wrong types, missing members, bad JSON, hostile names.

A seed gives the same requests every time. The end-to-end suite sends them to a started instance.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import orjson
from attrs import frozen

from api.protocol import model

TARGET = "AmazonEC2ContainerServiceV20141113"

READ_ONLY = (
    "DescribeClusters",
    "DescribeServices",
    "DescribeTaskDefinition",
    "DescribeTasks",
    "ListClusters",
    "ListServices",
    "ListTagsForResource",
    "ListTaskDefinitionFamilies",
    "ListTaskDefinitions",
    "ListTasks",
)
_NAMES = {"CreateCluster": "clusterName", "RegisterTaskDefinition": "family", "CreateService": "serviceName"}
HOSTILE_STRINGS = (
    "",
    " ",
    "\u0000",
    "a\u0000b",
    "\u001b[31m",
    "\n",
    "../../etc/passwd",
    "a/b/c",
    "a:b:c",
    "arn:aws:ecs",
    "arn:aws:ecs:us-east-1:000000000000:cluster/",
    "arn:aws:ecs:us-east-1:000000000000:task/default/" + "0" * 31,
    "arn:aws:ecs:eu-west-1:999999999999:service/x/y",
    "arn:aws:ecs:us-east-1:000000000000:task-definition/web:99999999999999999999",
    "arn:aws:ec2:us-east-1:000000000000:instance/i-0",
    "web:" + "9" * 5000,
    "web:-1",
    "web:0x1",
    "x" * 256,
    "x" * 70_000,
    "ünïcödé",
    "💥" * 50,
    "\u202e\u2066",
    "'; DROP TABLE clusters; --",
    "$(reboot)",
    "${jndi:ldap://x}",
    "<script>",
    "%s%n%x",
    "{}",
    "null",
    "__class__",
    "ééé" * 100,
    "\ufffe\uffff",
)
WRONG_VALUES: tuple[Any, ...] = (
    *HOSTILE_STRINGS[:8],
    0,
    -1,
    1.5,
    2**31,
    2**63,
    -(2**63),
    10**18,
    1e308,
    True,
    False,
    [],
    {},
    [[]],
    [None],
    [{}],
    {"": None},
    {"__type": "x"},
)
BAD_BODIES = (
    b"",
    b" ",
    b"{",
    b"}",
    b"[]",
    b"null",
    b"1",
    b'"x"',
    b"{]",
    b'{"a"}',
    b'{"a":}',
    b"{'a':1}",
    b'{"a":1,}',
    b"{}{}",
    b'{"cluster":NaN}',
    b'{"cluster":Infinity}',
    b'{"maxResults":1e999}',
    b'{"maxResults":' + b"9" * 400 + b"}",
    b'{"cluster":"\xff\xfe"}',
    b'{"cluster":"\\ud800"}',
    b'{"cluster":"\\udfff\\ud800"}',
    b'{"cluster":"\\u0000"}',
    b'{"cluster":"a","cluster":1}',
    b"\xef\xbb\xbf{}",
    b"\x00",
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
    b"[" * 5000,
    b'{"a":' * 5000,
    b'{"cluster":' + b"[" * 900 + b"]" * 900 + b"}",
    b"Action=ListClusters&Version=2014-11-13",
    b"<xml/>",
)


@frozen
class Malformed:
    """One request: what is sent as `X-Amz-Target`'s operation, the body, and what was done to it."""

    operation: str
    body: bytes
    why: str

    @property
    def target(self) -> str:
        """The X-Amz-Target header."""
        return f"{TARGET}.{self.operation}"


def requests(seed: int, operations: tuple[str, ...] | None = None) -> Iterator[Malformed]:
    """Endless malformed requests. None has an effect beyond reading: what would be created has an illegal name, and
    what would be changed does not exist.
    """
    chance = random.Random(seed)
    service = model.load("ecs")
    names = operations or tuple(service.operations)
    kinds: tuple[Callable[[random.Random, str], Malformed], ...] = (
        _bad_body,
        _wrong_type,
        _wrong_type,
        _missing,
        _hostile,
        _hostile,
        _unknown_member,
        _deep,
        _unknown_operation,
    )
    while True:
        yield chance.choice(kinds)(chance, chance.choice(names))


def _bad_body(chance: random.Random, operation: str) -> Malformed:
    while True:
        body = chance.choice(BAD_BODIES)
        if operation != "CreateCluster" or not _is_object(body):  # which needs no member at all
            return Malformed(operation, body, "bad body")


def _wrong_type(chance: random.Random, operation: str) -> Malformed:
    members = _example(chance, operation)
    if not members:
        return Malformed(operation, b"[]", "no object")
    holder, key = _anywhere(chance, members)
    wanted = type(holder[key])
    holder[key] = chance.choice([value for value in WRONG_VALUES if type(value) is not wanted])
    return Malformed(operation, orjson.dumps(members, option=orjson.OPT_NON_STR_KEYS), "wrong type")


def _missing(chance: random.Random, operation: str) -> Malformed:
    service = model.load("ecs")
    required = service.shapes[service.input_shape(operation)].get("required", ())
    if not required:
        return _wrong_type(chance, operation)
    members = _example(chance, operation)
    del members[chance.choice(required)]
    return Malformed(operation, orjson.dumps(members), "missing member")


def _hostile(chance: random.Random, operation: str) -> Malformed:
    members = _example(chance, operation)
    for _ in range(chance.randint(1, 4)):
        if members:
            holder, key = _anywhere(chance, members)
            holder[key] = chance.choice(HOSTILE_STRINGS)
    return Malformed(operation, orjson.dumps(_nameless(operation, members)), "hostile string")


def _unknown_member(chance: random.Random, operation: str) -> Malformed:
    members = _example(chance, operation)
    members[chance.choice(HOSTILE_STRINGS)] = chance.choice(WRONG_VALUES)
    if members and operation[:8] not in ("Describe", "ListClus"):
        holder, key = _anywhere(chance, members)
        holder[key] = {"unknown": 1}
    return Malformed(operation, orjson.dumps(_nameless(operation, members)), "unknown member")


def _deep(chance: random.Random, operation: str) -> Malformed:
    value: Any = "x"
    for _ in range(chance.randint(1, 200)):
        value = [value] if chance.random() < 0.5 else {"a": value}
    members = _example(chance, operation) or {"cluster": None}
    members[chance.choice(list(members))] = value
    return Malformed(operation, orjson.dumps(_nameless(operation, members)), "deep nesting")


def _unknown_operation(chance: random.Random, operation: str) -> Malformed:
    name = chance.choice(
        (operation.lower(), operation + "s", "", "..", "Nope", "__init__", operation + ".x", "/" + operation)
    )
    return Malformed(name, b"{}", "unknown operation")


def _nameless(operation: str, members: dict[str, Any]) -> dict[str, Any]:
    """The members with an illegal name for what they would create."""
    name = _NAMES.get(operation)
    if name is not None and isinstance(members.get(name, ""), str):
        members[name] = f"no name! {members.get(name, '')}"
    return members


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(orjson.loads(body or b"{}"), dict)
    except orjson.JSONDecodeError:
        return False


def _example(chance: random.Random, operation: str) -> dict[str, Any]:
    """Every required member and some others, of the right types, naming nothing that exists."""
    service = model.load("ecs")
    found: dict[str, Any] = _value(chance, service.input_shape(operation), 0)
    return found


def _value(chance: random.Random, name: str, depth: int) -> Any:
    shape = model.load("ecs").shapes[name]
    match shape["type"]:
        case "structure":
            required = shape.get("required", ())
            return {
                member: _value(chance, of["shape"], depth + 1)
                for member, of in shape["members"].items()
                if member in required or (depth < 4 and chance.random() < 0.4)
            }
        case "list":
            return [_value(chance, shape["member"]["shape"], depth + 1) for _ in range(chance.randint(1, 2))]
        case "map":
            return {"key": _value(chance, shape["value"]["shape"], depth + 1)}
        case "string":
            return chance.choice(shape["enum"]) if "enum" in shape else f"missing-{chance.randrange(10**6)}"
        case "boolean":
            return chance.random() < 0.5
        case "timestamp":
            return 1_700_000_000
        case _:
            return chance.randint(int(shape.get("min", 1)), int(min(shape.get("max", 100), 1000)))


def _anywhere(chance: random.Random, members: dict[str, Any]) -> tuple[Any, Any]:
    """A container inside `members` and a key of it: any place in the tree."""
    places: list[tuple[Any, Any]] = []
    waiting: list[Any] = [members]
    while waiting:
        holder = waiting.pop()
        for key, value in holder.items() if isinstance(holder, dict) else enumerate(holder):
            places.append((holder, key))
            if isinstance(value, dict | list):
                waiting.append(value)
    return chance.choice(places)
