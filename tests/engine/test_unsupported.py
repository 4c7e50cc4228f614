"""What is refused is refused by name, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from engine import cluster_turn, commands, service_turn
from engine.commands import DeploymentConfigurationChange, RunTask, UpdateService
from engine.container_definition import EnvironmentFile, ResourceRequirement, Secret
from engine.errors import AwsError
from engine.overrides import ContainerOverride, TaskOverride
from engine.service import DeploymentAlarms, DeploymentController, ServiceState
from engine.task_definition import TaskDefinition
from engine.unsupported import STORED_ONLY, UNSUPPORTED_PARAMETERS, Parameter, refuse_list_tasks_parameters
from engine.volume import DockerVolumeConfiguration, EFSVolumeConfiguration, Volume
from tests.engine.make import NOW, cluster, cluster_state, container, definition
from tests.engine.world import World

FSX = "fsxWindowsFileServerVolumeConfiguration"
SERVICE_VALUES: dict[str, dict[str, Any]] = {
    "loadBalancers": {"load_balancers": [{"targetGroupArn": "x"}]},
    "serviceRegistries": {"service_registries": [{"registryArn": "x"}]},
    "serviceConnectConfiguration.enabled": {"service_connect_configuration": {"enabled": True}},
    "volumeConfigurations": {"volume_configurations": [{"name": "v"}]},
    "vpcLatticeConfigurations": {"vpc_lattice_configurations": [{}]},
    "gatewayConnectors": {"gateway_connectors": [{"portName": "p"}]},
    "monitoring": {"monitoring": {"metricConfigurations": [{}]}},
    "deploymentController.type": {"deployment_controller": DeploymentController("CODE_DEPLOY")},
    "deploymentConfiguration.strategy": {"strategy": "BLUE_GREEN"},
    "deploymentConfiguration.alarms.enable": {"alarms": DeploymentAlarms((), rollback=False, enable=True)},
    "deploymentConfiguration.lifecycleHooks": {"lifecycle_hooks": [{}]},
    "deploymentConfiguration.linearConfiguration": {"linear_configuration": {"stepPercent": 1}},
    "deploymentConfiguration.canaryConfiguration": {"canary_configuration": {"canaryPercent": 1}},
    "deploymentConfiguration.earlySuccessCriteria.enable": {"early_success_criteria": {"enable": True}},
    "deploymentConfiguration.bakeTimeInMinutes": {"bake_time_in_minutes": 1},
}
DEFINITIONS: dict[str, TaskDefinition] = {
    "containerDefinitions.secrets": definition(container(secrets=(Secret("A", "arn"),))),
    "containerDefinitions.environmentFiles": definition(container(environment_files=(EnvironmentFile("a", "s3"),))),
    "containerDefinitions.resourceRequirements": definition(
        container(resource_requirements=(ResourceRequirement("GPU", "1"),))
    ),
    "volumes.dockerVolumeConfiguration": definition(
        volumes=(Volume("v", docker_volume_configuration=DockerVolumeConfiguration()),)
    ),
    "volumes.efsVolumeConfiguration": definition(
        volumes=(Volume("v", efs_volume_configuration=EFSVolumeConfiguration("fs-1")),)
    ),
    "volumes.configuredAtLaunch": definition(volumes=(Volume("v", configured_at_launch=True),)),
}
OVERRIDES: dict[str, ContainerOverride] = {
    "environmentFiles": ContainerOverride(name="web", environment_files=(EnvironmentFile("a", "s3"),)),
    "resourceRequirements": ContainerOverride(name="web", resource_requirements=(ResourceRequirement("GPU", "1"),)),
}
NEEDS_NO_EXAMPLE = {f"taskDefinition.volumes.{FSX}", "taskDefinition.volumes.s3filesVolumeConfiguration"}


def send(parameter: Parameter) -> None:
    """An operation with the parameter given."""
    member = parameter.member
    if parameter.operation == "ListTasks":
        refuse_list_tasks_parameters("daemon")
    if parameter.operation == "RunTask":
        overrides = TaskOverride((OVERRIDES[member.rsplit(".")[-1]],)) if member.startswith("overrides") else None
        made = DEFINITIONS.get(member.removeprefix("taskDefinition."), definition())
        volumes = [{"name": "v"}] if member == "volumeConfigurations" else None
        command = RunTask(made, overrides=overrides, volume_configurations=volumes)
        cluster_turn.decide(cluster_state(), command, NOW)
        return
    values = SERVICE_VALUES.get(member, {})
    if member.startswith("deploymentConfiguration."):
        values = {"deployment_configuration": DeploymentConfigurationChange(**values)}
    made = DEFINITIONS.get(member.removeprefix("taskDefinition."), definition())
    if parameter.operation == "CreateService":
        creating = commands.CreateService(cluster(), "seed", "web", made, desired_count=1)
        service_turn.decide(ServiceState(), evolve(creating, **values), NOW)
    else:
        state = World().create(definition(), 1).state
        service_turn.decide(state, evolve(UpdateService(task_definition=made), **values), NOW)


@pytest.mark.parametrize(
    "parameter", [one for one in UNSUPPORTED_PARAMETERS if one.member not in NEEDS_NO_EXAMPLE], ids=str
)
def test_what_is_listed_is_refused_by_name(parameter: Parameter) -> None:
    with pytest.raises(AwsError) as caught:
        send(parameter)
    assert caught.value.code == "UnsupportedFeatureException"
    assert f"{parameter.operation} parameter {parameter.member} is not supported" in caught.value.message


def test_empty_and_switched_off_values_are_accepted() -> None:
    off = DeploymentConfigurationChange(
        strategy="ROLLING",
        alarms=DeploymentAlarms((), rollback=False, enable=False),
        lifecycle_hooks=[],
        bake_time_in_minutes=0,
    )
    World().create(
        definition(), 1, load_balancers=[], service_registries=[], service_connect_configuration={"enabled": False},
        deployment_controller=DeploymentController("ECS"), deployment_configuration=off,
    )  # fmt: skip


def test_nothing_is_in_both_lists_or_twice() -> None:
    keys = [(one.operation, one.member) for one in (*UNSUPPORTED_PARAMETERS, *STORED_ONLY)]
    assert len(set(keys)) == len(keys)
