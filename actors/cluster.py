"""A cluster's actor: the cluster's own record and the tasks of no service in it. Wiring only; `engine` decides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from attrs import evolve, frozen

from actors.behaviours import Surroundings, definitions_of, tasks_by_status
from actors.registry import SERVICE, Address
from actors.views import Views
from engine.cluster import Cluster, ClusterState
from engine.cluster_turn import decide, restore
from engine.commands import ClusterCommand, DeleteCluster
from engine.decision import Decision, StartRefused, TasksObserved, Tick
from engine.lifecycle import ServiceStatus, TaskStatus
from engine.service import ServiceState
from engine.task import Task

ClusterMessage = ClusterCommand | TasksObserved | StartRefused | Tick


def restored(cluster: Cluster | None, tasks: Sequence[Task], views: Views) -> ClusterState:
    """The state that these records are the snapshot of; the task definitions it needs are taken from `views`."""
    return restore(cluster, tasks, definitions_of(views, {task.task_definition_arn for task in tasks}))


@frozen
class ClusterBehaviour:
    """How a cluster's actor takes its turns."""

    address: Address
    surroundings: Surroundings

    def decide(self, state: ClusterState, message: ClusterMessage, now: datetime) -> Decision[ClusterState]:
        """See `engine.cluster_turn`; a deletion is told what the cluster's services hold at this moment."""
        if isinstance(message, DeleteCluster):
            services = tuple(self._services())
            message = evolve(
                message,
                active_services=sum(1 for held in services if _is_active(held)),
                service_tasks=sum(_running_tasks(held) for held in services),
            )
        return decide(state, message, now)

    async def restore(self) -> ClusterState:
        """The state as it was made durable last."""
        snapshot = await self.surroundings.store.load_cluster(self.address.arn)
        return restored(next(iter(snapshot.clusters), None), snapshot.tasks, self.surroundings.views)

    def is_vacant(self, state: ClusterState) -> bool:
        """Whether there is no cluster (any more)."""
        return state.cluster is None and not state.tasks

    def summary(self, state: ClusterState) -> Mapping[str, object]:
        """Status and tasks."""
        return {
            "status": None if state.cluster is None else str(state.cluster.status),
            "tasks": tasks_by_status(state.tasks.values()),
        }

    def task_arns(self, state: ClusterState) -> Iterable[str]:
        """The tasks of no service."""
        return state.tasks.keys()

    def _services(self) -> Iterable[ServiceState]:
        """The decided states of the services in this cluster."""
        prefix = f"{self.address.name}/"
        for actor in self.surroundings.registry:
            other = actor.address
            if other.kind == SERVICE and other.name.startswith(prefix) and other.scope == self.address.scope:
                yield actor.state


def _is_active(held: ServiceState) -> bool:
    return held.service is not None and held.service.status != ServiceStatus.INACTIVE


def _running_tasks(held: ServiceState) -> int:
    return sum(1 for task in held.tasks.values() if task.last_status != TaskStatus.STOPPED)
