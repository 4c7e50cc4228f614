from __future__ import annotations

from typing import Any

import pytest

from tests.api.examples import CONTAINER, a_task_definition
from tests.api.oracle import Client, FaultError

ARN = "arn:aws:ecs:us-east-1:000000000000:task-definition/web"


async def test_revisions_count_up_and_a_family_means_its_newest_active_one(call: Client) -> None:
    assert [await a_task_definition(call) for _ in range(3)] == [f"{ARN}:{n}" for n in (1, 2, 3)]
    await call("DeregisterTaskDefinition", taskDefinition="web:3")
    assert (await call("DescribeTaskDefinition", taskDefinition="web"))["taskDefinition"]["revision"] == 2
    inactive = (await call("DescribeTaskDefinition", taskDefinition=f"{ARN}:3"))["taskDefinition"]
    assert inactive["status"] == "INACTIVE"
    assert "deregisteredAt" in inactive


async def test_defaults_are_read_back_as_aws_returns_them(call: Client) -> None:
    await a_task_definition(call)
    definition = (await call("DescribeTaskDefinition", taskDefinition="web"))["taskDefinition"]
    (container,) = definition["containerDefinitions"]
    for empty in ("portMappings", "environment", "mountPoints", "volumesFrom", "systemControls"):
        assert container[empty] == []
    assert (container["cpu"], container["essential"], container["command"]) == (0, True, ["sleep", "60"])
    assert definition["volumes"] == definition["placementConstraints"] == []
    assert definition["status"] == "ACTIVE"
    assert definition["registeredAt"].year == 2026
    assert "EC2" in definition["compatibilities"]


async def test_every_member_of_a_container_definition_comes_back(call: Client) -> None:
    container: dict[str, Any] = CONTAINER | {
        "portMappings": [
            {"containerPort": 80, "hostPort": 80, "protocol": "tcp", "name": "http", "appProtocol": "http"}
        ],
        "environment": [{"name": "A", "value": "b"}],
        "dependsOn": [{"containerName": "init", "condition": "SUCCESS"}],
        "healthCheck": {"command": ["CMD", "true"], "interval": 5, "timeout": 2, "retries": 1, "startPeriod": 1},
        "linuxParameters": {"initProcessEnabled": True, "capabilities": {"drop": ["ALL"]}},
        "ulimits": [{"name": "nofile", "softLimit": 1024, "hardLimit": 2048}],
        "dockerLabels": {"a": "b"},
        "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "g"}},
        "stopTimeout": 5,
        "user": "nobody",
        "workingDirectory": "/tmp",
    }
    init = {"name": "init", "image": "busybox", "memory": 16, "essential": False}
    await a_task_definition(call, containerDefinitions=[container, init], networkMode="awsvpc")
    found = (await call("DescribeTaskDefinition", taskDefinition="web"))["taskDefinition"]["containerDefinitions"][0]
    assert {name: found[name] for name in container} == container


async def test_tags_stand_beside_the_task_definition(call: Client) -> None:
    tags = [{"key": "a", "value": "b"}]
    made = await call("RegisterTaskDefinition", family="web", containerDefinitions=[CONTAINER], tags=tags)
    assert made["tags"] == tags
    assert "tags" not in await call("DescribeTaskDefinition", taskDefinition="web")
    assert (await call("DescribeTaskDefinition", taskDefinition="web", include=["TAGS"]))["tags"] == tags


@pytest.mark.parametrize(
    ("operation", "reference", "code", "message"),
    [
        ("DescribeTaskDefinition", "nope", "ClientException", "Unable to describe task definition."),
        ("DescribeTaskDefinition", "web:7", "ClientException", "Unable to describe task definition."),
        ("DescribeTaskDefinition", "web:x", "ClientException", "Invalid revision number. Number: x"),
        ("DescribeTaskDefinition", "web:" + "9" * 5000, "ClientException", "Invalid revision number"),
        ("DescribeTaskDefinition", "", "InvalidParameterException", "TaskDefinition can not be blank."),
        ("DescribeTaskDefinition", ARN.replace("us-east-1", "eu-west-1"), "InvalidParameterException", "region"),
        ("DeregisterTaskDefinition", "web", "ClientException", "Revision is missing."),
        ("DeregisterTaskDefinition", "web:9", "ClientException", "task definition"),
    ],
)
async def test_what_is_not_there_is_refused(
    call: Client, operation: str, reference: str, code: str, message: str
) -> None:
    await a_task_definition(call)
    with pytest.raises(FaultError, match=message) as caught:
        await call(operation, taskDefinition=reference)
    assert caught.value.code == code


async def test_lists_are_by_family_and_revision_either_way_and_in_pages(call: Client) -> None:
    for family in ("b", "a", "web"):
        for _ in range(2):
            await a_task_definition(call, family)
    await call("DeregisterTaskDefinition", taskDefinition="a:1")

    async def listed(**members: Any) -> list[str]:
        names: list[str] = []
        token: dict[str, str] = {}
        while True:
            page = await call("ListTaskDefinitions", maxResults=2, **members, **token)
            names += [arn.rpartition("/")[2] for arn in page["taskDefinitionArns"]]
            if "nextToken" not in page:
                return names
            token = {"nextToken": page["nextToken"]}

    assert await listed() == ["a:2", "b:1", "b:2", "web:1", "web:2"]
    assert await listed(sort="DESC") == ["web:2", "web:1", "b:2", "b:1", "a:2"]
    assert await listed(status="INACTIVE") == ["a:1"]
    assert await listed(familyPrefix="b") == ["b:1", "b:2"]
    assert await listed(familyPrefix="we") == []


async def test_families_are_listed_by_prefix_and_status(call: Client) -> None:
    for family in ("web", "worker", "batch"):
        await a_task_definition(call, family)
    await call("DeregisterTaskDefinition", taskDefinition="worker:1")
    assert (await call("ListTaskDefinitionFamilies"))["families"] == ["batch", "web", "worker"]
    assert (await call("ListTaskDefinitionFamilies", status="ACTIVE"))["families"] == ["batch", "web"]
    assert (await call("ListTaskDefinitionFamilies", familyPrefix="w", status="ALL"))["families"] == ["web", "worker"]
    assert (await call("ListTaskDefinitionFamilies", status="INACTIVE"))["families"] == ["worker"]
    page = await call("ListTaskDefinitionFamilies", maxResults=1)
    assert page["families"] == ["batch"]
    assert (await call("ListTaskDefinitionFamilies", nextToken=page["nextToken"]))["families"] == ["web", "worker"]


async def test_only_inactive_revisions_are_deleted(call: Client) -> None:
    for _ in range(2):
        await a_task_definition(call)
    await call("DeregisterTaskDefinition", taskDefinition="web:1")
    done = await call("DeleteTaskDefinitions", taskDefinitions=["web:1", "web:2"])
    assert [one["status"] for one in done["taskDefinitions"]] == ["DELETE_IN_PROGRESS"]
    assert [one["arn"] for one in done["failures"]] == [f"{ARN}:2"]


async def test_at_most_ten_are_deleted_at_once(call: Client) -> None:
    with pytest.raises(FaultError, match="between 1 and 10"):
        await call("DeleteTaskDefinitions", taskDefinitions=[f"web:{n}" for n in range(1, 12)])


async def test_a_revision_and_a_service_say_who_made_them(call: Client) -> None:
    await call("CreateCluster")
    made = await call("RegisterTaskDefinition", family="web", containerDefinitions=[CONTAINER])
    assert made["taskDefinition"]["registeredBy"] == "arn:aws:iam::000000000000:root"
    service = (await call("CreateService", serviceName="web", taskDefinition="web", desiredCount=0))["service"]
    assert service["createdBy"] == "arn:aws:iam::000000000000:root"
