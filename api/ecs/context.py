"""What an operation is given: whose request it is, the read model, the actors, the renderer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import frozen

from actors.registry import Address, cluster_address, service_address, task_definitions_address
from actors.views import Views
from api.ecs import names
from api.ecs.rendering import Renderer
from engine.arn import Scope
from engine.cluster import Cluster
from engine.errors import AwsError, client_error, cluster_not_found
from engine.lifecycle import ClusterStatus
from engine.service import Service
from engine.task_definition import TaskDefinition

if TYPE_CHECKING:
    from actors.instance import ControlPlane


Members: TypeAlias = Mapping[str, Any]
"""A request's members: snake_case names, engine values, only those that were given."""


@frozen
class Context:
    """One request's surroundings."""

    control_plane: ControlPlane
    views: Views
    renderer: Renderer
    scope: Scope

    async def ask_cluster(self, cluster_arn: str, command: object) -> Any:
        """The reply of the cluster's actor. Raises what `ControlPlane.ask` raises."""
        return await self.control_plane.ask(cluster_address(cluster_arn), command)

    async def ask_service(self, service_arn: str, command: object) -> Any:
        """The reply of the service's actor."""
        return await self.control_plane.ask(service_address(service_arn), command)

    async def ask_task_definitions(self, command: object) -> Any:
        """The reply of the actor that owns this scope's task definitions."""
        return await self.control_plane.ask(task_definitions_address(self.scope), command)

    async def ask(self, address: Address, command: object) -> Any:
        """The reply of any actor."""
        return await self.control_plane.ask(address, command)

    def active_cluster(self, members: Members) -> Cluster:
        """The ACTIVE cluster that the request names. Raises ClusterNotFoundException."""
        cluster = self.views.cluster(names.cluster_arn(self.scope, members.get("cluster")))
        if cluster is None or cluster.status != ClusterStatus.ACTIVE:
            raise cluster_not_found()
        return cluster

    def service(self, cluster: Cluster, reference: str) -> Service:
        """The service in `cluster` that is named, in any status. Raises ServiceNotFoundException."""
        service = self.views.service(names.service_arn(self.scope, cluster.cluster_arn, reference))
        if service is None:
            raise service_not_found()
        return service

    def task_definition(self, reference: str, missing: str) -> TaskDefinition:
        """The task definition that is named: a revision, or the newest ACTIVE one of a family.

        Raises ClientException with the message `missing` when there is none.
        """
        family, revision = names.task_definition_name(self.scope, reference)
        if revision is None:
            found = self.views.latest_active(self.scope, family)
        else:
            found = self.views.task_definition(self.scope.task_definition_arn(family, revision))
        if found is None:
            raise client_error(missing)
        return found


Read: TypeAlias = Callable[[Context, Members], bytes]
"""An operation that only looks at committed state. It never waits."""

Write: TypeAlias = Callable[[Context, Members], Awaitable[bytes]]
"""An operation that asks an actor."""


def service_not_found() -> AwsError:
    """The service does not exist."""
    return AwsError("ServiceNotFoundException", "Service not found.")


def without(members: Members, *dropped: str) -> dict[str, Any]:
    """The members less some: a command has no `cluster` and no `service`, its address says them."""
    return {name: value for name, value in members.items() if name not in dropped}
