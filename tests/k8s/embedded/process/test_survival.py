"""Whoever is killed, containers go on or are told to have ended, and nothing is left in the end."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from k8s.embedded.driver import DriverError, Phase, PodState, SandboxError
from k8s.embedded.process import cleanup, state
from tests.k8s.embedded.process.subjects import (
    SERVER,
    SLEEPER,
    alive,
    container,
    eventually,
    exit_of,
    fetched,
    left_of,
    pod,
    running,
    script,
)


@asynccontextmanager
async def killed_driver(directory: Path, *argv: str) -> AsyncIterator[dict[str, Any]]:
    """What a driver in another process said it started, before it was killed with SIGKILL."""
    process = await trio.lowlevel.open_process(
        script("drive.py", str(directory), "pod-1", *argv), stdout=-1, cwd=Path(__file__).parents[4]
    )
    try:
        assert process.stdout is not None
        with trio.fail_after(30):
            said = b""
            while not said.endswith(b"\n"):
                said += await process.stdout.receive_some()
    finally:
        process.kill()
        await process.wait()
    yield json.loads(said)


def keeper_pids(directory: Path) -> list[int]:
    keepers = state.keepers(state.Layout(directory)).items()
    return [pid for name, (pid, ticks) in keepers if name.startswith("keeper") and state.lives(pid, ticks)]


async def test_containers_outlive_a_killed_driver_and_are_adopted(tmp_path: Path) -> None:
    async with killed_driver(tmp_path, *SERVER) as said:
        assert alive(said["pid"])
        async with running(tmp_path) as (driver, _):
            (adopted,) = driver.adopted()
            assert (adopted.ip, adopted.containers[0].container_id) == (said["ip"], said["id"])
            assert adopted.containers[0].phase is Phase.RUNNING
            assert (await fetched(said["ip"])).startswith(b"HTTP/1.0 200")
            assert (await driver.probe("pod-1", "main", ["true"], 10)).exit_code == 0
            later = await driver.start_container("pod-1", container("sh", "-c", "exit 4", name="later"))
            assert later.phase in (Phase.RUNNING, Phase.EXITED)
            assert (await exit_of(driver, name="later")).exit_code == 4
            os.kill(said["pid"], signal.SIGKILL)
            assert (await exit_of(driver)).exit_code == 137


async def test_a_killed_zygote_is_replaced(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, _):
        await driver.start_pod(pod("before"), [container(*SLEEPER)])
        zygote = driver._zygote._process
        assert zygote is not None
        zygote.kill()
        started = await driver.start_pod(pod("after"), [container(*SLEEPER)])
        assert started.containers[0].phase is Phase.RUNNING
        for uid in ("before", "after"):
            assert (await driver.probe(uid, "main", ["true"], 10)).exit_code == 0


async def test_a_killed_keeper_takes_its_containers_along(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, _):
        started = await driver.start_pod(pod(), [container(*SLEEPER), container("true", name="done")])
        assert (await exit_of(driver, name="done")).exit_code == 0
        (keeper,) = keeper_pids(tmp_path)
        os.kill(keeper, signal.SIGKILL)
        ended = await exit_of(driver)
        assert (ended.exit_code, ended.signal) == (137, 9)
        await eventually(lambda: not alive(started.containers[0].pid))
        with pytest.raises(SandboxError):
            await driver.start_container("pod-1", container(*SLEEPER, attempt=1))
        await driver.remove_pod("pod-1")
        assert (await driver.start_pod(pod(), [container(*SLEEPER)])).containers[0].phase is Phase.RUNNING


async def test_a_keeper_killed_while_no_driver_ran_is_noticed(tmp_path: Path) -> None:
    async with killed_driver(tmp_path, *SLEEPER) as said:
        (keeper,) = keeper_pids(tmp_path)
        os.kill(keeper, signal.SIGKILL)
        await eventually(lambda: not alive(said["pid"]))
        async with running(tmp_path) as (driver, _):
            ended = driver.adopted()[0].containers[0]
            assert (ended.phase, ended.exit_code) == (Phase.EXITED, 137)


async def test_after_a_crash_of_everything_nothing_is_left_by_sweeping(tmp_path: Path) -> None:
    async with killed_driver(tmp_path, *SERVER) as said:
        cleanup.sweep(tmp_path)
        assert not alive(said["pid"])
        await eventually(lambda: not left_of(tmp_path))
        cleanup.sweep(tmp_path)
        assert (tmp_path / "pods" / "pod-1" / "main.0.log").exists()


async def test_nothing_is_swept_while_a_driver_runs(tmp_path: Path) -> None:
    async with running(tmp_path):
        with pytest.raises(DriverError, match="another node is running"):
            cleanup.sweep(tmp_path)


async def test_two_drivers_do_not_share_a_directory(tmp_path: Path) -> None:
    async with running(tmp_path):
        with pytest.RaisesGroup(pytest.RaisesExc(DriverError, match="another node"), flatten_subgroups=True):
            async with running(tmp_path):
                pass


def test_a_process_that_took_over_a_pid_is_left_alone() -> None:
    own = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    cleanup.kill(os.getpid(), int(own) + 1)
    assert not state.lives(os.getpid(), int(own) + 1)
    assert state.lives(os.getpid(), int(own))


async def test_stop_all_leaves_nothing_and_may_be_repeated(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, _):
        for n in range(5):
            await driver.start_pod(pod(f"pod-{n}"), [container(*SLEEPER), container(*SERVER, name="web")])
        await driver.stop_all(0.5)
        await eventually(lambda: not left_of(tmp_path))
        await driver.stop_all(0)
    assert not left_of(tmp_path)


async def test_two_hundred_pods_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, info):
        started: dict[str, PodState] = {}

        async def start(uid: str) -> None:
            async with limit:
                started[uid] = await driver.start_pod(pod(uid), [container(*SLEEPER)])

        limit = trio.CapacityLimiter(info.parallel_starts)
        async with trio.open_nursery() as nursery:
            for n in range(200):
                nursery.start_soon(start, f"pod-{n}")
        assert all(each.containers[0].phase is Phase.RUNNING for each in started.values())
        assert len({each.ip for each in started.values()}) in (1, 200)
        assert len(keeper_pids(tmp_path)) < 20
        await driver.stop_all(5)
    assert not left_of(tmp_path)
