"""Services: their record, their deployments, their events."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from attrs import field, frozen
from rpds import HashTrieMap

from engine.cluster import CapacityProviderStrategyItem
from engine.lifecycle import RolloutState, ServiceStatus
from engine.network import NetworkConfiguration
from engine.tags import Tag
from engine.task import Task
from engine.task_definition import PlacementConstraint, TaskDefinition


@frozen
class ThresholdConfiguration:
    """How many failed tasks are tolerated: COUNT, or a percentage of the desired count (bounded to 3..200, or not)."""

    type: str
    value: int


@frozen
class DeploymentCircuitBreaker:
    """Whether failing deployments are given up, and rolled back."""

    enable: bool
    rollback: bool
    reset_on_healthy_task: bool | None = None
    threshold_configuration: ThresholdConfiguration | None = None


@frozen
class DeploymentAlarms:
    """CloudWatch alarms that fail a deployment. KECS accepts them only when they are not enabled."""

    alarm_names: tuple[str, ...]
    rollback: bool
    enable: bool


@frozen
class DeploymentConfiguration:
    """How many tasks may run and must run during a deployment, in percent of the desired count."""

    deployment_circuit_breaker: DeploymentCircuitBreaker | None = None
    maximum_percent: int = 200
    minimum_healthy_percent: int = 100
    alarms: DeploymentAlarms | None = None
    strategy: str = "ROLLING"
    bake_time_in_minutes: int = 0


@frozen
class DeploymentController:
    """Who replaces a service's tasks. KECS knows `ECS`."""

    type: str = "ECS"


@frozen
class PlacementStrategy:
    """Stored and returned; there is one node."""

    type: str | None = None
    field: str | None = None


@frozen
class Deployment:
    """One deployment of a service. Its counts are computed from the tasks when it is read."""

    id: str  # ecs-svc/<19 digits>
    status: str  # PRIMARY, ACTIVE, INACTIVE
    task_definition: str
    desired_count: int
    created_at: datetime
    updated_at: datetime
    rollout_state: RolloutState = RolloutState.IN_PROGRESS
    rollout_state_reason: str | None = None
    failed_tasks: int = 0
    launch_type: str | None = None
    platform_version: str | None = None
    platform_family: str | None = None
    capacity_provider_strategy: tuple[CapacityProviderStrategyItem, ...] = ()
    network_configuration: NetworkConfiguration | None = None
    # KECS's own, not part of the API's shape:
    failures_in_a_row: int = 0  # rounds of tasks that ended on their own before long
    last_failure_at: datetime | None = None
    retry_at: datetime | None = None  # no task is started before


@frozen
class ServiceEvent:
    """One line of a service's history; AWS keeps the newest 100."""

    id: str
    created_at: datetime
    message: str


@frozen
class Service:
    """A service's record, as DescribeServices returns it, less what is computed from its tasks."""

    service_arn: str
    service_name: str
    cluster_arn: str
    task_definition: str
    desired_count: int
    status: ServiceStatus = ServiceStatus.ACTIVE
    deployments: tuple[Deployment, ...] = ()
    events: tuple[ServiceEvent, ...] = ()  # newest first
    deployment_configuration: DeploymentConfiguration = DeploymentConfiguration()
    launch_type: str | None = None
    capacity_provider_strategy: tuple[CapacityProviderStrategyItem, ...] = ()
    platform_version: str | None = None
    platform_family: str | None = None
    role_arn: str | None = None
    load_balancers: tuple[Any, ...] = ()  # none can be given yet: see `engine.unsupported`
    service_registries: tuple[Any, ...] = ()  # likewise
    placement_constraints: tuple[PlacementConstraint, ...] = ()
    placement_strategy: tuple[PlacementStrategy, ...] = ()
    network_configuration: NetworkConfiguration | None = None
    health_check_grace_period_seconds: int | None = None
    scheduling_strategy: str = "REPLICA"
    deployment_controller: DeploymentController = DeploymentController()
    availability_zone_rebalancing: str = "DISABLED"
    enable_ecs_managed_tags: bool = False
    enable_execute_command: bool = False
    propagate_tags: str = "NONE"
    created_at: datetime | None = None
    created_by: str | None = None
    tags: tuple[Tag, ...] = ()
    # KECS's own, not part of the API's shape:
    client_token: str | None = None
    request_digest: str | None = None  # of the CreateService that made it: a client token stands for one request
    id_seed: str = ""  # what the ids of its tasks, deployments and events are derived from
    id_counter: int = 0  # how many have been
    last_completed: Deployment | None = None  # what a failed deployment is rolled back to
    steady_at: datetime | None = None  # since when it is in a steady state
    blocked_at: datetime | None = None  # since when its deployment configuration allows no step
    deleted_at: datetime | None = None

    @property
    def arn(self) -> str:
        """The record's key."""
        return self.service_arn

    @property
    def primary(self) -> Deployment | None:
        """The deployment that new tasks belong to; None once the service is INACTIVE."""
        return next((one for one in self.deployments if one.status == "PRIMARY"), None)


@frozen
class ServiceState:
    """What a service actor owns. `service` is None before CreateService.

    `task_definitions` holds those that its deployments name, so that a plan needs no look-up
    (`service_turn.definitions_needed`).
    """

    service: Service | None = None
    tasks: HashTrieMap[str, Task] = field(factory=HashTrieMap)  # by task ARN, those not forgotten
    task_definitions: HashTrieMap[str, TaskDefinition] = field(factory=HashTrieMap)
