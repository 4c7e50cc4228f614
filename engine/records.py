"""Changing records: a record that would not differ is the same object, and costs no copy."""

from __future__ import annotations

from typing import Any, TypeVar

from attrs import evolve

R = TypeVar("R")


def changed(record: R, **values: Any) -> R:
    """The record with these attributes; itself when it has them already."""
    different = {name: value for name, value in values.items() if getattr(record, name) != value}
    if not different:
        return record
    after: R = evolve(record, **different)  # type: ignore[misc]  # R is an attrs class wherever this is called
    return after
