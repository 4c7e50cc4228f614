"""Commands: what a caller asks for. Imperative; each may be refused with an `AwsError`, and then changes nothing.

Members are those of the operation's input in the service model, snake_cased, in engine classes, plus what the caller
has resolved (a scope, a cluster's record, a task definition). The members `cluster` and `service` are not here: the
actor that a command is sent to is what they name. None means: not given. `Any` marks members that KECS refuses when
they are given (see `engine.unsupported`); they are never read.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from attrs import frozen

from engine.arn import Scope
from engine.cluster import (
    CapacityProviderStrategyItem,
    Cluster,
    ClusterConfiguration,
    ClusterServiceConnectDefaults,
    ClusterSetting,
)
from engine.container_definition import ContainerDefinition
from engine.network import NetworkConfiguration
from engine.overrides import TaskOverride
from engine.service import (
    DeploymentAlarms,
    DeploymentCircuitBreaker,
    DeploymentController,
    PlacementStrategy,
)
from engine.tags import Tag
from engine.task import Task
from engine.task_definition import (
    EphemeralStorage,
    InferenceAccelerator,
    PlacementConstraint,
    ProxyConfiguration,
    RuntimePlatform,
    TaskDefinition,
    TrustedExecutionConfiguration,
)
from engine.volume import Volume


@frozen
class CreateCluster:
    """Make a cluster, or return the one that exists. Reply: Cluster."""

    scope: Scope
    id_seed: str  # a random UUID: the ids of the cluster's tasks are derived from it
    cluster_name: str | None = None
    tags: tuple[Tag, ...] | None = None
    settings: tuple[ClusterSetting, ...] | None = None
    configuration: ClusterConfiguration | None = None
    capacity_providers: tuple[str, ...] | None = None
    default_capacity_provider_strategy: tuple[CapacityProviderStrategyItem, ...] | None = None
    service_connect_defaults: ClusterServiceConnectDefaults | None = None


@frozen
class UpdateCluster:
    """Change a cluster's settings and configuration. Reply: Cluster."""

    settings: tuple[ClusterSetting, ...] | None = None
    configuration: ClusterConfiguration | None = None
    service_connect_defaults: ClusterServiceConnectDefaults | None = None


@frozen
class UpdateClusterSettings:
    """Change a cluster's settings. Reply: Cluster."""

    settings: tuple[ClusterSetting, ...]


@frozen
class PutClusterCapacityProviders:
    """Replace a cluster's capacity providers and default strategy. Reply: Cluster."""

    capacity_providers: tuple[str, ...]
    default_capacity_provider_strategy: tuple[CapacityProviderStrategyItem, ...]


@frozen
class DeleteCluster:
    """Delete a cluster that is empty; the caller says what its services hold. Reply: Cluster."""

    active_services: int = 0
    service_tasks: int = 0  # tasks of its services that have not stopped


@frozen
class RunTask:
    """Start tasks of no service. Reply: RunTaskResult."""

    task_definition: TaskDefinition  # resolved; its status is checked here
    capacity_provider_strategy: tuple[CapacityProviderStrategyItem, ...] | None = None
    count: int | None = None
    enable_ecs_managed_tags: bool | None = None
    enable_execute_command: bool | None = None
    group: str | None = None
    launch_type: str | None = None
    network_configuration: NetworkConfiguration | None = None
    overrides: TaskOverride | None = None
    placement_constraints: tuple[PlacementConstraint, ...] | None = None
    placement_strategy: tuple[PlacementStrategy, ...] | None = None
    platform_version: str | None = None
    propagate_tags: str | None = None
    reference_id: str | None = None
    started_by: str | None = None
    tags: tuple[Tag, ...] | None = None
    client_token: str | None = None
    volume_configurations: Any = None


@frozen
class StopTask:
    """Stop one task. `task_arn` is a full ARN. Reply: Task."""

    task_arn: str
    reason: str | None = None


@frozen
class TagResource:
    """Add or replace tags of a cluster, service, task or task definition. Reply: None."""

    arn: str
    tags: tuple[Tag, ...]


@frozen
class UntagResource:
    """Remove tags. Keys that are not there are no error. Reply: None."""

    arn: str
    tag_keys: tuple[str, ...]


@frozen
class DeploymentConfigurationChange:
    """`deploymentConfiguration` of CreateService and UpdateService: what is not given stays as it is."""

    deployment_circuit_breaker: DeploymentCircuitBreaker | None = None
    maximum_percent: int | None = None
    minimum_healthy_percent: int | None = None
    alarms: DeploymentAlarms | None = None
    strategy: str | None = None
    bake_time_in_minutes: int | None = None
    lifecycle_hooks: Any = None
    linear_configuration: Any = None
    canary_configuration: Any = None
    early_success_criteria: Any = None


@frozen
class CreateService:
    """Make a service. Reply: Service."""

    cluster: Cluster  # its record; the service lives in its scope
    id_seed: str  # a random UUID: the ids of its tasks, deployments and events are derived from it
    service_name: str
    task_definition: TaskDefinition | None = None  # resolved; its status is checked here
    availability_zone_rebalancing: str | None = None
    load_balancers: Any = None
    service_registries: Any = None
    desired_count: int | None = None
    client_token: str | None = None
    launch_type: str | None = None
    capacity_provider_strategy: tuple[CapacityProviderStrategyItem, ...] | None = None
    platform_version: str | None = None
    role: str | None = None
    deployment_configuration: DeploymentConfigurationChange | None = None
    placement_constraints: tuple[PlacementConstraint, ...] | None = None
    placement_strategy: tuple[PlacementStrategy, ...] | None = None
    network_configuration: NetworkConfiguration | None = None
    health_check_grace_period_seconds: int | None = None
    scheduling_strategy: str | None = None
    deployment_controller: DeploymentController | None = None
    tags: tuple[Tag, ...] | None = None
    enable_ecs_managed_tags: bool | None = None
    propagate_tags: str | None = None
    enable_execute_command: bool | None = None
    service_connect_configuration: Any = None
    volume_configurations: Any = None
    vpc_lattice_configurations: Any = None
    gateway_connectors: Any = None
    monitoring: Any = None
    created_by: str | None = None  # the caller's principal ARN, where the API knows one


@frozen
class UpdateService:
    """Change a service; some changes start a new deployment. Reply: Service."""

    desired_count: int | None = None
    task_definition: TaskDefinition | None = None  # resolved; its status is checked here
    capacity_provider_strategy: tuple[CapacityProviderStrategyItem, ...] | None = None
    deployment_configuration: DeploymentConfigurationChange | None = None
    availability_zone_rebalancing: str | None = None
    network_configuration: NetworkConfiguration | None = None
    placement_constraints: tuple[PlacementConstraint, ...] | None = None
    placement_strategy: tuple[PlacementStrategy, ...] | None = None
    platform_version: str | None = None
    force_new_deployment: bool | None = None
    health_check_grace_period_seconds: int | None = None
    deployment_controller: DeploymentController | None = None
    enable_execute_command: bool | None = None
    enable_ecs_managed_tags: bool | None = None
    load_balancers: Any = None
    propagate_tags: str | None = None
    service_registries: Any = None
    service_connect_configuration: Any = None
    volume_configurations: Any = None
    vpc_lattice_configurations: Any = None
    gateway_connectors: Any = None
    monitoring: Any = None


@frozen
class DeleteService:
    """Drain a service and end it. Reply: Service."""

    force: bool | None = None


@frozen
class RegisterTaskDefinition:
    """Register the next revision of a family. Reply: TaskDefinition."""

    scope: Scope
    family: str
    container_definitions: tuple[ContainerDefinition, ...]
    task_role_arn: str | None = None
    execution_role_arn: str | None = None
    network_mode: str | None = None
    volumes: tuple[Volume, ...] | None = None
    placement_constraints: tuple[PlacementConstraint, ...] | None = None
    requires_compatibilities: tuple[str, ...] | None = None
    cpu: str | None = None
    memory: str | None = None
    tags: tuple[Tag, ...] | None = None
    pid_mode: str | None = None
    ipc_mode: str | None = None
    proxy_configuration: ProxyConfiguration | None = None
    inference_accelerators: tuple[InferenceAccelerator, ...] | None = None
    ephemeral_storage: EphemeralStorage | None = None
    runtime_platform: RuntimePlatform | None = None
    enable_fault_injection: bool | None = None
    trusted_execution_configuration: TrustedExecutionConfiguration | None = None
    registered_by: str | None = None  # the caller's principal ARN, where the API knows one


@frozen
class DeregisterTaskDefinition:
    """Mark a revision INACTIVE. Reply: TaskDefinition."""

    scope: Scope
    task_definition: str  # `family:revision` or a full ARN


@frozen
class DeleteTaskDefinitions:
    """Delete INACTIVE revisions. Reply: DeleteTaskDefinitionsResult."""

    scope: Scope
    task_definitions: tuple[str, ...]
    in_use: frozenset[str] = frozenset()  # ARNs that tasks and services still use


@frozen
class Failure:
    """One element of a response's `failures`."""

    arn: str | None = None
    reason: str | None = None
    detail: str | None = None


@frozen
class RunTaskResult:
    """The reply to RunTask."""

    tasks: tuple[Task, ...]
    failures: tuple[Failure, ...] = ()


@frozen
class DeleteTaskDefinitionsResult:
    """The reply to DeleteTaskDefinitions."""

    task_definitions: tuple[TaskDefinition, ...]
    failures: tuple[Failure, ...] = ()


ClusterCommand: TypeAlias = (
    CreateCluster
    | UpdateCluster
    | UpdateClusterSettings
    | PutClusterCapacityProviders
    | DeleteCluster
    | RunTask
    | StopTask
    | TagResource
    | UntagResource
)
ServiceCommand: TypeAlias = CreateService | UpdateService | DeleteService | StopTask | TagResource | UntagResource
TaskDefinitionCommand: TypeAlias = (
    RegisterTaskDefinition | DeregisterTaskDefinition | DeleteTaskDefinitions | TagResource | UntagResource
)
