"""Reconciling a service: desired, observed and now give a plan, sorted into named buckets.

What every plan obeys: never more than `maximumPercent` of the desired count in PROVISIONING to RUNNING (rounded down);
never fewer than `minimumHealthyPercent` healthy by what the plan stops (rounded up). Within these bounds a plan takes
the step that costs least service: a running task is stopped when another has proved itself in its place, or when its
place is needed and the minimum allows it.

A task without a health check counts as healthy once it has been RUNNING for `SETTLE`. AWS waits for 40 seconds there.
Source: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from attrs import frozen

from engine.health import has_check
from engine.lifecycle import OCCUPYING, DesiredStatus, HealthStatus, RolloutState, ServiceStatus, TaskStatus
from engine.service import Deployment, Service
from engine.task import Task

SETTLE: Final = timedelta(seconds=2)


@frozen
class Plan:
    """What to do now. The buckets of tasks to stop do not overlap."""

    start: int = 0  # tasks of the primary deployment
    stop_surplus: tuple[Task, ...] = ()  # more than desired
    stop_unhealthy: tuple[Task, ...] = ()  # fail their health checks
    stop_outdated: tuple[Task, ...] = ()  # of deployments that are no longer the primary one
    blocked: bool = False  # the deployment configuration allows no step
    look_again_at: datetime | None = None

    @property
    def stops(self) -> tuple[Task, ...]:
        """Every task to stop."""
        return (*self.stop_surplus, *self.stop_unhealthy, *self.stop_outdated)


@frozen
class Census:
    """A service's tasks that have not ended, sorted by what they are to it."""

    sound: tuple[Task, ...]  # of the primary deployment, to stay, not UNHEALTHY
    unhealthy: tuple[Task, ...]  # of the primary deployment, to stay, UNHEALTHY
    outdated: tuple[Task, ...]  # of other deployments, to stay
    leaving: tuple[Task, ...]  # told to stop, and still PROVISIONING to RUNNING

    @property
    def occupying(self) -> int:
        """How many there are for `maximumPercent`."""
        return len(self.sound) + len(self.unhealthy) + len(self.outdated) + len(self.leaving)


def reconcile(service: Service, tasks: Iterable[Task], now: datetime) -> Plan:
    """The next step towards what is desired; an empty plan when there is none now."""
    primary = service.primary
    if primary is None:
        return Plan()
    census = take_census(primary, tasks)
    wanted = desired(service)
    kept, surplus = _without_surplus(census.sound, wanted, now)
    settled = _settles_at((*census.sound, *census.outdated), now)
    if primary.rollout_state is RolloutState.FAILED and service.status is ServiceStatus.ACTIVE:
        excess = sum(is_healthy(task, now) for task in kept) + sum(map(is_up, census.outdated)) - wanted
        outdated = _oldest(service, census.outdated, now)[: max(0, excess)]
        return Plan(stop_surplus=surplus, stop_outdated=tuple(outdated), look_again_at=settled)
    return _towards(service, primary, census, kept, surplus, settled, now)


def _towards(
    service: Service,
    primary: Deployment,
    census: Census,
    kept: tuple[Task, ...],
    surplus: tuple[Task, ...],
    settled: datetime | None,
    now: datetime,
) -> Plan:
    wanted = desired(service)
    lower, upper = bounds(service)
    healthy = sum(is_healthy(task, now) for task in kept)
    idle = [task for task in census.outdated if not is_up(task)]
    serving = [task for task in _oldest(service, census.outdated, now) if is_up(task)]
    missing = wanted - len(kept)
    room = max(0, upper - census.occupying)
    waits = primary.retry_at is not None and now < primary.retry_at
    start = 0 if waits else min(missing, room)
    short = 0 if waits else max(0, missing - room - len(census.leaving) - len(idle) - len(surplus))
    spare = len(census.unhealthy) - max(0, wanted - healthy - len(serving))
    ailing = census.unhealthy[: max(spare, min(short, len(census.unhealthy)), 0)]
    short = max(0, short - len(ailing))
    budget = healthy + len(serving) - lower
    excess = healthy + len(serving) - wanted
    retired = serving[: max(0, min(budget, max(excess, short)))]
    stops = bool(surplus or ailing or idle or retired)
    return Plan(
        start=start,
        stop_surplus=surplus,
        stop_unhealthy=ailing,
        stop_outdated=(*idle, *retired),
        blocked=bool(short and not start and not stops and not census.leaving and budget <= 0 and healthy == len(kept)),
        look_again_at=min((when for when in (primary.retry_at if waits and missing else None, settled) if when),
                          default=None),
    )  # fmt: skip


def take_census(primary: Deployment, tasks: Iterable[Task]) -> Census:
    """The service's tasks that have not ended, sorted; the oldest first in each group."""
    sound: list[Task] = []
    unhealthy: list[Task] = []
    outdated: list[Task] = []
    leaving: list[Task] = []
    for task in tasks:
        if task.last_status not in OCCUPYING:
            continue
        if task.desired_status is DesiredStatus.STOPPED:
            leaving.append(task)
        elif task.deployment_id != primary.id:
            outdated.append(task)
        elif task.health_status is HealthStatus.UNHEALTHY:
            unhealthy.append(task)
        else:
            sound.append(task)
    return Census(*(tuple(sorted(group, key=_age)) for group in (sound, unhealthy, outdated, leaving)))


def desired(service: Service) -> int:
    """How many tasks there should be: none once the service is being deleted."""
    return service.desired_count if service.status is ServiceStatus.ACTIVE else 0


def bounds(service: Service) -> tuple[int, int]:
    """The fewest healthy and the most tasks that the deployment configuration allows."""
    wanted, configuration = desired(service), service.deployment_configuration
    lower = -(-wanted * configuration.minimum_healthy_percent // 100)
    return lower, wanted * configuration.maximum_percent // 100


def is_up(task: Task) -> bool:
    """Whether a task serves, as far as is known: RUNNING, to stay, and not UNHEALTHY."""
    return (
        task.last_status is TaskStatus.RUNNING
        and task.desired_status is DesiredStatus.RUNNING
        and task.health_status is not HealthStatus.UNHEALTHY
    )


def is_healthy(task: Task, now: datetime, settle: timedelta = SETTLE) -> bool:
    """Whether a task has proved itself: passes its health checks or, without any, has been RUNNING for a while."""
    if not is_up(task):
        return False
    if any(container.essential and has_check(container) for container in task.containers):
        return task.health_status is HealthStatus.HEALTHY
    return task.started_at is not None and task.started_at + settle <= now


def settles_at(task: Task, now: datetime, settle: timedelta = SETTLE) -> datetime | None:
    """When time alone makes the task healthy; None if it is, or time alone does not."""
    checked = any(container.essential and has_check(container) for container in task.containers)
    if checked or not is_up(task) or task.started_at is None or task.started_at + settle <= now:
        return None
    return task.started_at + settle


def _settles_at(tasks: Iterable[Task], now: datetime) -> datetime | None:
    return min((when for task in tasks if (when := settles_at(task, now))), default=None)


def _without_surplus(sound: Sequence[Task], wanted: int, now: datetime) -> tuple[tuple[Task, ...], tuple[Task, ...]]:
    """The tasks to keep and those that are too many: first those that do not serve yet, then the oldest."""
    ordered = sorted(sound, key=lambda task: (is_up(task), is_healthy(task, now)))
    too_many = max(0, len(sound) - wanted)
    return tuple(ordered[too_many:]), tuple(ordered[:too_many])


def _oldest(service: Service, outdated: Iterable[Task], now: datetime) -> list[Task]:
    """Tasks in the order in which they are retired: those not proved first, then by deployment, then by age."""
    born = {deployment.id: deployment.created_at for deployment in service.deployments}
    earliest = min(born.values(), default=now)
    return sorted(
        outdated, key=lambda task: (is_healthy(task, now), born.get(task.deployment_id or "", earliest), _age(task))
    )


def _age(task: Task) -> tuple[datetime, str]:
    if task.created_at is None:
        raise ValueError(f"a service's task without a time of creation: {task.task_arn}")
    return task.created_at, task.task_arn
