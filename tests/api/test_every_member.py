"""No member of a request falls through: it is acted on, stored and listed as such, or refused and listed as such."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from api.ecs.operations import READS, WRITES
from api.protocol import model
from engine.unsupported import STORED_ONLY, UNSUPPORTED_PARAMETERS

SERVICE = model.load("ecs")
LISTS = ("maxResults", "nextToken")
TAGS = ("tags.key", "tags.value")
SWITCHES = ("enable", "enabled")  # listed instead of the whole structure that they switch on

TASKS_ALIKE = ("cluster", "launchType", "taskDefinition", "enableECSManagedTags", "propagateTags", "clientToken")
SERVICES_ALIKE = (
    *TASKS_ALIKE,
    "desiredCount",
    "healthCheckGracePeriodSeconds",  # refused as AWS does: there are no load balancers
    "deploymentConfiguration.deploymentCircuitBreaker",
    "deploymentConfiguration.maximumPercent",
    "deploymentConfiguration.minimumHealthyPercent",
)
ACTED_ON = {
    "CreateCluster": ("clusterName", *TAGS),
    "CreateService": (*SERVICES_ALIKE, *TAGS, "serviceName", "schedulingStrategy"),
    "DeleteCluster": ("cluster",),
    "DeleteService": ("cluster", "service", "force"),
    "DeleteTaskDefinitions": ("taskDefinitions",),
    "DeregisterTaskDefinition": ("taskDefinition",),
    "DescribeClusters": ("clusters", "include"),
    "DescribeServices": ("cluster", "services", "include"),
    "DescribeTaskDefinition": ("taskDefinition", "include"),
    "DescribeTasks": ("cluster", "tasks", "include"),
    "ListClusters": LISTS,
    "ListServices": (*LISTS, "cluster", "launchType", "schedulingStrategy", "resourceManagementType"),
    "ListTagsForResource": ("resourceArn",),
    "ListTaskDefinitionFamilies": (*LISTS, "familyPrefix", "status"),
    "ListTaskDefinitions": (*LISTS, "familyPrefix", "status", "sort"),
    "ListTasks": (
        *LISTS, "cluster", "containerInstance", "family", "startedBy", "serviceName", "desiredStatus", "launchType",
    ),
    "PutClusterCapacityProviders": ("cluster",),
    "RegisterTaskDefinition": (
        *TAGS, "family", "networkMode", "volumes.name", "volumes.host", "requiresCompatibilities", "cpu", "memory",
        "pidMode", "ipcMode",
        *(
            f"containerDefinitions.{member}"
            for member in (
                "name", "image", "cpu", "memory", "memoryReservation", "links", "portMappings.containerPort",
                "portMappings.hostPort", "portMappings.protocol", "essential", "entryPoint", "command", "environment",
                "mountPoints", "volumesFrom", "linuxParameters.capabilities", "linuxParameters.initProcessEnabled",
                "linuxParameters.sharedMemorySize", "linuxParameters.tmpfs.containerPath",
                "linuxParameters.tmpfs.size", "dependsOn", "startTimeout", "stopTimeout", "hostname", "user",
                "workingDirectory", "privileged", "readonlyRootFilesystem", "dnsServers", "dnsSearchDomains",
                "extraHosts", "ulimits", "healthCheck", "systemControls",
            )
        ),
    ),
    "RunTask": (
        *TASKS_ALIKE, *TAGS, "count", "group", "startedBy", "overrides.cpu", "overrides.memory",
        *(
            f"overrides.containerOverrides.{member}"
            for member in ("name", "command", "environment", "cpu", "memory", "memoryReservation")
        ),
    ),
    "StopTask": ("cluster", "task", "reason"),
    "TagResource": ("resourceArn", *TAGS),
    "UntagResource": ("resourceArn", "tagKeys"),
    "UpdateCluster": ("cluster",),
    "UpdateClusterSettings": ("cluster",),
    "UpdateService": (*SERVICES_ALIKE, "service", "forceNewDeployment"),
}  # fmt: skip


def members(shape: str, path: str = "") -> Iterator[str]:
    """The paths of a shape's members that hold a value."""
    found = SERVICE.shapes[shape]
    if found["type"] == "list":
        yield from members(found["member"]["shape"], path)
    elif found["type"] == "structure" and found["members"]:
        for name, target in found["members"].items():
            yield from members(target["shape"], f"{path}.{name}" if path else name)
    else:
        yield path


def listed(operation: str) -> list[str]:
    """What the two lists say of an operation's members; of a task definition it is said where it is used."""
    found = [one.member for one in (*STORED_ONLY, *UNSUPPORTED_PARAMETERS) if one.operation == operation]
    if operation == "RegisterTaskDefinition":
        head = "taskDefinition."
        found += [one.member.removeprefix(head) for one in UNSUPPORTED_PARAMETERS if one.member.startswith(head)]
    return [name.rpartition(".")[0] if name.rpartition(".")[2] in SWITCHES else name for name in found]


def covers(listed_member: str, member: str) -> bool:
    return member == listed_member or member.startswith(listed_member + ".")


@pytest.mark.parametrize("operation", sorted([*READS, *WRITES]))
def test_every_member_is_acted_on_or_listed(operation: str) -> None:
    known = [*ACTED_ON[operation], *listed(operation)]
    forgotten = [
        member for member in members(SERVICE.input_shape(operation)) if not any(covers(one, member) for one in known)
    ]
    assert not forgotten


@pytest.mark.parametrize("operation", sorted([*READS, *WRITES]))
def test_nothing_is_acted_on_and_listed(operation: str) -> None:
    acted = ACTED_ON[operation]
    others = [one for one in listed(operation) if "=" not in one and not one.startswith("taskDefinition.")]
    assert not [one for one in others if any(covers(mine, one) for mine in acted)]
