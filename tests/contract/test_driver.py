"""The contract of `k8s.embedded.driver.Driver`, over every driver that this machine can run."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
import trio
from attrs import evolve, frozen

from k8s.embedded.driver import (
    ContainerSpec,
    ContainerState,
    Driver,
    DriverInfo,
    EmptyDir,
    Failure,
    Mount,
    NotRunningError,
    Phase,
    PodSpec,
    SandboxError,
)
from k8s.embedded.simulated_driver import SimulatedDriver, SimulatedWorld

FOREVER = ("sh", "-c", "trap 'exit 143' TERM; sleep 1000 & wait")  # PID 1 has no default action for SIGTERM
STUBBORN = ("sh", "-c", "trap '' TERM; while :; do sleep 1000 & wait; done")


@frozen
class Subject:
    """A kind of driver. `make` gives one over the same state each time; `is_real`: commands really run."""

    make: Callable[[], Driver]
    is_real: bool


def _simulated(directory: Path) -> Subject:
    world = SimulatedWorld()
    return Subject(lambda: SimulatedDriver(directory / "logs", world=world), is_real=False)


def _process(directory: Path) -> Subject:
    if os.uname().sysname != "Linux":
        pytest.skip("the process driver needs Linux")
    process = pytest.importorskip("k8s.embedded.process.driver")
    return Subject(lambda: process.ProcessDriver(directory / "node"), is_real=True)


@pytest.fixture(params=[_simulated, _process], ids=["simulated", "process"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    made: Subject = request.param(tmp_path)
    yield made
    if made.is_real:
        trio.run(_end_everything, made)


async def _end_everything(subject: Subject) -> None:
    async with running(subject) as (driver, _):
        await driver.stop_all(0)


@asynccontextmanager
async def running(subject: Subject) -> AsyncIterator[tuple[Driver, DriverInfo]]:
    """A driver over the subject's state that runs inside the block, and then is gone as if killed."""
    driver = subject.make()
    async with trio.open_nursery() as nursery:
        info = await nursery.start(driver.run)
        with trio.fail_after(60):
            yield driver, info
        nursery.cancel_scope.cancel()


def pod(**settings: str) -> PodSpec:
    annotations = {f"simulated.kecs.dev/{name.replace('_', '-')}": value for name, value in settings.items()}
    uid = str(uuid4())
    return PodSpec(uid, "default", f"pod-{uid[:8]}", f"pod-{uid[:8]}", annotations=annotations)


def container(*argv: str, name: str = "main", attempt: int = 0) -> ContainerSpec:
    path = os.environ.get("PATH", "/usr/bin:/bin")
    return ContainerSpec(name, image="busybox", args=argv, env=(("PATH", path),), attempt=attempt)


async def exit_of(driver: Driver, uid: str, name: str = "main") -> ContainerState:
    while True:
        state = await driver.exits.receive()
        if (state.pod_uid, state.name) == (uid, name):
            return state


async def test_a_pod_starts_in_one_call_with_an_address_and_running_containers(subject: Subject) -> None:
    async with running(subject) as (driver, _):
        spec = pod()
        started = await driver.start_pod(spec, [container(*FOREVER), container(*FOREVER, name="side")])
        assert started.ip
        assert [c.name for c in started.containers] == ["main", "side"]
        assert all(c.phase is Phase.RUNNING and c.started_at and c.container_id for c in started.containers)
        assert len({c.container_id for c in started.containers}) == 2


async def test_info_says_how_pods_see_the_host(subject: Subject) -> None:
    async with running(subject) as (_, info):
        assert info.name
        assert info.host_ip
        assert info.parallel_starts > 0


async def test_pods_have_addresses_of_their_own(subject: Subject) -> None:
    async with running(subject) as (driver, info):
        if any("network" in note for note in info.notes):
            pytest.skip(f"no addresses of their own on this machine: {info.notes}")
        started = [await driver.start_pod(pod(), [container(*FOREVER)]) for _ in range(3)]
        assert len({p.ip for p in started}) == 3


async def test_starting_a_pod_again_changes_nothing(subject: Subject) -> None:
    async with running(subject) as (driver, _):
        spec = pod()
        first = await driver.start_pod(spec, [container(*FOREVER)])
        again = await driver.start_pod(spec, [container(*FOREVER)])
        assert again.ip == first.ip
        assert again.containers[0].container_id == first.containers[0].container_id


@pytest.mark.parametrize("code", [0, 3, 255])
async def test_an_exit_code_arrives_once(subject: Subject, code: int) -> None:
    async with running(subject) as (driver, _):
        spec = pod()
        await driver.start_pod(spec, [container("sh", "-c", f"exit {code}")])
        state = await exit_of(driver, spec.uid)
        assert (state.phase, state.exit_code, state.oom_killed) == (Phase.EXITED, code, False)
        assert state.started_at is not None
        assert state.finished_at is not None
        assert state.started_at <= state.finished_at
        await driver.remove_pod(spec.uid)
        with trio.move_on_after(0.2):
            again = await driver.exits.receive()
            pytest.fail(f"told twice: {again}")


async def test_a_container_that_can_not_start_is_in_the_answer(subject: Subject) -> None:
    async with running(subject) as (driver, _):
        spec = pod(start_error="RunContainerError: no such file")
        started = await driver.start_pod(spec, [container("/no/such/program")])
        assert started.containers[0].phase is Phase.FAILED
        assert started.containers[0].failure is Failure.RUN
        assert started.containers[0].message
        await driver.remove_pod(spec.uid)


async def test_a_container_without_a_command_needs_an_image(subject: Subject) -> None:
    async with running(subject) as (driver, info):
        if info.runs_images:
            pytest.skip("this driver has images")
        started = await driver.start_pod(pod(), [container()])
        assert started.containers[0].failure is Failure.IMAGE_PULL
        assert "cannot pull images" in started.containers[0].message


async def test_stopping_sends_sigterm(subject: Subject) -> None:
    async with running(subject) as (driver, _):
        spec = pod()
        await driver.start_pod(spec, [container(*FOREVER)])
        await driver.stop_container(spec.uid, "main", 30)
        state = await exit_of(driver, spec.uid)
        assert state.exit_code == 143


async def test_stopping_kills_after_the_grace(subject: Subject) -> None:
    async with running(subject) as (driver, _):
        spec = pod(stop_seconds="never")
        await driver.start_pod(spec, [container(*STUBBORN)])
        began = trio.current_time()
        await driver.stop_container(spec.uid, "main", 0.3)
        assert trio.current_time() - began < 0.25
        state = await exit_of(driver, spec.uid)
        assert (state.exit_code, state.signal) == (137, 9)
        assert trio.current_time() - began >= 0.3


async def test_a_second_stop_may_only_shorten_the_grace(subject: Subject) -> None:
    async with running(subject) as (driver, _):
        spec = pod(stop_seconds="never")
        await driver.start_pod(spec, [container(*STUBBORN)])
        await driver.stop_container(spec.uid, "main", 1000)
        await driver.stop_container(spec.uid, "main", 0.2)
        await driver.stop_container(spec.uid, "main", 1000)
        state = await exit_of(driver, spec.uid)
        assert state.exit_code == 137


async def test_stopping_what_is_not_there_is_no_error(subject: Subject) -> None:
    async with running(subject) as (driver, _):
        await driver.stop_container("no-such-pod", "main", 1)
        await driver.remove_pod("no-such-pod")
        await driver.remove_pod("no-such-pod", keep_logs=True)


async def test_a_further_attempt_runs_in_the_same_pod(subject: Subject) -> None:
    async with running(subject) as (driver, _):
        spec = pod()
        await driver.start_pod(spec, [container("sh", "-c", "exit 1")])
        first = await exit_of(driver, spec.uid)
        second = await driver.start_container(spec.uid, container("sh", "-c", "exit 1", attempt=1))
        assert second.attempt == 1
        ended = second if second.phase is Phase.EXITED else await exit_of(driver, spec.uid)
        assert (ended.attempt, ended.exit_code) == (1, 1)
        assert ended.container_id != first.container_id


async def test_a_container_is_started_later_in_a_pod_that_runs(subject: Subject) -> None:
    async with running(subject) as (driver, _):
        spec = pod()
        empty = await driver.start_pod(spec, [])
        assert empty.containers == ()
        state = await driver.start_container(spec.uid, container(*FOREVER))
        assert state.phase is Phase.RUNNING


async def test_a_container_of_a_pod_that_is_not_there_has_no_sandbox(subject: Subject) -> None:
    async with running(subject) as (driver, _):
        with pytest.raises(SandboxError):
            await driver.start_container("no-such-pod", container(*FOREVER))


async def test_removing_a_pod_kills_what_runs_and_tells_it(subject: Subject) -> None:
    async with running(subject) as (driver, _):
        spec = pod()
        await driver.start_pod(spec, [container(*STUBBORN)])
        await driver.remove_pod(spec.uid)
        state = await exit_of(driver, spec.uid)
        assert state.exit_code == 137


async def test_what_ran_is_adopted_by_the_next_driver(subject: Subject) -> None:
    spec = pod()
    async with running(subject) as (driver, _):
        before = await driver.start_pod(spec, [container(*FOREVER)])
    async with running(subject) as (driver, _):
        adopted = {p.uid: p for p in driver.adopted()}
        assert adopted[spec.uid].ip == before.ip
        assert adopted[spec.uid].containers[0].container_id == before.containers[0].container_id
        assert adopted[spec.uid].containers[0].phase is Phase.RUNNING
        await driver.stop_container(spec.uid, "main", 10)
        assert (await exit_of(driver, spec.uid)).exit_code == 143
        await driver.remove_pod(spec.uid)
    async with running(subject) as (driver, _):
        assert spec.uid not in {p.uid for p in driver.adopted()}


async def test_an_end_that_nobody_saw_is_told_by_the_next_driver(subject: Subject) -> None:
    spec = pod()
    async with running(subject) as (driver, _):
        await driver.start_pod(spec, [container("sh", "-c", "sleep 0.3; exit 7")])
    await trio.sleep(0.6)  # the time in which no driver runs
    async with running(subject) as (driver, _):
        state = next(p for p in driver.adopted() if p.uid == spec.uid).containers[0]
        ended = state if state.phase is Phase.EXITED else await exit_of(driver, spec.uid)
        assert ended.exit_code == 7
        await driver.remove_pod(spec.uid)


async def test_stop_all_ends_everything(subject: Subject) -> None:
    specs = [pod(), pod(stop_seconds="never")]
    async with running(subject) as (driver, _):
        await driver.start_pod(specs[0], [container(*FOREVER)])
        await driver.start_pod(specs[1], [container(*STUBBORN)])
        await driver.stop_all(0.5)
        codes = {(await driver.exits.receive()).exit_code for _ in specs}
        assert codes == {143, 137}
    async with running(subject) as (driver, _):
        assert not driver.adopted()


async def test_a_probe_tells_the_exit_code(subject: Subject) -> None:
    async with running(subject) as (driver, _):
        spec = pod()
        await driver.start_pod(spec, [container(*FOREVER)])
        assert (await driver.probe(spec.uid, "main", ["true"], 10)).exit_code == 0
        assert (await driver.probe(spec.uid, "main", ["sh", "-c", "exit 4"], 10)).exit_code == 4
        assert (await driver.probe(spec.uid, "main", ["sleep", "1000"], 0.3)).exit_code is None


async def test_nothing_is_probed_in_a_container_that_does_not_run(subject: Subject) -> None:
    async with running(subject) as (driver, _):
        spec = pod()
        await driver.start_pod(spec, [container("true")])
        await exit_of(driver, spec.uid)
        with pytest.raises(NotRunningError):
            await driver.probe(spec.uid, "main", ["true"], 1)
        with pytest.raises(NotRunningError):
            async with driver.exec(spec.uid, "main", ["true"]):
                pass


async def test_exec_gives_output_and_exit_code(subject: Subject) -> None:
    async with running(subject) as (driver, _):
        spec = pod()
        await driver.start_pod(spec, [container(*FOREVER)])
        async with driver.exec(spec.uid, "main", ["echo", "hello"]) as session:
            output = b""
            while (piece := await session.receive()) is not None:
                output += piece.data
            assert (output, session.exit_code()) == (b"hello\n", 0)


async def test_exec_passes_input_on(subject: Subject) -> None:
    async with running(subject) as (driver, _):
        spec = pod()
        await driver.start_pod(spec, [container(*FOREVER)])
        async with driver.exec(spec.uid, "main", ["cat"], stdin=True) as session:
            await session.send_stdin(b"over and out")
            await session.close_stdin()
            output = b""
            while (piece := await session.receive()) is not None:
                output += piece.data
            assert (output, session.exit_code()) == (b"over and out", 0)


async def test_output_is_logged_in_cri_format(subject: Subject) -> None:
    async with running(subject) as (driver, _):
        spec = pod(log="hello")
        await driver.start_pod(spec, [container("sh", "-c", "echo hello")])
        await exit_of(driver, spec.uid)
        path = driver.log_path(spec.uid, "main")
        stamp, stream, tag, text = path.read_text().splitlines()[0].split(" ", 3)
        assert (stream, tag, text) == ("stdout", "F", "hello")
        assert stamp.endswith("Z")
        assert len(stamp) == len("2026-11-22T22:00:00.000000000Z")
        await driver.remove_pod(spec.uid, keep_logs=True)
        assert path.exists()
        await driver.remove_pod(spec.uid)
        assert not path.exists()


async def test_containers_of_a_pod_share_its_volumes(subject: Subject) -> None:
    if not subject.is_real:
        pytest.skip("nothing runs in a simulated container")
    async with running(subject) as (driver, _):
        spec = evolve(pod(), volumes=(EmptyDir("shared"),))
        mounts = (Mount("shared", "/shared-volume"),)
        writer = evolve(container("sh", "-c", "echo there > /shared-volume/file", name="writer"), mounts=mounts)
        reader = evolve(
            container("sh", "-c", "until grep there /shared-volume/file; do sleep 0.05; done", name="reader"),
            mounts=mounts,
        )
        started = await driver.start_pod(spec, [writer, reader])
        assert [c.failure for c in started.containers] == [None, None]
        codes: dict[str, int | None] = {}
        while len(codes) < 2:
            state = await driver.exits.receive()
            codes[state.name] = state.exit_code
        assert codes == {"writer": 0, "reader": 0}


async def test_starts_that_run_beside_each_other_all_succeed(subject: Subject) -> None:
    async with running(subject) as (driver, info):
        limit = trio.CapacityLimiter(info.parallel_starts)
        ips = []

        async def start() -> None:
            async with limit:
                ips.append((await driver.start_pod(pod(), [container(*FOREVER)])).ip)

        async with trio.open_nursery() as nursery:
            for _ in range(30):
                nursery.start_soon(start)
        assert len(ips) == 30
        assert len(set(ips)) in (1, 30)
