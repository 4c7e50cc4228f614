"""How a task is made: a task definition, overrides, and where and how it is to run.

The same for tasks of a service and tasks of none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from attrs import evolve, frozen

from engine import errors
from engine.addresses import requested_attachments
from engine.arn import Arn, parse_arn
from engine.cluster import CapacityProviderStrategyItem, Cluster
from engine.container_definition import ContainerDefinition, PortMapping
from engine.health import health_grace_s
from engine.identifiers import derived_uuid
from engine.network import NetworkConfiguration
from engine.overrides import ContainerOverride, TaskOverride
from engine.tags import Tag
from engine.task import Container, Task, TaskEphemeralStorage
from engine.task_definition import Attribute, EphemeralStorage, TaskDefinition, TaskDefinitionStatus

FARGATE_PROVIDERS: Final = ("FARGATE", "FARGATE_SPOT")
FARGATE_PLATFORM: Final = "1.4.0"
STOP_TIMEOUT_S: Final = 30
FARGATE_STORAGE: Final = EphemeralStorage(20)


@frozen
class Launch:
    """Where and how tasks run: resolved from a request, a cluster's defaults, and ECS's own."""

    launch_type: str = "EC2"
    capacity_provider_strategy: tuple[CapacityProviderStrategyItem, ...] = ()
    platform_version: str | None = None  # as asked for; Fargate only
    network_configuration: NetworkConfiguration | None = None
    enable_execute_command: bool = False

    @property
    def capacity_provider_name(self) -> str | None:
        """The provider that gets the tasks: the one with the highest base, then weight."""
        if not self.capacity_provider_strategy:
            return None
        return max(self.capacity_provider_strategy, key=lambda item: (item.base, item.weight)).capacity_provider


@frozen
class Belonging:
    """What a new task belongs to."""

    group: str
    started_by: str | None = None
    tags: tuple[Tag, ...] = ()
    service_arn: str | None = None
    deployment_id: str | None = None
    client_token: str | None = None
    request_digest: str | None = None


def resolve_launch(
    cluster: Cluster,
    launch_type: str | None,
    strategy: tuple[CapacityProviderStrategyItem, ...] | None,
    platform_version: str | None,
    network: NetworkConfiguration | None,
    enable_execute_command: bool,
) -> Launch:
    """Where tasks of a request run. Raises InvalidParameterException as ECS does."""
    if launch_type and strategy:
        raise errors.invalid_parameter(
            "Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again."
        )
    if not launch_type and not strategy:
        strategy = cluster.default_capacity_provider_strategy
    known = set(FARGATE_PROVIDERS) | set(cluster.capacity_providers)
    for item in strategy or ():
        if item.capacity_provider not in known:
            raise errors.invalid_parameter(f"The specified capacity provider '{item.capacity_provider}' was not found.")
    on_fargate = any(item.capacity_provider in FARGATE_PROVIDERS for item in strategy or ())
    resolved = launch_type or ("FARGATE" if on_fargate else "EC2")
    if platform_version and resolved != "FARGATE":
        raise errors.invalid_parameter("The platform version must be null when specifying an EC2 launch type.")
    fargate_version = (platform_version or "LATEST") if resolved == "FARGATE" else None
    return Launch(resolved, strategy or (), fargate_version, network, enable_execute_command)


def check_launch(definition: TaskDefinition, launch: Launch) -> None:
    """Raise what ECS answers when a task definition cannot be run so."""
    if definition.status is not TaskDefinitionStatus.ACTIVE:
        raise errors.client_error("TaskDefinition is inactive")
    if launch.launch_type == "FARGATE" and "FARGATE" not in definition.compatibilities:
        raise errors.invalid_parameter("Task definition does not support launch_type FARGATE.")
    configured = launch.network_configuration is not None and launch.network_configuration.awsvpc_configuration
    if definition.network_mode == "awsvpc":
        if not configured:
            raise errors.invalid_parameter(
                "Network Configuration must be provided when networkMode 'awsvpc' is specified."
            )
        if not configured.subnets:
            raise errors.invalid_parameter("subnets can not be empty.")
    elif configured:
        raise errors.invalid_parameter(
            "Network Configuration is not valid for the given networkMode of this task definition."
        )


def check_overrides(definition: TaskDefinition, overrides: TaskOverride | None) -> None:
    """Raise what ECS answers to overrides that do not fit the task definition."""
    if overrides is None:
        return
    names = {container.name for container in definition.container_definitions}
    for override in overrides.container_overrides or ():
        if override.name is None:
            raise errors.invalid_parameter("Container override name cannot be empty.")
        if override.name not in names:
            raise errors.invalid_parameter(
                f"Override for container named {override.name} is not a container in the TaskDefinition."
            )
        for variable in override.environment or ():
            if not variable.name:
                raise errors.invalid_parameter("Environment variable name cannot be empty.")
    for what, value in (("cpu", overrides.cpu), ("memory", overrides.memory)):
        if value is not None and not value.isdigit():
            raise errors.invalid_parameter(f"Invalid '{what}' setting for task override.")


def new_task(
    definition: TaskDefinition,
    cluster_arn: str,
    task_id: str,
    launch: Launch,
    belonging: Belonging,
    now: datetime,
    overrides: TaskOverride | None = None,
) -> Task:
    """A new task, PROVISIONING, for which the orchestrator is asked now."""
    arn = parse_arn(cluster_arn)
    if arn is None:
        raise ValueError(f"not a cluster's ARN: {cluster_arn!r}")
    task_arn = arn.scope.task_arn(arn.name, task_id)
    asked = overrides or TaskOverride()
    on_fargate = launch.launch_type == "FARGATE"
    storage = asked.ephemeral_storage or definition.ephemeral_storage or (FARGATE_STORAGE if on_fargate else None)
    eni = derived_uuid(task_id, "", "network interface")
    return Task(
        task_arn=task_arn,
        cluster_arn=cluster_arn,
        task_definition_arn=definition.task_definition_arn,
        containers=_containers(arn, task_id, definition, asked),
        overrides=_read_back(asked, definition.container_definitions),
        attachments=requested_attachments(task_arn, eni, launch.network_configuration)
        if definition.network_mode == "awsvpc"
        else (),
        attributes=(Attribute("ecs.cpu-architecture", _architecture(definition)),),
        group=belonging.group,
        started_by=belonging.started_by,
        launch_type=launch.launch_type,
        platform_version=_platform_version(launch),
        platform_family=platform_family(definition) if on_fargate else None,
        capacity_provider_name=launch.capacity_provider_name,
        availability_zone=f"{arn.scope.region}a",
        cpu=asked.cpu or definition.cpu or _total(container.cpu for container in definition.container_definitions),
        memory=asked.memory or definition.memory or _total(map(_reserved, definition.container_definitions)),
        ephemeral_storage=storage,
        fargate_ephemeral_storage=TaskEphemeralStorage(storage.size_in_gi_b) if storage and on_fargate else None,
        inference_accelerators=definition.inference_accelerators or (),
        enable_execute_command=launch.enable_execute_command,
        created_at=now,
        tags=belonging.tags,
        service_arn=belonging.service_arn,
        deployment_id=belonging.deployment_id,
        network_configuration=launch.network_configuration,
        client_token=belonging.client_token,
        request_digest=belonging.request_digest,
        asked_at=now,
        stop_timeout_s=max(map(_stop_timeout_s, definition.container_definitions)),
    )


def platform_family(definition: TaskDefinition) -> str:
    """`Linux`, or the Windows version the task definition asks for."""
    family = definition.runtime_platform and definition.runtime_platform.operating_system_family
    return "Linux" if family in (None, "LINUX") else str(family)


def _architecture(definition: TaskDefinition) -> str:
    asked = definition.runtime_platform and definition.runtime_platform.cpu_architecture
    return "arm64" if asked == "ARM64" else "x86_64"


def _platform_version(launch: Launch) -> str | None:
    return FARGATE_PLATFORM if launch.platform_version == "LATEST" else launch.platform_version


def _containers(cluster: Arn, task_id: str, definition: TaskDefinition, asked: TaskOverride) -> tuple[Container, ...]:
    task_arn = cluster.scope.task_arn(cluster.name, task_id)
    changes = {override.name: override for override in asked.container_overrides or ()}
    return tuple(
        _container(
            cluster.scope.container_arn(cluster.name, task_id, derived_uuid(task_id, container.name)),
            task_arn,
            container,
            changes.get(container.name),
            definition.network_mode,
        )
        for container in definition.container_definitions
    )


def _container(
    container_arn: str,
    task_arn: str,
    definition: ContainerDefinition,
    override: ContainerOverride | None,
    network_mode: str | None,
) -> Container:
    change = override or ContainerOverride()
    memory = definition.memory if change.memory is None else change.memory
    reservation = definition.memory_reservation if change.memory_reservation is None else change.memory_reservation
    return Container(
        container_arn=container_arn,
        task_arn=task_arn,
        name=definition.name,
        image=definition.image,
        cpu=str(definition.cpu if change.cpu is None else change.cpu),
        memory=None if memory is None else str(memory),
        memory_reservation=None if reservation is None else str(reservation),
        essential=definition.essential,
        health_grace_s=health_grace_s(definition.health_check),
        published_ports=_published(definition.port_mappings, network_mode),
    )


def _published(ports: tuple[PortMapping, ...], network_mode: str | None) -> tuple[PortMapping, ...]:
    """The ports that ECS shows as network bindings: of bridge and host tasks."""
    return () if network_mode in ("awsvpc", "none") else ports


def _read_back(asked: TaskOverride, definitions: Iterable[ContainerDefinition]) -> TaskOverride:
    """Overrides as ECS returns them: every container is named, changed or not."""
    given: Mapping[str | None, ContainerOverride] = {one.name: one for one in asked.container_overrides or ()}
    named = tuple(given.get(one.name, ContainerOverride(name=one.name)) for one in definitions)
    accelerators = asked.inference_accelerator_overrides or ()
    return evolve(asked, container_overrides=named, inference_accelerator_overrides=accelerators)


def _total(amounts: Iterable[int]) -> str:
    return str(sum(amounts))


def _reserved(definition: ContainerDefinition) -> int:
    return definition.memory_reservation or definition.memory or 0


def _stop_timeout_s(definition: ContainerDefinition) -> int:
    return STOP_TIMEOUT_S if definition.stop_timeout is None else definition.stop_timeout
