"""Any of an instance's processes are killed together: what was acknowledged stays, and all of it begins again."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from itertools import chain, combinations
from typing import Any

import psutil
import pytest

from tests.e2e.instance import Instance, started, wait_until
from tests.e2e.remains import pids, remains
from tests.e2e.test_crash import NETWORK, answers
from tests.e2e.test_main_job import address, answers_http, describe_service, pid_of, register_web, running_tasks

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.root,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="looks for processes by their network namespace, as root"),
]

KINDS = ("supervisor", "control", "node", "zygote", "keepers")
EVERY = list(chain.from_iterable(combinations(KINDS, size) for size in range(1, len(KINDS) + 1)))
SOME = [each for each in EVERY if len(each) in (1, 5)] + [
    ("control", "node"),
    ("node", "keepers"),
    ("supervisor", "node"),
]
DISASTERS = EVERY if os.environ.get("KECS_TEST_DISASTERS") == "all" else SOME


@pytest.fixture(scope="module")
def battered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """One instance, which every disaster of this module meets."""
    with started(tmp_path_factory.mktemp("battered"), name="battered") as instance:
        ecs = instance.ecs()
        ecs.create_cluster(clusterName="c")
        register_web(instance, "web", version="1")
        for family, script in (("ends", "sleep 3; exit 7"), ("ends-at-once", "exit 8")):
            ecs.register_task_definition(
                family=family,
                containerDefinitions=[{"name": "m", "image": "i", "memory": 64, "command": ["sh", "-c", script]}],
            )
        yield instance


@pytest.fixture
def web(battered: Instance) -> Iterator[str]:
    """A new service of two web servers, that nothing has happened to."""
    name = f"web-{secrets.token_hex(4)}"
    battered.ecs().create_service(
        cluster="c", serviceName=name, desiredCount=2, taskDefinition="web", networkConfiguration=NETWORK
    )
    yield name
    battered.ecs().delete_service(cluster="c", service=name, force=True)


def strike(instance: Instance, kinds: tuple[str, ...]) -> None:
    """kill -9, as nearly at once as can be."""
    doomed = [pid for kind in kinds for pid in pids(instance, kind)]
    for pid in doomed:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def stopped(instance: Instance, task_arn: str) -> dict[str, Any]:
    """The task once it has stopped."""

    def look() -> Any:
        (task,) = instance.ecs().describe_tasks(cluster="c", tasks=[task_arn])["tasks"]
        return task if task["lastStatus"] == "STOPPED" else None

    task: dict[str, Any] = wait_until(look, f"{task_arn} has stopped", deadline_s=30)
    return task


def stable(instance: Instance, web: str) -> list[dict[str, Any]]:
    """The service's two tasks, once it is stable."""

    def look() -> Any:
        tasks = running_tasks(instance, "c", web)
        service = describe_service(instance, "c", web)
        return tasks if len(tasks) == 2 == service["runningCount"] and len(service["deployments"]) == 1 else None

    tasks: list[dict[str, Any]] = wait_until(look, "the service is stable", deadline_s=40)
    return tasks


def servers(tasks: list[dict[str, Any]]) -> dict[str, psutil.Process]:
    """The web server of each task, by ARN."""
    for task in tasks:
        wait_until(partial(answers_http, address(task)), "it serves")
    return {task["taskArn"]: psutil.Process(pid_of(address(task))) for task in tasks}


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs, and does not only wait to be reaped."""
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def arns(tasks: list[dict[str, Any]]) -> set[str]:
    return {task["taskArn"] for task in tasks}


@pytest.mark.parametrize("kinds", DISASTERS, ids="+".join)
def test_whoever_is_killed_what_was_acknowledged_stays_and_tasks_run_on(
    battered: Instance, web: str, kinds: tuple[str, ...]
) -> None:
    instance = battered
    before = servers(stable(instance, web))
    ends = instance.ecs().run_task(cluster="c", taskDefinition="ends")["tasks"][0]["taskArn"]
    ecs = instance.ecs()
    wait_until(
        lambda: "startedAt" in ecs.describe_tasks(cluster="c", tasks=[ends])["tasks"][0], "the task that will end runs"
    )

    strike(instance, kinds)
    if "supervisor" in kinds:
        instance.start()
    wait_until(lambda: answers(instance), "the control plane answers again")

    codes = {stopped(instance, ends)["containers"][0].get("exitCode")}
    if "keepers" in kinds:
        assert codes <= {7, 137}, "nobody knows how it ended, unless it ended first"
        for arn in before:
            assert stopped(instance, arn)["containers"][0].get("exitCode") == 137
        assert not any(is_alive(server) for server in before.values()), "a container has outlived its keeper"
        assert not arns(stable(instance, web)) & set(before)
    else:
        assert codes == {7}
        assert arns(stable(instance, web)) == set(before)
        assert all(is_alive(server) for server in before.values()), "a task's process has stopped"
    quick = instance.ecs().run_task(cluster="c", taskDefinition="ends-at-once")["tasks"][0]["taskArn"]
    assert stopped(instance, quick)["containers"][0].get("exitCode") == 8


@pytest.mark.parametrize("kinds", DISASTERS, ids="+".join)
def test_kecs_stop_right_after_a_disaster_leaves_nothing(battered: Instance, web: str, kinds: tuple[str, ...]) -> None:
    instance = battered
    before = servers(stable(instance, web))
    strike(instance, kinds)
    instance.kecs("stop", timeout_s=60)
    wait_until(lambda: not remains(instance), f"nothing is left of the instance: {remains(instance)}", deadline_s=5)
    assert not any(is_alive(server) for server in before.values())
    instance.start()
    for arn in before:
        assert stopped(instance, arn)["stoppedAt"]
    assert arns(stable(instance, web)) & set(before) == set()
