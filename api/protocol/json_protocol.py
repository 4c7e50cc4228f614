"""AWS JSON 1.1: request bodies in, records out.

Writers are closures compiled from the output shapes: attribute `task_arn` becomes member `taskArn`, times become epoch
seconds with milliseconds, None is left out and an empty list is kept (a record says which of the two it means).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeAlias

import attrs
import orjson

from api.protocol import faults
from api.protocol.model import ServiceModel, Shape, snake
from api.protocol.validation import refuse_nul

Writer: TypeAlias = Callable[[Any], Any]
"""Turns a record (an attrs instance, or a mapping with snake_case keys) into what orjson can dump."""


def parse(body: bytes) -> Any:
    """The JSON value of a request's body; nothing at all reads as an empty object. Raises SerializationException."""
    if not body:
        return {}
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise faults.serialization(f"The request body is not valid JSON: {error}") from None
    if b"\\u0000" in body:
        refuse_nul(value)
    return value


class Writers:
    """Writers for the shapes of one service, compiled at first use."""

    def __init__(self, model: ServiceModel) -> None:
        self._model = model
        self._writers: dict[str, Writer | None] = {}

    def writer(self, shape: str) -> Writer:
        """What writes records as this structure shape."""
        writer = self._writer(shape)
        if writer is None:
            raise ValueError(f"{shape} is no structure")
        return writer

    def output(self, operation: str) -> Writer:
        """What writes the operation's output."""
        return self.writer(self._model.output_shape(operation))

    def _writer(self, name: str) -> Writer | None:
        """The writer, or None where the value can go out as it is."""
        if name not in self._writers:
            self._writers[name] = lambda value: (self._writers[name] or _as_is)(value)  # for a shape within itself
            self._writers[name] = self._compile(self._model.shapes[name])
        return self._writers[name]

    def _compile(self, shape: Shape) -> Writer | None:
        match shape["type"]:
            case "structure" if not shape.get("document"):
                return self._structure(shape)
            case "list":
                member = self._writer(shape["member"]["shape"])
                return None if member is None else lambda values: [member(value) for value in values]
            case "map":
                item = self._writer(shape["value"]["shape"])
                return dict if item is None else lambda values: {key: item(value) for key, value in values.items()}
            case "timestamp":
                return epoch_seconds
            case _:
                return None

    def _structure(self, shape: Shape) -> Writer:
        members = {snake(name): (name, self._writer(member["shape"])) for name, member in shape["members"].items()}
        plans: dict[type, list[tuple[str, str, Writer | None]]] = {}

        def plan_for(cls: type) -> list[tuple[str, str, Writer | None]]:
            fields = [field.name for field in attrs.fields(cls)]
            plan = plans[cls] = [(field, *members[field]) for field in fields if field in members]
            return plan

        def write(record: Any) -> dict[str, Any]:
            cls = record.__class__
            if cls is dict:
                return _written(record, members)
            plan = plans.get(cls) or plan_for(cls)
            found = {}
            for attribute, name, writer in plan:
                value = getattr(record, attribute)
                if value is not None:
                    found[name] = value if writer is None else writer(value)
            return found

        return write


def _written(record: Mapping[str, Any], members: Mapping[str, tuple[str, Writer | None]]) -> dict[str, Any]:
    found = {}
    for attribute, value in record.items():
        if value is not None and attribute in members:
            name, writer = members[attribute]
            found[name] = value if writer is None else writer(value)
    return found


def epoch_seconds(moment: datetime) -> float:
    """A time as AWS JSON 1.1 writes it: seconds since 1970 with milliseconds."""
    return round(moment.timestamp(), 3)


def _as_is(value: Any) -> Any:
    return value
