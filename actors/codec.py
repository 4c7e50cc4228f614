"""Records to JSON and back: what a snapshot is.

A field that is None or empty, as it is by default, is left out; every other is written, also where it equals its
default, so that changing a default never changes what a stored record says. Names are those of the attrs fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, Final, TypeVar

import attrs
import orjson
from cattrs.preconf.orjson import OrjsonConverter, make_converter

from engine.cluster import Cluster
from engine.service import Service
from engine.task import Task
from engine.task_definition import Family, TaskDefinition

Stored = Cluster | Family | TaskDefinition | Service | Task
R = TypeVar("R")

_Writer = tuple[tuple[str, ...], tuple[object, ...], Callable[[Any], tuple[object, ...]]]
_writers: dict[type, _Writer] = {}


def encode(record: Stored) -> str:
    """A record as JSON."""
    return orjson.dumps(record, default=_fields).decode()


def decode(cls: type[R], text: str) -> R:
    """A record from JSON. Raises whatever a text raises that `encode` did not write."""
    return _CONVERTER.structure(orjson.loads(text), cls)


def _fields(value: Any) -> dict[str, object]:
    """One level of an attrs object; orjson walks on by itself."""
    writer = _writers.get(type(value))
    if writer is None:
        writer = _writers[type(value)] = _writer(type(value))
    names, empties, read = writer
    # by identity: None and () are singletons, and comparing is what costs
    return {name: part for name, empty, part in zip(names, empties, read(value), strict=True) if part is not empty}


def _writer(cls: type) -> _Writer:
    if not attrs.has(cls):
        raise TypeError(f"{cls.__name__} cannot be stored")
    fields = attrs.fields(cls)
    names = tuple(field.name for field in fields)
    empties = tuple(field.default if field.default in (None, ()) else attrs.NOTHING for field in fields)
    read = attrgetter(*names)
    return names, empties, read if len(names) > 1 else lambda value: (read(value),)


def _converter() -> OrjsonConverter:
    converter = make_converter(detailed_validation=False)
    converter.register_structure_hook_func(
        lambda cls: getattr(cls, "__origin__", None) is Mapping, lambda value, _cls: dict(value)
    )
    return converter


_CONVERTER: Final = _converter()
