"""The engine's records carry every member that the service model's shapes have, or say why not."""

from __future__ import annotations

from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

import attrs
import botocore.loaders
import botocore.model
import pytest
from botocore import xform_name

from engine import cluster, commands, container_definition, network, overrides, service, task, task_definition, volume
from engine.tags import Tag

COMPUTED = "computed from tasks and services when it is read"
RESOLVED = "names the actor the command is sent to"
NOT_OFFERED = "belongs to a feature that is refused: see engine/unsupported.py"
ABSENT = "AWS leaves it out for everything KECS offers"

EXCLUDED: dict[tuple[str, str], str] = {
    ("Cluster", "registeredContainerInstancesCount"): COMPUTED,
    ("Cluster", "runningTasksCount"): COMPUTED,
    ("Cluster", "pendingTasksCount"): COMPUTED,
    ("Cluster", "activeServicesCount"): COMPUTED,
    ("Cluster", "statistics"): COMPUTED,
    ("Cluster", "attachments"): ABSENT,
    ("Cluster", "attachmentsStatus"): ABSENT,
    ("Task", "trustedExecutionSummary"): NOT_OFFERED,
    ("Service", "runningCount"): COMPUTED,
    ("Service", "pendingCount"): COMPUTED,
    ("Service", "taskSets"): NOT_OFFERED,
    ("Service", "currentServiceDeployment"): NOT_OFFERED,
    ("Service", "currentServiceRevisions"): NOT_OFFERED,
    ("Service", "resourceManagementType"): ABSENT,
    ("Deployment", "runningCount"): COMPUTED,
    ("Deployment", "pendingCount"): COMPUTED,
    ("Deployment", "serviceConnectConfiguration"): NOT_OFFERED,
    ("Deployment", "serviceConnectResources"): NOT_OFFERED,
    ("Deployment", "volumeConfigurations"): NOT_OFFERED,
    ("Deployment", "fargateEphemeralStorage"): ABSENT,
    ("Deployment", "vpcLatticeConfigurations"): NOT_OFFERED,
    ("DeploymentConfiguration", "lifecycleHooks"): NOT_OFFERED,
    ("DeploymentConfiguration", "linearConfiguration"): NOT_OFFERED,
    ("DeploymentConfiguration", "canaryConfiguration"): NOT_OFFERED,
    ("DeploymentConfiguration", "earlySuccessCriteria"): NOT_OFFERED,
    ("UpdateClusterRequest", "cluster"): RESOLVED,
    ("UpdateClusterSettingsRequest", "cluster"): RESOLVED,
    ("PutClusterCapacityProvidersRequest", "cluster"): RESOLVED,
    ("DeleteClusterRequest", "cluster"): RESOLVED,
    ("RunTaskRequest", "cluster"): RESOLVED,
    ("StopTaskRequest", "cluster"): RESOLVED,
    ("StopTaskRequest", "task"): "resolved to task_arn",
    ("UpdateServiceRequest", "cluster"): RESOLVED,
    ("UpdateServiceRequest", "service"): RESOLVED,
    ("DeleteServiceRequest", "cluster"): RESOLVED,
    ("DeleteServiceRequest", "service"): RESOLVED,
    ("TagResourceRequest", "resourceArn"): "resolved to arn",
    ("UntagResourceRequest", "resourceArn"): "resolved to arn",
}

ROOTS: list[tuple[str, type]] = [
    ("TaskDefinition", task_definition.TaskDefinition),
    ("ContainerDefinition", container_definition.ContainerDefinition),
    ("Volume", volume.Volume),
    ("Cluster", cluster.Cluster),
    ("Task", task.Task),
    ("Container", task.Container),
    ("TaskOverride", overrides.TaskOverride),
    ("Service", service.Service),
    ("Deployment", service.Deployment),
    ("NetworkConfiguration", network.NetworkConfiguration),
    ("Tag", Tag),
    ("Failure", commands.Failure),
    *(
        (f"{command.__name__}Request", command)
        for union in (commands.ClusterCommand, commands.ServiceCommand, commands.TaskDefinitionCommand)
        for command in get_args(union)
    ),
]


@cache
def model() -> botocore.model.ServiceModel:
    return botocore.model.ServiceModel(botocore.loaders.Loader().load_service_model("ecs", "service-2"))


def structure(name: str) -> botocore.model.StructureShape:
    shape = model().shape_for(name)
    assert isinstance(shape, botocore.model.StructureShape)
    return shape


def inner_class(hint: object) -> type | None:
    """The attrs class inside `X | None`, `tuple[X, ...]` or `X`."""
    if isinstance(hint, type) and get_origin(hint) is None and attrs.has(hint):
        return hint
    return next((found for arg in get_args(hint) if (found := inner_class(arg)) is not None), None)


def inner_shape(shape: Any) -> Any:
    return inner_shape(shape.member) if shape.type_name == "list" else shape


def missing(shape_name: str, record: type) -> list[str]:
    """Members of a shape, and of the shapes inside it, for which the record has neither attribute nor reason."""
    problems: list[str] = []
    hints = get_type_hints(record)
    for member, shape in structure(shape_name).members.items():
        attribute = xform_name(member)
        if attribute not in hints and (shape_name, member) in EXCLUDED:
            continue
        if attribute not in hints:
            problems.append(f"{shape_name}.{member}")
        elif inner_shape(shape).type_name == "structure" and hints[attribute] is not Any:
            nested = inner_class(hints[attribute])
            if nested is not None:
                problems += missing(inner_shape(shape).name, nested)
            elif Any not in get_args(hints[attribute]):
                problems.append(f"{shape_name}.{member} has no class")
    return problems


@pytest.mark.parametrize(("shape_name", "record"), ROOTS, ids=lambda value: value if isinstance(value, str) else "")
def test_every_member_of_the_shape_is_an_attribute_or_excluded_with_a_reason(shape_name: str, record: type) -> None:
    assert missing(shape_name, record) == []


def test_exclusions_name_members_that_exist() -> None:
    assert [key for key in EXCLUDED if key[1] not in structure(key[0]).members] == []
