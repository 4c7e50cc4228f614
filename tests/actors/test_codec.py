"""Whatever a record holds comes back from its snapshot as it was."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import attrs
import orjson
import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.codec import Stored, decode, encode
from engine.cluster import Cluster
from engine.service import Service
from engine.task import Task
from engine.task_definition import Family, TaskDefinition
from tests.actors.records import a_service, a_task

RECORDS: tuple[type[Stored], ...] = (Cluster, Family, TaskDefinition, Service, Task)
LEAVES: Mapping[object, st.SearchStrategy[Any]] = {
    str: st.text(max_size=5),
    int: st.integers(-(2**53), 2**53),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    NoneType: st.none(),
    datetime: st.datetimes(timezones=st.just(UTC)),
}


@cache
def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type."""
    if kind in LEAVES:
        return LEAVES[kind]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return st.one_of(*(values_of(each) for each in arguments))
    if origin is tuple:
        assert arguments[1] is ...
        if arguments[0] is Any:
            return st.just(())  # what is always empty as yet
        return st.lists(values_of(arguments[0]), max_size=2).map(tuple)
    if origin is Mapping:
        return st.dictionaries(values_of(arguments[0]), values_of(arguments[1]), max_size=2)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from(kind)
    assert attrs.has(kind), f"{kind} is not known to come back from a snapshot"
    hints = get_type_hints(kind)
    return st.builds(kind, **{field.name: values_of(hints[field.name]) for field in attrs.fields(kind)})


@pytest.mark.parametrize("record", RECORDS)
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(data=st.data())
def test_a_record_comes_back_as_it_was(record: type[Stored], data: st.DataObject) -> None:
    original = data.draw(values_of(record))  # type: ignore[arg-type]  # a type is hashable
    assert decode(record, encode(original)) == original


def test_what_is_absent_or_empty_by_default_is_left_out_and_other_defaults_are_written() -> None:
    written = orjson.loads(encode(a_service(desired_count=1)))
    assert "events" not in written
    assert "launch_type" not in written
    assert written["scheduling_strategy"] == "REPLICA"


def test_a_snapshot_that_lacks_a_field_added_later_reads_as_its_default() -> None:
    written = orjson.loads(encode(evolve(a_task(), version=7)))
    del written["version"]
    assert decode(Task, orjson.dumps(written).decode()) == evolve(a_task(), version=1)


def test_what_is_no_record_is_refused() -> None:
    with pytest.raises(TypeError):
        encode(evolve(a_task(), group=object()))  # type: ignore[arg-type]  # what a bug would do
