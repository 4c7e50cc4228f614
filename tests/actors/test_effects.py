"""Effects: in order for one task, side by side for others, tried again, refused."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from actors.effects import Effects
from actors.ports import ConflictError
from actors.registry import Address, cluster_address
from engine.decision import ReleaseTask, RemoveCluster, StartRefused, StartTask, StopTask
from engine.task import Task
from engine.task_definition import TaskDefinition
from tests.actors.records import SCOPE, a_definition, a_task
from tests.fakes import FakeOrchestrator

OWNER = cluster_address(SCOPE.cluster_arn("default"))
CLUSTER = SCOPE.cluster_arn("default")


class Desk:
    """Effects over a fake orchestrator, and what is told to actors."""

    def __init__(self, orchestrator: FakeOrchestrator, nursery: trio.Nursery, concurrency: int = 32) -> None:
        self.told: list[tuple[Address, object]] = []
        self.orchestrator = orchestrator
        self.effects = Effects(orchestrator, lambda address, message: self.told.append((address, message)), concurrency)
        self.effects.open(nursery)

    def start(self, number: int, cluster: str = "default") -> None:
        self.effects.submit(OWNER, StartTask(a_task(number, cluster), a_definition()))

    def stop(self, number: int) -> None:
        self.effects.submit(OWNER, StopTask(a_task(number).task_arn, 30, "enough"))

    def calls(self) -> list[tuple[str, int]]:
        return [(what, int(arn.rsplit("/", 1)[1], 16)) for what, arn in self.orchestrator.calls]


class Slow(FakeOrchestrator):
    """Starts take a second; `busy` is how many run at once, at most."""

    busy = most = 0

    async def start_task(self, task: Task, task_definition: TaskDefinition) -> None:
        self.busy += 1
        self.most = max(self.most, self.busy)
        await trio.sleep(1)
        self.busy -= 1
        await super().start_task(task, task_definition)


async def test_effects_on_one_task_are_carried_out_in_order(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        desk = Desk(Slow(), nursery)
        desk.start(1)
        desk.stop(1)
        desk.effects.submit(OWNER, ReleaseTask(a_task(1).task_arn))
    assert [what for what, _ in desk.calls()] == ["start", "stop", "release"]
    assert not desk.effects.pending


async def test_a_bounded_number_of_effects_run_at_once(autojump_clock: MockClock) -> None:
    orchestrator = Slow()
    async with trio.open_nursery() as nursery:
        desk = Desk(orchestrator, nursery, concurrency=4)
        for number in range(20):
            desk.start(number)
    assert orchestrator.most == 4
    assert trio.current_time() < 7


async def test_an_orchestrator_that_does_not_answer_is_asked_again(autojump_clock: MockClock) -> None:
    orchestrator = FakeOrchestrator()
    orchestrator.unavailable = True
    async with trio.open_nursery() as nursery:
        desk = Desk(orchestrator, nursery)
        desk.start(1)
        await trio.sleep(60)
        tried = len(orchestrator.calls)
        orchestrator.unavailable = False
    assert 8 <= tried <= 16
    assert a_task(1).task_arn in orchestrator.world.tasks


async def test_those_that_wait_to_try_again_do_not_keep_others_from_trying(autojump_clock: MockClock) -> None:
    class OneConflicts(FakeOrchestrator):
        async def start_task(self, task: Task, task_definition: TaskDefinition) -> None:
            await super().start_task(task, task_definition)
            if task.task_id.endswith("1") and trio.current_time() < 100:
                raise ConflictError("in the way")

    async with trio.open_nursery() as nursery:
        desk = Desk(OneConflicts(), nursery, concurrency=1)
        desk.start(1)
        desk.start(2)
        await trio.sleep(0.5)
        assert ("start", 2) in desk.calls()
    assert not desk.effects.pending


async def test_a_start_that_cannot_succeed_yet_is_given_up_when_a_stop_is_wanted(autojump_clock: MockClock) -> None:
    orchestrator = FakeOrchestrator()
    orchestrator.unavailable = True
    async with trio.open_nursery() as nursery:
        desk = Desk(orchestrator, nursery)
        desk.start(1)
        await trio.sleep(1)
        desk.stop(1)
        await trio.sleep(5)
        orchestrator.unavailable = False
    assert desk.calls()[-1] == ("stop", 1)
    assert not orchestrator.world.tasks


async def test_a_refused_start_is_told_to_its_owner_and_not_tried_again(autojump_clock: MockClock) -> None:
    orchestrator = FakeOrchestrator()
    orchestrator.refuse = "CannotStartContainerError: no"
    async with trio.open_nursery() as nursery:
        desk = Desk(orchestrator, nursery)
        desk.start(1)
    assert desk.told == [(OWNER, StartRefused(a_task(1).task_arn, "CannotStartContainerError: no"))]
    assert desk.calls() == [("start", 1)]


async def test_a_bug_in_the_orchestrator_costs_a_retry_and_nobody_else_notices(autojump_clock: MockClock) -> None:
    class Buggy(FakeOrchestrator):
        async def start_task(self, task: Task, task_definition: TaskDefinition) -> None:
            if not self.calls:
                self.calls.append(("crash", task.task_arn))
                raise ZeroDivisionError
            await super().start_task(task, task_definition)

    async with trio.open_nursery() as nursery:
        desk = Desk(Buggy(), nursery)
        desk.start(1)
    assert desk.calls() == [("crash", 1), ("start", 1)]


async def test_a_cluster_is_removed_after_what_is_under_way_in_it_and_before_what_follows(
    autojump_clock: MockClock,
) -> None:
    orchestrator = Slow()
    async with trio.open_nursery() as nursery:
        desk = Desk(orchestrator, nursery)
        desk.start(1)
        desk.effects.submit(OWNER, RemoveCluster(CLUSTER))
        desk.start(2)
        desk.start(3, cluster="other")
    order = [arn if what == "remove" else arn[-1] for what, arn in orchestrator.calls]
    assert order.index("1") < order.index(CLUSTER) < order.index("2")
    assert order.index("3") < order.index(CLUSTER) or order.index("3") < order.index("2")


async def test_nothing_is_carried_out_once_closed(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        desk = Desk(FakeOrchestrator(), nursery)
        desk.effects.close()
        desk.start(1)
    assert desk.calls() == []
