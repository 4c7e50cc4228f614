"""A service's actor: the service's record, its deployments and all its tasks. Wiring only; `engine` decides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from attrs import evolve, frozen

from actors.behaviours import Surroundings, definitions_of, tasks_by_status
from actors.registry import Address, cluster_address
from actors.views import Views
from engine.commands import CreateService, ServiceCommand
from engine.decision import Decision, StartRefused, TasksObserved, Tick
from engine.errors import cluster_not_found
from engine.service import Service, ServiceState
from engine.service_turn import decide, definitions_needed, restore
from engine.task import Task

ServiceMessage = ServiceCommand | TasksObserved | StartRefused | Tick


def restored(service: Service | None, tasks: Sequence[Task], views: Views) -> ServiceState:
    """The state that these records are the snapshot of; the task definitions it needs are taken from `views`."""
    needed = frozenset() if service is None else definitions_needed(service, tasks)
    return restore(service, tasks, definitions_of(views, needed))


@frozen
class ServiceBehaviour:
    """How a service's actor takes its turns."""

    address: Address
    surroundings: Surroundings

    def decide(self, state: ServiceState, message: ServiceMessage, now: datetime) -> Decision[ServiceState]:
        """See `engine.service_turn`; a creation is told what its cluster is at this moment."""
        if isinstance(message, CreateService):
            cluster = self.surroundings.registry.peek(cluster_address(message.cluster.cluster_arn))
            if cluster is None or cluster.cluster is None:
                raise cluster_not_found()
            message = evolve(message, cluster=cluster.cluster)
        return decide(state, message, now)

    async def restore(self) -> ServiceState:
        """The state as it was made durable last."""
        snapshot = await self.surroundings.store.load_service(self.address.arn)
        return restored(next(iter(snapshot.services), None), snapshot.tasks, self.surroundings.views)

    def is_vacant(self, state: ServiceState) -> bool:
        """Whether there is no service (any more)."""
        return state.service is None and not state.tasks

    def summary(self, state: ServiceState) -> Mapping[str, object]:
        """Status, counts and deployments."""
        service = state.service
        if service is None:
            return {"status": None, "tasks": tasks_by_status(state.tasks.values())}
        return {
            "status": str(service.status),
            "desired_count": service.desired_count,
            "task_definition": service.task_definition,
            "deployments": {each.id: f"{each.status} {each.rollout_state}" for each in service.deployments},
            "tasks": tasks_by_status(state.tasks.values()),
        }

    def task_arns(self, state: ServiceState) -> Iterable[str]:
        """The service's tasks."""
        return state.tasks.keys()
