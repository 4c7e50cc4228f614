"""Operations on services."""

from __future__ import annotations

from typing import Any

from api.ecs import names, pages
from api.ecs.context import Context, Members, without
from api.ecs.rendering import MANAGED_BY, joined, missing
from engine import commands
from engine.lifecycle import ServiceStatus

_MOST_DESCRIBED = 10
_DEFAULT_PAGE = 10
_NO_DEFINITION = "TaskDefinition not found."


async def create_service(context: Context, members: Members) -> bytes:
    """CreateService."""
    cluster = context.active_cluster(members)
    arn = names.service_arn(context.scope, cluster.cluster_arn, members["service_name"])
    given = _resolved(context, without(members, "cluster", "service_name"))
    seed = context.control_plane.ids.uuid()
    principal = context.scope.principal
    command = commands.CreateService(cluster, seed, names.cluster_name(arn), created_by=principal, **given)
    return await _changed(context, "CreateService", arn, command)


async def update_service(context: Context, members: Members) -> bytes:
    """UpdateService."""
    service = context.service(context.active_cluster(members), members["service"])
    command = commands.UpdateService(**_resolved(context, without(members, "cluster", "service")))
    return await _changed(context, "UpdateService", service.service_arn, command)


async def delete_service(context: Context, members: Members) -> bytes:
    """DeleteService."""
    service = context.service(context.active_cluster(members), members["service"])
    command = commands.DeleteService(members.get("force"))
    return await _changed(context, "DeleteService", service.service_arn, command)


def describe_services(context: Context, members: Members) -> bytes:
    """DescribeServices: in any status; a deleted service is INACTIVE for a while."""
    cluster = context.active_cluster(members)
    references = names.named("Services", members["services"], _MOST_DESCRIBED)
    tags = "TAGS" in members.get("include", ())
    renderer = context.renderer
    found, failures = [], []
    for reference in dict.fromkeys(references):
        arn = names.service_arn(context.scope, cluster.cluster_arn, reference)
        service = context.views.service(arn)
        if service is None:
            failures.append(missing(arn))
        else:
            found.append(renderer.service(service, tags))
    return renderer.response("DescribeServices", services=joined(found), failures=renderer.failures(failures))


def list_services(context: Context, members: Members) -> bytes:
    """ListServices: those that are not INACTIVE."""
    cluster_arn = context.active_cluster(members).cluster_arn
    launch_type, strategy = members.get("launch_type"), members.get("scheduling_strategy")
    managed_by = members.get("resource_management_type")

    def fetch(after: str | None, limit: int) -> list[tuple[str, bool]]:
        return [
            (
                service.service_arn,
                service.status != ServiceStatus.INACTIVE
                and launch_type in (None, service.launch_type)
                and strategy in (None, service.scheduling_strategy)
                and managed_by in (None, MANAGED_BY),
            )
            for service in context.views.services(cluster_arn, after, limit)
        ]

    listing = ("services", cluster_arn, launch_type, strategy, managed_by)
    arns, token = pages.filtered(listing, members, fetch, default=_DEFAULT_PAGE)
    return context.renderer.listing("ListServices", token, service_arns=arns)


def _resolved(context: Context, members: dict[str, Any]) -> dict[str, Any]:
    """The members with the task definition's record in place of its name."""
    if (reference := members.get("task_definition")) is not None:
        members["task_definition"] = context.task_definition(reference, _NO_DEFINITION)
    return members


async def _changed(context: Context, operation: str, arn: str, command: object) -> bytes:
    service = await context.ask_service(arn, command)
    return context.renderer.response(operation, service=context.renderer.service(service, tags=bool(service.tags)))
