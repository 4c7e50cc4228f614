"""How containers end, and what is recorded of it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import trio

from k8s.embedded.driver import Phase, Resources
from tests.k8s.embedded.process.subjects import (
    SLEEPER,
    alive,
    container,
    eventually,
    exit_of,
    namespace,
    pod,
    processes_in,
    running,
)

ORPHANS = "sleep 1000 & setsid sleep 1000 & (setsid sleep 1000 &); exec sleep 1000"


async def test_a_signal_is_128_and_its_number(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, _):
        started = await driver.start_pod(pod(), [container(*SLEEPER)])
        pid = started.containers[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        state = await exit_of(driver)
        assert (state.exit_code, state.signal, state.oom_killed) == (137, 9, False)


async def test_stopping_ends_everything_that_the_container_started(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, _):
        started = await driver.start_pod(pod(), [container("sh", "-c", ORPHANS)])
        inside = namespace("pid", started.containers[0].pid)
        await driver.stop_container("pod-1", "main", 0)
        assert (await exit_of(driver)).exit_code == 137
        assert processes_in(inside) == 0


async def test_an_init_passes_signals_on_and_ends_as_the_command_does(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, _):
        await driver.start_pod(pod(), [container("sleep", "1000", init_process=True)])
        shown = await driver.probe("pod-1", "main", ["sh", "-c", "cat /proc/1/comm; ls /proc | grep -c '^[0-9]'"], 10)
        assert shown.output.split()[1] == b"5"  # init, sleep, sh, ls, grep
        await driver.stop_container("pod-1", "main", 30)
        assert (await exit_of(driver)).exit_code == 143


async def test_an_init_reaps_orphans(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, _):
        await driver.start_pod(pod(), [container("sh", "-c", "(sleep 0.1 &); exec sleep 1000", init_process=True)])
        count = ["sh", "-c", "grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l"]
        await trio.sleep(0.3)  # the time in which an orphan ends
        assert (await driver.probe("pod-1", "main", count, 10)).output.strip() == b"0"


async def test_an_end_at_once_is_no_failure_to_start(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, _):
        for n in range(20):
            started = await driver.start_pod(pod(f"pod-{n}"), [container("true")])
            assert started.containers[0].phase in (Phase.RUNNING, Phase.EXITED)
            assert (await exit_of(driver, f"pod-{n}")).exit_code == 0


@pytest.mark.root
async def test_too_much_memory_is_137_and_said_to_be_so(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, info):
        if any("memory" in note for note in info.notes):
            pytest.skip(str(info.notes))
        greedy = container(
            "python3", "-c", "x = b'x' * (1 << 28)", resources=Resources(memory_bytes=32 << 20, cpu_shares_milli=100)
        )
        await driver.start_pod(pod(), [greedy])
        state = await exit_of(driver)
        assert (state.exit_code, state.oom_killed) == (137, True)


@pytest.mark.root
async def test_a_pods_memory_is_limited_as_a_whole(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, info):
        if any("memory" in note for note in info.notes):
            pytest.skip(str(info.notes))
        greedy = container("python3", "-c", "x = b'x' * (1 << 28)", resources=Resources(cpu_shares_milli=100))
        await driver.start_pod(pod(resources=Resources(memory_bytes=32 << 20)), [greedy])
        state = await exit_of(driver)
        assert (state.exit_code, state.oom_killed) == (137, True)


async def test_a_container_that_writes_without_end_is_stopped(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, _):
        await driver.start_pod(pod(), [container("yes")])
        await driver.stop_container("pod-1", "main", 0.2)
        assert (await exit_of(driver)).exit_code == 137


async def test_a_stopped_process_is_killed_with_its_pod(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, _):
        started = await driver.start_pod(pod(), [container(*SLEEPER)])
        pid = started.containers[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        await driver.remove_pod("pod-1")
        await eventually(lambda: not alive(pid))
