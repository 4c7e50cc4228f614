"""Tasks and their containers: the records.

How one is made is in `engine.launch`; how what is seen of it becomes its status, and why it stopped, in
`engine.progress`.
"""

from __future__ import annotations

from datetime import datetime

from attrs import frozen

from engine.container_definition import PortMapping, SharingStrategy
from engine.lifecycle import DesiredStatus, HealthStatus, StopCode, TaskStatus
from engine.network import Attachment, NetworkBinding, NetworkConfiguration, NetworkInterface
from engine.overrides import TaskOverride
from engine.tags import Tag
from engine.task_definition import Attribute, EphemeralStorage, InferenceAccelerator


@frozen
class ManagedAgent:
    """An agent ECS runs in a container; the only one AWS has is `ExecuteCommandAgent`."""

    name: str
    last_status: str | None = None
    last_started_at: datetime | None = None
    reason: str | None = None


@frozen
class Container:
    """One container of a task, as DescribeTasks returns it."""

    container_arn: str
    task_arn: str
    name: str
    image: str | None = None
    image_digest: str | None = None
    runtime_id: str | None = None
    last_status: str = "PENDING"  # PENDING, RUNNING, STOPPED
    exit_code: int | None = None
    reason: str | None = None
    network_bindings: tuple[NetworkBinding, ...] = ()
    network_interfaces: tuple[NetworkInterface, ...] = ()
    health_status: HealthStatus = HealthStatus.UNKNOWN
    managed_agents: tuple[ManagedAgent, ...] | None = None
    cpu: str | None = None
    memory: str | None = None
    memory_reservation: str | None = None
    gpu_ids: tuple[str, ...] | None = None
    neuron_device_ids: tuple[str, ...] | None = None
    gpu_sharing_strategy: SharingStrategy | None = None
    # KECS's own, not part of the API's shape:
    essential: bool = True
    started_at: datetime | None = None
    finished_at: datetime | None = None
    health_grace_s: int | None = (
        None  # without a pass for so long after its start it is UNHEALTHY; None: no health check
    )
    published_ports: tuple[PortMapping, ...] = ()  # what its network bindings show once it has an address


@frozen
class TaskEphemeralStorage:
    """The size of a Fargate task's own storage, in GiB."""

    size_in_gi_b: int
    kms_key_id: str | None = None


@frozen
class Task:
    """One task: the API's shape, and behind it what KECS needs to run and recover it."""

    task_arn: str
    cluster_arn: str
    task_definition_arn: str
    last_status: TaskStatus = TaskStatus.PROVISIONING
    desired_status: DesiredStatus = DesiredStatus.RUNNING
    containers: tuple[Container, ...] = ()
    overrides: TaskOverride = TaskOverride()
    attachments: tuple[Attachment, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    group: str | None = None
    started_by: str | None = None
    launch_type: str | None = None
    platform_version: str | None = None
    platform_family: str | None = None
    capacity_provider_name: str | None = None
    availability_zone: str | None = None
    container_instance_arn: str | None = None
    connectivity: str | None = None
    connectivity_at: datetime | None = None
    health_status: HealthStatus = HealthStatus.UNKNOWN
    cpu: str | None = None
    memory: str | None = None
    ephemeral_storage: EphemeralStorage | None = None
    fargate_ephemeral_storage: TaskEphemeralStorage | None = None
    inference_accelerators: tuple[InferenceAccelerator, ...] = ()
    enable_execute_command: bool = False
    stop_code: StopCode | None = None
    stopped_reason: str | None = None
    created_at: datetime | None = None
    pull_started_at: datetime | None = None
    pull_stopped_at: datetime | None = None
    started_at: datetime | None = None
    stopping_at: datetime | None = None
    execution_stopped_at: datetime | None = None
    stopped_at: datetime | None = None
    version: int = 1
    tags: tuple[Tag, ...] = ()
    # KECS's own, not part of the API's shape:
    service_arn: str | None = None
    deployment_id: str | None = None
    network_configuration: NetworkConfiguration | None = None
    client_token: str | None = None
    request_digest: str | None = None  # of the RunTask that made it: a client token stands for one request
    asked_at: datetime | None = None  # when the orchestrator was first asked for it
    stop_timeout_s: int = 30  # the longest of its containers'
    observed: bool = False  # whether the orchestrator has ever shown it

    @property
    def arn(self) -> str:
        """The record's key."""
        return self.task_arn

    @property
    def task_id(self) -> str:
        """The last part of the ARN: 32 hex digits."""
        return self.task_arn.rsplit("/", 1)[-1]
