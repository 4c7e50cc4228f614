from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Instance
from tests.api.examples import a_cluster, a_service, a_task, a_task_definition
from tests.api.oracle import Client, FaultError

ARN = "arn:aws:ecs:us-east-1:000000000000:cluster/default"


async def test_a_created_cluster_is_described_listed_and_deleted(call: Client) -> None:
    made = (await call("CreateCluster"))["cluster"]
    assert made["clusterArn"] == ARN
    assert made["clusterName"] == "default"
    assert made["status"] == "ACTIVE"
    assert (await call("ListClusters"))["clusterArns"] == [ARN]
    described = await call("DescribeClusters", clusters=["default", ARN])
    assert [one["clusterArn"] for one in described["clusters"]] == [ARN]
    assert described["failures"] == []
    assert (await call("DeleteCluster", cluster="default"))["cluster"]["status"] == "INACTIVE"
    assert (await call("ListClusters"))["clusterArns"] == []
    assert (await call("DescribeClusters"))["clusters"][0]["status"] == "INACTIVE"


async def test_a_description_always_has_what_clients_read(call: Client) -> None:
    await a_cluster(call)
    (cluster,) = (await call("DescribeClusters"))["clusters"]
    for empty in ("capacityProviders", "defaultCapacityProviderStrategy", "settings", "statistics", "tags"):
        assert cluster[empty] == []
    for count in ("registeredContainerInstancesCount", "runningTasksCount", "pendingTasksCount", "activeServicesCount"):
        assert cluster[count] == 0


async def test_include_adds_tags_settings_configuration_and_statistics(call: Client) -> None:
    tags = [{"key": "team", "value": "a"}]
    settings = [{"name": "containerInsights", "value": "enabled"}]
    configuration = {"executeCommandConfiguration": {"logging": "DEFAULT"}}
    await call("CreateCluster", tags=tags, settings=settings, configuration=configuration)
    (plain,) = (await call("DescribeClusters"))["clusters"]
    assert (plain["tags"], plain["settings"], "configuration" in plain) == ([], [], False)
    include = ["TAGS", "SETTINGS", "CONFIGURATIONS", "STATISTICS", "ATTACHMENTS"]
    (full,) = (await call("DescribeClusters", include=include))["clusters"]
    assert (full["tags"], full["settings"], full["configuration"]) == (tags, settings, configuration)
    assert {"name": "runningFargateTasksCount", "value": "0"} in full["statistics"]


async def test_counts_and_statistics_are_those_of_the_tasks(call: Client, instance: Instance) -> None:
    await a_cluster(call)
    await a_task_definition(call)
    await a_task(call, count=3)
    await instance.settle()
    (cluster,) = (await call("DescribeClusters", include=["STATISTICS"]))["clusters"]
    assert (cluster["runningTasksCount"], cluster["pendingTasksCount"]) == (3, 0)
    running = [int(one["value"]) for one in cluster["statistics"] if one["name"].startswith("running")]
    assert sum(running) == 3


async def test_a_missing_cluster_is_a_failure_of_the_description(call: Client) -> None:
    described = await call("DescribeClusters", clusters=["nope"])
    assert described["clusters"] == []
    assert described["failures"] == [{"arn": ARN.replace("default", "nope"), "reason": "MISSING"}]


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("a/b", "Cluster must match"),
        ("x" * 256, "Cluster must match"),
        (ARN.replace("us-east-1", "eu-west-1"), "Identifier is for region eu-west-1. Your region is us-east-1"),
        (ARN.replace("0" * 12, "1" * 12), f"Identifier is for account {'1' * 12}. Your account is {'0' * 12}"),
        (ARN.replace(":cluster/", ":service/"), "Unsupported resource type: service"),
        ("arn:nonsense", "Invalid identifier"),
    ],
)
async def test_an_identifier_that_cannot_be_is_refused(call: Client, reference: str, message: str) -> None:
    with pytest.raises(FaultError, match=message) as caught:
        await call("DescribeClusters", clusters=[reference])
    assert caught.value.code == "InvalidParameterException"


async def test_more_than_a_hundred_names_are_refused(call: Client) -> None:
    with pytest.raises(FaultError, match="100"):
        await call("DescribeClusters", clusters=["a"] * 101)


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("DeleteCluster", {"cluster": "nope"}),
        ("UpdateCluster", {"cluster": "nope"}),
        ("UpdateClusterSettings", {"cluster": "nope", "settings": []}),
        (
            "PutClusterCapacityProviders",
            {"cluster": "nope", "capacityProviders": [], "defaultCapacityProviderStrategy": []},
        ),
        ("ListTasks", {"cluster": "nope"}),
        ("ListServices", {"cluster": "nope"}),
        ("DescribeTasks", {"cluster": "nope", "tasks": ["0" * 32]}),
        ("DescribeServices", {"cluster": "nope", "services": ["a"]}),
        ("RunTask", {"cluster": "nope", "taskDefinition": "a"}),
        ("StopTask", {"cluster": "nope", "task": "0" * 32}),
        ("CreateService", {"cluster": "nope", "serviceName": "a", "taskDefinition": "a"}),
        ("UpdateService", {"cluster": "nope", "service": "a"}),
        ("DeleteService", {"cluster": "nope", "service": "a"}),
        ("ListTagsForResource", {"resourceArn": ARN}),
        ("TagResource", {"resourceArn": ARN, "tags": []}),
        ("UntagResource", {"resourceArn": ARN, "tagKeys": []}),
    ],
)
async def test_a_missing_cluster_has_one_error(call: Client, operation: str, members: dict[str, Any]) -> None:
    with pytest.raises(FaultError) as caught:
        await call(operation, **members)
    assert (caught.value.status, caught.value.code, caught.value.message) == (
        400,
        "ClusterNotFoundException",
        "Cluster not found.",
    )


async def test_settings_and_capacity_providers_change(call: Client) -> None:
    await a_cluster(call)
    settings = [{"name": "containerInsights", "value": "enabled"}]
    assert (await call("UpdateClusterSettings", cluster="default", settings=settings))["cluster"][
        "settings"
    ] == settings
    strategy = [{"capacityProvider": "FARGATE", "weight": 1, "base": 0}]
    changed = await call(
        "PutClusterCapacityProviders",
        cluster=ARN,
        capacityProviders=["FARGATE"],
        defaultCapacityProviderStrategy=strategy,
    )
    assert changed["cluster"]["capacityProviders"] == ["FARGATE"]
    assert changed["cluster"]["defaultCapacityProviderStrategy"] == strategy
    configuration = {"executeCommandConfiguration": {"logging": "NONE"}}
    updated = await call("UpdateCluster", cluster="default", configuration=configuration)
    assert updated["cluster"]["configuration"] == configuration


async def test_regions_and_accounts_share_nothing(call: Client, instance: Instance) -> None:
    await a_cluster(call)
    other = Client(instance.endpoint, access_key="123456789012", region="eu-west-1")
    assert (await other("ListClusters"))["clusterArns"] == []
    assert await a_cluster(other) == "arn:aws:ecs:eu-west-1:123456789012:cluster/default"
    assert (await call("ListClusters"))["clusterArns"] == [ARN]


async def test_pages_cover_every_cluster_once(call: Client) -> None:
    names = [f"c{number:02}" for number in range(25)]
    for name in names:
        await a_cluster(call, name)
    await call("DeleteCluster", cluster="c03")
    seen: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = await call("ListClusters", maxResults=7, **token)
        seen += [arn.rpartition("/")[2] for arn in page["clusterArns"]]
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}
    assert seen == [name for name in names if name != "c03"]


@pytest.mark.parametrize("token", ["x", "bm90aGluZw==", "\u00e9", "a" * 5000])
async def test_a_bad_token_is_refused(call: Client, token: str) -> None:
    with pytest.raises(FaultError, match=r"Invalid token\.") as caught:
        await call("ListClusters", nextToken=token)
    assert caught.value.code == "InvalidParameterException"


async def test_a_token_is_good_for_its_own_list_only(call: Client) -> None:
    for name in ("a", "b"):
        await a_cluster(call, name)
        await a_task_definition(call, name)
    token = (await call("ListClusters", maxResults=1))["nextToken"]
    with pytest.raises(FaultError, match="Invalid token"):
        await call("ListTaskDefinitions", nextToken=token)


@pytest.mark.parametrize("size", [0, -1, 101])
async def test_a_page_has_one_to_a_hundred_elements(call: Client, size: int) -> None:
    with pytest.raises(FaultError) as caught:
        await call("ListClusters", maxResults=size)
    assert caught.value.code == "InvalidParameterException"


async def test_a_cluster_in_use_is_not_deleted(call: Client, instance: Instance) -> None:
    await a_cluster(call)
    await a_task_definition(call)
    await a_task(call)
    with pytest.raises(FaultError) as caught:
        await call("DeleteCluster", cluster="default")
    assert caught.value.code == "ClusterContainsTasksException"


async def test_a_cluster_with_services_is_not_deleted(call: Client) -> None:
    await a_cluster(call)
    await a_task_definition(call)
    await a_service(call)
    with pytest.raises(FaultError) as caught:
        await call("DeleteCluster", cluster="default")
    assert caught.value.code == "ClusterContainsServicesException"
