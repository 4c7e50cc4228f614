"""kill -9 of the control plane under a load of writes: nothing acknowledged is lost, and no task notices."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from typing import Any

import psutil
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.e2e.instance import Instance, wait_until
from tests.e2e.test_main_job import address, containers, describe_service, pid_of, register_web, running_tasks

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}


class Writers:
    """Threads that write without pause and remember what was acknowledged."""

    def __init__(self, instance: Instance, count: int) -> None:
        self.instance = instance
        self.stopping = threading.Event()
        self.clusters: set[str] = set()
        self.definitions: set[str] = set()
        self.tasks: set[str] = set()
        self.threads = [threading.Thread(target=self.write, args=(number,)) for number in range(count)]

    def write(self, number: int) -> None:
        ecs = self.instance.ecs()
        turn = 0
        while not self.stopping.is_set():
            turn += 1
            try:
                self.write_one(ecs, number, turn)
            except (BotoCoreError, ClientError):
                self.stopping.wait(0.02)  # the server is down: unacknowledged, so it may or may not be there

    def write_one(self, ecs: Any, number: int, turn: int) -> None:
        name = f"w{number}-{turn}"
        if turn % 10 == 0:
            answer = ecs.run_task(cluster="crash", taskDefinition="sleeper", startedBy=name)
            self.tasks.update(task["taskArn"] for task in answer["tasks"])
        elif turn % 3 == 0:
            answer = ecs.register_task_definition(
                family=f"family-{number}", containerDefinitions=json.loads(containers("true", name=name))
            )
            self.definitions.add(answer["taskDefinition"]["taskDefinitionArn"])
        else:
            self.clusters.add(ecs.create_cluster(clusterName=name)["cluster"]["clusterArn"])

    def __enter__(self) -> Writers:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join(timeout=120)


def answers(instance: Instance) -> bool:
    try:
        instance.ecs().list_clusters()
    except (BotoCoreError, ClientError):
        return False
    return True


def pages(operation: Any, key: str, **arguments: Any) -> set[str]:
    found: set[str] = set()
    token: dict[str, str] = {}
    while True:
        answer = operation(**arguments, **token)
        found.update(answer[key])
        if "nextToken" not in answer:
            return found
        token = {"nextToken": answer["nextToken"]}


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="looks for processes by their network namespace, as root")
@pytest.mark.parametrize("kills", [int(os.environ.get("KECS_TEST_KILLS", "50"))])
def test_kill_9_of_the_control_plane_loses_nothing(own_instance: Instance, kills: int) -> None:
    instance = own_instance
    ecs = instance.ecs()
    ecs.create_cluster(clusterName="crash")
    register_web(instance, "web", version="1")
    ecs.register_task_definition(
        family="sleeper", containerDefinitions=json.loads(containers("sleep", "3600", name="main"))
    )
    ecs.create_service(
        cluster="crash", serviceName="web", desiredCount=3, taskDefinition="web", networkConfiguration=NETWORK
    )
    wait_until(lambda: len(running_tasks(instance, "crash", "web")) == 3, "three web tasks run")
    servers = [psutil.Process(pid_of(address(task))) for task in running_tasks(instance, "crash", "web")]
    service_tasks = {task["taskArn"] for task in running_tasks(instance, "crash", "web")}

    seed = random.randrange(2**32)
    print(f"seed {seed}")
    instants = random.Random(seed)
    with Writers(instance, 4) as writers:
        for _ in range(kills):
            time.sleep(instants.uniform(0.0, 1.5))  # the random instant itself
            os.kill(instance.pid("control"), signal.SIGKILL)
            wait_until(lambda: answers(instance), "the control plane answers again", every_s=0.02)

    assert len(writers.clusters) > kills, "the load was no load"
    missing = writers.clusters - pages(ecs.list_clusters, "clusterArns")
    missing |= writers.definitions - pages(ecs.list_task_definitions, "taskDefinitionArns")
    for task in sorted(writers.tasks):
        if not ecs.describe_tasks(cluster="crash", tasks=[task])["tasks"]:
            missing.add(task)
    assert missing == set()
    assert all(server.is_running() for server in servers), "a task's process has stopped"

    def stable() -> bool:
        service = describe_service(instance, "crash", "web")
        return bool(service["runningCount"] == 3 and len(service["deployments"]) == 1)

    wait_until(stable, "the service is stable again")
    assert {task["taskArn"] for task in running_tasks(instance, "crash", "web")} == service_tasks
    wait_until(
        lambda: all(
            task["lastStatus"] == "RUNNING"
            for arn in writers.tasks
            for task in ecs.describe_tasks(cluster="crash", tasks=[arn])["tasks"]
        ),
        "every acknowledged task runs",
    )


def kill_and_see_restarted(instance: Instance, process: str) -> None:
    before = instance.pid(process)
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: instance.pid(process) not in (None, before), f"the {process} process is started again")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="looks for processes by their network namespace, as root")
def test_kill_9_of_the_node_process_leaves_the_tasks_running_and_adopts_them(own_instance: Instance) -> None:
    instance = own_instance
    ecs = instance.ecs()
    ecs.create_cluster(clusterName="crash")
    register_web(instance, "web", version="1")
    ecs.create_service(
        cluster="crash", serviceName="web", desiredCount=2, taskDefinition="web", networkConfiguration=NETWORK
    )
    wait_until(lambda: len(running_tasks(instance, "crash", "web")) == 2, "two web tasks run")
    tasks = running_tasks(instance, "crash", "web")
    servers = {address(task): psutil.Process(pid_of(address(task))) for task in tasks}

    for _ in range(3):
        kill_and_see_restarted(instance, "node")
    assert all(server.is_running() for server in servers.values())
    victim = tasks[0]
    servers[address(victim)].kill()

    def recorded() -> bool:
        found = ecs.describe_tasks(cluster="crash", tasks=[victim["taskArn"]])["tasks"][0]
        return bool(found["lastStatus"] == "STOPPED" and found["containers"][0].get("exitCode") == 137)

    wait_until(recorded, "an adopted task's exit code is known")
    wait_until(lambda: len(running_tasks(instance, "crash", "web")) == 2, "it was replaced")
    assert tasks[1]["taskArn"] in {task["taskArn"] for task in running_tasks(instance, "crash", "web")}
