"""A turn of a cluster: its own record, and the tasks that belong to no service.

RunTask costs the tasks it starts, an observation the tasks it tells of, however many the cluster has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, TypeAlias, assert_never

from attrs import evolve
from rpds import HashTrieMap

from engine import commands, errors
from engine.cluster import CapacityProviderStrategyItem, ClientToken, Cluster, ClusterSetting, ClusterState
from engine.commands import ClusterCommand, RunTaskResult
from engine.decision import (
    Decision,
    Effect,
    Forget,
    Record,
    RemoveCluster,
    StartRefused,
    StartTask,
    TasksObserved,
    Tick,
    WakeAt,
)
from engine.idempotency import check_token, request_digest
from engine.identifiers import derived_hex
from engine.launch import FARGATE_PROVIDERS, Belonging, check_launch, check_overrides, new_task, resolve_launch
from engine.lifecycle import ClusterStatus, StopCode, TaskStatus
from engine.progress import request_stop
from engine.sightings import Sighting, forget_beyond, refuse, see, tick
from engine.tags import Tag, checked_tags, tagged, task_tags, untagged
from engine.task import Task
from engine.task_definition import TaskDefinition
from engine.unsupported import refuse_run_task_parameters, refuse_task_definition

Message: TypeAlias = ClusterCommand | TasksObserved | StartRefused | Tick
Outcome: TypeAlias = Decision[ClusterState]
Retagging: TypeAlias = Callable[[Iterable[Tag]], tuple[Tag, ...]]

MAX_COUNT: Final = 10
REMEMBERED_TASKS: Final = 10_000  # stopped tasks of no service that are kept at most
REMEMBERED: Final = timedelta(days=1)  # how long a deleted cluster stays describable
STOPPED_BY_USER: Final = "Task stopped by user"
_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,255}", re.ASCII)
_INSIGHTS: Final = ("enabled", "disabled", "enhanced")
_PRUNE_EVERY: Final = 1_000


def decide(state: ClusterState, message: Message, now: datetime) -> Outcome:
    """One turn. Raises AwsError when a command is refused."""
    match message:
        case commands.CreateCluster():
            return _create(state, message, now)
        case commands.UpdateCluster():
            return _update(state, message)
        case commands.UpdateClusterSettings():
            return _update(state, commands.UpdateCluster(settings=message.settings))
        case commands.PutClusterCapacityProviders():
            return _put_capacity_providers(state, message)
        case commands.DeleteCluster():
            return _delete(state, message, now)
        case commands.RunTask():
            return _run(state, message, now)
        case commands.StopTask():
            return _stop(state, message)
        case commands.TagResource():
            return _retag(state, message.arn, lambda tags: tagged(tags, message.tags))
        case commands.UntagResource():
            return _retag(state, message.arn, lambda tags: untagged(tags, message.tag_keys))
        case TasksObserved():
            sighting = Sighting(state.tasks, now)
            see(sighting, message, state.task_definitions.get)
            return _seen(state, sighting)
        case StartRefused():
            sighting = Sighting(state.tasks, now)
            refuse(sighting, message)
            return _seen(state, sighting)
        case Tick():
            return _pass_time(state, now)
        case _:
            assert_never(message)


def restore(
    cluster: Cluster | None, tasks: Iterable[Task], task_definitions: Iterable[TaskDefinition] = ()
) -> ClusterState:
    """The state that these records stand for. Of the task definitions, those of unseen tasks are kept."""
    table: HashTrieMap[str, Task] = HashTrieMap({task.task_arn: task for task in tasks})
    state = ClusterState(
        cluster=cluster,
        tasks=table,
        task_definitions=HashTrieMap({one.task_definition_arn: one for one in task_definitions}),
        client_tokens=_client_tokens(table.values()),
    )
    return _without_idle_definitions(state)


def active_cluster(state: ClusterState) -> Cluster:
    """The cluster. Raises ClusterNotFoundException if there is none, or it is INACTIVE."""
    if state.cluster is None or state.cluster.status is not ClusterStatus.ACTIVE:
        raise errors.cluster_not_found()
    return state.cluster


def _create(state: ClusterState, command: commands.CreateCluster, now: datetime) -> Outcome:
    name = "default" if command.cluster_name is None else command.cluster_name
    if not _NAME.fullmatch(name):
        raise errors.invalid_parameter("Cluster name contains invalid characters.")
    if state.cluster is not None and state.cluster.status is ClusterStatus.ACTIVE:
        return Decision(state, reply=state.cluster)
    providers, strategy = command.capacity_providers or (), command.default_capacity_provider_strategy or ()
    _check_providers(providers, strategy)
    cluster = Cluster(
        cluster_arn=command.scope.cluster_arn(name),
        cluster_name=name,
        configuration=command.configuration,
        settings=_settings((), command.settings or ()),
        capacity_providers=providers,
        default_capacity_provider_strategy=strategy,
        service_connect_defaults=command.service_connect_defaults,
        tags=checked_tags(command.tags),
        created_at=now,
        id_seed=command.id_seed,
    )
    return _with_cluster(state, cluster)


def _update(state: ClusterState, command: commands.UpdateCluster) -> Outcome:
    cluster = active_cluster(state)
    after = evolve(
        cluster,
        settings=_settings(cluster.settings, command.settings or ()),
        configuration=command.configuration or cluster.configuration,
        service_connect_defaults=command.service_connect_defaults or cluster.service_connect_defaults,
    )
    return _with_cluster(state, after)


def _put_capacity_providers(state: ClusterState, command: commands.PutClusterCapacityProviders) -> Outcome:
    cluster = active_cluster(state)
    strategy = command.default_capacity_provider_strategy
    _check_providers(command.capacity_providers, strategy)
    after = evolve(cluster, capacity_providers=command.capacity_providers, default_capacity_provider_strategy=strategy)
    return _with_cluster(state, after)


def _delete(state: ClusterState, command: commands.DeleteCluster, now: datetime) -> Outcome:
    cluster = active_cluster(state)
    if command.active_services:
        raise errors.cluster_contains_services()
    if command.service_tasks or any(task.last_status is not TaskStatus.STOPPED for task in state.tasks.values()):
        raise errors.cluster_contains_tasks()
    after = evolve(cluster, status=ClusterStatus.INACTIVE, deleted_at=now)
    return evolve(_with_cluster(state, after), effects=(RemoveCluster(cluster.cluster_arn), WakeAt(now + REMEMBERED)))


def _run(state: ClusterState, command: commands.RunTask, now: datetime) -> Outcome:
    cluster = active_cluster(state)
    check_token(command.client_token)
    fingerprint = request_digest(command) if command.client_token else None
    known = state.client_tokens.get(command.client_token) if command.client_token else None
    if known is not None:
        return _answer_again(state, known, fingerprint)
    refuse_run_task_parameters(command)
    _check_run(command)
    definition = command.task_definition
    refuse_task_definition("RunTask", definition)
    launch = resolve_launch(
        cluster, command.launch_type, command.capacity_provider_strategy, command.platform_version,
        command.network_configuration, bool(command.enable_execute_command),
    )  # fmt: skip
    check_launch(definition, launch)
    check_overrides(definition, command.overrides)
    belonging = Belonging(
        group=command.group or f"family:{definition.family}",
        started_by=command.started_by,
        tags=_run_tags(cluster, command),
        client_token=command.client_token,
        request_digest=fingerprint,
    )
    tasks = tuple(
        new_task(definition, cluster.cluster_arn, task_id, launch, belonging, now, command.overrides)
        for task_id in sorted(_fresh_ids(state, cluster, 1 if command.count is None else command.count, now))
    )
    return _started(state, tasks, definition, now)


def _started(state: ClusterState, tasks: tuple[Task, ...], definition: TaskDefinition, now: datetime) -> Outcome:
    sighting = Sighting(state.tasks, now)
    for task in tasks:
        sighting.put(task, StartTask(task, definition))
    full = len(sighting.tasks) > REMEMBERED_TASKS
    if full and len(sighting.tasks) // _PRUNE_EVERY != len(state.tasks) // _PRUNE_EVERY:
        forget_beyond(sighting, REMEMBERED_TASKS)
    decision = _seen(state, sighting)
    after = evolve(
        decision.state,
        task_definitions=state.task_definitions.insert(definition.task_definition_arn, definition),
        client_tokens=_with_tokens(decision.state.client_tokens, tasks),
    )
    return evolve(decision, state=after, reply=RunTaskResult(tasks))


def _answer_again(state: ClusterState, known: ClientToken, fingerprint: str | None) -> Outcome:
    if known.request_digest != fingerprint:
        raise errors.conflict(
            "The clientToken was used before with other parameters. Use another one.", known.task_arns
        )
    tasks = tuple(state.tasks[arn] for arn in known.task_arns if arn in state.tasks)
    return Decision(state, reply=RunTaskResult(tasks))


def _check_run(command: commands.RunTask) -> None:
    if command.count is not None and not 1 <= command.count <= MAX_COUNT:
        raise errors.invalid_parameter(f"Count must be between 1 and {MAX_COUNT}.")
    if command.propagate_tags == "SERVICE":
        raise errors.invalid_parameter("Invalid value for propagateTags: SERVICE. A task of no service has none.")
    if len(command.started_by or "") > 128:
        raise errors.invalid_parameter("startedBy must have at most 128 characters.")
    if len(command.group or "") > 255:
        raise errors.invalid_parameter("group must have at most 255 characters.")


def _run_tags(cluster: Cluster, command: commands.RunTask) -> tuple[Tag, ...]:
    propagated = command.task_definition.tags if command.propagate_tags == "TASK_DEFINITION" else ()
    managed = bool(command.enable_ecs_managed_tags)
    return task_tags(checked_tags(command.tags), propagated, managed, cluster.cluster_name, None)


def _fresh_ids(state: ClusterState, cluster: Cluster, count: int, now: datetime) -> Iterable[str]:
    """Ids that no task of the cluster has: from its seed, the time, and how many tasks there are."""
    number, given = len(state.tasks), 0
    while given < count:
        task_id = derived_hex(cluster.id_seed, now.isoformat(), str(number))
        number += 1
        if f"{cluster.cluster_arn.replace(':cluster/', ':task/')}/{task_id}" not in state.tasks:
            given += 1
            yield task_id


def _stop(state: ClusterState, command: commands.StopTask) -> Outcome:
    task = state.tasks.get(command.task_arn)
    if task is None:
        raise errors.task_not_found()
    after, effects = request_stop(task, StopCode.USER_INITIATED, command.reason or STOPPED_BY_USER)
    return _with_task(state, task, after, effects, reply=after)


def _retag(state: ClusterState, arn: str, change: Retagging) -> Outcome:
    if state.cluster is not None and arn == state.cluster.cluster_arn:
        cluster = active_cluster(state)
        return evolve(_with_cluster(state, evolve(cluster, tags=change(cluster.tags))), reply=None)
    task = state.tasks.get(arn)
    if task is None:
        raise errors.resource_not_found("task")
    return _with_task(state, task, evolve(task, tags=change(task.tags)))


def _seen(state: ClusterState, sighting: Sighting) -> Outcome:
    records: list[Record] = [*sighting.changed.values(), *sighting.forgotten]
    after = evolve(state, tasks=sighting.tasks) if records else state
    return Decision(after, tuple(sighting.all_effects()), tuple(records))


def _pass_time(state: ClusterState, now: datetime) -> Outcome:
    sighting = Sighting(state.tasks, now)
    tick(sighting, REMEMBERED_TASKS)
    deleted_at = state.cluster.deleted_at if state.cluster else None
    if deleted_at is not None and now < deleted_at + REMEMBERED:
        sighting.wake_at(deleted_at + REMEMBERED)
    decision = _seen(state, sighting)
    after = decision.state
    if sighting.forgotten:
        after = evolve(after, client_tokens=_client_tokens(after.tasks.values()))
    after = _without_idle_definitions(after)
    if state.cluster is not None and deleted_at is not None and deleted_at + REMEMBERED <= now:
        gone = Forget(state.cluster.cluster_arn)
        return evolve(decision, state=evolve(after, cluster=None), records=(*decision.records, gone))
    return evolve(decision, state=after)


def _with_cluster(state: ClusterState, cluster: Cluster) -> Outcome:
    records: Sequence[Record] = () if cluster == state.cluster else (cluster,)
    return Decision(evolve(state, cluster=cluster), records=records, reply=cluster)


def _with_task(
    state: ClusterState, before: Task, after: Task, effects: Iterable[Effect] = (), reply: object = None
) -> Outcome:
    if after == before:
        return Decision(state, tuple(effects), reply=reply)
    return Decision(evolve(state, tasks=state.tasks.insert(after.task_arn, after)), tuple(effects), (after,), reply)


def _settings(before: Iterable[ClusterSetting], changes: Iterable[ClusterSetting]) -> tuple[ClusterSetting, ...]:
    for setting in changes:
        if setting.value not in _INSIGHTS:
            raise errors.invalid_parameter(
                f"Invalid value for {setting.name}: {setting.value}. Valid values: {', '.join(_INSIGHTS)}."
            )
    values = {"containerInsights": "disabled"} | {one.name: one.value for one in (*before, *changes)}
    return tuple(ClusterSetting(name, value) for name, value in values.items())


def _check_providers(providers: Sequence[str], strategy: Iterable[CapacityProviderStrategyItem]) -> None:
    for provider in providers:
        if provider not in FARGATE_PROVIDERS:
            raise errors.invalid_parameter(
                f"The specified capacity provider '{provider}' was not found. "
                "Specify a valid name or ARN and try again."
            )
    for item in strategy:
        if item.capacity_provider not in providers:
            raise errors.invalid_parameter(
                "The specified capacity provider strategy cannot contain a capacity provider that is not associated "
                "with the cluster. Associate the capacity provider with the cluster and try again."
            )


def _client_tokens(tasks: Iterable[Task]) -> HashTrieMap[str, ClientToken]:
    return _with_tokens(HashTrieMap(), tasks)


def _with_tokens(table: HashTrieMap[str, ClientToken], tasks: Iterable[Task]) -> HashTrieMap[str, ClientToken]:
    found: dict[str, list[str]] = {}
    digests: dict[str, str] = {}
    for task in tasks:
        if task.client_token:
            found.setdefault(task.client_token, []).append(task.task_arn)
            digests[task.client_token] = task.request_digest or ""
    for token, arns in found.items():
        table = table.insert(token, ClientToken(digests[token], tuple(sorted(arns))))
    return table


def _without_idle_definitions(state: ClusterState) -> ClusterState:
    needed = {task.task_definition_arn for task in state.tasks.values() if not task.observed and not task.stopped_at}
    kept = {arn: one for arn, one in state.task_definitions.items() if arn in needed}
    return state if len(kept) == len(state.task_definitions) else evolve(state, task_definitions=HashTrieMap(kept))
