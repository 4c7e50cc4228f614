"""Operations on tasks."""

from __future__ import annotations

from actors.views import TaskFilter
from api.ecs import names, pages
from api.ecs.context import Context, Members, service_not_found, without
from api.ecs.rendering import joined, missing
from engine import commands
from engine.errors import AwsError, invalid_parameter
from engine.lifecycle import DesiredStatus
from engine.unsupported import refuse_list_tasks_parameters

_MOST_DESCRIBED = 100


async def run_task(context: Context, members: Members) -> bytes:
    """RunTask."""
    cluster = context.active_cluster(members)
    definition = context.task_definition(members["task_definition"], "TaskDefinition not found.")
    given = without(members, "cluster", "task_definition")
    result = await context.ask_cluster(cluster.cluster_arn, commands.RunTask(definition, **given))
    renderer = context.renderer
    return renderer.response(
        "RunTask",
        tasks=joined([renderer.task(task, tags=True) for task in result.tasks]),
        failures=renderer.failures(result.failures),
    )


async def stop_task(context: Context, members: Members) -> bytes:
    """StopTask: of a service's task too; the service starts another."""
    cluster = context.active_cluster(members)
    arn = names.task_arn(context.scope, cluster.cluster_arn, members["task"])
    owner = context.control_plane.owner_of(arn)
    if owner is None:
        raise _task_not_found()
    task = await context.ask(owner, commands.StopTask(arn, members.get("reason")))
    return context.renderer.response("StopTask", task=context.renderer.task(task, tags=True))


def describe_tasks(context: Context, members: Members) -> bytes:
    """DescribeTasks."""
    cluster_arn = context.active_cluster(members).cluster_arn
    references = names.named("Tasks", members["tasks"], _MOST_DESCRIBED)
    tags = "TAGS" in members.get("include", ())
    renderer, find, head = context.renderer, context.views.task, _task_head(cluster_arn)
    found, failures = [], []
    for reference in dict.fromkeys(references):
        if (task := find(reference)) is None or not reference.startswith(head):
            arn = names.task_arn(context.scope, cluster_arn, reference)
            if (task := find(arn)) is None:
                failures.append(missing(arn))
                continue
        found.append(renderer.task(task, tags))
    return renderer.response("DescribeTasks", tasks=joined(found), failures=renderer.failures(failures))


def list_tasks(context: Context, members: Members) -> bytes:
    """ListTasks: those meant to run, unless another desired status is asked for."""
    cluster_arn = context.active_cluster(members).cluster_arn
    refuse_list_tasks_parameters(members.get("daemon_name"))
    chosen = TaskFilter(
        desired_status=DesiredStatus(members.get("desired_status", "RUNNING")),
        family=members.get("family"),
        service_name=_service_name(context, cluster_arn, members.get("service_name")),
        started_by=members.get("started_by"),
        launch_type=members.get("launch_type"),
        container_instance=members.get("container_instance"),
    )
    listing = ("tasks", cluster_arn, chosen)
    size = pages.page_size(members)
    arns, last = context.views.task_page(cluster_arn, chosen, pages.after(listing, members), size)
    token = None if last is None else pages.token(listing, last)
    return context.renderer.listing("ListTasks", token, task_arns=arns)


def _service_name(context: Context, cluster_arn: str, reference: str | None) -> str | None:
    if reference is None:
        return None
    service = context.views.service(names.service_arn(context.scope, cluster_arn, reference))
    if service is None:
        raise service_not_found()
    return service.service_name


def _task_head(cluster_arn: str) -> str:
    """How the ARNs of the cluster's tasks begin."""
    return cluster_arn.replace(":cluster/", ":task/", 1) + "/"


def _task_not_found() -> AwsError:
    return invalid_parameter("The referenced task was not found.")
