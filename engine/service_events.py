"""A service's events, in AWS's wording.

Source: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-event-messages-list.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

from attrs import evolve

from engine.identifiers import derived_uuid
from engine.service import Deployment, Service, ServiceEvent

KEPT: Final = 100
TASKS_PER_EVENT: Final = 20


def told(service: Service, now: datetime, messages: Iterable[str]) -> Service:
    """The service with these events, the last one newest."""
    events: list[ServiceEvent] = []
    counter = service.id_counter
    for message in messages:
        text = f"(service {service.service_name}) {message}"
        events.insert(0, ServiceEvent(derived_uuid(service.id_seed, "event", str(counter)), now, text))
        counter += 1
    if not events:
        return service
    return evolve(service, events=(*events, *service.events)[:KEPT], id_counter=counter)


def started(task_ids: Sequence[str]) -> Iterator[str]:
    """`has started 2 tasks: (task a) (task b).`"""
    for chunk in _chunks(task_ids):
        yield f"has started {len(chunk)} tasks: {_listed(chunk)}."


def stopped(task_ids: Sequence[str]) -> Iterator[str]:
    """`has stopped 1 running tasks: (task a).`"""
    for chunk in _chunks(task_ids):
        yield f"has stopped {len(chunk)} running tasks: {_listed(chunk)}."


def failed_health_checks(task_id: str) -> str:
    """A task is replaced because its containers fail their health checks."""
    return f"(task {task_id}) failed container health checks."


def failed_to_launch(reason: str) -> str:
    """A task could not be started."""
    return f"failed to launch a task with (error {reason})."


def completed(deployment: Deployment) -> str:
    """The deployment is done."""
    return f"(deployment {deployment.id}) deployment completed."


def failed(deployment: Deployment) -> str:
    """The circuit breaker gave the deployment up."""
    return f"(deployment {deployment.id}) deployment failed: tasks failed to start."


def rolling_back(deployment: Deployment) -> str:
    """The circuit breaker goes back to an earlier deployment."""
    return f"rolling back to deployment {deployment.id}."


STEADY: Final = "has reached a steady state."
INCONSISTENT: Final = (
    "is unable to consistently start tasks successfully. "
    "For more information, see the Troubleshooting section of the Amazon ECS Developer Guide."
)
BLOCKED: Final = (
    "was unable to stop or start tasks during a deployment because of the service deployment configuration. "
    "Update the minimumHealthyPercent or maximumPercent value and try again."
)


def _chunks(task_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for first in range(0, len(task_ids), TASKS_PER_EVENT):
        yield task_ids[first : first + TASKS_PER_EVENT]


def _listed(task_ids: Iterable[str]) -> str:
    return " ".join(f"(task {task_id})" for task_id in task_ids)
