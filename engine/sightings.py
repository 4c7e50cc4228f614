"""What observations, refusals and time do to the tasks of one owner, a cluster or a service.

A batch costs what it holds, not what the owner has; only a complete listing and a Tick look at every task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from math import ceil
from operator import attrgetter
from typing import Final, TypeAlias

from attrs import field, mutable
from rpds import HashTrieMap

from engine.decision import Effect, Forget, ReleaseTask, StartRefused, StartTask, StopTask, TasksObserved, WakeAt
from engine.lifecycle import DesiredStatus, TaskStatus
from engine.observation import Phase, TaskObservation
from engine.progress import lose, may_be_forgotten, next_deadline, observe, pass_time, refuse_start, should_be_listed
from engine.records import copied
from engine.task import Task
from engine.task_definition import TaskDefinition

Tasks: TypeAlias = "HashTrieMap[str, Task]"  # rpds has no subscript at run time
FindDefinition = Callable[[str], TaskDefinition | None]
STRAY_GRACE_S: Final = 30
_ARN: Final = attrgetter("task_arn")
FORGETTING_S: Final = 60  # stopped tasks are forgotten in batches, a minute at a time
UNKNOWN_DEFINITION: Final = "ResourceInitializationError: the task definition is no longer known"


@mutable
class Sighting:
    """The tasks of one owner while a message is worked in. Used within one turn and thrown away."""

    tasks: Tasks
    now: datetime
    changed: dict[str, Task] = field(factory=dict)
    forgotten: list[Forget] = field(factory=list)
    effects: list[Effect] = field(factory=list)
    wake: datetime | None = None

    def put(self, task: Task, *effects: Effect) -> None:
        """Take in a task as it is now, and what follows."""
        for effect in effects:
            if isinstance(effect, WakeAt):
                self.wake_at(effect.when)
            else:
                self.effects.append(effect)
        if self.tasks.get(task.task_arn) is not task:
            self.tasks = self.tasks.insert(task.task_arn, task)
            self.changed[task.task_arn] = task

    def forget(self, task_arn: str) -> None:
        """Drop a task."""
        self.tasks = self.tasks.discard(task_arn)
        self.changed.pop(task_arn, None)
        self.forgotten.append(Forget(task_arn))

    def wake_at(self, when: datetime | None) -> None:
        """Ask for a Tick at this time, rounded up to a second; the earliest counts."""
        if when is not None:
            rounded = rounded_up(when, 1)
            self.wake = rounded if self.wake is None else min(self.wake, rounded)

    def all_effects(self) -> Iterator[Effect]:
        """The effects, and one WakeAt at most."""
        yield from self.effects
        if self.wake is not None:
            yield WakeAt(self.wake)


def in_order(tasks: Tasks) -> list[Task]:
    """The tasks by ARN: the order of a persistent map differs from process to process, and a turn's must not."""
    return sorted(tasks.values(), key=_ARN)


def rounded_up(when: datetime, seconds: int) -> datetime:
    """The first multiple of so many seconds that is not before `when`: deadlines that are close share a Tick."""
    return datetime.fromtimestamp(ceil(when.timestamp() / seconds) * seconds, tz=when.tzinfo)


def see(sighting: Sighting, message: TasksObserved, find: FindDefinition) -> None:
    """Work in observations. After a complete listing, what is missing is lost, or is asked for again."""
    for seen in message.observations:
        task = sighting.tasks.get(seen.task_arn)
        if task is None:
            sighting.effects.extend(_stray(seen))
        else:
            after, effects = observe(task, seen, sighting.now, message.complete)
            sighting.put(after, *effects)
            if after.last_status is TaskStatus.STOPPED and after is not task:
                sighting.wake_at(forgetting_time(after))
    if message.complete:
        _miss(sighting, {seen.task_arn for seen in message.observations}, message.taken_at, find)


def refuse(sighting: Sighting, message: StartRefused) -> None:
    """Work in the orchestrator's refusal to start a task."""
    task = sighting.tasks.get(message.task_arn)
    if task is not None:
        after = refuse_start(task, message.reason, sighting.now)
        sighting.put(after)
        sighting.wake_at(forgetting_time(after))


def tick(sighting: Sighting, remembered: int) -> None:
    """Work in time: health deadlines; stopped tasks forgotten after an hour, and the oldest beyond `remembered`."""
    for task in in_order(sighting.tasks):
        if task.stopped_at is not None and may_be_forgotten(task, sighting.now):
            sighting.forget(task.task_arn)
            continue
        after = pass_time(task, sighting.now)
        if after is not task:
            sighting.put(after)
        later = forgetting_time(after) if after.stopped_at else next_deadline(after)
        if later is not None and later > sighting.now:
            sighting.wake_at(later)
    forget_beyond(sighting, remembered)


def forget_beyond(sighting: Sighting, remembered: int) -> None:
    """Forget the oldest stopped tasks when there are more than so many."""
    stopped = sorted((task.stopped_at, task.task_arn) for task in sighting.tasks.values() if task.stopped_at)
    for _, task_arn in stopped[: max(0, len(stopped) - remembered)]:
        sighting.forget(task_arn)


def forgetting_time(task: Task) -> datetime | None:
    """When a stopped task is forgotten."""
    deadline = next_deadline(task) if task.stopped_at else None
    return rounded_up(deadline, FORGETTING_S) if deadline else None


def _stray(seen: TaskObservation) -> Iterable[Effect]:
    """What is there but has no record, after a restore from a backup for example, is ended."""
    if seen.phase is Phase.ENDED:
        return (ReleaseTask(seen.task_arn),)
    if seen.phase is Phase.GONE or seen.stopping:
        return ()
    return (StopTask(seen.task_arn, STRAY_GRACE_S, "it has no record"),)


def _miss(sighting: Sighting, seen: set[str], taken_at: datetime | None, find: FindDefinition) -> None:
    for task in in_order(sighting.tasks):
        if task.task_arn in seen or not should_be_listed(task, taken_at):
            continue
        if task.observed or task.desired_status is DesiredStatus.STOPPED:
            sighting.put(lose(task, sighting.now))
        else:
            _ask_again(sighting, task, find(task.task_definition_arn))
        sighting.wake_at(forgetting_time(sighting.tasks[task.task_arn]))


def _ask_again(sighting: Sighting, task: Task, definition: TaskDefinition | None) -> None:
    """The request to start it may have been lost in a crash; asking twice is harmless."""
    if definition is None:
        sighting.put(refuse_start(task, UNKNOWN_DEFINITION, sighting.now))
    else:
        asked = copied(task, asked_at=sighting.now)
        sighting.put(asked, StartTask(asked, definition))
