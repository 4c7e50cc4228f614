"""Real instances, with simulated tasks: started, killed, adopted, restored, stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from cli.components import CONTROL, NODE, PROCESSES, SUPERVISOR
from cli.control import alive
from cli.instances import Instance
from cli.processes import wait_until
from tests.cli.test_instances import listening

NAME = "tested"


def kecs(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments, "-i", NAME],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done


def status() -> dict[str, Any]:
    told: dict[str, Any] = json.loads(kecs("status", "--json", check=False).stdout)
    return told


def ecs(operation: str, **members: object) -> dict[str, Any]:
    request = Request(
        status()["endpoint"],
        json.dumps(members).encode(),
        {
            "X-Amz-Target": f"AmazonEC2ContainerServiceV20141113.{operation}",
            "Content-Type": "application/x-amz-json-1.1",
        },
    )
    with urlopen(request, timeout=30) as answer:
        parsed: dict[str, Any] = json.loads(answer.read())
        return parsed


@pytest.fixture
def instance() -> Iterator[Instance]:
    one = Instance.named(NAME)
    yield one
    kecs("stop", "--grace", "0", check=False)
    assert alive(one) == []


@pytest.fixture
def started(instance: Instance) -> Instance:
    kecs("start", "--detach", "--driver", "simulated")
    return instance


def test_an_instance_lives_through_starts_and_stops(started: Instance) -> None:
    told = status()
    assert told["state"] == "running"
    assert {facts["state"] for facts in told["processes"].values()} == {"ready"}
    with urlopen(f"{told['admin_endpoint']}/ready", timeout=10) as answer:
        assert json.loads(answer.read())["ready"] is True
    ecs("CreateCluster", clusterName="kept")

    again = kecs("start", "--detach")
    assert "is already running" in again.stdout
    assert {name: facts["pid"] for name, facts in status()["processes"].items()} == {
        name: facts["pid"] for name, facts in told["processes"].items()
    }
    other = kecs("start", "--detach", "--driver", "process", check=False)
    assert other.returncode == 1
    assert "already running with other options" in other.stderr

    kecs("stop")
    assert alive(started) == []
    assert kecs("stop").stdout == f"KECS instance `{NAME}` was not running.\n"
    assert list(started.backups.glob("kecs-*.duckdb"))

    kecs("start", "--detach")
    assert (status()["port"], status()["driver"]) == (told["port"], "simulated")
    assert ecs("ListClusters")["clusterArns"][0].endswith(":cluster/kept")


@pytest.mark.slow
def test_a_control_plane_that_is_killed_comes_back_with_what_was_acknowledged(started: Instance) -> None:
    ecs("CreateCluster", clusterName="acknowledged")
    killed, node = started.running(CONTROL), started.running(NODE)
    started.pid_file(CONTROL).signal(signal.SIGKILL)
    assert wait_until(lambda: started.running(CONTROL) not in (None, killed), 20)
    assert wait_until(lambda: status()["state"] == "running", 20)
    assert status()["processes"]["control"]["last_exit"] == "killed by SIGKILL"
    assert started.running(NODE) == node
    assert ecs("ListClusters")["clusterArns"][0].endswith(":cluster/acknowledged")


@pytest.mark.slow
def test_restart_renews_the_control_plane_only(started: Instance) -> None:
    before = {name: started.running(name) for name in PROCESSES}
    kecs("restart")
    after = {name: started.running(name) for name in PROCESSES}
    assert after[CONTROL] not in (None, before[CONTROL])
    assert {name: pid for name, pid in after.items() if name != CONTROL} == {
        name: pid for name, pid in before.items() if name != CONTROL
    }
    kecs("restart", "--all")
    assert not {started.running(name) for name in PROCESSES} & set(after.values())


@pytest.mark.slow
def test_the_survivors_of_a_killed_supervisor_are_adopted(started: Instance) -> None:
    before = {name: started.running(name) for name in PROCESSES}
    started.pid_file(SUPERVISOR).signal(signal.SIGKILL)
    assert wait_until(lambda: started.running(SUPERVISOR) is None, 10)
    assert status()["state"] == "degraded"
    kecs("start", "--detach")
    assert status()["state"] == "running"
    assert started.running(SUPERVISOR) not in (None, before[SUPERVISOR])
    assert (started.running(CONTROL), started.running(NODE)) == (before[CONTROL], before[NODE])


@pytest.mark.slow
def test_stop_ends_the_survivors_of_a_killed_supervisor(started: Instance) -> None:
    started.pid_file(SUPERVISOR).signal(signal.SIGKILL)
    assert wait_until(lambda: started.running(SUPERVISOR) is None, 10)
    assert kecs("stop").stdout == f"KECS instance `{NAME}` is stopped.\n"
    assert alive(started) == []


@pytest.mark.slow
def test_two_starts_at_once_make_one_instance(instance: Instance) -> None:
    command = [sys.executable, "-m", "cli.main", "start", "-d", "--driver", "simulated", "-i", NAME]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) for _ in range(2)]
    said = sorted(process.communicate(timeout=100)[0] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert "is already running" in said[0]
    assert "is ready" in said[1]


def test_a_taken_port_is_told_with_its_holder(instance: Instance) -> None:
    with listening() as busy:
        port = busy.getsockname()[1]
        done = kecs("start", "--detach", "--port", str(port), check=False)
    assert done.returncode == 5
    assert f"Port {port} is taken by" in done.stderr
    assert f"(pid {os.getpid()})" in done.stderr


@pytest.mark.slow
def test_a_backup_comes_back(started: Instance, tmp_path: Path) -> None:
    ecs("CreateCluster", clusterName="in-the-backup")
    kecs("backup", str(tmp_path / "copy.duckdb"))
    ecs("CreateCluster", clusterName="after-the-backup")
    assert kecs("restore", str(tmp_path / "copy.duckdb"), check=False).returncode == 3
    kecs("stop")
    assert kecs("restore", str(tmp_path / "missing"), check=False).returncode == 2
    (tmp_path / "junk").write_bytes(b"junk" * 10_000)
    refused = kecs("restore", str(tmp_path / "junk"), check=False)
    assert refused.returncode == 1
    assert "Nothing was restored" in refused.stderr
    kecs("backup", str(tmp_path / "while-stopped.duckdb"))
    kecs("restore", str(tmp_path / "copy.duckdb"))
    kecs("start", "--detach")
    assert [arn.rpartition("/")[2] for arn in ecs("ListClusters")["clusterArns"]] == ["in-the-backup"]


@pytest.mark.slow
def test_a_damaged_state_file_stops_the_start_with_the_way_out(started: Instance) -> None:
    kecs("stop")
    started.database.write_bytes(b"not a database" * 1_000)
    done = kecs("start", "--detach", check=False)
    assert done.returncode == 1
    assert "everything was stopped again" in done.stderr
    assert f"kecs restore --instance {NAME} {started.backups}" in done.stderr
    assert alive(started) == []


@pytest.mark.slow
def test_reset_forgets_everything_and_keeps_the_processes(started: Instance) -> None:
    ecs("CreateCluster", clusterName="forgotten")
    before = {name: started.running(name) for name in PROCESSES}
    kecs("reset")
    assert ecs("ListClusters")["clusterArns"] == []
    assert {name: started.running(name) for name in PROCESSES} == before
    ecs("CreateCluster", clusterName="anew")
    kecs("restart")
    assert [arn.rpartition("/")[2] for arn in ecs("ListClusters")["clusterArns"]] == ["anew"]


@pytest.mark.slow
def test_the_foreground_stops_with_an_interrupt(instance: Instance) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "start", "--driver", "simulated", "-i", NAME],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert "is ready" in process.stdout.readline()
    assert process.stderr is not None
    assert any("Ctrl-C stops" in line for line in process.stderr)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert alive(instance) == []
