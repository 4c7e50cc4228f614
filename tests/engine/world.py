"""A world for a service: pods that start, end and fail as told, and effects and observations that may be lost."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from attrs import define, evolve, field, frozen

from engine import commands, service_turn
from engine.decision import Decision, Forget, Record, ReleaseTask, StartTask, StopTask, TasksObserved, Tick, WakeAt
from engine.lifecycle import OCCUPYING, HealthStatus, StopCode, is_before
from engine.observation import ContainerObservation, Phase, TaskObservation
from engine.scheduler import bounds, is_up
from engine.service import Service, ServiceState
from engine.task import Task
from engine.task_definition import TaskDefinition
from tests.engine.make import NOW, cluster


@frozen
class Pod:
    """What the world has of a task."""

    task_arn: str
    names: tuple[str, ...]
    phase: Phase = Phase.ACCEPTED
    ready: bool = True
    exit_code: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    start_error: str | None = None
    stopping: bool = False

    def seen(self) -> TaskObservation:
        containers = tuple(
            ContainerObservation(
                name,
                running=self.phase is Phase.RUNNING,
                ready=self.ready and self.phase is Phase.RUNNING,
                exit_code=self.exit_code if self.phase is Phase.ENDED and self.started_at else None,
                started_at=self.started_at,
                finished_at=self.ended_at,
            )
            for name in self.names
        )
        return TaskObservation(
            self.task_arn, self.phase, containers, ip="10.0.0.1", start_error=self.start_error, stopping=self.stopping
        )


@define
class World:
    """The control plane of one service, its records, and what runs."""

    state: ServiceState = field(factory=ServiceState)
    now: datetime = NOW
    pods: dict[str, Pod] = field(factory=dict)
    effects: list[object] = field(factory=list)  # decided, not yet carried out
    records: dict[str, Record] = field(factory=dict)
    wake_at: datetime | None = None

    @property
    def service(self) -> Service:
        assert self.state.service is not None
        return self.state.service

    @property
    def tasks(self) -> list[Task]:
        return sorted(self.state.tasks.values(), key=lambda task: (task.created_at or NOW, task.task_arn))

    @property
    def up(self) -> list[Task]:
        return [task for task in self.tasks if is_up(task)]

    def messages(self) -> list[str]:
        """The events' texts, oldest first, less the service's name."""
        return [event.message.partition(") ")[2] for event in reversed(self.service.events)]

    def create(self, definition: TaskDefinition, desired: int, **members: object) -> World:
        command = commands.CreateService(cluster(), "service-seed", "web", definition, desired_count=desired)
        self.send(evolve(command, **members))  # type: ignore[arg-type]  # any member of the command
        return self

    def send(self, message: service_turn.Message) -> Decision[ServiceState]:
        """One turn, its invariants checked, its records taken in, its effects queued."""
        if isinstance(message, Tick):
            self.wake_at = None
        before = self.state
        decision = service_turn.decide(before, message, self.now)
        self.state = decision.state
        for record in decision.records:
            if isinstance(record, Forget):
                del self.records[record.arn]
            else:
                self.records[record.arn] = record
        for effect in decision.effects:
            if isinstance(effect, WakeAt):
                self.wake_at = min(effect.when, self.wake_at or effect.when)
            else:
                self.effects.append(effect)
        self.check(before, decision)
        return decision

    def check(self, before: ServiceState, decision: Decision[ServiceState]) -> None:
        """What every turn obeys."""
        expected: dict[str, object] = dict(self.state.tasks.items())
        if self.state.service is not None:
            expected[self.state.service.service_arn] = self.state.service
        assert self.records == expected
        assert len({record.arn for record in decision.records}) == len(decision.records)
        for arn, task in self.state.tasks.items():
            old = before.tasks.get(arn)
            assert old is None or not is_before(task.last_status, old.last_status)
        if self.state.service is None or before.service is None:
            return
        lower, upper = bounds(self.state.service)
        occupying = sum(task.last_status in OCCUPYING for task in self.state.tasks.values())
        if any(arn not in before.tasks for arn in self.state.tasks):
            assert occupying <= upper
        retired = [task for task in before.tasks.values() if is_up(task) and self._was_retired(task)]
        if retired:
            assert len(self.up) >= lower

    def _was_retired(self, before: Task) -> bool:
        now = self.state.tasks.get(before.task_arn)
        told = now is not None and now.stop_code is StopCode.SERVICE_SCHEDULER_INITIATED
        return told and now is not None and now.health_status is not HealthStatus.UNHEALTHY

    def carry_out(self, count: int | None = None) -> None:
        """Let queued effects reach the world."""
        taken = len(self.effects) if count is None else count
        effects, self.effects = self.effects[:taken], self.effects[taken:]
        for effect in effects:
            match effect:
                case StartTask(task=task):
                    names = tuple(container.name for container in task.containers)
                    self.pods.setdefault(task.task_arn, Pod(task.task_arn, names))
                case StopTask(task_arn=arn):
                    if (pod := self.pods.get(arn)) is not None:
                        self.pods[arn] = evolve(pod, stopping=True)
                    else:
                        self.observe([TaskObservation(arn, Phase.GONE)])
                case ReleaseTask(task_arn=arn):
                    self.pods.pop(arn, None)

    def move(self, arn: str) -> None:
        """A pod takes its next step: up, or down if it is to stop."""
        pod = self.pods[arn]
        if pod.phase is Phase.ENDED:
            return
        if pod.stopping:
            self.pods[arn] = evolve(pod, phase=Phase.ENDED, exit_code=143, ended_at=self.now)
        elif pod.phase is Phase.ACCEPTED:
            self.pods[arn] = evolve(pod, phase=Phase.PLACED)
        elif pod.phase is Phase.PLACED:
            self.pods[arn] = evolve(pod, phase=Phase.RUNNING, started_at=self.now)

    def crash(self, arn: str, exit_code: int = 1) -> None:
        """A pod's containers end on their own."""
        pod = self.pods[arn]
        if pod.phase is not Phase.ENDED:
            start = pod.started_at or self.now
            ended = evolve(pod, phase=Phase.ENDED, exit_code=exit_code, ended_at=self.now, started_at=start)
            self.pods[arn] = ended

    def observe(self, observations: Iterable[TaskObservation]) -> None:
        self.send(TasksObserved(tuple(observations)))

    def list_all(self) -> None:
        """A complete listing reaches the control plane."""
        self.now += timedelta(milliseconds=1)
        self.send(TasksObserved(tuple(pod.seen() for pod in self.pods.values()), complete=True, taken_at=self.now))

    def restart(self) -> None:
        """The control plane is killed: effects not carried out are lost, the state is made again from the records."""
        self.effects.clear()
        self.wake_at = None
        service = next((one for one in self.records.values() if isinstance(one, Service)), None)
        tasks = [one for one in self.records.values() if isinstance(one, Task)]
        needed = service_turn.definitions_needed(service, tasks) if service else frozenset()
        known = [self.state.task_definitions[arn] for arn in needed]
        self.state = service_turn.restore(service, tasks, known)
        self.send(Tick())
        self.list_all()

    def pass_time(self, seconds: float) -> None:
        """Time passes; the wake-ups that were asked for come."""
        until = self.now + timedelta(seconds=seconds)
        while self.wake_at is not None and self.wake_at <= until:
            self.now = max(self.now, self.wake_at)
            self.send(Tick())
        self.now = until

    def round(self, fails: bool = False) -> None:
        """The world does all it is asked for, and everything is seen. With `fails`, containers crash at once."""
        self.carry_out()
        for arn in list(self.pods):
            for _ in range(2):
                self.move(arn)
            if fails and self.pods[arn].phase is Phase.RUNNING:
                self.crash(arn)
        self.observe([pod.seen() for pod in self.pods.values()])
        self.carry_out()

    def settle(self, rounds: int = 60) -> None:
        """A perfect world, until nothing is left to do. Fails when that never comes."""
        for _ in range(rounds):
            before = self.state
            self.round()
            self.pass_time(3)
            if self.state == before and not self.effects and self.service.steady_at:
                return
        raise AssertionError(f"no steady state: {self.messages()[-5:]}")
