"""Commands run inside a running container."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from k8s.embedded.driver import DriverError, NotRunningError
from k8s.embedded.gateway import ExecSession
from tests.k8s.embedded.process.subjects import (
    SLEEPER,
    container,
    eventually,
    exit_of,
    namespace,
    pod,
    processes_in,
    running,
)


async def everything(session: ExecSession) -> dict[str, bytes]:
    said = {"stdout": b"", "stderr": b""}
    while (output := await session.receive()) is not None:
        said[output.stream] += output.data
    return said


async def test_streams_are_connected_and_the_code_is_told(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, _):
        await driver.start_pod(pod(), [container(*SLEEPER, env=(("COLOUR", "red"),))])
        command = ["sh", "-c", "cat; echo $COLOUR >&2; exit 7"]
        async with driver.exec("pod-1", "main", command, stdin=True) as session:
            await session.send_stdin(b"x" * 200_000)
            await session.close_stdin()
            assert await everything(session) == {"stdout": b"x" * 200_000, "stderr": b"red\n"}
            assert session.exit_code() == 7


async def test_a_terminal_is_a_terminal(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, _):
        await driver.start_pod(pod(), [container(*SLEEPER)])
        command = ["sh", "-c", "test -t 0 && echo terminal; read x; stty size; exit 3"]
        async with driver.exec("pod-1", "main", command, stdin=True, tty=True) as session:
            await session.resize(100, 40)
            await session.send_stdin(b"\n")
            assert (await everything(session))["stdout"].split() == [b"terminal", b"40", b"100"]
            assert session.exit_code() == 3


async def test_leaving_hangs_the_command_up(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, _):
        started = await driver.start_pod(pod(), [container(*SLEEPER)])
        inside = namespace("pid", started.containers[0].pid)
        async with driver.exec("pod-1", "main", ["sh", "-c", "echo up; sleep 1000; true"]) as session:
            assert await session.receive() is not None
            assert processes_in(inside) == 4
        await eventually(lambda: processes_in(inside) == 2)


async def test_a_probe_in_time_and_one_that_is_killed(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, _):
        started = await driver.start_pod(pod(), [container(*SLEEPER)])
        assert (await driver.probe("pod-1", "main", ["sh", "-c", "echo a; echo b >&2"], 10)).output == b"a\nb\n"
        assert (await driver.probe("pod-1", "main", ["nonesuch"], 10)).exit_code not in (0, None)
        slow = ["sh", "-c", "sleep 997 & sleep 997"]
        assert (await driver.probe("pod-1", "main", slow, 0.2)).exit_code is None
        inside = namespace("pid", started.containers[0].pid)
        await eventually(lambda: processes_in(inside) == 2)  # the shell and its sleep


async def test_fifty_probes_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, _):
        await driver.start_pod(pod(), [container(*SLEEPER)])
        codes = []

        async def probe(n: int) -> None:
            codes.append((await driver.probe("pod-1", "main", ["sh", "-c", f"exit {n}"], 30)).exit_code)

        async with trio.open_nursery() as nursery:
            for n in range(50):
                nursery.start_soon(probe, n)
        assert sorted(code for code in codes if code is not None) == list(range(50))


async def test_what_cannot_be_executed_says_so(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, _):
        await driver.start_pod(pod(), [container(*SLEEPER)])
        with pytest.raises(DriverError, match="executable file not found"):
            async with driver.exec("pod-1", "main", ["nonesuch"]):
                pass


async def test_nothing_runs_in_what_has_ended(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, _):
        await driver.start_pod(pod(), [container("true")])
        await exit_of(driver)
        with pytest.raises(NotRunningError):
            await driver.probe("pod-1", "main", ["true"], 1)
        with pytest.raises(NotRunningError):
            async with driver.exec("pod-1", "main", ["true"]):
                pass
