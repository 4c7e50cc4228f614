"""Container definitions as one task runs them: RunTask's overrides applied. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import evolve

from engine.container_definition import ContainerDefinition, KeyValuePair
from engine.overrides import ContainerOverride, TaskOverride


def overridden(definitions: Iterable[ContainerDefinition], overrides: TaskOverride) -> tuple[ContainerDefinition, ...]:
    """The definitions with the task's overrides, which name containers; environments are merged by name."""
    by_name = {override.name: override for override in overrides.container_overrides or ()}
    return tuple(_applied(d, by_name[d.name]) if d.name in by_name else d for d in definitions)


def _applied(definition: ContainerDefinition, override: ContainerOverride) -> ContainerDefinition:
    changes = {
        name: value
        for name in ("command", "cpu", "memory", "memory_reservation")
        if (value := getattr(override, name)) is not None
    }
    if override.environment is not None:
        merged = {pair.name: pair.value for pair in (*definition.environment, *override.environment)}
        changes["environment"] = tuple(KeyValuePair(name, value) for name, value in merged.items())
    return evolve(definition, **changes)
