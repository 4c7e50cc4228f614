"""Counts that ECS shows of clusters, services and deployments: computed from tasks, never kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import frozen

from engine.lifecycle import STARTING, TaskStatus
from engine.task import Task


@frozen
class Counts:
    """`runningCount` and `pendingCount`: tasks in RUNNING, and on their way there."""

    running: int = 0
    pending: int = 0


def count(tasks: Iterable[Task]) -> Counts:
    """The counts of these tasks."""
    statuses = [task.last_status for task in tasks]
    return Counts(statuses.count(TaskStatus.RUNNING), sum(status in STARTING for status in statuses))


def count_by_deployment(tasks: Iterable[Task]) -> Mapping[str, Counts]:
    """The counts of a service's tasks, by deployment id; deployments without tasks are left out."""
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        groups.setdefault(task.deployment_id or "", []).append(task)
    return {deployment_id: count(group) for deployment_id, group in groups.items()}
