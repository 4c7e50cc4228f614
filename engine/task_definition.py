"""Task definitions: families, revisions, and what registering one fills in."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from attrs import frozen

from engine.container_definition import ContainerDefinition, Volume
from engine.tags import Tag


class TaskDefinitionStatus(StrEnum):
    """A task definition's `status`."""

    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"
    DELETE_IN_PROGRESS = "DELETE_IN_PROGRESS"


@frozen
class PlacementConstraint:
    """Stored and returned; one node satisfies every placement."""

    type: str | None = None
    expression: str | None = None


@frozen
class RuntimePlatform:
    """CPU architecture and operating system a task asks for."""

    cpu_architecture: str | None = None
    operating_system_family: str | None = None


@frozen
class EphemeralStorage:
    """Size of a task's own storage."""

    size_in_gi_b: int


@frozen
class Family:
    """A family and the last revision ever given out in it: revisions are never used twice."""

    arn: str  # task-definition/<family>, KECS's own key
    name: str
    latest_revision: int


@frozen
class TaskDefinition:
    """One revision of a family, as DescribeTaskDefinition returns it."""

    task_definition_arn: str
    family: str
    revision: int
    container_definitions: tuple[ContainerDefinition, ...]
    status: TaskDefinitionStatus = TaskDefinitionStatus.ACTIVE
    task_role_arn: str | None = None
    execution_role_arn: str | None = None
    network_mode: str | None = None  # None reads as "bridge"
    volumes: tuple[Volume, ...] = ()
    placement_constraints: tuple[PlacementConstraint, ...] = ()
    compatibilities: tuple[str, ...] = ()
    requires_compatibilities: tuple[str, ...] = ()
    runtime_platform: RuntimePlatform | None = None
    cpu: str | None = None
    memory: str | None = None
    pid_mode: str | None = None
    ipc_mode: str | None = None
    ephemeral_storage: EphemeralStorage | None = None
    enable_fault_injection: bool | None = None
    registered_at: datetime | None = None
    deregistered_at: datetime | None = None
    delete_requested_at: datetime | None = None
    registered_by: str | None = None
    tags: tuple[Tag, ...] = ()

    @property
    def arn(self) -> str:
        """The record's key."""
        return self.task_definition_arn
