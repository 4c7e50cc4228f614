"""boto3's own waiters and paginators against a started instance."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError

from tests.e2e.instance import Instance
from tests.e2e.test_main_job import containers

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
QUICKLY = {"Delay": 1, "MaxAttempts": 90}


def register(instance: Instance, family: str, *command: str) -> None:
    instance.ecs().register_task_definition(
        family=family, containerDefinitions=json.loads(containers(*command, name="main"))
    )


def test_waiters_see_tasks_run_and_stop(instance: Instance, cluster: str) -> None:
    ecs = instance.ecs()
    register(instance, "waited", "sleep", "600")
    arns = [task["taskArn"] for task in ecs.run_task(cluster=cluster, taskDefinition="waited", count=3)["tasks"]]
    ecs.get_waiter("tasks_running").wait(cluster=cluster, tasks=arns, WaiterConfig=QUICKLY)
    for arn in arns:
        ecs.stop_task(cluster=cluster, task=arn)
    ecs.get_waiter("tasks_stopped").wait(cluster=cluster, tasks=arns, WaiterConfig=QUICKLY)
    for task in ecs.describe_tasks(cluster=cluster, tasks=arns)["tasks"]:
        assert (task["stopCode"], task["desiredStatus"]) == ("UserInitiated", "STOPPED")
        assert task["createdAt"] <= task["startedAt"] <= task["stoppingAt"] <= task["stoppedAt"]


def test_paginators_walk_every_task_once(instance: Instance, cluster: str) -> None:
    ecs = instance.ecs()
    register(instance, "paged", "sleep", "600")
    started = set()
    for _ in range(3):
        answer = ecs.run_task(cluster=cluster, taskDefinition="paged", count=5)
        started |= {task["taskArn"] for task in answer["tasks"]}
    pages = ecs.get_paginator("list_tasks").paginate(cluster=cluster, PaginationConfig={"PageSize": 4})
    listed = [arn for page in pages for arn in page["taskArns"]]
    assert len(listed) == len(set(listed)) == 15
    assert set(listed) == started
    for arn in started:
        ecs.stop_task(cluster=cluster, task=arn)


def test_errors_are_typed_as_the_sdk_expects(instance: Instance, cluster: str) -> None:
    ecs = instance.ecs()
    with pytest.raises(ecs.exceptions.ClusterNotFoundException) as missing:
        ecs.list_tasks(cluster="nowhere")
    assert missing.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    with pytest.raises(ecs.exceptions.ServiceNotFoundException):
        ecs.update_service(cluster=cluster, service="nothing", desiredCount=1)
    with pytest.raises(ecs.exceptions.ClientException):
        ecs.describe_task_definition(taskDefinition="never-registered")
    assert ecs.describe_tasks(cluster=cluster, tasks=["0" * 32])["failures"][0]["reason"] == "MISSING"


def test_regions_and_accounts_share_nothing(instance: Instance, cluster: str) -> None:
    elsewhere = instance.ecs(region="eu-west-1")
    assert cluster not in {arn.rsplit("/", 1)[-1] for arn in elsewhere.list_clusters()["clusterArns"]}
    answer = elsewhere.create_cluster(clusterName=cluster)["cluster"]
    assert answer["clusterArn"] == f"arn:aws:ecs:eu-west-1:000000000000:cluster/{cluster}"
    elsewhere.delete_cluster(cluster=cluster)
    assert instance.ecs().describe_clusters(clusters=[cluster])["clusters"][0]["status"] == "ACTIVE"


def test_an_operation_that_is_not_supported_says_so_by_name(instance: Instance, cluster: str) -> None:
    with pytest.raises(ClientError) as refused:
        instance.ecs().create_task_set(
            cluster=cluster, service="web", taskDefinition="waited", scale={"value": 1.0, "unit": "PERCENT"}
        )
    assert refused.value.response["Error"]["Code"] == "UnsupportedFeatureException"
    assert "CreateTaskSet" in refused.value.response["Error"]["Message"]


def test_names_that_kubernetes_forbids_work(instance: Instance) -> None:
    ecs = instance.ecs()
    name = "Upper_Case_" + "x" * 200
    ecs.create_cluster(clusterName=name)
    ecs.register_task_definition(
        family="Fam_ILY_" + "y" * 200,
        containerDefinitions=json.loads(containers("sleep", "600", name="Con_TAINER")),
    )
    arn = ecs.run_task(cluster=name, taskDefinition="Fam_ILY_" + "y" * 200)["tasks"][0]["taskArn"]
    ecs.get_waiter("tasks_running").wait(cluster=name, tasks=[arn], WaiterConfig=QUICKLY)
    assert ecs.describe_tasks(cluster=name, tasks=[arn])["tasks"][0]["containers"][0]["name"] == "Con_TAINER"
    ecs.stop_task(cluster=name, task=arn)
    ecs.get_waiter("tasks_stopped").wait(cluster=name, tasks=[arn], WaiterConfig=QUICKLY)
    ecs.delete_cluster(cluster=name)
