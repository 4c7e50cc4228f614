"""The control plane on a mock clock: writes, observations, crashes of actors, crashes of the whole."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import pytest
import trio
from attrs import evolve
from trio.testing import MockClock

from actors.cluster import ClusterBehaviour
from actors.instance import ControlPlane
from actors.mailbox import ActorStopped, DeadlineExceeded, Overloaded
from actors.ports import StoreFailedError
from actors.registry import cluster_address, parse_address, service_address, task_definitions_address
from actors.supervision import ActorFailedError, RestartPolicy
from engine import commands
from engine.cluster import Cluster, ClusterState
from engine.commands import RunTaskResult
from engine.container_definition import ContainerDefinition, KeyValuePair
from engine.decision import Decision
from engine.errors import AwsError
from engine.lifecycle import ClusterStatus, DesiredStatus, RolloutState, ServiceStatus, StopCode, TaskStatus
from engine.service import Service
from engine.task import Task
from engine.task_definition import TaskDefinition
from tests.actors.records import SCOPE, SECRET
from tests.fakes import CountingIds, Disk, FakeOrchestrator, InMemoryStore, TrioClock, World

CLUSTER = cluster_address(SCOPE.cluster_arn("default"))
SERVICE = service_address(SCOPE.service_arn("default", "web"))
DEFINITIONS = task_definitions_address(SCOPE)
POISON = commands.UpdateClusterSettings(())


class Desk:
    """A control plane and what is around it."""

    def __init__(self, disk: Disk | None = None, world: World | None = None, **limits: Any) -> None:
        self.store = InMemoryStore(disk)
        self.orchestrator = FakeOrchestrator(world)
        self.plane = ControlPlane(self.store, self.orchestrator, TrioClock(), CountingIds(), **limits)

    async def create_cluster(self, name: str = "default") -> Cluster:
        command = commands.CreateCluster(SCOPE, self.plane.ids.uuid(), name)
        cluster = await self.plane.ask(cluster_address(SCOPE.cluster_arn(name)), command)
        assert isinstance(cluster, Cluster)
        return cluster

    async def register(self, family: str = "web") -> TaskDefinition:
        container = ContainerDefinition(
            "app",
            image="busybox",
            memory=64,
            command=("sleep", "1"),
            environment=(KeyValuePair("PASSWORD", SECRET),),
        )
        command = commands.RegisterTaskDefinition(SCOPE, family, (container,))
        definition = await self.plane.ask(DEFINITIONS, command)
        assert isinstance(definition, TaskDefinition)
        return definition

    async def run_task(self, count: int = 1) -> tuple[Task, ...]:
        definition = self.plane.views.latest_active(SCOPE, "web") or await self.register()
        result = await self.plane.ask(CLUSTER, commands.RunTask(definition, count=count))
        assert isinstance(result, RunTaskResult)
        assert not result.failures
        return result.tasks

    async def create_service(self, desired_count: int = 2) -> Service:
        cluster = self.plane.views.cluster(CLUSTER.arn) or await self.create_cluster()
        definition = self.plane.views.latest_active(SCOPE, "web") or await self.register()
        command = commands.CreateService(cluster, "seed", "web", definition, desired_count=desired_count)
        service = await self.plane.ask(SERVICE, command)
        assert isinstance(service, Service)
        return service

    def statuses(self) -> list[TaskStatus]:
        return sorted(task.last_status for task in self.plane.views.tasks())


@asynccontextmanager
async def running(desk: Desk) -> AsyncIterator[Desk]:
    async with trio.open_nursery() as nursery:
        await nursery.start(desk.plane.run)
        yield desk
        nursery.cancel_scope.cancel()


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with running(Desk()) as desk:
        yield desk


async def test_an_acknowledged_write_is_durable_and_visible(autojump_clock: MockClock, desk: Desk) -> None:
    cluster = await desk.create_cluster()
    assert desk.store.disk.records[cluster.cluster_arn] == cluster
    assert desk.plane.views.cluster(cluster.cluster_arn) == cluster


async def test_nothing_is_visible_or_carried_out_before_it_is_durable(autojump_clock: MockClock, desk: Desk) -> None:
    await desk.create_cluster()
    definition = await desk.register()
    desk.store.commit_s = 10
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.plane.ask, CLUSTER, commands.RunTask(definition, count=1))
        await trio.sleep(9)
        assert desk.statuses() == []
        assert desk.orchestrator.calls == []
    assert len(desk.statuses()) == 1
    await trio.sleep(1)
    assert [what for what, _ in desk.orchestrator.calls] == ["start"]


async def test_a_refusal_reaches_the_asker(autojump_clock: MockClock, desk: Desk) -> None:
    await desk.create_cluster()
    with pytest.raises(AwsError, match="ClusterNotFoundException"):
        await desk.plane.ask(SERVICE, in_a_cluster_that_is_gone(desk))


def in_a_cluster_that_is_gone(desk: Desk) -> commands.CreateService:
    """Creating a service in a cluster that was there when the caller looked."""
    cluster = desk.plane.views.cluster(CLUSTER.arn)
    assert cluster is not None
    return commands.CreateService(evolve(cluster, cluster_arn=SCOPE.cluster_arn("no")), "seed", "web")


async def test_nobody_lives_where_nothing_was_created(autojump_clock: MockClock, desk: Desk) -> None:
    with pytest.raises(ActorStopped, match="nobody lives at cluster/us-east-1/000000000000/default"):
        await desk.plane.ask(CLUSTER, commands.UpdateCluster())


async def test_a_refused_creation_leaves_nobody_behind(autojump_clock: MockClock, desk: Desk) -> None:
    with pytest.raises(AwsError):
        await desk.plane.ask(CLUSTER, commands.CreateCluster(SCOPE, "seed", "not a name!"))
    await trio.sleep(1)
    assert desk.plane.inspect() == []


async def test_a_task_runs_and_ends(autojump_clock: MockClock, desk: Desk) -> None:
    await desk.create_cluster()
    [task] = await desk.run_task()
    await trio.sleep(5)
    assert desk.statuses() == [TaskStatus.RUNNING]
    assert desk.plane.views.counts(CLUSTER.arn).running_tasks == 1
    desk.orchestrator.end(task.task_arn, 3)
    await trio.sleep(5)
    stopped = desk.plane.views.task(task.task_arn)
    assert stopped is not None
    assert (stopped.last_status, stopped.stop_code) == (TaskStatus.STOPPED, StopCode.ESSENTIAL_CONTAINER_EXITED)
    assert stopped.containers[0].exit_code == 3
    assert [what for what, _ in desk.orchestrator.calls] == ["start", "release"]


async def test_a_service_reaches_its_desired_count_and_replaces_what_ends(
    autojump_clock: MockClock, desk: Desk
) -> None:
    await desk.create_service(desired_count=3)
    await trio.sleep(60)
    assert desk.plane.views.service_counts(SERVICE.arn).running == 3
    desk.orchestrator.end(next(iter(desk.orchestrator.world.tasks)), 1)
    await trio.sleep(120)
    assert desk.plane.views.service_counts(SERVICE.arn).running == 3
    service = desk.plane.views.service(SERVICE.arn)
    assert service is not None
    assert service.deployments[0].rollout_state == RolloutState.COMPLETED


async def test_a_cluster_is_not_deleted_while_a_service_is_active(autojump_clock: MockClock, desk: Desk) -> None:
    await desk.create_service(desired_count=1)
    await trio.sleep(10)
    with pytest.raises(AwsError, match="ClusterContains"):
        await desk.plane.ask(CLUSTER, commands.DeleteCluster())
    await desk.plane.ask(SERVICE, commands.DeleteService(force=True))
    await trio.sleep(600)
    deleted = await desk.plane.ask(CLUSTER, commands.DeleteCluster())
    assert deleted.status == ClusterStatus.INACTIVE
    with pytest.raises(AwsError, match="ClusterNotFoundException"):
        await desk.create_service()


async def test_task_definitions_in_use_are_seen_when_they_are_deleted(autojump_clock: MockClock, desk: Desk) -> None:
    await desk.create_service(desired_count=1)
    definition = desk.plane.views.latest_active(SCOPE, "web")
    assert definition is not None
    arn = definition.task_definition_arn
    await desk.plane.ask(DEFINITIONS, commands.DeregisterTaskDefinition(SCOPE, arn))
    await desk.plane.ask(DEFINITIONS, commands.DeleteTaskDefinitions(SCOPE, (arn,)))
    await trio.sleep(3 * 3600)
    assert desk.plane.views.task_definition(arn) is not None  # its deletion waits for the service


async def test_an_observation_goes_to_the_owner_of_its_task(autojump_clock: MockClock, desk: Desk) -> None:
    await desk.create_service(desired_count=1)
    [task] = await desk.run_task()
    await trio.sleep(5)
    [its] = desk.plane.views.service_tasks(SERVICE.arn)
    assert desk.plane.owner_of(its.task_arn) == SERVICE
    assert desk.plane.owner_of(task.task_arn) == CLUSTER
    assert desk.plane.owner_of(SCOPE.task_arn("default", "f" * 32)) is None


async def test_a_task_that_vanished_unseen_is_lost_at_the_next_list(autojump_clock: MockClock, desk: Desk) -> None:
    await desk.create_cluster()
    [task] = await desk.run_task()
    await trio.sleep(60)
    desk.orchestrator.lose(task.task_arn)
    desk.orchestrator.list_all()
    await trio.sleep(5)
    assert desk.statuses() == [TaskStatus.STOPPED]


async def test_a_task_nobody_remembers_is_stopped_and_released(autojump_clock: MockClock) -> None:
    world = World()
    async with running(Desk(world=world)) as first:
        await first.create_cluster()
        await first.run_task()
        await trio.sleep(5)
    assert len(world.tasks) == 1
    async with running(Desk(world=world)) as second:
        await trio.sleep(60)
        assert [what for what, _ in second.orchestrator.calls] == ["stop", "release"]
    assert not world.tasks


async def test_a_refused_start_stops_the_task(autojump_clock: MockClock, desk: Desk) -> None:
    desk.orchestrator.refuse = "CannotStartContainerError: no"
    await desk.create_cluster()
    [task] = await desk.run_task()
    await trio.sleep(5)
    stopped = desk.plane.views.task(task.task_arn)
    assert stopped is not None
    assert stopped.stop_code == StopCode.TASK_FAILED_TO_START
    assert stopped.stopped_reason == "CannotStartContainerError: no"


async def test_commands_are_pushed_back_when_too_many_wait(autojump_clock: MockClock) -> None:
    async with running(Desk(mailbox_limit=5)) as desk:
        await desk.create_cluster()
        outcomes: list[str] = []

        async def update() -> None:
            try:
                await desk.plane.ask(CLUSTER, commands.UpdateCluster())
            except Overloaded:
                outcomes.append("overloaded")
            else:
                outcomes.append("done")

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(update)
        assert outcomes.count("done") >= 5
        assert outcomes.count("overloaded") >= 1
        assert len(outcomes) == 20


async def test_a_reply_that_takes_too_long_is_given_up(autojump_clock: MockClock, desk: Desk) -> None:
    desk.store.commit_s = 100
    with pytest.raises(DeadlineExceeded):
        await desk.plane.ask(CLUSTER, commands.CreateCluster(SCOPE, "seed", "default"), deadline_s=1)


async def test_the_inspector_shows_every_actor_and_no_secret(autojump_clock: MockClock, desk: Desk) -> None:
    await desk.create_service(desired_count=1)
    await desk.run_task()
    await trio.sleep(60)
    reports = desk.plane.inspect()
    assert [report.address for report in reports] == [
        "cluster/us-east-1/000000000000/default",
        "service/us-east-1/000000000000/default/web",
        "task-definitions/us-east-1/000000000000",
    ]
    assert all(parse_address(report.address) is not None for report in reports)
    assert SECRET not in repr(reports)
    cluster = desk.plane.inspect_one(CLUSTER)
    assert cluster is not None
    assert (cluster.kind, cluster.mailbox_depth, cluster.restarts) == ("cluster", 0, 0)
    assert cluster.state == {"status": "ACTIVE", "tasks": {"RUNNING": 1}}
    assert [name for name, _ in cluster.last_messages][:2] == ["CreateCluster", "RunTask"]


# crashes of one actor


class Fragile(ClusterBehaviour):
    """A cluster's behaviour with a bug."""

    def decide(self, state: ClusterState, message: Any, now: datetime) -> Decision[ClusterState]:
        if message == POISON and self.address.name == "default":
            raise ZeroDivisionError(SECRET)
        return super().decide(state, message, now)


@pytest.fixture
def _fragile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vars(__import__("actors.instance").instance)["_BEHAVIOURS"], "cluster", Fragile)


async def crash(desk: Desk) -> None:
    with pytest.raises(ActorStopped, match="crashed"):
        await desk.plane.ask(CLUSTER, POISON)


@pytest.mark.usefixtures("_fragile")
async def test_a_crash_restarts_one_actor_from_its_snapshot_and_nobody_else_notices(
    autojump_clock: MockClock, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    await desk.create_cluster()
    await desk.create_cluster("other")
    tasks = await desk.run_task(count=3)
    await trio.sleep(5)
    await crash(desk)
    assert {task.task_arn for task in await desk.run_task()}.isdisjoint(task.task_arn for task in tasks)
    await trio.sleep(5)
    assert desk.statuses() == [TaskStatus.RUNNING] * 4
    reports = {report.address.rsplit("/", 1)[-1]: report for report in desk.plane.inspect()}
    assert (reports["default"].restarts, reports["other"].restarts) == (1, 0)
    last_error = reports["default"].last_error
    assert last_error is not None
    assert "ZeroDivisionError" in last_error
    assert SECRET not in caplog.text + last_error


@pytest.mark.usefixtures("_fragile")
async def test_what_was_seen_while_an_actor_was_down_is_told_when_it_is_back(
    autojump_clock: MockClock, desk: Desk
) -> None:
    await desk.create_cluster()
    [task] = await desk.run_task()
    await trio.sleep(5)
    desk.store.commit_s = 5
    async with trio.open_nursery() as nursery:
        nursery.start_soon(crash, desk)
        desk.orchestrator.end(task.task_arn, 7)
    await trio.sleep(30)
    stopped = desk.plane.views.task(task.task_arn)
    assert stopped is not None
    assert stopped.containers[0].exit_code == 7


@pytest.mark.usefixtures("_fragile")
async def test_an_actor_that_keeps_crashing_stops_the_instance_with_the_reason(autojump_clock: MockClock) -> None:
    desk = Desk(restart_policy=RestartPolicy(intensity=3, period_s=60))
    with pytest.RaisesGroup(pytest.RaisesExc(ActorFailedError, match="default crashed more than 3 times within 60 s")):
        async with running(desk):
            await desk.create_cluster()
            for _ in range(4):
                await crash(desk)
            await trio.sleep(5)


@pytest.mark.usefixtures("_fragile")
async def test_crashes_that_are_far_apart_do_not_add_up(autojump_clock: MockClock) -> None:
    async with running(Desk(restart_policy=RestartPolicy(intensity=1, period_s=60))) as desk:
        await desk.create_cluster()
        for _ in range(5):
            await crash(desk)
            await trio.sleep(61)
        await desk.run_task()


# stops, resets and crashes of the whole


async def test_a_reset_forgets_everything_and_removes_what_runs(autojump_clock: MockClock) -> None:
    disk, world = Disk(), World()
    async with running(Desk(disk, world)) as desk:
        await desk.create_service(desired_count=2)
        await desk.run_task(count=2)
        await trio.sleep(30)
        await desk.plane.reset()
        assert not disk.records
        assert desk.plane.inspect() == []
        assert list(desk.plane.views.tasks()) == []
        await desk.create_cluster()
        await desk.run_task()
        await trio.sleep(30)
        assert desk.statuses() == [TaskStatus.RUNNING]
        definition = desk.plane.views.latest_active(SCOPE, "web")
        assert definition is not None
        assert definition.revision == 1
        assert len(world.tasks) == 1


async def test_a_write_that_is_on_its_way_does_not_outlive_a_reset(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with running(Desk(disk)) as desk:
        desk.store.commit_s = 5
        async with trio.open_nursery() as nursery:
            nursery.start_soon(desk.create_cluster)
            await trio.sleep(1)
            nursery.start_soon(desk.plane.reset)
            await trio.sleep(1)
            with pytest.raises(Overloaded):
                await desk.create_cluster("other")
        await trio.sleep(30)
        assert not disk.records
        assert desk.plane.views.cluster(CLUSTER.arn) is None


async def test_a_failed_transaction_stops_the_instance_and_settles_every_reply(autojump_clock: MockClock) -> None:
    desk = Desk()
    outcomes: list[Exception] = []

    async def create(name: str) -> None:
        try:
            await desk.create_cluster(name)
        except ActorStopped as error:
            outcomes.append(error)

    async with trio.open_nursery() as askers:
        with pytest.RaisesGroup(StoreFailedError):
            async with running(desk):
                desk.store.fail_next = True
                askers.start_soon(create, "one")
                askers.start_soon(create, "two")
                await trio.sleep_forever()
    assert not desk.store.disk.records


async def test_a_graceful_stop_answers_what_is_decided_and_backs_up(autojump_clock: MockClock) -> None:
    desk = Desk()
    created: list[Cluster] = []

    async def create() -> None:
        created.append(await desk.create_cluster())

    async with trio.open_nursery() as askers, running(desk):
        desk.store.commit_s = 3
        askers.start_soon(create)
        await trio.sleep(1)
    assert [cluster.cluster_name for cluster in created] == ["default"]
    assert [len(backup.clusters) for backup in desk.store.backups] == [1]


async def test_an_orchestrator_that_cannot_be_reached_at_start_is_tried_again(autojump_clock: MockClock) -> None:
    from actors.ports import ObservationSink, UnavailableError

    class Late(FakeOrchestrator):
        async def run(
            self, observe: ObservationSink, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
        ) -> None:
            if trio.current_time() < 30:
                raise UnavailableError("not yet")
            await super().run(observe, task_status)

    desk = Desk()
    desk.plane = ControlPlane(desk.store, Late(), TrioClock(), CountingIds())
    async with running(desk):
        assert 30 <= trio.current_time() < 60
        await desk.create_cluster()


async def test_everything_is_as_it_was_after_a_restart(autojump_clock: MockClock) -> None:
    disk, world = Disk(), World()
    async with running(Desk(disk, world)) as first:
        await first.create_service(desired_count=2)
        await first.run_task(count=2)
        await trio.sleep(60)
        before = set(world.tasks)
    async with running(Desk(disk, world)) as second:
        await trio.sleep(60)
        assert set(world.tasks) == before
        assert second.statuses() == [TaskStatus.RUNNING] * 4
        assert second.orchestrator.calls == []
        assert second.plane.views.service_counts(SERVICE.arn).running == 2
        assert len(second.plane.inspect()) == 3
        await second.create_cluster("more")


@pytest.mark.parametrize("at", [round(0.013 * step, 3) for step in range(1, 60, 2)])
async def test_killed_at_any_moment_nothing_acknowledged_is_lost(autojump_clock: MockClock, at: float) -> None:
    disk, world, acknowledged = Disk(), World(), list[str]()
    await script_until(at, disk, world, acknowledged)
    async with running(Desk(disk, world)) as desk:
        known = {task.task_arn for task in desk.plane.views.tasks()} | set(disk.records)
        assert set(acknowledged) <= known
        await trio.sleep(300)
        for task in desk.plane.views.tasks():
            wanted = TaskStatus.STOPPED if task.desired_status == DesiredStatus.STOPPED else TaskStatus.RUNNING
            assert task.last_status == wanted
        alive = {task.task_arn for task in desk.plane.views.tasks() if task.last_status == TaskStatus.RUNNING}
        assert set(world.tasks) == alive
        service = desk.plane.views.service(SERVICE.arn)
        if service is not None and service.status == ServiceStatus.ACTIVE:
            assert desk.plane.views.service_counts(SERVICE.arn).running == service.desired_count


async def script_until(at: float, disk: Disk, world: World, acknowledged: list[str]) -> None:
    """A run of writes that is killed at a moment: what the store had not committed by then is lost."""
    desk = Desk(disk, world)
    with trio.move_on_after(at):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(desk.plane.run)
            try:
                await trio.sleep(0.02)
                acknowledged.append((await desk.create_cluster()).cluster_arn)
                acknowledged.append((await desk.create_service(desired_count=2)).service_arn)
                tasks = await desk.run_task(count=3)
                acknowledged.extend(task.task_arn for task in tasks)
                await desk.plane.ask(CLUSTER, commands.StopTask(tasks[0].task_arn))
                acknowledged.extend(task.task_arn for task in await desk.run_task(count=2))
                await desk.plane.ask(SERVICE, commands.UpdateService(desired_count=4))
                await trio.sleep_forever()
            finally:
                desk.store.kill()
