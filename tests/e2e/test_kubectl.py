"""kubectl, unmodified, against the embedded Kubernetes of a started instance: tasks are pods there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.instance import Instance, started, wait_until
from tests.e2e.test_main_job import containers

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on the PATH"),
]


class Kubectl:
    """kubectl with the kubeconfig that `kecs env` names."""

    def __init__(self, instance: Instance) -> None:
        exports = instance.kecs("env", "--shell", "sh").stdout
        found = re.search(r"^export KUBECONFIG=[\"']?([^\"'\n]+)", exports, re.MULTILINE)
        assert found is not None, exports
        self.environment = os.environ | {"KUBECONFIG": found[1]}

    def __call__(self, *arguments: str, text: str | None = None) -> str:
        done = subprocess.run(
            ["kubectl", *arguments],
            env=self.environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with started(Path(tmp_path_factory.mktemp("home")), name="kubectl") as running:
        yield running


@pytest.fixture(scope="module")
def kubectl(embedded: Instance) -> Kubectl:
    return Kubectl(embedded)


@pytest.fixture
def pod(embedded: Instance, kubectl: Kubectl) -> Iterator[tuple[str, str]]:
    """Namespace and name of the pod of a running task that has said hello."""
    ecs = embedded.ecs()
    ecs.create_cluster(clusterName="kubectl")
    ecs.register_task_definition(
        family="talker",
        containerDefinitions=json.loads(containers("sh", "-c", "echo hello from $TASK; sleep 600", name="main")),
    )
    ran = ecs.run_task(
        cluster="kubectl",
        taskDefinition="talker",
        overrides={"containerOverrides": [{"name": "main", "environment": [{"name": "TASK", "value": "ecs"}]}]},
    )
    arn = ran["tasks"][0]["taskArn"]
    ecs.get_waiter("tasks_running").wait(cluster="kubectl", tasks=[arn], WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    pods = json.loads(kubectl("get", "pods", "-A", "-l", f"kecs.dev/task-id={arn[-32:]}", "-o", "json"))["items"]
    assert len(pods) == 1
    yield pods[0]["metadata"]["namespace"], pods[0]["metadata"]["name"]
    ecs.stop_task(cluster="kubectl", task=arn)
    ecs.get_waiter("tasks_stopped").wait(cluster="kubectl", tasks=[arn], WaiterConfig={"Delay": 1, "MaxAttempts": 60})


def test_get_and_describe_show_a_task_as_a_running_pod(kubectl: Kubectl, pod: tuple[str, str]) -> None:
    namespace, name = pod
    assert re.search(rf"{name}\s+1/1\s+Running", kubectl("get", "pods", "-n", namespace))
    described = kubectl("describe", "pod", name, "-n", namespace)
    assert re.search(r"Status:\s+Running", described)
    assert "kecs.dev/task-arn" in described


def test_logs_are_the_containers_output(kubectl: Kubectl, pod: tuple[str, str]) -> None:
    namespace, name = pod
    wait_until(lambda: "hello from ecs\n" in kubectl("logs", name, "-n", namespace), "the container has said hello")


def test_exec_runs_inside_the_task(kubectl: Kubectl, pod: tuple[str, str]) -> None:
    namespace, name = pod
    assert kubectl("exec", name, "-n", namespace, "--", "sh", "-c", "echo $((6*7))") == "42\n"
    assert kubectl("exec", "-i", name, "-n", namespace, "--", "cat", text="through stdin") == "through stdin"


def test_deleting_a_pod_stops_the_task(embedded: Instance, kubectl: Kubectl, pod: tuple[str, str]) -> None:
    namespace, name = pod
    task_arn = json.loads(kubectl("get", "pod", name, "-n", namespace, "-o", "json"))["metadata"]["annotations"][
        "kecs.dev/task-arn"
    ]
    kubectl("delete", "pod", name, "-n", namespace, "--wait=false")

    def stopped() -> bool:
        task = embedded.ecs().describe_tasks(cluster="kubectl", tasks=[task_arn])["tasks"][0]
        return bool(task["lastStatus"] == "STOPPED")

    wait_until(stopped, "the task is STOPPED")


def test_apply_runs_a_pod_of_the_users_own(kubectl: Kubectl) -> None:
    manifest = json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "mine", "namespace": "default"},
            "spec": {
                "restartPolicy": "Never",
                "containers": [{"name": "main", "image": "busybox", "command": ["sh", "-c", "echo mine; exit 4"]}],
            },
        }
    )
    kubectl("apply", "-f", "-", text=manifest)

    def exit_code() -> int | None:
        status = json.loads(kubectl("get", "pod", "mine", "-o", "json"))["status"]
        state = status.get("containerStatuses", [{}])[0].get("state", {})
        code: int | None = state.get("terminated", {}).get("exitCode")
        return code

    assert wait_until(exit_code, "the pod has ended") == 4
    assert kubectl("logs", "mine") == "mine\n"
    kubectl("delete", "pod", "mine")
