"""The main job, by the aws CLI: a service of real processes, killed, updated, scaled to nothing, deleted."""

from __future__ import annotations

import json
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.e2e.instance import Instance, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

NETWORK = json.dumps({"awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"]}})


def containers(*command: str, name: str = "web", **more: Any) -> str:
    return json.dumps(
        [{"name": name, "image": "python:3", "command": list(command), "memory": 128, "stopTimeout": 2, **more}]
    )


def register_web(instance: Instance, family: str, *, version: str) -> str:
    answer = instance.aws(
        "register-task-definition",
        "--family",
        family,
        "--network-mode",
        "awsvpc",
        "--container-definitions",
        containers(
            "python3",
            "-m",
            "http.server",
            "8080",
            portMappings=[{"containerPort": 8080}],
            environment=[{"name": "VERSION", "value": version}],
        ),
    )
    arn: str = answer["taskDefinition"]["taskDefinitionArn"]
    return arn


def describe_service(instance: Instance, cluster: str, service: str) -> dict[str, Any]:
    answer = instance.ecs().describe_services(cluster=cluster, services=[service])
    assert answer["failures"] == []
    found: dict[str, Any] = answer["services"][0]
    return found


def running_tasks(instance: Instance, cluster: str, service: str) -> list[dict[str, Any]]:
    ecs = instance.ecs()
    arns = ecs.list_tasks(cluster=cluster, serviceName=service)["taskArns"]
    tasks: list[dict[str, Any]] = ecs.describe_tasks(cluster=cluster, tasks=arns)["tasks"] if arns else []
    return [task for task in tasks if task["lastStatus"] == "RUNNING"]


def address(task: dict[str, Any]) -> str:
    found: str = task["containers"][0]["networkInterfaces"][0]["privateIpv4Address"]
    return found


def answers_http(ip: str) -> bool:
    try:
        with urlopen(f"http://{ip}:8080/", timeout=5) as answer:
            return bool(answer.status == 200)
    except URLError:
        return False


def pid_of(ip: str) -> int:
    """The host's id of the web server process whose network namespace has this address."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            if b"http.server\x008080" in command and ip in (process / "net/fib_trie").read_text():
                return int(process.name)
        except OSError:
            continue  # it ended while we looked
    raise AssertionError(f"no web server process has the address {ip}")


def test_a_service_of_real_processes_lives_as_at_aws(instance: Instance, cluster: str) -> None:
    first = register_web(instance, "web", version="1")
    instance.aws(
        *("create-service", "--cluster", cluster, "--service-name", "web", "--desired-count", "3"),
        *("--task-definition", "web", "--network-configuration", NETWORK),
    )
    instance.aws("wait", "services-stable", "--cluster", cluster, "--services", "web")

    tasks = running_tasks(instance, cluster, "web")
    addresses = {address(task) for task in tasks}
    assert len(tasks) == len(addresses) == 3
    assert {task["taskDefinitionArn"] for task in tasks} == {first}
    if instance.process_driver:
        for ip in addresses:
            wait_until(partial(answers_http, ip), f"{ip} answers HTTP on port 8080")
        assert all(answers_http(ip) for ip in addresses)
        kill_one_and_see_it_replaced(instance, cluster, tasks)

    second = register_web(instance, "web", version="2")
    instance.aws("update-service", "--cluster", cluster, "--service", "web", "--task-definition", "web")
    watch_the_rollout(instance, cluster, second)
    instance.aws("wait", "services-stable", "--cluster", cluster, "--services", "web")
    assert {task["taskDefinitionArn"] for task in running_tasks(instance, cluster, "web")} == {second}
    service = describe_service(instance, cluster, "web")
    assert [deployment["rolloutState"] for deployment in service["deployments"]] == ["COMPLETED"]

    instance.aws("update-service", "--cluster", cluster, "--service", "web", "--desired-count", "0")
    wait_until(lambda: not running_tasks(instance, cluster, "web"), "the service has scaled to 0")
    instance.aws("delete-service", "--cluster", cluster, "--service", "web")
    instance.aws("wait", "services-inactive", "--cluster", cluster, "--services", "web")
    assert describe_service(instance, cluster, "web")["status"] == "INACTIVE"


def kill_one_and_see_it_replaced(instance: Instance, cluster: str, tasks: list[dict[str, Any]]) -> None:
    victim = tasks[0]
    os.kill(pid_of(address(victim)), signal.SIGKILL)
    ecs = instance.ecs()

    def stopped() -> dict[str, Any] | None:
        task: dict[str, Any] = ecs.describe_tasks(cluster=cluster, tasks=[victim["taskArn"]])["tasks"][0]
        return task if task["lastStatus"] == "STOPPED" else None

    task = wait_until(stopped, "the killed task is STOPPED")
    assert task["stopCode"] == "EssentialContainerExited"
    assert task["stoppedReason"] == "Essential container in task exited"
    assert task["containers"][0]["exitCode"] == 137
    kept = {t["taskArn"] for t in tasks[1:]}

    def replaced() -> bool:
        now = {t["taskArn"] for t in running_tasks(instance, cluster, "web")}
        return len(now) == 3 and kept < now and victim["taskArn"] not in now

    wait_until(replaced, "another task has taken its place")
    messages = [event["message"] for event in describe_service(instance, cluster, "web")["events"]]
    starts = [message for message in messages if "has started 1 tasks" in message]
    assert starts, messages


def watch_the_rollout(instance: Instance, cluster: str, task_definition: str) -> None:
    """Until the new deployment is complete: never under 100 % of 3 running, never over 200 %."""

    def complete() -> bool:
        service = describe_service(instance, cluster, "web")
        assert 3 <= service["runningCount"] <= 6
        assert service["runningCount"] + service["pendingCount"] <= 6
        primary = service["deployments"][0]
        return bool(primary["taskDefinition"] == task_definition and primary["rolloutState"] == "COMPLETED")

    wait_until(complete, "the deployment is complete", every_s=0.02)


def test_a_task_that_exits_with_3_says_so(instance: Instance, cluster: str) -> None:
    instance.aws(
        *("register-task-definition", "--family", "exit-3"),
        *("--container-definitions", containers("sh", "-c", "exit 3", name="main")),
    )
    ran = instance.aws("run-task", "--cluster", cluster, "--task-definition", "exit-3")
    assert ran["failures"] == []
    arn = ran["tasks"][0]["taskArn"]
    instance.aws("wait", "tasks-stopped", "--cluster", cluster, "--tasks", arn)
    task = instance.aws("describe-tasks", "--cluster", cluster, "--tasks", arn)["tasks"][0]
    assert task["containers"][0]["exitCode"] == 3
    assert (task["stopCode"], task["lastStatus"], task["desiredStatus"]) == (
        "EssentialContainerExited",
        "STOPPED",
        "STOPPED",
    )


def test_an_image_without_a_command_cannot_be_pulled(instance: Instance, cluster: str) -> None:
    if not instance.process_driver:
        pytest.skip("the simulated driver pulls every image")
    definition = json.dumps([{"name": "main", "image": "example.com/none:1", "memory": 64}])
    instance.aws("register-task-definition", "--family", "no-command", "--container-definitions", definition)
    arn = instance.aws("run-task", "--cluster", cluster, "--task-definition", "no-command")["tasks"][0]["taskArn"]
    instance.aws("wait", "tasks-stopped", "--cluster", cluster, "--tasks", arn)
    task = instance.aws("describe-tasks", "--cluster", cluster, "--tasks", arn)["tasks"][0]
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["stoppedReason"].startswith("CannotPullContainerError")
    assert "command" in task["stoppedReason"]


def test_stop_task_ends_a_task_as_the_user_says(instance: Instance, cluster: str) -> None:
    instance.aws(
        *("register-task-definition", "--family", "sleeper"),
        *("--container-definitions", containers("sleep", "600", name="main")),
    )
    arn = instance.aws("run-task", "--cluster", cluster, "--task-definition", "sleeper")["tasks"][0]["taskArn"]
    instance.aws("wait", "tasks-running", "--cluster", cluster, "--tasks", arn)
    instance.aws("stop-task", "--cluster", cluster, "--task", arn, "--reason", "enough slept")
    instance.aws("wait", "tasks-stopped", "--cluster", cluster, "--tasks", arn)
    task = instance.aws("describe-tasks", "--cluster", cluster, "--tasks", arn)["tasks"][0]
    assert (task["stopCode"], task["stoppedReason"]) == ("UserInitiated", "enough slept")
