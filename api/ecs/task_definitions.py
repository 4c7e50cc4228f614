"""Operations on task definitions."""

from __future__ import annotations

from api.ecs import names, pages
from api.ecs.context import Context, Members
from api.ecs.rendering import joined
from engine import commands
from engine.errors import client_error, invalid_parameter
from engine.task_definition import TaskDefinitionStatus

_MOST_DELETED = 10


async def register_task_definition(context: Context, members: Members) -> bytes:
    """RegisterTaskDefinition."""
    command = commands.RegisterTaskDefinition(context.scope, registered_by=context.scope.principal, **members)
    definition = await context.ask_task_definitions(command)
    renderer = context.renderer
    return renderer.response(
        "RegisterTaskDefinition",
        task_definition=renderer.task_definition(definition),
        tags=renderer.tags(definition.tags) if definition.tags else None,
    )


def describe_task_definition(context: Context, members: Members) -> bytes:
    """DescribeTaskDefinition."""
    definition = context.task_definition(members["task_definition"], "Unable to describe task definition.")
    renderer = context.renderer
    return renderer.response(
        "DescribeTaskDefinition",
        task_definition=renderer.task_definition(definition),
        tags=renderer.tags(definition.tags) if "TAGS" in members.get("include", ()) else None,
    )


async def deregister_task_definition(context: Context, members: Members) -> bytes:
    """DeregisterTaskDefinition: one revision, named in full."""
    arn = _revision(context, members["task_definition"])
    definition = await context.ask_task_definitions(commands.DeregisterTaskDefinition(context.scope, arn))
    renderer = context.renderer
    return renderer.response("DeregisterTaskDefinition", task_definition=renderer.task_definition(definition))


async def delete_task_definitions(context: Context, members: Members) -> bytes:
    """DeleteTaskDefinitions."""
    references = members["task_definitions"]
    if not 1 <= len(references) <= _MOST_DELETED:
        raise invalid_parameter(f"The number of task definitions must be between 1 and {_MOST_DELETED}.")
    arns = tuple(dict.fromkeys(_revision(context, reference) for reference in references))
    result = await context.ask_task_definitions(commands.DeleteTaskDefinitions(context.scope, arns))
    renderer = context.renderer
    return renderer.response(
        "DeleteTaskDefinitions",
        task_definitions=joined([renderer.task_definition(definition) for definition in result.task_definitions]),
        failures=renderer.failures(result.failures),
    )


def list_task_definitions(context: Context, members: Members) -> bytes:
    """ListTaskDefinitions: by family and revision."""
    family = members.get("family_prefix") or None  # ECS: a "prefix" by name, a whole family by meaning
    status = TaskDefinitionStatus(members.get("status", TaskDefinitionStatus.ACTIVE))
    descending = members.get("sort") == "DESC"

    def fetch(after: str | None, limit: int) -> list[tuple[str, bool]]:
        arns = context.views.task_definitions(context.scope, family, status, descending, after, limit)
        return [(arn, True) for arn in arns]

    listing = ("task definitions", context.scope, family, status, descending)
    arns, token = pages.filtered(listing, members, fetch)
    return context.renderer.listing("ListTaskDefinitions", token, task_definition_arns=arns)


def list_task_definition_families(context: Context, members: Members) -> bytes:
    """ListTaskDefinitionFamilies: all, unless a status is asked for."""
    prefix = members.get("family_prefix", "")
    status = members.get("status", "ALL")
    wanted = None if status == "ALL" else TaskDefinitionStatus(status)

    def fetch(after: str | None, limit: int) -> list[tuple[str, bool]]:
        return [(name, True) for name in context.views.families(context.scope, prefix, wanted, after, limit)]

    families, token = pages.filtered(("families", context.scope, prefix, status), members, fetch)
    return context.renderer.listing("ListTaskDefinitionFamilies", token, families=families)


def _revision(context: Context, reference: str) -> str:
    """The ARN of the revision that is named. Raises ClientException when only a family is."""
    family, revision = names.task_definition_name(context.scope, reference)
    if revision is None:
        raise client_error("Revision is missing.")
    return context.scope.task_definition_arn(family, revision)
