"""Operations on the tags of any resource."""

from __future__ import annotations

from actors.registry import Address, cluster_address, service_address, task_definitions_address
from api.ecs import names
from api.ecs.context import Context, Members
from engine import commands
from engine.arn import Arn
from engine.cluster import Cluster
from engine.errors import cluster_inactive, cluster_not_found, invalid_parameter, resource_not_found, unsupported
from engine.lifecycle import ClusterStatus, ServiceStatus
from engine.service import Service
from engine.tags import Tag
from engine.task import Task
from engine.task_definition import TaskDefinition

_NOT_KEPT = frozenset(
    {"capacity-provider", "container-instance", "task-set", "daemon", "daemon-task-definition", "gateway"}
)


async def tag_resource(context: Context, members: Members) -> bytes:
    """TagResource."""
    owner, arn = _owner(context, members["resource_arn"])
    await context.ask(owner, commands.TagResource(arn, members["tags"]))
    return context.renderer.response("TagResource")


async def untag_resource(context: Context, members: Members) -> bytes:
    """UntagResource."""
    owner, arn = _owner(context, members["resource_arn"])
    await context.ask(owner, commands.UntagResource(arn, members["tag_keys"]))
    return context.renderer.response("UntagResource")


def list_tags_for_resource(context: Context, members: Members) -> bytes:
    """ListTagsForResource."""
    _, record = _find(context, members["resource_arn"])
    tags: tuple[Tag, ...] = record.tags
    return context.renderer.response("ListTagsForResource", tags=context.renderer.tags(tags))


def _owner(context: Context, reference: str) -> tuple[Address, str]:
    """Who owns the resource, and its ARN as the owner knows it."""
    _, record = _find(context, reference)
    owner: Address | None
    match record:
        case Cluster():
            owner = cluster_address(record.cluster_arn)
        case Service():
            owner = service_address(record.service_arn)
        case Task():
            owner = context.control_plane.owner_of(record.task_arn)
        case TaskDefinition():
            owner = task_definitions_address(context.scope)
    if owner is None:
        raise resource_not_found("task")
    return owner, record.arn


def _find(context: Context, reference: str) -> tuple[Arn, Cluster | Service | Task | TaskDefinition]:
    """The resource with this ARN. Raises the AWS error for one that is not there."""
    arn = names.resource(context.scope, reference)
    match arn.kind:
        case "cluster":
            cluster = context.views.cluster(names.cluster_arn(context.scope, reference))
            if cluster is None:
                raise cluster_not_found()
            if cluster.status != ClusterStatus.ACTIVE:
                raise cluster_inactive()
            return arn, cluster
        case "service":
            service = context.views.service(reference)
            if service is None or service.status == ServiceStatus.INACTIVE:
                raise resource_not_found("service")
            return arn, service
        case "task":
            task = context.views.task(reference)
            if task is None:
                raise resource_not_found("task")
            return arn, task
        case "task-definition":
            definition = context.views.task_definition(reference)
            if definition is None:
                raise resource_not_found("task definition")
            return arn, definition
        case kind if kind in _NOT_KEPT:
            raise unsupported(f"Tagging a {kind}")
        case kind:
            raise invalid_parameter(f"Unsupported resource type: {kind}")
