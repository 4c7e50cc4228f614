"""What the behaviours share: looking at other actors' decided states, and the durable past."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from attrs import frozen

from actors.ports import SnapshotStore
from actors.registry import Registry
from actors.views import Views
from engine.task import Task
from engine.task_definition import TaskDefinition


@frozen
class Surroundings:
    """What a behaviour may look at besides its own state and message."""

    registry: Registry
    store: SnapshotStore
    views: Views


def definitions_of(views: Views, arns: Iterable[str]) -> tuple[TaskDefinition, ...]:
    """The task definitions with these ARNs, as far as they are still there."""
    found = (views.task_definition(arn) for arn in arns)
    return tuple(definition for definition in found if definition is not None)


def tasks_by_status(tasks: Iterable[Task]) -> Mapping[str, int]:
    """How many tasks have each lastStatus."""
    return dict(Counter(str(task.last_status) for task in tasks))
