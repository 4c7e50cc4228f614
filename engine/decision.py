"""What a turn decides: the next state, what to do about it, what to remember, what to answer.

Effects are frozen data. They are carried out only after the records are durable.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from attrs import frozen

if TYPE_CHECKING:
    from engine.cluster import Cluster
    from engine.observation import TaskObservation
    from engine.service import Service
    from engine.task import Task
    from engine.task_definition import Family, TaskDefinition

S = TypeVar("S")


@frozen
class StartTask:
    """Ask the orchestrator for this task. Idempotent: asking again for a task that it has changes nothing."""

    task: Task
    task_definition: TaskDefinition


@frozen
class StopTask:
    """Ask the orchestrator to stop a task: SIGTERM, then SIGKILL after each container's stop timeout. Idempotent."""

    task_arn: str
    grace_s: int
    reason: str


@frozen
class ReleaseTask:
    """The task's end is recorded: the orchestrator may drop what is left of it. Idempotent."""

    task_arn: str


@frozen
class RemoveCluster:
    """The cluster is gone: the orchestrator may drop what it keeps for it. Idempotent."""

    cluster_arn: str


@frozen
class WakeAt:
    """Send a `Tick` at this time. Only the earliest counts; a tick may come late, or more often."""

    when: datetime


Effect: TypeAlias = StartTask | StopTask | ReleaseTask | RemoveCluster | WakeAt


@frozen
class Forget:
    """Remove the record with this ARN from storage and from what reads see."""

    arn: str


Record: TypeAlias = "Cluster | Family | TaskDefinition | Service | Task | Forget"


@frozen
class Decision(Generic[S]):
    """The outcome of one turn. `records` are exactly the entities that differ from the state before."""

    state: S
    effects: Sequence[Effect] = ()
    records: Sequence[Record] = ()
    reply: object = None


@frozen
class Tick:
    """Time has passed."""


@frozen
class StartRefused:
    """The orchestrator refused to start a task for good; `reason` is in ECS's words."""

    task_arn: str
    reason: str


@frozen
class TasksObserved:
    """The present state of some tasks. With `complete`, of all of the receiver's: one not among them is gone,
    unless it was first asked for (`StartTask`) after the observation was taken.
    """

    observations: Sequence[TaskObservation]
    complete: bool = False
    taken_at: datetime | None = None
