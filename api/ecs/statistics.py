"""The figures that DescribeClusters adds for `include: STATISTICS`: tasks and services by launch type.

Unlike the counts beside them these cost a look at every task of the cluster; they are computed only when asked for.
Source: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Cluster.html (statistics).
"""

from __future__ import annotations

from collections.abc import Iterator

from actors.views import TaskFilter, Views
from engine.lifecycle import DesiredStatus, ServiceStatus, TaskStatus
from engine.task import Task

_NOUN = {"EC2": "EC2", "FARGATE": "Fargate", "EXTERNAL": "External"}
_PENDING = frozenset({TaskStatus.PROVISIONING, TaskStatus.PENDING, TaskStatus.ACTIVATING})
_PAGE = 1000


def statistics(views: Views, cluster_arn: str) -> dict[str, int]:
    """Every figure by AWS's name for it."""
    figures = {f"{state}{noun}TasksCount": 0 for state in ("running", "pending") for noun in _NOUN.values()}
    figures |= {f"{state}{noun}ServiceCount": 0 for state in ("active", "draining") for noun in _NOUN.values()}
    for task in _tasks(views, cluster_arn):
        noun = _NOUN.get(task.launch_type or "EC2", "EC2")
        if task.last_status == TaskStatus.RUNNING:
            figures[f"running{noun}TasksCount"] += 1
        elif task.last_status in _PENDING:
            figures[f"pending{noun}TasksCount"] += 1
    for service in views.services(cluster_arn):
        noun = _NOUN.get(service.launch_type or "EC2", "EC2")
        if service.status == ServiceStatus.ACTIVE:
            figures[f"active{noun}ServiceCount"] += 1
        elif service.status == ServiceStatus.DRAINING:
            figures[f"draining{noun}ServiceCount"] += 1
    return figures


def _tasks(views: Views, cluster_arn: str) -> Iterator[Task]:
    """Tasks that may run: all that are meant to, and those that are meant to stop and may still."""
    for desired in (DesiredStatus.RUNNING, DesiredStatus.STOPPED):
        after: str | None = None
        while True:
            arns, after = views.task_page(cluster_arn, TaskFilter(desired_status=desired), after, _PAGE)
            for arn in arns:
                if (task := views.task(arn)) is not None:
                    yield task
            if after is None:
                break
