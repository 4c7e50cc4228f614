"""Task definitions: families, revisions, and what registering one fills in."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from attrs import field, frozen
from rpds import HashTrieMap

from engine.container_definition import ContainerDefinition, KeyValuePair
from engine.tags import Tag
from engine.volume import Volume


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
class Attribute:
    """What a container instance must offer for a task to run on it."""

    name: str
    value: str | None = None
    target_type: str | None = None
    target_id: str | None = None


@frozen
class InferenceAccelerator:
    """An Elastic Inference accelerator: stored and returned."""

    device_name: str
    device_type: str


@frozen
class ProxyConfiguration:
    """An App Mesh proxy: stored and returned."""

    container_name: str
    type: str | None = None
    properties: tuple[KeyValuePair, ...] | None = None


@frozen
class TrustedExecutionConfiguration:
    """Isolation of a task on Amazon ECS Managed Instances."""

    isolation_mode: str
    attestation_policy: str | None = None


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
    requires_attributes: tuple[Attribute, ...] | None = None
    placement_constraints: tuple[PlacementConstraint, ...] = ()
    compatibilities: tuple[str, ...] = ()
    requires_compatibilities: tuple[str, ...] | None = None
    runtime_platform: RuntimePlatform | None = None
    cpu: str | None = None
    memory: str | None = None
    inference_accelerators: tuple[InferenceAccelerator, ...] | None = None
    pid_mode: str | None = None
    ipc_mode: str | None = None
    proxy_configuration: ProxyConfiguration | None = None
    ephemeral_storage: EphemeralStorage | None = None
    enable_fault_injection: bool | None = None
    trusted_execution_configuration: TrustedExecutionConfiguration | None = None
    registered_at: datetime | None = None
    deregistered_at: datetime | None = None
    delete_requested_at: datetime | None = None
    registered_by: str | None = None
    tags: tuple[Tag, ...] = ()
    # KECS's own, not part of the API's shape:
    forget_at: datetime | None = None  # when a deleted revision that nothing uses is dropped

    @property
    def arn(self) -> str:
        """The record's key."""
        return self.task_definition_arn


@frozen
class TaskDefinitionsState:
    """What the owner of an account's and region's task definitions holds."""

    families: HashTrieMap[str, Family] = field(factory=HashTrieMap)  # by family name
    definitions: HashTrieMap[str, TaskDefinition] = field(factory=HashTrieMap)  # by ARN
