from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from cli import supervision
from cli.components import CONTROL, NODE, Component
from cli.instances import Instance, Ports, Settings
from cli.supervision import Supervisor, rotate

STUB = """
import os, sys, time, signal
from pathlib import Path
from cli.instances import Instance
from cli.lifetime import Lifetime, Hopeless, lifetime
name = sys.argv[2]
with lifetime(name) as own:
    own.step("thinking")
    print(name, "says hello", flush=True)
    {body}
"""
SERVE = "own.ready(); signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); signal.pause()"


def stub(instance: Instance, name: str, body: str = SERVE) -> Component:
    return Component(name, (sys.executable, "-c", STUB.format(body=body), str(instance.path), name), 5)


@pytest.fixture
def instance() -> Instance:
    one = Instance.named("stubbed")
    one.save(Settings(), Ports())
    return one


async def until(condition: Callable[[], Any]) -> Any:
    with trio.fail_after(20):
        while not (answer := condition()):  # noqa: ASYNC110 - what is waited for happens in other processes
            await trio.sleep(0.01)  # between two looks at the world outside
    return answer


@asynccontextmanager
async def supervised(instance: Instance, components: Sequence[Component]) -> AsyncIterator[None]:
    """A supervisor in this process; stopped by signal, as in life."""
    async with trio.open_nursery() as nursery:
        ended = trio.Event()

        async def run() -> None:
            await Supervisor(instance, components).run()
            ended.set()

        nursery.start_soon(run)
        await until(lambda: instance.report())
        yield
        os.kill(os.getpid(), signal.SIGTERM)
        with trio.fail_after(20):
            await ended.wait()


def state(instance: Instance, name: str = CONTROL) -> str:
    return str(instance.report().get(name, {}).get("state"))


def replaced(instance: Instance, former: int | None) -> bool:
    return state(instance) == "ready" and instance.running(CONTROL) not in (None, former)


async def test_processes_become_ready_and_stop_in_order(instance: Instance) -> None:
    async with supervised(instance, [stub(instance, CONTROL), stub(instance, NODE)]):
        await until(lambda: state(instance) == state(instance, NODE) == "ready")
        assert instance.running(CONTROL) == instance.report()[CONTROL]["pid"]
        assert "control says hello" in instance.log_file(CONTROL).read_text()
    assert instance.running(CONTROL) is None
    assert instance.running(NODE) is None
    assert state(instance) == state(instance, NODE) == "stopped"


async def test_a_killed_process_is_started_again_and_the_others_go_on(instance: Instance) -> None:
    async with supervised(instance, [stub(instance, CONTROL), stub(instance, NODE)]):
        await until(lambda: state(instance) == state(instance, NODE) == "ready")
        node = instance.running(NODE)
        for round_ in range(1, 4):
            killed = instance.running(CONTROL)
            instance.pid_file(CONTROL).signal(signal.SIGKILL)
            await until(partial(replaced, instance, killed))
            assert instance.report()[CONTROL]["restarts"] == round_
        assert instance.report()[CONTROL]["last_exit"] == "killed by SIGKILL"
        assert instance.running(NODE) == node


async def test_one_that_never_gets_ready_is_given_up_and_can_be_tried_again(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "BACK_OFF_S", 0.001)
    async with supervised(instance, [stub(instance, CONTROL, "sys.exit(3)")]):
        await until(lambda: state(instance) == "failed")
        assert instance.report()[CONTROL]["last_exit"] == "exit code 3"
        tried = instance.log_file(CONTROL).read_text().count("hello")
        assert tried == supervision.MAX_FAILED_STARTS
        os.kill(os.getpid(), signal.SIGUSR1)
        await until(lambda: instance.log_file(CONTROL).read_text().count("hello") > tried)


async def test_a_hopeless_one_is_given_up_at_once_and_says_why(instance: Instance) -> None:
    async with supervised(instance, [stub(instance, CONTROL, 'raise Hopeless("the disk is made of cheese")')]):
        await until(lambda: state(instance) == "failed")
        written = instance.log_file(CONTROL).read_text()
        assert written.splitlines() == ["control says hello", "control: the disk is made of cheese"]


async def test_one_that_dies_too_often_is_given_up(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "MAX_DEATHS", 3)
    async with supervised(instance, [stub(instance, CONTROL, "own.ready(); sys.exit(1)")]):
        await until(lambda: state(instance) == "failed")
        assert instance.log_file(CONTROL).read_text().count("hello") == 4


async def test_the_next_supervisor_adopts_what_the_last_one_left(instance: Instance) -> None:
    left = await trio.lowlevel.open_process(
        stub(instance, NODE).argv, stdout=instance_log(instance), start_new_session=True
    )
    await until(lambda: instance.running(NODE))
    async with supervised(instance, [stub(instance, CONTROL), stub(instance, NODE)]):
        await until(lambda: state(instance, NODE) == "ready")
        assert instance.running(NODE) == left.pid
        left.kill()
        await left.wait()
        await until(lambda: instance.running(NODE) not in (None, left.pid))
    assert instance.running(NODE) is None


async def test_restarting_the_control_plane_leaves_the_node_alone(instance: Instance) -> None:
    async with supervised(instance, [stub(instance, CONTROL), stub(instance, NODE)]):
        await until(lambda: state(instance) == state(instance, NODE) == "ready")
        control, node = instance.running(CONTROL), instance.running(NODE)
        os.kill(os.getpid(), signal.SIGUSR1)
        await until(lambda: instance.running(CONTROL) not in (None, control) and state(instance) == "ready")
        assert instance.running(NODE) == node


async def test_one_that_ignores_sigterm_is_killed(instance: Instance) -> None:
    stubborn = "signal.signal(signal.SIGTERM, signal.SIG_IGN); own.ready(); time.sleep(60)"
    component = Component(CONTROL, stub(instance, CONTROL, stubborn).argv, stop_deadline_s=0.2)
    async with supervised(instance, [component]):
        await until(lambda: state(instance) == "ready")
    assert instance.running(CONTROL) is None


def test_logs_rotate_and_keep_a_few_generations(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    for number in range(6):
        with log.open("a") as writer:
            writer.write(f"{number}" * 10)
        rotate(log, limit_bytes=10)
    assert log.read_text() == ""
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["x.log", "x.log.1", "x.log.2", "x.log.3"]
    assert (tmp_path / "x.log.1").read_text() == "5" * 10


def instance_log(instance: Instance) -> int:
    path = instance.log_file(NODE)
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
