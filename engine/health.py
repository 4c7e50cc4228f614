"""Health of containers and tasks, as ECS tells it.

The orchestrator says whether a container passes its health check now (after as many failures as `retries` allows).
ECS's words come from that and from time: HEALTHY once it passes; UNHEALTHY when it did and no longer does, or when it
has not passed within `startPeriod` and `retries` rounds of `interval`; UNKNOWN until then, and without a check.

Source: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from engine.container_definition import HealthCheck
from engine.lifecycle import HealthStatus
from engine.task import Container

INTERVAL_S, TIMEOUT_S, RETRIES, START_PERIOD_S = 30, 5, 3, 0


def health_grace_s(check: HealthCheck | None) -> int | None:
    """Seconds after its start in which a container must pass its health check once; None without a check."""
    if check is None or check.command[:1] == ("NONE",):
        return None
    rounds = RETRIES if check.retries is None else check.retries
    interval = INTERVAL_S if check.interval is None else check.interval
    timeout = TIMEOUT_S if check.timeout is None else check.timeout
    return (check.start_period or START_PERIOD_S) + rounds * interval + timeout


def health_deadline(container: Container) -> datetime | None:
    """When a container that has not passed its check yet becomes UNHEALTHY; None when that cannot happen."""
    waits = container.health_status is HealthStatus.UNKNOWN and container.last_status == "RUNNING"
    if not waits or container.health_grace_s is None or container.started_at is None:
        return None
    return container.started_at + timedelta(seconds=container.health_grace_s)


def container_health(container: Container, passes: bool, now: datetime) -> HealthStatus:
    """A running container's health; `passes` is what the orchestrator says now."""
    if container.health_grace_s is None:
        return HealthStatus.UNKNOWN
    if passes:
        return HealthStatus.HEALTHY
    if container.health_status is HealthStatus.UNKNOWN:
        deadline = health_deadline(container)
        return HealthStatus.UNKNOWN if deadline is None or now < deadline else HealthStatus.UNHEALTHY
    return HealthStatus.UNHEALTHY


def task_health(containers: Iterable[Container]) -> HealthStatus:
    """A task's health, from its essential containers that have a check: UNHEALTHY over UNKNOWN over HEALTHY."""
    seen = {container.health_status for container in containers if container.essential and has_check(container)}
    for status in (HealthStatus.UNHEALTHY, HealthStatus.UNKNOWN, HealthStatus.HEALTHY):
        if status in seen:
            return status
    return HealthStatus.UNKNOWN


def has_check(container: Container) -> bool:
    """Whether a container has a health check."""
    return container.health_grace_s is not None
