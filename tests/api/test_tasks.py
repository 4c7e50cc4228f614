from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Instance
from tests.api.examples import a_cluster, a_service, a_task, a_task_definition
from tests.api.oracle import Client, FaultError


@pytest.fixture
async def call(instance: Instance) -> Client:
    """A client that finds the default cluster and a task definition `web`."""
    client = Client(instance.endpoint)
    await a_cluster(client)
    await a_task_definition(client)
    return client


async def test_a_task_runs_is_described_and_stops(call: Client, instance: Instance) -> None:
    made = await call("RunTask", taskDefinition="web", startedBy="me", group="batch", tags=[{"key": "a", "value": "b"}])
    assert made["failures"] == []
    (task,) = made["tasks"]
    assert task["taskArn"].startswith("arn:aws:ecs:us-east-1:000000000000:task/default/")
    assert len(task["taskArn"].rpartition("/")[2]) == 32
    assert (task["startedBy"], task["group"], task["desiredStatus"]) == ("me", "batch", "RUNNING")
    assert task["tags"] == [{"key": "a", "value": "b"}]
    await instance.settle()
    (running,) = (await call("DescribeTasks", tasks=[task["taskArn"]]))["tasks"]
    assert running["lastStatus"] == "RUNNING"
    assert running["containers"][0]["lastStatus"] == "RUNNING"
    assert running["startedAt"] >= running["createdAt"]
    assert running["tags"] == []
    await call("StopTask", task=task["taskArn"], reason="enough")
    await instance.settle()
    (stopped,) = (await call("DescribeTasks", tasks=[task["taskArn"]], include=["TAGS"]))["tasks"]
    assert (stopped["lastStatus"], stopped["stopCode"], stopped["stoppedReason"]) == (
        "STOPPED",
        "UserInitiated",
        "enough",
    )
    assert stopped["containers"][0]["exitCode"] == 143
    assert stopped["tags"] == [{"key": "a", "value": "b"}]


async def test_a_task_may_be_named_by_id_or_arn_of_either_format(call: Client) -> None:
    arn = await a_task(call)
    task_id = arn.rpartition("/")[2]
    old = arn.replace("task/default/", "task/")
    for reference in (arn, task_id, old):
        assert [one["taskArn"] for one in (await call("DescribeTasks", tasks=[reference]))["tasks"]] == [arn]


async def test_a_missing_task_is_a_failure(call: Client) -> None:
    described = await call("DescribeTasks", tasks=["0" * 32])
    arn = f"arn:aws:ecs:us-east-1:000000000000:task/default/{'0' * 32}"
    assert described == {"tasks": [], "failures": [{"arn": arn, "reason": "MISSING"}]}


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([], "Tasks cannot be empty."),
        (["0" * 32] * 101, "100"),
        (["short"], "taskId length should be one of"),
        (["a/b"], "Task Identifier is invalid"),
        ([f"arn:aws:ecs:us-east-1:000000000000:task/other/{'0' * 32}"], "Identifier is for cluster other"),
        ([f"arn:aws:ecs:eu-west-1:000000000000:task/default/{'0' * 32}"], "Identifier is for region eu-west-1"),
        (["arn:aws:ecs:us-east-1:000000000000:service/default/a"], "Unsupported resource type: service"),
    ],
)
async def test_references_that_cannot_be_are_refused(call: Client, tasks: list[str], message: str) -> None:
    with pytest.raises(FaultError, match=message) as caught:
        await call("DescribeTasks", tasks=tasks)
    assert caught.value.code == "InvalidParameterException"


async def test_stopping_a_task_that_is_not_there_is_refused(call: Client) -> None:
    with pytest.raises(FaultError, match=r"The referenced task was not found\.") as caught:
        await call("StopTask", task="0" * 32)
    assert caught.value.code == "InvalidParameterException"


async def test_a_task_of_another_cluster_is_not_found_under_this_one(call: Client) -> None:
    await a_cluster(call, "other")
    arn = await a_task(call, cluster="other")
    with pytest.raises(FaultError, match="Identifier is for cluster other"):
        await call("DescribeTasks", tasks=[arn])
    described = await call("DescribeTasks", tasks=[arn.rpartition("/")[2]])
    assert len(described["failures"]) == 1


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"taskDefinition": "nope"}, "ClientException"),
        ({"taskDefinition": "web", "count": 0}, "InvalidParameterException"),
        ({"taskDefinition": "web", "count": 11}, "InvalidParameterException"),
        (
            {"taskDefinition": "web", "overrides": {"containerOverrides": [{"name": "nope"}]}},
            "InvalidParameterException",
        ),
    ],
)
async def test_what_cannot_run_is_refused(call: Client, members: dict[str, Any], code: str) -> None:
    with pytest.raises(FaultError) as caught:
        await call("RunTask", **members)
    assert caught.value.code == code


async def test_a_client_token_runs_a_task_once(call: Client) -> None:
    first = await a_task(call, clientToken="one")
    assert await a_task(call, clientToken="one") == first
    assert len((await call("ListTasks"))["taskArns"]) == 1
    with pytest.raises(FaultError):
        await a_task(call, clientToken="one", count=2)


async def test_lists_are_filtered(call: Client, instance: Instance) -> None:
    await a_task_definition(call, "batch")
    mine = await a_task(call, "batch", startedBy="me")
    other = await a_task(call)
    await a_service(call, count=1)
    await instance.settle()

    async def listed(**members: Any) -> set[str]:
        return set((await call("ListTasks", **members))["taskArns"])

    everything = await listed()
    assert len(everything) == 3
    assert await listed(family="batch") == await listed(startedBy="me") == {mine}
    assert await listed(serviceName="web") == everything - {mine, other}
    assert await listed(serviceName="web", family="batch") == set()
    assert await listed(desiredStatus="PENDING") == await listed(desiredStatus="STOPPED") == set()
    assert await listed(launchType="EXTERNAL") == set()
    await call("StopTask", task=mine)
    await instance.settle()
    assert await listed(desiredStatus="STOPPED") == {mine}
    with pytest.raises(FaultError) as caught:
        await listed(serviceName="nope")
    assert caught.value.code == "ServiceNotFoundException"


async def test_pages_cover_every_task_once(call: Client) -> None:
    arns = sorted([await a_task(call) for _ in range(12)])
    seen: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = await call("ListTasks", maxResults=5, **token)
        seen += page["taskArns"]
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}
    assert seen == arns


async def test_a_rendered_task_follows_its_record(call: Client, instance: Instance) -> None:
    """What is kept of a rendering must never outlive the record it was made from."""
    arn = await a_task(call)
    statuses = []
    for _ in range(3):
        (task,) = (await call("DescribeTasks", tasks=[arn]))["tasks"]
        statuses.append(task["lastStatus"])
        await instance.settle()
    await call("TagResource", resourceArn=arn, tags=[{"key": "late", "value": "1"}])
    (task,) = (await call("DescribeTasks", tasks=[arn], include=["TAGS"]))["tasks"]
    assert task["tags"] == [{"key": "late", "value": "1"}]
    assert statuses[-1] == "RUNNING" != statuses[0]
