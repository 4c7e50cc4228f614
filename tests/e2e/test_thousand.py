"""A thousand tasks of real processes: all run, and `kecs stop` leaves nothing of them behind."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from k8s.embedded.process.instance_network import InstanceNetwork
from tests.e2e.instance import Instance, started, wait_until
from tests.e2e.test_main_job import containers

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(600)]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="looks for interfaces and processes of the host, as root")


def traces(instance: Instance) -> dict[str, set[str]]:
    """What the instance's tasks have on the host: links, routes, mounts, cgroups. Other instances may come and go."""
    folder = instance.home / "instances" / instance.name / "node"
    tag = InstanceNetwork.of(folder).tag

    def ours(lines: Iterable[str]) -> set[str]:
        return {line for line in lines if tag in line or str(folder) in line}

    def output(*command: str) -> set[str]:
        return ours(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines())

    return {
        "links": output("ip", "-o", "link"),
        "routes": output("ip", "route", "show", "table", "all"),
        "mounts": ours(Path("/proc/self/mounts").read_text().splitlines()),
        "cgroups": ours(str(path) for path in Path("/sys/fs/cgroup").rglob("*kecs*") if path.is_dir()),
    }


@needs_root
def test_a_thousand_tasks_run_and_stop_leaves_nothing(tmp_path: Path) -> None:
    with started(tmp_path / "home", name="thousand") as instance:
        run_a_thousand(instance)
        assert len(traces(instance)["links"]) >= 1000
        processes = [p for p in psutil.process_iter(["environ"]) if str(instance.home) in str(p.info["environ"])]
        instance.kecs("stop", timeout_s=240)
        wait_until(lambda: not any(map(runs, processes)), "every process has ended", deadline_s=10)
        assert traces(instance) == {"links": set(), "routes": set(), "mounts": set(), "cgroups": set()}


def run_a_thousand(instance: Instance) -> None:
    """Returns once a thousand tasks are RUNNING, each with an address of its own."""
    ecs = instance.ecs()
    ecs.create_cluster(clusterName="thousand")
    ecs.register_task_definition(
        family="sleeper", containerDefinitions=json.loads(containers("sleep", "3600", name="main"))
    )

    def run_ten(_: int) -> list[str]:
        answer = ecs.run_task(cluster="thousand", taskDefinition="sleeper", count=10)
        assert answer["failures"] == []
        return [task["taskArn"] for task in answer["tasks"]]

    with ThreadPoolExecutor(8) as pool:
        arns = [arn for batch in pool.map(run_ten, range(100)) for arn in batch]
    assert len(set(arns)) == 1000

    def running() -> int:
        count: int = ecs.describe_clusters(clusters=["thousand"])["clusters"][0]["runningTasksCount"]
        return count

    wait_until(lambda: running() == 1000, "a thousand tasks are RUNNING", deadline_s=120)
    addresses = set()
    for start in range(0, 1000, 100):
        for task in ecs.describe_tasks(cluster="thousand", tasks=arns[start : start + 100])["tasks"]:
            addresses.add(task["containers"][0]["networkInterfaces"][0]["privateIpv4Address"])
    assert len(addresses) == 1000


def runs(process: psutil.Process) -> bool:
    """Whether it has not ended (one that only waits to be reaped has)."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
