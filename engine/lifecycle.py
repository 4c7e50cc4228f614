"""The life cycles of tasks, services and deployments, as tables: the one place that says what may follow what.

Source: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class TaskStatus(StrEnum):
    """A task's `lastStatus`, in the order in which a task passes through them."""

    PROVISIONING = "PROVISIONING"
    PENDING = "PENDING"
    ACTIVATING = "ACTIVATING"
    RUNNING = "RUNNING"
    DEACTIVATING = "DEACTIVATING"
    STOPPING = "STOPPING"
    DEPROVISIONING = "DEPROVISIONING"
    STOPPED = "STOPPED"
    DELETED = "DELETED"


class DesiredStatus(StrEnum):
    """A task's `desiredStatus`. ListTasks filters by it; PENDING is accepted there and never matches."""

    RUNNING = "RUNNING"
    PENDING = "PENDING"
    STOPPED = "STOPPED"


class StopCode(StrEnum):
    """Why a task stopped: `TaskStopCode` of the service model."""

    TASK_FAILED_TO_START = "TaskFailedToStart"
    ESSENTIAL_CONTAINER_EXITED = "EssentialContainerExited"
    USER_INITIATED = "UserInitiated"
    SERVICE_SCHEDULER_INITIATED = "ServiceSchedulerInitiated"
    SPOT_INTERRUPTION = "SpotInterruption"
    TERMINATION_NOTICE = "TerminationNotice"
    INFRASTRUCTURE_HEALTH = "InfrastructureHealth"


class HealthStatus(StrEnum):
    """Health of a container, and of a task: UNHEALTHY over UNKNOWN over HEALTHY."""

    HEALTHY = "HEALTHY"
    UNHEALTHY = "UNHEALTHY"
    UNKNOWN = "UNKNOWN"


class ServiceStatus(StrEnum):
    """A service's `status`."""

    ACTIVE = "ACTIVE"
    DRAINING = "DRAINING"
    INACTIVE = "INACTIVE"


class RolloutState(StrEnum):
    """A deployment's `rolloutState`."""

    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


class ClusterStatus(StrEnum):
    """A cluster's `status` (those that KECS ever shows)."""

    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"


class IllegalTransitionError(Exception):
    """A status was asked to follow one that it cannot follow. Nothing was changed."""


_T = TaskStatus
TASK_TRANSITIONS: Final[Mapping[TaskStatus, frozenset[TaskStatus]]] = {
    _T.PROVISIONING: frozenset({_T.PENDING, _T.DEPROVISIONING, _T.STOPPED}),
    _T.PENDING: frozenset({_T.ACTIVATING, _T.RUNNING, _T.STOPPING, _T.DEPROVISIONING, _T.STOPPED}),
    _T.ACTIVATING: frozenset({_T.RUNNING, _T.DEACTIVATING, _T.STOPPING, _T.DEPROVISIONING, _T.STOPPED}),
    _T.RUNNING: frozenset({_T.DEACTIVATING, _T.STOPPING, _T.DEPROVISIONING, _T.STOPPED}),
    _T.DEACTIVATING: frozenset({_T.STOPPING, _T.DEPROVISIONING, _T.STOPPED}),
    _T.STOPPING: frozenset({_T.DEPROVISIONING, _T.STOPPED}),
    _T.DEPROVISIONING: frozenset({_T.STOPPED}),
    _T.STOPPED: frozenset({_T.DELETED}),
    _T.DELETED: frozenset(),
}

_ORDER: Final[Mapping[TaskStatus, int]] = {status: rank for rank, status in enumerate(TaskStatus)}

STARTING: Final = frozenset({_T.PROVISIONING, _T.PENDING, _T.ACTIVATING})
OCCUPYING: Final = STARTING | {_T.RUNNING}  # what `maximumPercent` counts


def is_before(one: TaskStatus, other: TaskStatus) -> bool:
    """Whether a task passes through `one` before it comes to `other`."""
    return _ORDER[one] < _ORDER[other]


def path(current: TaskStatus, target: TaskStatus) -> tuple[TaskStatus, ...]:
    """The statuses a task passes through from `current` (left out) to `target` (included), by the table.

    On the way down none is skipped that the table allows; a task that never ran does not pass RUNNING.
    Raises IllegalTransitionError when the table has no way.
    """
    steps: list[TaskStatus] = []
    ends = _ORDER[target] > _ORDER[_T.RUNNING]
    while current is not target:
        following = [
            status
            for status in TASK_TRANSITIONS[current]
            if _ORDER[status] <= _ORDER[target] and not (ends and _ORDER[status] <= _ORDER[_T.RUNNING])
        ]
        if not following:
            raise IllegalTransitionError(f"a task cannot go from {current} to {target}")
        current = min(following, key=_ORDER.__getitem__)
        steps.append(current)
    return tuple(steps)


SERVICE_TRANSITIONS: Final[Mapping[ServiceStatus, frozenset[ServiceStatus]]] = {
    ServiceStatus.ACTIVE: frozenset({ServiceStatus.DRAINING, ServiceStatus.INACTIVE}),
    ServiceStatus.DRAINING: frozenset({ServiceStatus.INACTIVE}),
    ServiceStatus.INACTIVE: frozenset(),
}

ROLLOUT_TRANSITIONS: Final[Mapping[RolloutState, frozenset[RolloutState]]] = {
    RolloutState.IN_PROGRESS: frozenset({RolloutState.COMPLETED, RolloutState.FAILED}),
    RolloutState.COMPLETED: frozenset({RolloutState.IN_PROGRESS}),  # a rollback makes it the primary one again
    RolloutState.FAILED: frozenset(),
}


def checked_service(current: ServiceStatus, target: ServiceStatus) -> ServiceStatus:
    """`target`, if a service may go there from `current`. Raises IllegalTransitionError."""
    if target not in SERVICE_TRANSITIONS[current]:
        raise IllegalTransitionError(f"a service cannot go from {current} to {target}")
    return target


def checked_rollout(current: RolloutState, target: RolloutState) -> RolloutState:
    """`target`, if a deployment may go there from `current`. Raises IllegalTransitionError."""
    if target not in ROLLOUT_TRANSITIONS[current]:
        raise IllegalTransitionError(f"a deployment cannot go from {current} to {target}")
    return target
