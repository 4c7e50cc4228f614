"""Our node joined to a real API server: kubectl reaches its containers there, and nothing is left when it goes."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.e2e.conftest import KUBECONFIG, NO_CLUSTER, RUNTIMES, new_name
from tests.e2e.instance import Instance, started, wait_until
from tests.e2e.test_main_job import containers

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.skipif(KUBECONFIG is None, reason=NO_CLUSTER),
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on the PATH"),
]
QUICKLY = {"Delay": 1, "MaxAttempts": 60}


@pytest.fixture(params=["kubernetes-process", "kubernetes-simulated"])
def joined(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Instance]:
    arguments = (*RUNTIMES[request.param], "--kubeconfig", str(KUBECONFIG))
    with started(tmp_path / "home", *arguments, name=new_name()) as running:
        yield running


def kubectl(*arguments: str) -> str:
    environment = os.environ | {"KUBECONFIG": str(KUBECONFIG)}
    done = subprocess.run(
        ["kubectl", *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stdout}\n{done.stderr}"
    return done.stdout


def items(kind: str, instance: Instance) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        kubectl("get", kind, "-A", "-l", f"kecs.dev/instance={instance.name}", "-o", "json")
    )["items"]
    return found


def run_hello(instance: Instance) -> str:
    """Start a task that says hello and stays; its ARN once it is RUNNING."""
    ecs = instance.ecs()
    ecs.create_cluster(clusterName="joined")
    said = {"simulated.kecs.dev/log": "hello"}
    definition = containers("sh", "-c", "echo hello; sleep 600", name="main", dockerLabels=said)
    ecs.register_task_definition(family="talker", containerDefinitions=json.loads(definition))
    arn: str = ecs.run_task(cluster="joined", taskDefinition="talker")["tasks"][0]["taskArn"]
    ecs.get_waiter("tasks_running").wait(cluster="joined", tasks=[arn], WaiterConfig=QUICKLY)
    return arn


def test_kubectl_logs_come_through_the_api_server_and_from_nobody_else(joined: Instance) -> None:
    run_hello(joined)
    (pod,) = items("pods", joined)
    where = ("-n", pod["metadata"]["namespace"], pod["metadata"]["name"])
    wait_until(lambda: kubectl("logs", *where) == "hello\n", "kubectl logs shows what the container wrote")

    node = json.loads(kubectl("get", "node", pod["spec"]["nodeName"], "-o", "json"))["status"]
    port = node["daemonEndpoints"]["kubeletEndpoint"]["Port"]
    anyone = ssl.create_default_context()
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE  # what is tested is whom the node believes
    with pytest.raises((URLError, ConnectionError, ssl.SSLError)):
        urlopen(f"https://127.0.0.1:{port}/healthz", timeout=5, context=anyone)


def test_a_destroyed_instance_leaves_no_pod_namespace_or_node(joined: Instance) -> None:
    run_hello(joined)
    assert items("pods", joined)
    joined.kecs("destroy", "--yes")
    assert items("pods", joined) == []
    left = [n["metadata"]["name"] for n in items("namespaces", joined) if "deletionTimestamp" not in n["metadata"]]
    assert left == []  # a bare API server has no controller that would end what is terminating
    nodes = json.loads(kubectl("get", "nodes", "-o", "json"))["items"]
    assert f"kecs-{joined.name}" not in {node["metadata"]["name"] for node in nodes}


def test_each_instance_runs_its_own_tasks(joined: Instance, tmp_path: Path) -> None:
    """Two instances joined to one API server do not take each other's pods."""
    arguments = (*RUNTIMES["kubernetes-simulated"], "--kubeconfig", str(KUBECONFIG))
    with started(tmp_path / "neighbour", *arguments, name=new_name()):
        run_hello(joined)
        ecs = joined.ecs()
        ran = [ecs.run_task(cluster="joined", taskDefinition="talker", count=5)["tasks"] for _ in range(4)]
        arns = [task["taskArn"] for tasks in ran for task in tasks]
        ecs.get_waiter("tasks_running").wait(cluster="joined", tasks=arns, WaiterConfig=QUICKLY)
        assert {pod["spec"]["nodeName"] for pod in items("pods", joined)} == {f"kecs-{joined.name}"}
