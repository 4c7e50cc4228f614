"""CreateService, UpdateService and DeleteService: what they check and what they make of a service's record.

The scheduler then works towards the record (`engine.service_turn`). Only some changes start a new deployment: the
model's documentation of UpdateService says which.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final

from attrs import evolve

from engine import errors
from engine.cluster import Cluster, ClusterState
from engine.cluster_turn import active_cluster
from engine.commands import CreateService, DeploymentConfigurationChange, UpdateService
from engine.deployment import begin
from engine.idempotency import check_token, request_digest
from engine.launch import Launch, check_launch, platform_family, resolve_launch
from engine.lifecycle import ServiceStatus, checked_service
from engine.service import Deployment, DeploymentCircuitBreaker, DeploymentConfiguration, Service
from engine.tags import checked_tags
from engine.task_definition import TaskDefinition
from engine.unsupported import refuse_service_parameters, refuse_task_definition

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,255}", re.ASCII)
DAEMON_TASKS: Final = 1  # one task a container instance, and there is one
MAX_DESIRED: Final = 5_000
NO_BREAKER: Final = DeploymentCircuitBreaker(enable=False, rollback=False)


def created(before: Service | None, command: CreateService, now: datetime) -> Service:
    """The service that the command makes, with its first deployment; the one before, if it is the same request.

    Raises InvalidParameterException, ClientException, ClusterNotFoundException, UnsupportedFeatureException.
    """
    cluster = active_cluster_record(command.cluster)
    if not _NAME.fullmatch(command.service_name):
        raise errors.invalid_parameter("Service name contains invalid characters.")
    check_token(command.client_token)
    fingerprint = request_digest(command)
    if before is not None and before.status is not ServiceStatus.INACTIVE:
        return _same_request(before, command, fingerprint)
    refuse_service_parameters(command)
    definition = command.task_definition
    if definition is None:
        raise errors.invalid_parameter("TaskDefinition can not be blank.")
    refuse_task_definition("CreateService", definition)
    strategy = command.scheduling_strategy or "REPLICA"
    launch = resolve_launch(
        cluster, command.launch_type, command.capacity_provider_strategy, command.platform_version,
        command.network_configuration, bool(command.enable_execute_command),
    )  # fmt: skip
    check_launch(definition, launch)
    if strategy == "DAEMON" and launch.launch_type == "FARGATE":
        raise errors.invalid_parameter("The Fargate launch type does not support the DAEMON scheduling strategy.")
    _check_grace_period(command)
    service = Service(
        service_arn=_service_arn(cluster, command.service_name),
        service_name=command.service_name,
        cluster_arn=cluster.cluster_arn,
        task_definition=definition.task_definition_arn,
        desired_count=_desired_count(strategy, command.desired_count),
        deployment_configuration=_configuration(_defaults(strategy), command.deployment_configuration),
        launch_type=None if launch.capacity_provider_strategy else launch.launch_type,
        capacity_provider_strategy=launch.capacity_provider_strategy,
        platform_version=launch.platform_version,
        platform_family=_platform(definition, launch),
        role_arn=command.role or _service_linked_role(cluster),
        placement_constraints=command.placement_constraints or (),
        placement_strategy=command.placement_strategy or (),
        network_configuration=command.network_configuration,
        health_check_grace_period_seconds=command.health_check_grace_period_seconds,
        scheduling_strategy=strategy,
        availability_zone_rebalancing=_rebalancing(strategy, command),
        enable_ecs_managed_tags=bool(command.enable_ecs_managed_tags),
        enable_execute_command=bool(command.enable_execute_command),
        propagate_tags=command.propagate_tags or "NONE",
        created_at=now,
        created_by=command.created_by,
        tags=checked_tags(command.tags),
        client_token=command.client_token,
        request_digest=fingerprint,
        id_seed=command.id_seed,
    )
    return begin(service, definition.task_definition_arn, launch, service.platform_family, now)


def updated(service: Service, command: UpdateService, current: TaskDefinition | None, now: datetime) -> Service:
    """The service after the command, with a new deployment where the change asks for one.

    `current` is the task definition that the service has. Raises as `created` does, and ServiceNotActiveException.
    """
    if service.status is not ServiceStatus.ACTIVE:
        raise errors.service_not_active()
    refuse_service_parameters(command)
    _check_grace_period(command)
    after = evolve(
        service,
        desired_count=_changed_count(service, command.desired_count),
        deployment_configuration=_configuration(service.deployment_configuration, command.deployment_configuration),
        **_given(
            placement_constraints=command.placement_constraints,
            placement_strategy=command.placement_strategy,
            network_configuration=command.network_configuration,
            health_check_grace_period_seconds=command.health_check_grace_period_seconds,
            availability_zone_rebalancing=command.availability_zone_rebalancing,
            enable_ecs_managed_tags=command.enable_ecs_managed_tags,
            enable_execute_command=command.enable_execute_command,
            propagate_tags=command.propagate_tags,
        ),
        blocked_at=None,
    )
    launch = _changed_launch(after, command)
    after = evolve(
        after,
        launch_type=None if launch.capacity_provider_strategy else launch.launch_type,
        capacity_provider_strategy=launch.capacity_provider_strategy,
        platform_version=launch.platform_version,
    )
    definition = command.task_definition or current
    if command.task_definition is not None:
        refuse_task_definition("UpdateService", command.task_definition)
    if not _needs_deployment(service, after, command) or definition is None:
        return _scaled(after, now)
    check_launch(definition, launch)
    platform = _platform(definition, launch)
    return begin(evolve(after, platform_family=platform), definition.task_definition_arn, launch, platform, now)


def deleted(service: Service, force: bool, now: datetime) -> Service:
    """The service, to be drained. Raises ServiceNotFoundException, InvalidParameterException."""
    if service.status is ServiceStatus.INACTIVE:
        raise errors.service_not_found()
    if service.status is ServiceStatus.DRAINING:
        return service
    if service.desired_count and not force and service.scheduling_strategy == "REPLICA":
        raise errors.invalid_parameter("The service cannot be stopped while it is scaled above 0.")
    draining = checked_service(service.status, ServiceStatus.DRAINING)
    return _scaled(evolve(service, status=draining, desired_count=0), now)


def deployment_launch(service: Service, deployment: Deployment) -> Launch:
    """Where and how a deployment's tasks run."""
    on_fargate = deployment.platform_version is not None
    return Launch(
        launch_type=deployment.launch_type or ("FARGATE" if on_fargate else "EC2"),
        capacity_provider_strategy=deployment.capacity_provider_strategy,
        platform_version=deployment.platform_version,
        network_configuration=deployment.network_configuration,
        enable_execute_command=service.enable_execute_command,
    )


def active_cluster_record(cluster: Cluster | None) -> Cluster:
    """The cluster a service is made in. Raises ClusterNotFoundException if it is not ACTIVE."""
    return active_cluster(ClusterState(cluster))


def _check_grace_period(command: CreateService | UpdateService) -> None:
    """No service has load balancers yet; as AWS answers for those that have none."""
    if command.health_check_grace_period_seconds:
        raise errors.invalid_parameter(
            "Health check grace period is only valid for services configured to use load balancers"
        )


def _same_request(before: Service, command: CreateService, fingerprint: str) -> Service:
    if before.status is ServiceStatus.DRAINING:
        raise errors.invalid_parameter("Unable to Start a service that is still Draining.")
    if command.client_token is None or command.client_token != before.client_token:
        raise errors.invalid_parameter("Creation of service was not idempotent.")
    if fingerprint != before.request_digest:
        raise errors.invalid_parameter("Creation of service was not idempotent.")
    return before


def _service_arn(cluster: Cluster, name: str) -> str:
    return f"{cluster.cluster_arn.replace(':cluster/', ':service/')}/{name}"


def _service_linked_role(cluster: Cluster) -> str:
    partition, account = cluster.cluster_arn.split(":")[1], cluster.cluster_arn.split(":")[4]
    return f"arn:{partition}:iam::{account}:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS"


def _platform(definition: TaskDefinition, launch: Launch) -> str | None:
    return platform_family(definition) if launch.launch_type == "FARGATE" else None


def _desired_count(strategy: str, asked: int | None) -> int:
    if strategy == "DAEMON":
        _refuse_count(asked)
        return DAEMON_TASKS
    if asked is None:
        raise errors.invalid_parameter("Desired count must be specified for the REPLICA scheduling strategy.")
    return _checked_count(asked)


def _changed_count(service: Service, asked: int | None) -> int:
    if service.scheduling_strategy == "DAEMON":
        _refuse_count(asked)
    return service.desired_count if asked is None else _checked_count(asked)


def _refuse_count(asked: int | None) -> None:
    if asked is not None:
        raise errors.invalid_parameter(
            "The daemon scheduling strategy does not support a desired count for services. "
            "Remove the desired count value and try again."
        )


def _checked_count(asked: int) -> int:
    if not 0 <= asked <= MAX_DESIRED:
        raise errors.invalid_parameter(f"Invalid desired count: {asked}. It must be from 0 to {MAX_DESIRED}.")
    return asked


def _defaults(strategy: str) -> DeploymentConfiguration:
    if strategy == "DAEMON":
        return DeploymentConfiguration(NO_BREAKER, maximum_percent=100, minimum_healthy_percent=0)
    return DeploymentConfiguration(NO_BREAKER)


def _configuration(
    before: DeploymentConfiguration, change: DeploymentConfigurationChange | None
) -> DeploymentConfiguration:
    """What is given replaces what was; what is not given stays."""
    if change is None:
        return before
    after = evolve(
        before,
        **_given(
            deployment_circuit_breaker=change.deployment_circuit_breaker,
            maximum_percent=change.maximum_percent,
            minimum_healthy_percent=change.minimum_healthy_percent,
            alarms=change.alarms,
        ),
    )
    lowest, highest = after.minimum_healthy_percent, after.maximum_percent
    if not 0 <= lowest <= 100:
        raise errors.invalid_parameter("minimumHealthyPercent must be from 0 to 100.")
    if highest < 100:
        raise errors.invalid_parameter("maximumPercent must be at least 100.")
    if lowest == highest == 100:
        raise errors.invalid_parameter(
            "Both maximumPercent and minimumHealthyPercent cannot be 100 as this will block deployments."
        )
    return after


def _rebalancing(strategy: str, command: CreateService) -> str:
    """ENABLED by default, as AWS has it; never where it cannot be: it needs room above 100 percent."""
    change = command.deployment_configuration
    tight = change is not None and change.maximum_percent is not None and change.maximum_percent <= 100
    possible = strategy == "REPLICA" and not tight
    return command.availability_zone_rebalancing or ("ENABLED" if possible else "DISABLED")


def _changed_launch(service: Service, command: UpdateService) -> Launch:
    """Where tasks run after the update; an empty strategy goes back to a launch type."""
    before = deployment_launch(service, service.deployments[0])
    asked, platform = command.capacity_provider_strategy, command.platform_version or service.platform_version
    strategy = service.capacity_provider_strategy if asked is None else asked
    launch_type = None if strategy else service.launch_type or before.launch_type
    known = Cluster(service.cluster_arn, "")
    return resolve_launch(
        known, launch_type, strategy, platform, service.network_configuration, service.enable_execute_command
    )


def _needs_deployment(before: Service, after: Service, command: UpdateService) -> bool:
    asked = command.task_definition
    return bool(
        command.force_new_deployment
        or (asked is not None and asked.task_definition_arn != before.task_definition)
        or after.network_configuration != before.network_configuration
        or (command.platform_version is not None and command.platform_version != before.platform_version)
    )


def _scaled(service: Service, now: datetime) -> Service:
    """The service, its primary deployment at the service's desired count."""
    deployments = tuple(
        evolve(one, desired_count=service.desired_count, updated_at=now)
        if one.status == "PRIMARY" and one.desired_count != service.desired_count
        else one
        for one in service.deployments
    )
    return evolve(service, deployments=deployments)


def _given(**members: object) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
