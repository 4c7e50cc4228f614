"""The main job where somebody else's kubelet runs the tasks: a cluster with a node of its own, and an image it has.

`KECS_TEST_KUBECONFIG` names the cluster, `KECS_TEST_IMAGE` an image with a shell and `sleep` that its nodes can run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import trio

from k8s.client import JsonObject
from k8s.kr8s_client import Kr8sClient
from tests.e2e.conftest import KUBECONFIG, NO_CLUSTER, new_name
from tests.e2e.instance import Instance, started, wait_until
from tests.e2e.test_main_job import describe_service, running_tasks

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

IMAGE = os.environ.get("KECS_TEST_IMAGE", "")
CLUSTER = "real-kubelet"
QUICKLY = {"Delay": 1, "MaxAttempts": 120}
UNTIL_TOLD = "trap 'exit 0' TERM; while :; do sleep 1; done"


def ask(method: str, path: str, **more: Any) -> JsonObject:
    """One request to the cluster's API server."""

    async def request() -> JsonObject:
        async with Kr8sClient.connect(KUBECONFIG) as client:
            return await client.request(method, path, **more)

    return trio.run(request)


def has_node_of_its_own() -> bool:
    """Whether a node that is none of ours says that it is ready."""
    nodes = [n for n in ask("GET", "/api/v1/nodes")["items"] if not n["metadata"]["name"].startswith("kecs-")]
    conditions = [condition for node in nodes for condition in node["status"].get("conditions", ())]
    return any((c["type"], c["status"]) == ("Ready", "True") for c in conditions)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """An instance without a node: the cluster's own run its tasks."""
    if KUBECONFIG is None:
        pytest.skip(NO_CLUSTER)
    if not IMAGE:
        pytest.skip("KECS_TEST_IMAGE names no image that the cluster's nodes can run")
    if not has_node_of_its_own():
        pytest.skip("the cluster has no Ready node of its own")
    arguments = ("--runtime", "kubernetes", "--kubeconfig", KUBECONFIG)
    with started(tmp_path_factory.mktemp("home"), *arguments, name=new_name()) as running:
        running.ecs().create_cluster(clusterName=CLUSTER)
        yield running


def register(instance: Instance, family: str, script: str) -> str:
    definition = {
        "name": "main",
        "image": IMAGE,
        "entryPoint": ["sh", "-c"],
        "command": [script],
        "memory": 32,
        "stopTimeout": 2,
    }
    answer = instance.ecs().register_task_definition(family=family, containerDefinitions=[definition])
    arn: str = answer["taskDefinition"]["taskDefinitionArn"]
    return arn


def stopped(instance: Instance, arn: str) -> dict[str, Any]:
    """The task once it is STOPPED."""
    ecs = instance.ecs()
    ecs.get_waiter("tasks_stopped").wait(cluster=CLUSTER, tasks=[arn], WaiterConfig=QUICKLY)
    task: dict[str, Any] = ecs.describe_tasks(cluster=CLUSTER, tasks=[arn])["tasks"][0]
    return task


def wait_stable(instance: Instance) -> None:
    instance.ecs().get_waiter("services_stable").wait(cluster=CLUSTER, services=["svc"], WaiterConfig=QUICKLY)


def delete_pod_of(task: dict[str, Any]) -> None:
    """As `kubectl delete pod` does."""
    task_id = task["taskArn"].rsplit("/", 1)[-1]
    (pod,) = ask("GET", "/api/v1/pods", params={"labelSelector": f"kecs.dev/task-id={task_id}"})["items"]
    ask("DELETE", f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}")


def test_a_service_lives_on_somebody_elses_kubelet(foreign: Instance) -> None:
    ecs = foreign.ecs()
    first = register(foreign, "svc", UNTIL_TOLD)
    ecs.create_service(cluster=CLUSTER, serviceName="svc", taskDefinition=first, desiredCount=2)
    wait_stable(foreign)
    tasks = running_tasks(foreign, CLUSTER, "svc")
    assert len(tasks) == 2

    delete_pod_of(tasks[0])
    ended = stopped(foreign, tasks[0]["taskArn"])
    assert ended["containers"][0]["exitCode"] == 0

    def replaced() -> bool:
        now = {task["taskArn"] for task in running_tasks(foreign, CLUSTER, "svc")}
        return len(now) == 2 and tasks[1]["taskArn"] in now and tasks[0]["taskArn"] not in now

    wait_until(replaced, "another task has taken the place of the one that was killed")

    second = register(foreign, "svc", f": 2; {UNTIL_TOLD}")
    ecs.update_service(cluster=CLUSTER, service="svc", taskDefinition=second)
    wait_stable(foreign)
    assert {task["taskDefinitionArn"] for task in running_tasks(foreign, CLUSTER, "svc")} == {second}

    ecs.update_service(cluster=CLUSTER, service="svc", desiredCount=0)
    wait_until(lambda: not running_tasks(foreign, CLUSTER, "svc"), "the service has scaled to 0")
    ecs.delete_service(cluster=CLUSTER, service="svc")
    ecs.get_waiter("services_inactive").wait(cluster=CLUSTER, services=["svc"], WaiterConfig=QUICKLY)
    assert describe_service(foreign, CLUSTER, "svc")["status"] == "INACTIVE"


def test_a_task_that_ends_by_itself_is_replaced(foreign: Instance) -> None:
    ecs = foreign.ecs()
    ecs.create_service(
        cluster=CLUSTER,
        serviceName="short",
        taskDefinition=register(foreign, "short", "sleep 5; exit 4"),
        desiredCount=1,
    )
    first = wait_until(lambda: running_tasks(foreign, CLUSTER, "short"), "the task runs")[0]
    ended = stopped(foreign, first["taskArn"])
    assert (ended["stopCode"], ended["containers"][0]["exitCode"]) == ("EssentialContainerExited", 4)

    def another() -> bool:
        return any(task["taskArn"] != first["taskArn"] for task in running_tasks(foreign, CLUSTER, "short"))

    wait_until(another, "another task has taken its place")
    ecs.delete_service(cluster=CLUSTER, service="short", force=True)


def test_a_task_that_exits_with_3_says_so(foreign: Instance) -> None:
    definition = register(foreign, "exit-3", "exit 3")
    answer = foreign.ecs().run_task(cluster=CLUSTER, taskDefinition=definition)
    assert answer["failures"] == []
    task = stopped(foreign, answer["tasks"][0]["taskArn"])
    assert task["containers"][0]["exitCode"] == 3
    assert (task["stopCode"], task["stoppedReason"]) == (
        "EssentialContainerExited",
        "Essential container in task exited",
    )


def test_an_image_that_nobody_has_cannot_be_pulled(foreign: Instance) -> None:
    definition = {"name": "main", "image": "kecs.invalid/none:1", "memory": 32}
    foreign.ecs().register_task_definition(family="no-image", containerDefinitions=[definition])
    answer = foreign.ecs().run_task(cluster=CLUSTER, taskDefinition="no-image")
    task = stopped(foreign, answer["tasks"][0]["taskArn"])
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["stoppedReason"].startswith("CannotPullContainerError")
