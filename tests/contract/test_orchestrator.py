"""What an orchestrator promises the actors: the fake that other tests use, and the real one on every kind of API server
with our node and its simulated driver."""

import os
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
import trio
from attrs import define, field

from engine.arn import Scope
from engine.container_definition import ContainerDefinition
from engine.observation import Phase, TaskObservation
from engine.task import Task
from engine.task_definition import TaskDefinition
from k8s.orchestrator import KubernetesOrchestrator
from tests.contract.kubernetes import SERVERS, a_client_of, a_node_of
from tests.fakes import FakeOrchestrator
from tests.fakes import World as SimulatedWorld

_SCOPE = Scope()
_CLUSTER = _SCOPE.cluster_arn("My_Cluster")


@define
class World:
    """An orchestrator, and all that it has told."""

    orchestrator: KubernetesOrchestrator | FakeOrchestrator
    another: Callable[[str], KubernetesOrchestrator | FakeOrchestrator]  # on the same server, for an instance
    instance: str
    seen: dict[str, TaskObservation] = field(factory=dict)
    history: list[TaskObservation] = field(factory=list)
    complete_lists: list[set[str]] = field(factory=list)
    _told: trio.Event = field(factory=trio.Event)

    def observe(self, observations: Sequence[TaskObservation], complete: bool, taken_at: datetime) -> None:
        assert taken_at <= datetime.now(UTC)
        if complete:
            self.complete_lists.append({one.task_arn for one in observations})
            self.seen.clear()
        self.seen |= {one.task_arn: one for one in observations}
        self.history += observations
        told, self._told = self._told, trio.Event()
        told.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(20):
            while not condition():
                await self._told.wait()

    async def until_phase(self, task: Task, phase: Phase) -> TaskObservation:
        await self.until(lambda: task.task_arn in self.seen and self.seen[task.task_arn].phase is phase)
        return self.seen[task.task_arn]


@asynccontextmanager
async def _watched(
    another: Callable[[str], KubernetesOrchestrator | FakeOrchestrator], instance: str
) -> AsyncIterator[World]:
    world = World(another(instance), another, instance)
    async with trio.open_nursery() as nursery:
        await nursery.start(world.orchestrator.run, world.observe)
        yield world
        nursery.cancel_scope.cancel()


@pytest.fixture(params=["memory", *SERVERS])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    instance = f"contract-{os.getpid()}-{uuid.uuid4().hex[:6]}"
    if request.param == "memory":
        simulated: defaultdict[str, SimulatedWorld] = defaultdict(SimulatedWorld)
        async with _watched(lambda name: FakeOrchestrator(simulated[name]), instance) as world:
            yield world
        return
    async with (
        a_client_of(request.param, tmp_path) as client,
        a_node_of(request.param, client, tmp_path),
        _watched(partial(KubernetesOrchestrator, client), instance) as world,
    ):
        yield world
        await world.orchestrator.remove_everything()


def _task() -> Task:
    return Task(_SCOPE.task_arn("My_Cluster", uuid.uuid4().hex), _CLUSTER, _SCOPE.task_definition_arn("web", 1))


def _definition(command: str) -> TaskDefinition:
    container = ContainerDefinition(name="Web_1", image="k8slab.local/busybox:lab", command=("sh", "-c", command))
    return TaskDefinition(_SCOPE.task_definition_arn("web", 1), "web", 1, (container,))


async def test_a_task_runs_and_its_exit_code_waits_to_be_recorded(world: World) -> None:
    task = _task()
    await world.orchestrator.start_task(task, _definition("exit 3"))
    ended = await world.until_phase(task, Phase.ENDED)
    assert [(one.name, one.exit_code) for one in ended.containers] == [("Web_1", 3)]
    async with _watched(world.another, world.instance) as again:
        assert again.seen[task.task_arn].containers[0].exit_code == 3
    await world.orchestrator.release_task(task.task_arn)
    await world.until_phase(task, Phase.GONE)


async def test_starting_twice_is_starting_once(world: World) -> None:
    task, definition = _task(), _definition("sleep 100")
    await world.orchestrator.start_task(task, definition)
    await world.orchestrator.start_task(task, definition)
    running = await world.until_phase(task, Phase.RUNNING)
    assert running.containers[0].running
    assert running.containers[0].started_at is not None
    assert running.ip
    assert running.node


async def test_a_stopped_task_ends_and_stays_until_it_is_released(world: World) -> None:
    task = _task()
    await world.orchestrator.start_task(task, _definition("sleep 100"))
    await world.until_phase(task, Phase.RUNNING)
    await world.orchestrator.stop_task(task.task_arn, 2)
    await world.orchestrator.stop_task(task.task_arn, 2)
    ended = await world.until_phase(task, Phase.ENDED)
    assert ended.stopping
    assert ended.containers[0].exit_code is not None
    await world.orchestrator.release_task(task.task_arn)
    await world.until_phase(task, Phase.GONE)
    await world.orchestrator.release_task(task.task_arn)
    await world.orchestrator.stop_task(task.task_arn, 2)


async def test_a_stop_right_after_the_start_ends_too(world: World) -> None:
    task = _task()
    await world.orchestrator.start_task(task, _definition("sleep 100"))
    await world.orchestrator.stop_task(task.task_arn, 1)
    await world.until_phase(task, Phase.ENDED)
    await world.orchestrator.release_task(task.task_arn)
    await world.until_phase(task, Phase.GONE)


async def test_a_running_task_that_is_released_goes(world: World) -> None:
    task = _task()
    await world.orchestrator.start_task(task, _definition("sleep 100"))
    await world.until_phase(task, Phase.RUNNING)
    await world.orchestrator.release_task(task.task_arn)
    await world.until_phase(task, Phase.GONE)


async def test_what_nobody_started_can_be_stopped_and_released(world: World) -> None:
    task = _task()
    await world.orchestrator.stop_task(task.task_arn, 1)
    await world.orchestrator.release_task(task.task_arn)
    await world.orchestrator.remove_cluster(task.cluster_arn)


async def test_a_hundred_tasks_are_run_at_once(world: World) -> None:
    tasks = [_task() for _ in range(100)]
    async with trio.open_nursery() as nursery:
        for task in tasks:
            nursery.start_soon(world.orchestrator.start_task, task, _definition("exit 0"))
    await world.until(
        lambda: all(one.task_arn in world.seen and world.seen[one.task_arn].phase is Phase.ENDED for one in tasks)
    )
    async with trio.open_nursery() as nursery:
        for task in tasks:
            nursery.start_soon(world.orchestrator.release_task, task.task_arn)
    await world.until(lambda: all(world.seen[one.task_arn].phase is Phase.GONE for one in tasks))


async def test_instances_do_not_see_each_others_tasks(world: World) -> None:
    task = _task()
    await world.orchestrator.start_task(task, _definition("sleep 100"))
    await world.until(lambda: task.task_arn in world.seen)
    async with _watched(world.another, f"{world.instance}-2") as other:
        assert other.complete_lists == [set()]
        await other.orchestrator.remove_everything()
    assert world.seen[task.task_arn].phase is not Phase.GONE


async def test_removing_a_cluster_takes_its_tasks_along(world: World) -> None:
    task = _task()
    await world.orchestrator.start_task(task, _definition("sleep 100"))
    await world.orchestrator.remove_cluster(task.cluster_arn)
    await world.until(lambda: world.seen.get(task.task_arn) is not None)
    await world.until_phase(task, Phase.GONE)


async def test_removing_everything_leaves_no_pod(world: World) -> None:
    for _ in range(5):
        await world.orchestrator.start_task(_task(), _definition("sleep 100"))
    await world.orchestrator.remove_everything()
    async with _watched(world.another, world.instance) as again:
        assert again.complete_lists == [set()]
