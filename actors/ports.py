"""The world as actors see it: four ports. Each has one contract suite, run over every implementation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

import trio
from attrs import field, frozen

from engine.arn import Scope
from engine.cluster import Cluster
from engine.decision import Record
from engine.observation import TaskObservation
from engine.port_errors import ConflictError, PortError, RejectedError, UnavailableError
from engine.service import Service
from engine.task import Task
from engine.task_definition import Family, TaskDefinition

__all__ = [
    "Clock",
    "ConflictError",
    "Ids",
    "ObservationSink",
    "Orchestrator",
    "PortError",
    "RejectedError",
    "Snapshot",
    "SnapshotStore",
    "StoreFailedError",
    "StoreFullError",
    "UnavailableError",
]


class StoreFailedError(Exception):
    """A transaction could not be committed. Nothing after it is durable; the instance has to stop."""


class StoreFullError(Exception):
    """Too many records wait for the next transaction."""


class Clock(Protocol):
    """The time of day."""

    def now(self) -> datetime:
        """The present time, aware UTC."""
        ...


class Ids(Protocol):
    """Fresh identifiers."""

    def task_id(self) -> str:
        """32 lower-case hex digits."""
        ...

    def uuid(self) -> str:
        """A UUID in its usual form: containers, attachments, events."""
        ...

    def deployment_id(self) -> str:
        """`ecs-svc/` and 19 digits."""
        ...


ObservationSink = Callable[[Sequence[TaskObservation], bool, datetime], None]
"""Called with observations, whether they are all there are (after a list), and when they were taken. Never blocks."""


class Orchestrator(Protocol):
    """What runs tasks. Every call is idempotent and raises only PortError (and trio.Cancelled)."""

    async def start_task(self, task: Task, task_definition: TaskDefinition) -> None:
        """Ask for a task. Returns once the orchestrator has it durably. Raises RejectedError when it never will."""
        ...

    async def stop_task(self, task_arn: str, grace_s: int) -> None:
        """Ask for a task's end. A task it does not have is no error: the next observation says GONE."""
        ...

    async def release_task(self, task_arn: str) -> None:
        """Drop what is left of an ended task."""
        ...

    async def remove_cluster(self, cluster_arn: str) -> None:
        """Drop what is kept for a cluster."""
        ...

    async def run(
        self, observe: ObservationSink, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Watch until cancelled; `started` once the first complete list has been observed."""
        ...


@frozen
class Snapshot:
    """Everything that was durable when it was read."""

    clusters: Sequence[Cluster] = ()
    families: Sequence[Family] = ()
    task_definitions: Sequence[TaskDefinition] = ()
    services: Sequence[Service] = ()
    tasks: Sequence[Task] = field(factory=tuple)


class SnapshotStore(Protocol):
    """Durable state. One writer; everything waiting goes into one transaction, in the order of submission."""

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write until cancelled, then write what still waits, and close.

        Nothing else works before `started`. Raises StoreFailedError when a transaction cannot be committed: neither
        it nor anything submitted after it is durable then.
        """
        ...

    def submit(self, records: Sequence[Record], committed: Callable[[], None], awaited: bool = True) -> None:
        """Queue records for the next transaction, at once and without waiting.

        Records that nobody awaits (what the world was seen to do) may be kept for a tenth of a second, so that more
        of them share a transaction.

        `committed` is called, in trio's thread and in the order of submission, once these records and everything
        submitted before them are durable; at once, where there are no records and nothing waits. Never before
        `submit` returns, otherwise; never at all when a transaction fails.
        """
        ...

    async def room(self) -> None:
        """Wait until the queue has room. A checkpoint only when it has none: whoever submits a lot asks first."""
        ...

    async def load(self) -> Snapshot:
        """All that is durable, and all submitted before this call."""
        ...

    async def load_cluster(self, cluster_arn: str) -> Snapshot:
        """A cluster's own record and the tasks of no service in it."""
        ...

    async def load_service(self, service_arn: str) -> Snapshot:
        """A service's own record and its tasks."""
        ...

    async def load_task_definitions(self, scope: Scope) -> Snapshot:
        """The families and task definitions of an account in a region."""
        ...

    async def clear(self) -> None:
        """Forget everything submitted before this call, durably, in one transaction."""
        ...

    async def backup(self, now: datetime) -> Path:
        """Write a complete, consistent copy of all submitted before this call where backups are kept.

        Returns its path. Only the newest few are kept. Writes wait meanwhile.
        """
        ...
