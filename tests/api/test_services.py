from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.api.conftest import Instance
from tests.api.examples import a_cluster, a_service, a_task_definition
from tests.api.oracle import Client, FaultError

ARN = "arn:aws:ecs:us-east-1:000000000000:service/default/web"
A_WHILE_S = 300  # of the mock clock: a deployment waits before it calls itself steady


@pytest.fixture
async def call(instance: Instance) -> Client:
    """A client that finds the default cluster and a task definition `web`."""
    client = Client(instance.endpoint)
    await a_cluster(client)
    await a_task_definition(client)
    return client


async def described(call: Client, **members: Any) -> dict[str, Any]:
    (service,) = (await call("DescribeServices", services=["web"], **members))["services"]
    found: dict[str, Any] = service
    return found


async def test_a_service_starts_its_tasks_and_tells_of_it(
    call: Client, instance: Instance, autojump_clock: MockClock
) -> None:
    assert await a_service(call, count=2) == ARN
    await trio.sleep(A_WHILE_S)
    service = await described(call)
    assert (service["runningCount"], service["pendingCount"], service["desiredCount"]) == (2, 0, 2)
    (deployment,) = service["deployments"]
    assert (deployment["status"], deployment["runningCount"], deployment["rolloutState"]) == ("PRIMARY", 2, "COMPLETED")
    assert any("has reached a steady state" in event["message"] for event in service["events"])
    assert (await call("ListServices"))["serviceArns"] == [ARN]


async def test_a_description_has_what_clients_read(call: Client) -> None:
    await a_service(call)
    service = await described(call)
    for name in (
        "availabilityZoneRebalancing",
        "schedulingStrategy",
        "deploymentController",
        "deploymentConfiguration",
        "createdAt",
        "propagateTags",
        "enableECSManagedTags",
        "enableExecuteCommand",
        "loadBalancers",
        "serviceRegistries",
        "placementConstraints",
        "placementStrategy",
        "events",
    ):
        assert name in service, name
    assert "updatedAt" in service["deployments"][0]


async def test_a_service_scales_rolls_over_and_is_deleted(
    call: Client, instance: Instance, autojump_clock: MockClock
) -> None:
    await a_service(call, count=1)
    await trio.sleep(A_WHILE_S)
    assert (await call("UpdateService", service=ARN, desiredCount=3))["service"]["desiredCount"] == 3
    await trio.sleep(A_WHILE_S)
    assert (await described(call))["runningCount"] == 3
    second = await a_task_definition(call)
    await call("UpdateService", service="web", taskDefinition="web")
    await trio.sleep(A_WHILE_S)
    service = await described(call)
    assert service["taskDefinition"] == second
    assert (service["runningCount"], len(service["deployments"])) == (3, 1)
    with pytest.raises(FaultError) as caught:
        await call("DeleteService", service="web")
    assert caught.value.code == "InvalidParameterException"
    assert (await call("DeleteService", service="web", force=True))["service"]["status"] == "DRAINING"
    await trio.sleep(A_WHILE_S)
    gone = await described(call)
    assert (gone["status"], gone["runningCount"]) == ("INACTIVE", 0)
    assert (await call("ListServices"))["serviceArns"] == []


async def test_tags_are_shown_when_asked_for(call: Client) -> None:
    tags = [{"key": "a", "value": "b"}]
    await a_service(call, tags=tags)
    assert "tags" not in await described(call)
    assert (await described(call, include=["TAGS"]))["tags"] == tags


async def test_tags_propagate_to_tasks(call: Client, instance: Instance) -> None:
    await a_service(call, count=1, tags=[{"key": "a", "value": "b"}], propagateTags="SERVICE")
    await instance.settle()
    (arn,) = (await call("ListTasks"))["taskArns"]
    (task,) = (await call("DescribeTasks", tasks=[arn], include=["TAGS"]))["tasks"]
    assert {"key": "a", "value": "b"} in task["tags"]


@pytest.mark.parametrize("operation", ["UpdateService", "DeleteService"])
async def test_a_missing_service_has_its_error(call: Client, operation: str) -> None:
    with pytest.raises(FaultError) as caught:
        await call(operation, service="nope")
    assert (caught.value.code, caught.value.message) == ("ServiceNotFoundException", "Service not found.")


async def test_a_missing_service_is_a_failure_of_the_description(call: Client) -> None:
    found = await call("DescribeServices", services=["nope"])
    assert found == {"services": [], "failures": [{"arn": ARN.replace("/web", "/nope"), "reason": "MISSING"}]}


@pytest.mark.parametrize(
    ("services", "message"),
    [
        ([], "Services cannot be empty."),
        (["a"] * 11, "10"),
        (["a b"], "Service must match"),
        ([ARN.replace("default", "other")], "Identifier is for cluster other. Your cluster is default"),
    ],
)
async def test_references_that_cannot_be_are_refused(call: Client, services: list[str], message: str) -> None:
    with pytest.raises(FaultError, match=message) as caught:
        await call("DescribeServices", services=services)
    assert caught.value.code == "InvalidParameterException"


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"taskDefinition": "nope"}, "ClientException"),
        ({"taskDefinition": "web", "serviceName": "a b"}, "InvalidParameterException"),
        ({"taskDefinition": "web", "desiredCount": -1}, "InvalidParameterException"),
        ({"taskDefinition": "web", "loadBalancers": [{"targetGroupArn": "x"}]}, "UnsupportedFeatureException"),
        ({"taskDefinition": "web", "deploymentController": {"type": "CODE_DEPLOY"}}, "UnsupportedFeatureException"),
    ],
)
async def test_what_cannot_be_created_is_refused(call: Client, members: dict[str, Any], code: str) -> None:
    with pytest.raises(FaultError) as caught:
        await call("CreateService", **({"serviceName": "web", "desiredCount": 1} | members))
    assert caught.value.code == code
    assert (await call("ListServices"))["serviceArns"] == []


async def test_a_service_name_is_taken_once(call: Client) -> None:
    await a_service(call)
    with pytest.raises(FaultError) as caught:
        await a_service(call, count=3)
    assert caught.value.code == "InvalidParameterException"


async def test_lists_are_filtered_and_paged(call: Client) -> None:
    for number in range(13):
        await a_service(call, f"s{number:02}", count=0, launchType="EXTERNAL" if number % 2 else "EC2")
    first = await call("ListServices")
    assert len(first["serviceArns"]) == 10
    rest = await call("ListServices", nextToken=first["nextToken"])
    assert len(rest["serviceArns"]) == 3
    assert "nextToken" not in rest
    assert len((await call("ListServices", launchType="EXTERNAL", maxResults=100))["serviceArns"]) == 6
    assert (await call("ListServices", schedulingStrategy="DAEMON"))["serviceArns"] == []
    assert (await call("ListServices", resourceManagementType="ECS"))["serviceArns"] == []
    assert len((await call("ListServices", resourceManagementType="CUSTOMER", maxResults=100))["serviceArns"]) == 13


async def test_a_task_of_a_service_is_stopped_by_its_owner(call: Client, instance: Instance) -> None:
    await a_service(call, count=1)
    await instance.settle()
    (arn,) = (await call("ListTasks"))["taskArns"]
    await call("StopTask", task=arn)
    await instance.settle()
    (replacement,) = (await call("ListTasks"))["taskArns"]
    assert replacement != arn
