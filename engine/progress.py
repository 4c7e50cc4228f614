"""How what is seen of a task becomes its status, and why it was stopped.

Every function takes a task and returns the next one, with the effects that follow; the task itself is returned,
the same object, when nothing changed. Observations are levels: repeating one changes nothing, a late one never leads
back. The order of statuses is the table in `engine.lifecycle`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

from engine.addresses import attached, bindings, detached, interfaces
from engine.decision import Effect, ReleaseTask, StopTask, WakeAt
from engine.health import container_health, health_deadline, task_health
from engine.lifecycle import DesiredStatus, StopCode, TaskStatus, is_before, path
from engine.observation import ContainerObservation, Phase, TaskObservation
from engine.records import changed, copied
from engine.task import Container, Task

Step: TypeAlias = tuple[Task, tuple[Effect, ...]]

REMEMBERED: Final = timedelta(hours=1)  # how long a stopped task stays describable
ESSENTIAL_EXITED: Final = "Essential container in task exited"
LOST: Final = "Task is no longer known to the capacity that it ran on"
STOPPED_OUTSIDE: Final = "Task was stopped outside of Amazon ECS"
NEVER_STARTED: Final = "Task failed to start"


def observe(task: Task, seen: TaskObservation, now: datetime, complete: bool = False) -> Step:
    """The task after an observation of it. `complete`: it comes from a listing of all there is."""
    if task.last_status is TaskStatus.STOPPED:
        return task, _leftovers(task, seen, complete)
    after = _judged(_with_containers(task, seen, now), seen)
    after = _advanced(after, _risen(after, seen), now)
    after = _advanced(after, _sunk(after, seen), now)
    return after, _consequences(after, seen)


def request_stop(task: Task, code: StopCode, reason: str) -> Step:
    """The task, asked to stop. A task that is already to stop keeps its code and reason."""
    if task.desired_status is DesiredStatus.STOPPED:
        return task, ()
    return _to_stop(task, code, reason), (StopTask(task.task_arn, task.stop_timeout_s, reason),)


def refuse_start(task: Task, reason: str, now: datetime) -> Task:
    """The task, when the orchestrator will never take it."""
    if task.last_status is TaskStatus.STOPPED:
        return task
    return _advanced(_to_stop(task, StopCode.TASK_FAILED_TO_START, reason), TaskStatus.STOPPED, now)


def lose(task: Task, now: datetime) -> Task:
    """The task, when nothing of it is left and nothing more will be told: its exit codes are unknown."""
    if task.last_status is TaskStatus.STOPPED:
        return task
    return _advanced(_to_stop(task, StopCode.TERMINATION_NOTICE, LOST), TaskStatus.STOPPED, now)


def pass_time(task: Task, now: datetime) -> Task:
    """The task when time alone may have made it unhealthy."""
    deadlines = [health_deadline(container) for container in task.containers]
    if not any(deadline is not None and deadline <= now for deadline in deadlines):
        return task
    containers = tuple(
        changed(container, health_status=container_health(container, False, now))
        if deadline is not None and deadline <= now
        else container
        for container, deadline in zip(task.containers, deadlines, strict=True)
    )
    return changed(task, containers=containers, health_status=task_health(containers))


def next_deadline(task: Task) -> datetime | None:
    """When `pass_time` may next change the task, or it may be forgotten."""
    if task.stopped_at is not None:
        return task.stopped_at + REMEMBERED
    if task.desired_status is DesiredStatus.STOPPED:
        return None
    return min((when for container in task.containers if (when := health_deadline(container))), default=None)


def may_be_forgotten(task: Task, now: datetime) -> bool:
    """Whether a stopped task has been remembered for long enough."""
    return task.stopped_at is not None and task.stopped_at + REMEMBERED <= now


def _leftovers(task: Task, seen: TaskObservation, complete: bool) -> tuple[Effect, ...]:
    """What to do about something that is still there of a task whose end is recorded."""
    if seen.phase is Phase.GONE:
        return ()
    if seen.phase is Phase.ENDED:
        return (ReleaseTask(task.task_arn),) if complete or not task.observed else ()
    return () if seen.stopping else (StopTask(task.task_arn, task.stop_timeout_s, "its end is recorded"),)


def _with_containers(task: Task, seen: TaskObservation, now: datetime) -> Task:
    by_name = {container.name: container for container in seen.containers}
    containers = tuple(
        _container(task, container, by_name[container.name], seen.ip, now) if container.name in by_name else container
        for container in task.containers
    )
    return changed(
        task,
        containers=containers,
        health_status=task_health(containers),
        attachments=attached(task, seen.ip) if seen.ip else task.attachments,
        observed=task.observed or seen.phase is not Phase.GONE,
    )


def _container(
    task: Task, container: Container, seen: ContainerObservation, ip: str | None, now: datetime
) -> Container:
    if container.last_status == "STOPPED":
        return container
    status = "STOPPED" if seen.ended else "RUNNING" if seen.running else container.last_status
    after = changed(
        container,
        last_status=status,
        exit_code=seen.exit_code,
        reason=seen.reason,
        runtime_id=seen.runtime_id or container.runtime_id,
        image_digest=seen.image_digest or container.image_digest,
        started_at=container.started_at or seen.started_at,
        finished_at=seen.finished_at,
        network_interfaces=interfaces(task, ip) if ip else container.network_interfaces,
        network_bindings=bindings(container, ip) if ip and seen.running else container.network_bindings,
    )
    return changed(after, health_status=container_health(after, seen.ready, now)) if status == "RUNNING" else after


def _judged(task: Task, seen: TaskObservation) -> Task:
    """The task, to be stopped if what was seen means its end."""
    if task.desired_status is DesiredStatus.STOPPED:
        return task
    if seen.ended_because is not None:
        return _to_stop(task, StopCode.TERMINATION_NOTICE, seen.ended_because)
    if seen.start_error is not None:
        return _to_stop(task, StopCode.TASK_FAILED_TO_START, seen.start_error)
    if any(container.essential and _ran(container) and _ended(container) for container in task.containers):
        return _to_stop(task, StopCode.ESSENTIAL_CONTAINER_EXITED, ESSENTIAL_EXITED)
    if seen.phase is Phase.GONE:
        return _to_stop(task, StopCode.TERMINATION_NOTICE, LOST)
    if seen.phase is Phase.ENDED:
        return _to_stop(task, StopCode.TASK_FAILED_TO_START, NEVER_STARTED)
    if seen.stopping:
        return _to_stop(task, StopCode.TERMINATION_NOTICE, STOPPED_OUTSIDE)
    return task


def _to_stop(task: Task, code: StopCode, reason: str) -> Task:
    if task.desired_status is DesiredStatus.STOPPED:
        return task
    return copied(
        task, desired_status=DesiredStatus.STOPPED, stop_code=code, stopped_reason=reason, version=task.version + 1
    )


def _risen(task: Task, seen: TaskObservation) -> TaskStatus:
    """How far up the task has come; it goes there unless it is past it."""
    if seen.start_error is None and all(map(_ran, task.containers)):
        return TaskStatus.RUNNING
    if seen.phase is Phase.RUNNING or any(map(_ran, task.containers)):
        return TaskStatus.ACTIVATING
    return TaskStatus.PENDING if seen.phase is Phase.PLACED else task.last_status


def _sunk(task: Task, seen: TaskObservation) -> TaskStatus:
    """How far down the task has come."""
    if seen.phase in (Phase.ENDED, Phase.GONE):
        return TaskStatus.STOPPED
    if task.desired_status is DesiredStatus.RUNNING:
        return task.last_status
    if seen.stopping or any(container.essential and _ended(container) for container in task.containers):
        return TaskStatus.DEPROVISIONING if task.last_status is TaskStatus.PROVISIONING else TaskStatus.STOPPING
    return task.last_status


def _ran(container: Container) -> bool:
    return container.last_status == "RUNNING" or container.started_at is not None or container.exit_code is not None


def _ended(container: Container) -> bool:
    return container.last_status == "STOPPED"


def _advanced(task: Task, target: TaskStatus, now: datetime) -> Task:
    """The task at `target`, by way of every status between; itself when it is there or past it."""
    if not is_before(task.last_status, target):
        return task
    for status in path(task.last_status, target):
        task = copied(task, last_status=status, version=task.version + 1, **_noted(task, status, now))
    return task


def _noted(task: Task, status: TaskStatus, now: datetime) -> dict[str, Any]:
    """What ECS notes when the task enters a status."""
    match status:
        case TaskStatus.PENDING:
            pulled = _between(task.created_at, min(_starts(task), default=now), now)
            return {"pull_started_at": pulled, "connectivity": "CONNECTED", "connectivity_at": now}
        case TaskStatus.ACTIVATING:
            return {"pull_stopped_at": _between(task.pull_started_at, min(_starts(task), default=now), now)}
        case TaskStatus.RUNNING:
            return {"started_at": _between(task.pull_stopped_at, max(_starts(task), default=now), now)}
        case TaskStatus.STOPPING:
            return {"stopping_at": now}
        case TaskStatus.DEPROVISIONING if any(map(_ran, task.containers)):
            return {"execution_stopped_at": _execution_stopped_at(task, now)}
        case TaskStatus.STOPPED:
            containers = tuple(changed(container, last_status="STOPPED") for container in task.containers)
            return {"stopped_at": now, "containers": containers, "attachments": detached(task.attachments)}
    return {}


def _execution_stopped_at(task: Task, now: datetime) -> datetime:
    """When the last container ended. The world tells whole seconds: never before the start, or before it was stopping.

    A task whose stopping is seen only now, with its end, may have ended before.
    """
    finished = [container.finished_at for container in task.containers if container.finished_at]
    was_stopping = task.stopping_at is not None and task.stopping_at < now
    earliest = task.stopping_at if was_stopping else task.started_at or task.pull_stopped_at or task.created_at
    return _between(earliest, max(finished, default=now), now)


def _starts(task: Task) -> list[datetime]:
    return [container.started_at for container in task.containers if container.started_at]


def _between(earliest: datetime | None, when: datetime, latest: datetime) -> datetime:
    return min(max(when, earliest or when), latest)


def _consequences(task: Task, seen: TaskObservation) -> tuple[Effect, ...]:
    if task.last_status is TaskStatus.STOPPED:
        return () if seen.phase is Phase.GONE else (ReleaseTask(task.task_arn),)
    if task.desired_status is DesiredStatus.STOPPED:
        return () if seen.stopping else (StopTask(task.task_arn, task.stop_timeout_s, task.stopped_reason or ""),)
    deadline = next_deadline(task)
    return (WakeAt(deadline),) if deadline is not None else ()


def should_be_listed(task: Task, taken_at: datetime | None) -> bool:
    """Whether a complete listing taken at `taken_at` shows the task, if the world has it."""
    asked = task.asked_at
    return task.last_status is not TaskStatus.STOPPED and (taken_at is None or asked is None or asked < taken_at)
