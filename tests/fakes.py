"""In-memory implementations of the actors' ports, held to the same contract suites as the real ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import trio
from attrs import define, field

from actors.ports import ObservationSink, RejectedError, Snapshot, StoreFailedError, UnavailableError
from engine.arn import Scope
from engine.cluster import Cluster
from engine.decision import Forget, Record
from engine.observation import ContainerObservation, Phase, TaskObservation
from engine.service import Service
from engine.task import Task
from engine.task_definition import Family, TaskDefinition

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class TrioClock:
    """The time of day as trio's clock has it: a MockClock moves it."""

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=trio.current_time())


class CountingIds:
    """Identifiers in order: 1, 2, 3."""

    def __init__(self) -> None:
        self._next = count(1)

    def task_id(self) -> str:
        return f"{next(self._next):032x}"

    def uuid(self) -> str:
        return f"00000000-0000-4000-8000-{next(self._next):012x}"

    def deployment_id(self) -> str:
        return f"ecs-svc/{next(self._next):019d}"


class Disk:
    """What survives a crash of an InMemoryStore: the records of committed transactions."""

    def __init__(self) -> None:
        self.records: dict[str, Cluster | Family | TaskDefinition | Service | Task] = {}

    def snapshot(self) -> Snapshot:
        held = self.records.values()
        return Snapshot(
            clusters=tuple(each for each in held if isinstance(each, Cluster)),
            families=tuple(each for each in held if isinstance(each, Family)),
            task_definitions=tuple(each for each in held if isinstance(each, TaskDefinition)),
            services=tuple(each for each in held if isinstance(each, Service)),
            tasks=tuple(each for each in held if isinstance(each, Task)),
        )


class InMemoryStore:
    """A SnapshotStore whose transactions take `commit_s` of trio's time, and fail when told to."""

    def __init__(self, disk: Disk | None = None, commit_s: float = 0.01, room_for: int = 1_000) -> None:
        self.disk = disk or Disk()
        self.commit_s = commit_s
        self.room_for = room_for
        self.backups: list[Snapshot] = []
        self.transactions = 0
        self.fail_next = False
        self._waiting: deque[tuple[Sequence[Record], Callable[[], None]]] = deque()
        self._pending = 0
        self._killed = False
        self._arrival = trio.Event()
        self._idle = trio.Event()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        try:
            while True:
                self._arrival = trio.Event()
                if not self._waiting:
                    await self._arrival.wait()
                await trio.sleep(self.commit_s)
                self._commit()
        finally:
            if not self.fail_next:
                self._commit()

    def kill(self) -> None:
        """Lose what is not committed, as a crash does."""
        self._waiting.clear()
        self._killed = True

    def _commit(self) -> None:
        if self._killed:
            return
        batch = tuple(self._waiting)
        if not batch:
            return
        if self.fail_next:
            raise StoreFailedError("a transaction failed")
        self._waiting.clear()
        self.transactions += 1
        for records, _ in batch:
            for record in records:
                if isinstance(record, Forget):
                    self.disk.records.pop(record.arn, None)
                else:
                    self.disk.records[record.arn] = record
        for _, committed in batch:
            self._pending -= 1
            committed()
        self._idle.set()
        self._idle = trio.Event()

    def submit(self, records: Sequence[Record], committed: Callable[[], None], awaited: bool = True) -> None:
        if self._killed:
            return
        if not records and not self._pending:
            committed()
            return
        self._pending += 1
        self._waiting.append((tuple(records), committed))
        self._arrival.set()

    async def room(self) -> None:
        while len(self._waiting) >= self.room_for:
            await self._idle.wait()

    async def load(self) -> Snapshot:
        await self._settled()
        return self.disk.snapshot()

    async def load_cluster(self, cluster_arn: str) -> Snapshot:
        everything = await self.load()
        return Snapshot(
            clusters=tuple(each for each in everything.clusters if each.cluster_arn == cluster_arn),
            tasks=tuple(
                each for each in everything.tasks if each.cluster_arn == cluster_arn and each.service_arn is None
            ),
        )

    async def load_service(self, service_arn: str) -> Snapshot:
        everything = await self.load()
        return Snapshot(
            services=tuple(each for each in everything.services if each.service_arn == service_arn),
            tasks=tuple(each for each in everything.tasks if each.service_arn == service_arn),
        )

    async def load_task_definitions(self, scope: Scope) -> Snapshot:
        everything = await self.load()
        prefix = scope.arn("task-definition", "")
        return Snapshot(
            families=tuple(each for each in everything.families if each.arn.startswith(prefix)),
            task_definitions=tuple(each for each in everything.task_definitions if each.arn.startswith(prefix)),
        )

    async def clear(self) -> None:
        await self._settled()
        self.disk.records.clear()

    async def backup(self, now: datetime) -> Path:
        self.backups.append(await self.load())
        return Path(f"in-memory-{now:%Y%m%dT%H%M%S}")

    async def _settled(self) -> None:
        await trio.lowlevel.checkpoint()
        while self._pending:
            await self._idle.wait()


@define
class SimulatedTask:
    """One task in the fake world."""

    task: Task
    names: tuple[str, ...]  # of its containers
    phase: Phase = Phase.RUNNING
    exit_code: int | None = None
    stopping: bool = False
    finished_at: datetime | None = None
    started_at: datetime | None = field(factory=lambda: TrioClock().now())

    def observation(self) -> TaskObservation:
        containers = tuple(
            ContainerObservation(
                name=name,
                running=self.phase == Phase.RUNNING,
                ready=self.phase == Phase.RUNNING,
                exit_code=self.exit_code if self.phase == Phase.ENDED else None,
                started_at=self.started_at if self.phase in (Phase.RUNNING, Phase.ENDED) else None,
                finished_at=self.finished_at,
            )
            for name in self.names
        )
        return TaskObservation(
            self.task.task_arn, self.phase, containers, ip="10.0.0.1", node="fake", stopping=self.stopping
        )


class World:
    """The tasks that exist outside: they outlive a control plane."""

    def __init__(self) -> None:
        self.tasks: dict[str, SimulatedTask] = {}
        self.removed_clusters: list[str] = []


class FakeOrchestrator:
    """An Orchestrator over a simulated world. Tasks run at once, and end with 143 when stopped.

    `calls` records every call that reached it; `refuse`, `unavailable` and `delay_s` decide how it answers.
    """

    def __init__(self, world: World | None = None, delay_s: float = 0.01) -> None:
        self.world = world or World()
        self.delay_s = delay_s
        self.calls: list[tuple[str, str]] = []
        self.refuse: str | None = None
        self.unavailable = False
        self._observe: ObservationSink | None = None

    async def start_task(self, task: Task, task_definition: TaskDefinition) -> None:
        await self._answer("start", task.task_arn)
        if self.refuse is not None:
            raise RejectedError(self.refuse)
        if task.task_arn not in self.world.tasks:
            self.world.tasks[task.task_arn] = SimulatedTask(
                task, tuple(container.name for container in task_definition.container_definitions)
            )
        self.tell(task.task_arn)
        command = task_definition.container_definitions[0].command or ()
        if command and command[-1].startswith("exit "):
            self.end(task.task_arn, int(command[-1].removeprefix("exit ")))

    async def stop_task(self, task_arn: str, grace_s: int) -> None:
        await self._answer("stop", task_arn)
        if task_arn in self.world.tasks:
            self.world.tasks[task_arn].stopping = True
            self.end(task_arn, 143)
        else:
            self._tell_gone(task_arn)

    async def release_task(self, task_arn: str) -> None:
        await self._answer("release", task_arn)
        if self.world.tasks.pop(task_arn, None) is not None:
            self._tell_gone(task_arn)

    async def remove_cluster(self, cluster_arn: str) -> None:
        await self._answer("remove", cluster_arn)
        self.world.removed_clusters.append(cluster_arn)
        for arn in [arn for arn, held in self.world.tasks.items() if held.task.cluster_arn == cluster_arn]:
            del self.world.tasks[arn]
            self._tell_gone(arn)

    async def run(
        self, observe: ObservationSink, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        self._observe = observe
        try:
            await trio.lowlevel.checkpoint()
            self.list_all()
            task_status.started()
            await trio.sleep_forever()
        finally:
            self._observe = None

    async def remove_everything(self) -> None:
        for arn in tuple(self.world.tasks):
            await self.release_task(arn)

    # the world's own life

    def end(self, task_arn: str, exit_code: int) -> None:
        """Let a task's containers end."""
        held = self.world.tasks[task_arn]
        if held.phase != Phase.ENDED:
            held.phase, held.exit_code, held.finished_at = Phase.ENDED, exit_code, TrioClock().now()
        self.tell(task_arn)

    def lose(self, task_arn: str) -> None:
        """Let a task vanish without a word."""
        del self.world.tasks[task_arn]

    def tell(self, task_arn: str) -> None:
        """Let the control plane see one task."""
        if self._observe is not None:
            self._observe((self.world.tasks[task_arn].observation(),), False, TrioClock().now())

    def list_all(self) -> None:
        """Let the control plane see everything."""
        if self._observe is not None:
            self._observe([held.observation() for held in self.world.tasks.values()], True, TrioClock().now())

    def _tell_gone(self, task_arn: str) -> None:
        if self._observe is not None:
            self._observe((TaskObservation(task_arn, Phase.GONE),), False, TrioClock().now())

    async def _answer(self, what: str, arn: str) -> None:
        await trio.sleep(self.delay_s)
        self.calls.append((what, arn))
        if self.unavailable:
            raise UnavailableError("nobody answers")


__all__ = ["CountingIds", "Disk", "FakeOrchestrator", "InMemoryStore", "SimulatedTask", "TrioClock", "World"]
