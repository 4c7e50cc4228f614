"""What KECS refuses, and what it stores without acting on it: the one list, in AWS's parameter names.

A parameter that is given, and that KECS cannot honour, is refused by name (`UnsupportedFeatureException`): nothing is
faked. Empty values, and values that switch a feature off, are accepted. The documentation's page is made from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from attrs import frozen

from engine import commands, errors
from engine.container_definition import ContainerDefinition
from engine.task_definition import TaskDefinition
from engine.volume import Volume


@frozen
class Parameter:
    """A parameter of an operation, by AWS's name, and why it is in the list."""

    operation: str
    member: str
    why: str


_LOAD_BALANCERS = "load balancers are not there yet"
_CLOUD_MAP = "Cloud Map and Service Connect are not there yet"
_EBS = "volumes configured at launch (EBS) are not there yet"
_LATTICE = "VPC Lattice has no local counterpart"
_ONLY_ROLLING = "only rolling deployments by ECS itself are there"
_METRICS = "CloudWatch metrics are not there yet"
_NO_PLUGINS = "secrets, file systems and files in S3 cannot be fetched yet, and a task must not start without them"

UNSUPPORTED_PARAMETERS: Final[tuple[Parameter, ...]] = (
    *(
        Parameter(operation, member, why)
        for operation in ("CreateService", "UpdateService")
        for member, why in (
            ("loadBalancers", _LOAD_BALANCERS),
            ("serviceRegistries", _CLOUD_MAP),
            ("serviceConnectConfiguration.enabled", _CLOUD_MAP),
            ("volumeConfigurations", _EBS),
            ("vpcLatticeConfigurations", _LATTICE),
            ("gatewayConnectors", _LATTICE),
            ("monitoring", _METRICS),
            ("deploymentController.type", _ONLY_ROLLING),
            ("deploymentConfiguration.strategy", _ONLY_ROLLING),
            ("deploymentConfiguration.alarms.enable", _METRICS),
            ("deploymentConfiguration.lifecycleHooks", _ONLY_ROLLING),
            ("deploymentConfiguration.linearConfiguration", _ONLY_ROLLING),
            ("deploymentConfiguration.canaryConfiguration", _ONLY_ROLLING),
            ("deploymentConfiguration.earlySuccessCriteria.enable", _ONLY_ROLLING),
            ("deploymentConfiguration.bakeTimeInMinutes", _METRICS),
        )
    ),
    Parameter("RunTask", "volumeConfigurations", _EBS),
    Parameter("ListTasks", "daemonName", "daemons of managed instances are not there"),
    *(
        Parameter(operation, f"taskDefinition.{member}", _NO_PLUGINS)
        for operation in ("RunTask", "CreateService", "UpdateService")
        for member in (
            "containerDefinitions.secrets",
            "containerDefinitions.environmentFiles",
            "containerDefinitions.resourceRequirements",
            "volumes.dockerVolumeConfiguration",
            "volumes.efsVolumeConfiguration",
            "volumes.s3filesVolumeConfiguration",
            "volumes.fsxWindowsFileServerVolumeConfiguration",
            "volumes.configuredAtLaunch",
        )
    ),
    *(
        Parameter("RunTask", f"overrides.containerOverrides.{member}", _NO_PLUGINS)
        for member in ("environmentFiles", "resourceRequirements")
    ),
)

_ONE_NODE = "everything runs on one machine"
_NO_VPC = "there is no VPC: the network of the machine is used"
_NO_STORAGE = "the file system of the machine is used"
_NO_ACCELERATORS = "AWS has ended Elastic Inference"
_NO_IAM = "roles are not assumed: a task has the credentials its environment gives it"

STORED_ONLY: Final[tuple[Parameter, ...]] = (
    *(
        Parameter(operation, member, why)
        for operation in ("RunTask", "CreateService", "UpdateService")
        for member, why in (
            ("placementConstraints", _ONE_NODE),
            ("placementStrategy", _ONE_NODE),
            ("platformVersion", _ONE_NODE),
            ("capacityProviderStrategy", _ONE_NODE),
            ("networkConfiguration", _NO_VPC),
            ("enableExecuteCommand", "ExecuteCommand is not there yet"),
        )
    ),
    Parameter("RunTask", "referenceId", "AWS does not return it either"),
    Parameter("RunTask", "overrides.taskRoleArn", _NO_IAM),
    Parameter("RunTask", "overrides.executionRoleArn", _NO_IAM),
    Parameter("RunTask", "overrides.ephemeralStorage", _NO_STORAGE),
    Parameter("RunTask", "overrides.inferenceAcceleratorOverrides", _NO_ACCELERATORS),
    Parameter("CreateService", "availabilityZoneRebalancing", _ONE_NODE),
    Parameter("UpdateService", "availabilityZoneRebalancing", _ONE_NODE),
    Parameter("CreateService", "role", _NO_IAM),
    *(
        Parameter(operation, member, why)
        for operation in ("CreateCluster", "UpdateCluster")
        for member, why in (
            ("settings", _METRICS),
            ("configuration", "ExecuteCommand and managed storage are not there yet"),
            ("serviceConnectDefaults", _CLOUD_MAP),
        )
    ),
    Parameter("UpdateClusterSettings", "settings", _METRICS),
    *(
        Parameter(operation, member, _ONE_NODE)
        for operation in ("CreateCluster", "PutClusterCapacityProviders")
        for member in ("capacityProviders", "defaultCapacityProviderStrategy")
    ),
    *(
        Parameter("RegisterTaskDefinition", member, why)
        for member, why in (
            ("taskRoleArn", _NO_IAM),
            ("executionRoleArn", _NO_IAM),
            ("placementConstraints", _ONE_NODE),
            ("inferenceAccelerators", _NO_ACCELERATORS),
            ("proxyConfiguration", "App Mesh has no local counterpart"),
            ("ephemeralStorage", _NO_STORAGE),
            ("runtimePlatform", "the machine's own platform is used"),
            ("enableFaultInjection", "the fault injection endpoints are not there"),
            ("trustedExecutionConfiguration", "only Managed Instances have it"),
            ("containerDefinitions.logConfiguration", "logs are kept by the instance: see `kecs logs`"),
            ("containerDefinitions.firelensConfiguration", "logs are kept by the instance: see `kecs logs`"),
            ("containerDefinitions.repositoryCredentials", "registries are the runtime's own matter"),
            ("containerDefinitions.restartPolicy", "a container that exits is not started again within its task"),
            ("networkMode=none", "a task keeps its address"),
            ("ipcMode=none", "a task keeps its IPC namespace"),
            ("containerDefinitions.disableNetworking", "a task's containers share its network"),
            (
                "containerDefinitions.portMappings.containerPortRange",
                "a task has an address, and every port, of its own",
            ),
            ("containerDefinitions.dockerSecurityOptions", "only no-new-privileges is known"),
            ("containerDefinitions.linuxParameters.devices", "devices of the machine are not given to tasks"),
            ("containerDefinitions.linuxParameters.maxSwap", "swap is the machine's own matter"),
            ("containerDefinitions.linuxParameters.swappiness", "swap is the machine's own matter"),
            ("containerDefinitions.linuxParameters.tmpfs.mountOptions", "it is mounted nosuid and nodev"),
            ("containerDefinitions.portMappings.name", "only Service Connect uses it"),
            ("containerDefinitions.portMappings.appProtocol", "only Service Connect uses it"),
            ("containerDefinitions.interactive", "the process driver gives a container no input"),
            ("containerDefinitions.pseudoTerminal", "the process driver gives a container no terminal"),
            ("containerDefinitions.dockerLabels", "there is no Docker; the simulated driver obeys labels of its own"),
            ("containerDefinitions.versionConsistency", "images are not pinned to a digest"),
            ("containerDefinitions.credentialSpecs", "there is no Active Directory"),
        )
    ),
)


def refuse_service_parameters(command: commands.CreateService | commands.UpdateService) -> None:
    """Raise UnsupportedFeatureException if the command asks for something that KECS does not do."""
    operation = type(command).__name__
    deployment = command.deployment_configuration or commands.DeploymentConfigurationChange()
    asked: Mapping[str, Any] = {
        "loadBalancers": command.load_balancers,
        "serviceRegistries": command.service_registries,
        "serviceConnectConfiguration.enabled": _enabled(command.service_connect_configuration, "enabled"),
        "volumeConfigurations": command.volume_configurations,
        "vpcLatticeConfigurations": command.vpc_lattice_configurations,
        "gatewayConnectors": command.gateway_connectors,
        "monitoring": _enabled(command.monitoring, "metricConfigurations"),
        "deploymentController.type": command.deployment_controller and command.deployment_controller.type != "ECS",
        "deploymentConfiguration.strategy": deployment.strategy not in (None, "ROLLING"),
        "deploymentConfiguration.alarms.enable": deployment.alarms and deployment.alarms.enable,
        "deploymentConfiguration.lifecycleHooks": deployment.lifecycle_hooks,
        "deploymentConfiguration.linearConfiguration": deployment.linear_configuration,
        "deploymentConfiguration.canaryConfiguration": deployment.canary_configuration,
        "deploymentConfiguration.earlySuccessCriteria.enable": _enabled(deployment.early_success_criteria, "enable"),
        "deploymentConfiguration.bakeTimeInMinutes": deployment.bake_time_in_minutes,
    }
    _refuse(operation, asked)


def refuse_run_task_parameters(command: commands.RunTask) -> None:
    """Raise UnsupportedFeatureException if the command asks for something that KECS does not do."""
    overrides = (command.overrides and command.overrides.container_overrides) or ()
    _refuse(
        "RunTask",
        {
            "volumeConfigurations": command.volume_configurations,
            "overrides.containerOverrides.environmentFiles": any(one.environment_files for one in overrides),
            "overrides.containerOverrides.resourceRequirements": any(one.resource_requirements for one in overrides),
        },
    )


def refuse_list_tasks_parameters(daemon_name: str | None) -> None:
    """Raise UnsupportedFeatureException if tasks are to be filtered by something that KECS does not have."""
    _refuse("ListTasks", {"daemonName": daemon_name})


def refuse_task_definition(operation: str, definition: TaskDefinition) -> None:
    """Raise UnsupportedFeatureException if tasks of the task definition need something that KECS does not have."""
    containers, volumes = definition.container_definitions, definition.volumes
    _refuse(
        operation,
        {
            **{f"taskDefinition.containerDefinitions.{name}": any(map(get, containers)) for name, get in _CONTAINER},
            **{f"taskDefinition.volumes.{name}": any(map(get, volumes)) for name, get in _VOLUME},
        },
    )


_CONTAINER: Final[Iterable[tuple[str, Callable[[ContainerDefinition], object]]]] = (
    ("secrets", lambda container: container.secrets),
    ("environmentFiles", lambda container: container.environment_files),
    ("resourceRequirements", lambda container: container.resource_requirements),
)
_VOLUME: Final[Iterable[tuple[str, Callable[[Volume], object]]]] = (
    ("dockerVolumeConfiguration", lambda volume: volume.docker_volume_configuration),
    ("efsVolumeConfiguration", lambda volume: volume.efs_volume_configuration),
    ("s3filesVolumeConfiguration", lambda volume: volume.s3files_volume_configuration),
    ("fsxWindowsFileServerVolumeConfiguration", lambda volume: volume.fsx_windows_file_server_volume_configuration),
    ("configuredAtLaunch", lambda volume: volume.configured_at_launch),
)


def _enabled(value: Any, member: str) -> Any:
    """A member of a structure that is passed on as it was parsed."""
    return value.get(member) if isinstance(value, Mapping) else value


def _refuse(operation: str, asked: Mapping[str, Any]) -> None:
    for member, value in asked.items():
        if value:
            raise errors.unsupported(f"{operation} parameter {member}")
