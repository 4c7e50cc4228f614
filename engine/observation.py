"""What was seen of a task in the world: levels, never edges.

An observation tells the whole present state of one task as the orchestrator sees it. It may be lost, delayed or
repeated; a later one always says everything that an earlier one said and still matters.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from attrs import frozen


class Phase(StrEnum):
    """How far the world has brought a task. GONE: nothing of it is left and nothing more will be told."""

    ACCEPTED = "ACCEPTED"  # known to the orchestrator, no capacity assigned yet
    PLACED = "PLACED"  # assigned to capacity; containers are being prepared
    RUNNING = "RUNNING"  # at least one container runs or has run
    ENDED = "ENDED"  # every container has ended (or none could ever start); what is known is final
    GONE = "GONE"


@frozen
class ContainerObservation:
    """The present state of one container. `name` is ECS's name. Times are aware UTC."""

    name: str
    running: bool = False
    ready: bool = False  # passes its health check; meaningless for a container without one
    exit_code: int | None = None  # set once the container has ended
    reason: str | None = None  # in ECS's words, e.g. "OutOfMemoryError: Container killed due to memory usage"
    runtime_id: str | None = None
    image_digest: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def ended(self) -> bool:
        """Whether the container has ended, or will never start."""
        return self.finished_at is not None or self.exit_code is not None


@frozen
class TaskObservation:
    """The present state of one task in the world.

    `start_error` says why the task can never start, in ECS's words (`CannotPullContainerError: ...`);
    `ended_because` why the world itself ended it (node lost, instance stopped), in a sentence.
    """

    task_arn: str
    phase: Phase
    containers: tuple[ContainerObservation, ...] = ()
    ip: str | None = None
    node: str | None = None
    start_error: str | None = None
    ended_because: str | None = None
    stopping: bool = False  # the orchestrator has been asked to stop it
