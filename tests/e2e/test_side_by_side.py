"""Two instances of real processes on one machine: neither's addresses, ports, end or loss of memory is the other's."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import psutil
import pytest

from tests.e2e.instance import Instance, free_port, started, wait_until
from tests.e2e.remains import remains
from tests.e2e.test_crash import NETWORK
from tests.e2e.test_main_job import address, answers_http, pid_of, register_web, running_tasks

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.root,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="looks for processes by their network namespace, as root"),
]


@pytest.fixture
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Instance, Instance]]:
    """Two instances in one home."""
    home = tmp_path_factory.mktemp("pair")
    with ExitStack() as stack:
        yield stack.enter_context(started(home, name="a")), stack.enter_context(started(home, name="b"))


def serve(instance: Instance) -> list[dict[str, Any]]:
    """The two running tasks of a new service."""
    ecs = instance.ecs()
    ecs.create_cluster(clusterName="c")
    register_web(instance, "web", version="1")
    ecs.create_service(
        cluster="c", serviceName="web", desiredCount=2, taskDefinition="web", networkConfiguration=NETWORK
    )
    wait_until(lambda: len(running_tasks(instance, "c", "web")) == 2, "two tasks run")
    tasks = running_tasks(instance, "c", "web")
    for task in tasks:
        wait_until(partial(answers_http, address(task)), "it serves")
    return tasks


def test_two_instances_do_not_disturb_each_other(pair: tuple[Instance, Instance]) -> None:
    one, other = pair
    ours, theirs = serve(one), serve(other)
    assert len({address(task) for task in (*ours, *theirs)}) == 4
    servers = [psutil.Process(pid_of(address(task))) for task in ours]

    other.kecs("reset")
    assert other.ecs().list_clusters()["clusterArns"] == []
    wait_until(lambda: not any(answers_http(address(task)) for task in theirs), "the tasks of the other have ended")
    theirs = serve(other)
    other.kecs("stop")
    assert not any(answers_http(address(task)) for task in theirs)
    other.start()
    wait_until(lambda: len(running_tasks(other, "c", "web")) == 2, "the other serves again")
    other.kecs("destroy", "--yes")

    wait_until(lambda: not remains(other), "nothing is left of the other", deadline_s=10)
    assert all(answers_http(address(task)) for task in ours)
    assert all(server.is_running() for server in servers)
    assert {task["taskArn"] for task in running_tasks(one, "c", "web")} == {task["taskArn"] for task in ours}


def can_connect(port: int, host: str = "127.0.0.1") -> bool:
    with suppress(OSError), socket.create_connection((host, port), timeout=5):
        return True
    return False


def run_listener(instance: Instance, network_mode: str, container_port: int, host_port: int) -> str:
    """The ARN of a task that listens."""
    ecs = instance.ecs()
    definition = ecs.register_task_definition(
        family=f"listener-{network_mode}",
        networkMode=network_mode,
        containerDefinitions=[
            {
                "name": "m",
                "image": "i",
                "memory": 64,
                "stopTimeout": 2,
                "command": ["python3", "-m", "http.server", str(container_port)],
                "portMappings": [{"containerPort": container_port, "hostPort": host_port}],
            }
        ],
    )["taskDefinition"]["taskDefinitionArn"]
    answer = ecs.run_task(cluster="c", taskDefinition=definition)
    assert answer["failures"] == []
    arn: str = answer["tasks"][0]["taskArn"]
    return arn


def task_in(instance: Instance, arn: str, status: str) -> dict[str, Any]:
    def look() -> Any:
        (task,) = instance.ecs().describe_tasks(cluster="c", tasks=[arn])["tasks"]
        return task if task["lastStatus"] == status else None

    task: dict[str, Any] = wait_until(look, f"{arn} is {status}", deadline_s=30)
    return task


def test_ports_of_the_host_lead_to_tasks_and_are_given_back(own_instance: Instance) -> None:
    instance, port = own_instance, free_port()
    instance.ecs().create_cluster(clusterName="c")
    first = task_in(instance, run_listener(instance, "bridge", 8080, port), "RUNNING")
    (binding,) = first["containers"][0]["networkBindings"]
    assert (binding["hostPort"], binding["containerPort"], binding["protocol"]) == (port, 8080, "tcp")
    wait_until(lambda: can_connect(port), "the port of the host leads to the task")

    second = task_in(instance, run_listener(instance, "bridge", 8080, port), "STOPPED")
    assert f"host port {port}" in second["stoppedReason"]
    assert can_connect(port), "the first still has it"

    instance.kecs("stop")
    assert not can_connect(port)
    assert not remains(instance)


def test_a_task_in_the_hosts_network_listens_there(own_instance: Instance) -> None:
    instance, port = own_instance, free_port()
    instance.ecs().create_cluster(clusterName="c")
    task = task_in(instance, run_listener(instance, "host", port, port), "RUNNING")
    assert [b["hostPort"] for b in task["containers"][0]["networkBindings"]] == [port]
    wait_until(lambda: can_connect(port), "it listens on the host")
    instance.ecs().stop_task(cluster="c", task=task["taskArn"])
    task_in(instance, task["taskArn"], "STOPPED")
    assert not can_connect(port)


def test_a_backup_brings_back_what_was_there_and_ends_what_was_not(own_instance: Instance) -> None:
    instance = own_instance
    before = {task["taskArn"] for task in serve(instance)}
    backup = instance.home / "copy.duckdb"
    instance.kecs("backup", str(backup))
    instance.ecs().create_cluster(clusterName="later")
    later = instance.ecs().run_task(cluster="c", taskDefinition="web", networkConfiguration=NETWORK)["tasks"][0]
    ip = address(task_in(instance, later["taskArn"], "RUNNING"))
    wait_until(partial(answers_http, ip), "the later task serves")

    instance.kecs("stop")
    instance.kecs("restore", str(backup))
    instance.start()
    names = [arn.rpartition("/")[2] for arn in instance.ecs().list_clusters()["clusterArns"]]
    assert names == ["c"]
    wait_until(lambda: len(running_tasks(instance, "c", "web")) == 2, "the service is back")
    assert not before & {task["taskArn"] for task in running_tasks(instance, "c", "web")}
    assert instance.ecs().describe_tasks(cluster="c", tasks=[later["taskArn"]])["failures"][0]["reason"] == "MISSING"
    assert not answers_http(ip)
