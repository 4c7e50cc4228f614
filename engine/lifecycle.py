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
