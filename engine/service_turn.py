"""A turn of a service: a command, an observation or time passes, and the scheduler takes the next step.

Every turn ends in the same way: deployments make progress, `scheduler.reconcile` makes a plan, the plan is carried
out (tasks made and told to stop, events told), and a steady state is announced once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, TypeAlias, assert_never

from attrs import evolve
from rpds import HashTrieMap

from engine import commands, errors, service_events
from engine.arn import short_name
from engine.commands import ServiceCommand
from engine.decision import Decision, Forget, Record, StartRefused, StartTask, TasksObserved, Tick
from engine.deployment import completes_at, ended_on_its_own, note_failures, progress
from engine.identifiers import derived_hex
from engine.launch import Belonging, new_task
from engine.lifecycle import DesiredStatus, RolloutState, ServiceStatus, StopCode, TaskStatus, checked_service
from engine.progress import request_stop
from engine.scheduler import Plan, desired, reconcile, take_census
from engine.service import Deployment, Service, ServiceState
from engine.service_changes import created, deleted, deployment_launch, updated
from engine.service_events import told
from engine.sightings import Sighting, refuse, see, tick
from engine.tags import Tag, tagged, task_tags, untagged
from engine.task import Task
from engine.task_definition import TaskDefinition

Message: TypeAlias = ServiceCommand | TasksObserved | StartRefused | Tick
Outcome: TypeAlias = Decision[ServiceState]
Retagging: TypeAlias = Callable[[Iterable[Tag]], tuple[Tag, ...]]

REMEMBERED_TASKS: Final = 1_000  # stopped tasks of a service that are kept at most
REMEMBERED: Final = timedelta(days=1)  # how long a deleted service stays describable
STOPPED_BY_USER: Final = "Task stopped by user"
UNHEALTHY: Final = "Task failed container health checks"
CONSISTENT_ROUNDS: Final = 4  # failed rounds in a row after which the service says that it cannot start tasks


def decide(state: ServiceState, message: Message, now: datetime) -> Outcome:
    """One turn. Raises AwsError when a command is refused."""
    turn = Sighting(state.tasks, now)
    match message:
        case commands.CreateService():
            return _create(state, message, now)
        case commands.UpdateService():
            return _update(state, message, now)
        case commands.DeleteService():
            service = deleted(_existing(state), bool(message.force), now)
            return _settled(state, service, turn, replies=True)
        case commands.StopTask():
            return _stop(state, message, turn)
        case commands.TagResource():
            return _retag(state, message.arn, turn, lambda tags: tagged(tags, message.tags))
        case commands.UntagResource():
            return _retag(state, message.arn, turn, lambda tags: untagged(tags, message.tag_keys))
        case TasksObserved():
            see(turn, message, state.task_definitions.get)
            return _settled(state, state.service, turn)
        case StartRefused():
            refuse(turn, message)
            return _settled(state, state.service, turn)
        case Tick():
            tick(turn, REMEMBERED_TASKS)
            return _settled(state, state.service, turn)
        case _:
            assert_never(message)


def restore(
    service: Service | None, tasks: Iterable[Task], task_definitions: Iterable[TaskDefinition] = ()
) -> ServiceState:
    """The state that these records stand for."""
    return ServiceState(
        service=service,
        tasks=HashTrieMap({task.task_arn: task for task in tasks}),
        task_definitions=HashTrieMap({one.task_definition_arn: one for one in task_definitions}),
    )


def definitions_needed(service: Service, tasks: Iterable[Task] = ()) -> frozenset[str]:
    """ARNs of the task definitions that a service may still start tasks of."""
    unseen = {task.task_definition_arn for task in tasks if not task.observed and not task.stopped_at}
    back = {service.last_completed.task_definition} if service.last_completed else set()
    return frozenset({one.task_definition for one in service.deployments} | back | unseen)


def _create(state: ServiceState, command: commands.CreateService, now: datetime) -> Outcome:
    service = created(state.service, command, now)
    if service is state.service or command.task_definition is None:
        return Decision(state, reply=service)
    definition = command.task_definition
    known = evolve(state, task_definitions=HashTrieMap({definition.task_definition_arn: definition}))
    return _settled(known, service, Sighting(state.tasks, now), replies=True, before=state.service)


def _update(state: ServiceState, command: commands.UpdateService, now: datetime) -> Outcome:
    service = _existing(state)
    after = updated(service, command, state.task_definitions.get(service.task_definition), now)
    definition = command.task_definition
    known = state
    if definition is not None:
        known = evolve(state, task_definitions=state.task_definitions.insert(definition.arn, definition))
    return _settled(known, after, Sighting(state.tasks, now), replies=True)


def _stop(state: ServiceState, command: commands.StopTask, turn: Sighting) -> Outcome:
    task = state.tasks.get(command.task_arn)
    if task is None:
        raise errors.task_not_found()
    after, effects = request_stop(task, StopCode.USER_INITIATED, command.reason or STOPPED_BY_USER)
    turn.put(after, *effects)
    return evolve(_settled(state, state.service, turn), reply=after)


def _retag(state: ServiceState, arn: str, turn: Sighting, change: Retagging) -> Outcome:
    service = _existing(state)
    if arn == service.service_arn:
        if service.status is ServiceStatus.INACTIVE:
            raise errors.resource_not_found("service")
        return _settled(state, evolve(service, tags=change(service.tags)), turn)
    task = state.tasks.get(arn)
    if task is None:
        raise errors.resource_not_found("task")
    tags = change(task.tags)
    if tags != task.tags:
        turn.put(evolve(task, tags=tags))
    return _settled(state, service, turn)


def _existing(state: ServiceState) -> Service:
    if state.service is None:
        raise errors.service_not_found()
    return state.service


def _settled(
    state: ServiceState,
    service: Service | None,
    turn: Sighting,
    replies: bool = False,
    before: Service | None = None,
) -> Outcome:
    """The end of every turn: the scheduler's next step, and what differs from the state before."""
    if service is not None and service.status is not ServiceStatus.INACTIVE:
        service = _after_failures(service, state.tasks, turn)
        service = progress(service, tuple(turn.tasks.values()), turn.now)
        plan = reconcile(service, turn.tasks.values(), turn.now)
        service = _carry_out(state, service, plan, turn)
        service = _at_rest(service, plan, turn)
    service, gone = _forgotten(service, turn)
    records: list[Record] = [*turn.changed.values(), *turn.forgotten, *gone]
    if service is not None and service != (before or state.service):
        records.insert(0, service)
    after = evolve(state, service=service, tasks=turn.tasks, task_definitions=_kept(state, service, turn))
    return Decision(after, tuple(turn.all_effects()), tuple(records), service if replies else None)


def _after_failures(service: Service, before: HashTrieMap[str, Task], turn: Sighting) -> Service:
    """The service after tasks of it have ended on their own in this turn: told, counted, waited for."""
    ended = [task for task in turn.changed.values() if _just_ended(before.get(task.task_arn), task)]
    if not ended:
        return service
    rounds = service.primary.failures_in_a_row if service.primary else 0
    ran = [task.task_id for task in ended if task.started_at is not None]
    unable = [task.stopped_reason or "" for task in ended if task.stop_code is StopCode.TASK_FAILED_TO_START]
    messages = [*service_events.stopped(ran), *map(service_events.failed_to_launch, dict.fromkeys(unable))]
    after = note_failures(told(service, turn.now, messages), filter(ended_on_its_own, ended), turn.now)
    if after.primary and rounds < CONSISTENT_ROUNDS <= after.primary.failures_in_a_row:
        return told(after, turn.now, [service_events.INCONSISTENT])
    return after


def _just_ended(before: Task | None, after: Task) -> bool:
    """Whether the task was to run before this turn, and ended by itself or by the world in it."""
    was_to_run = before is not None and before.desired_status is DesiredStatus.RUNNING
    ended = after.desired_status is DesiredStatus.STOPPED and after.stop_code is not StopCode.USER_INITIATED
    return was_to_run and ended


def _carry_out(state: ServiceState, service: Service, plan: Plan, turn: Sighting) -> Service:
    """Make the plan's tasks and stop those that it stops, and tell."""
    primary = service.primary
    if primary is None:
        return service
    unhealthy = [_told_to_stop(task, UNHEALTHY, turn) for task in plan.stop_unhealthy]
    scaling = f"Scaling activity initiated by (deployment {primary.id})"
    stopped = [_told_to_stop(task, scaling, turn) for task in (*plan.stop_surplus, *plan.stop_outdated)]
    service = note_failures(service, unhealthy, turn.now)
    ids = [task.task_id for task in (*stopped, *unhealthy)]
    messages = [service_events.failed_health_checks(task.task_id) for task in unhealthy]
    service = told(service, turn.now, [*messages, *service_events.stopped(ids)])
    if plan.look_again_at is not None:
        turn.wake_at(plan.look_again_at)
    definition = state.task_definitions.get(primary.task_definition)
    return service if definition is None else _start(service, primary, definition, plan.start, turn)


def _told_to_stop(task: Task, reason: str, turn: Sighting) -> Task:
    after, effects = request_stop(task, StopCode.SERVICE_SCHEDULER_INITIATED, reason)
    turn.put(after, *effects)
    return after


def _start(service: Service, primary: Deployment, definition: TaskDefinition, count: int, turn: Sighting) -> Service:
    launch = deployment_launch(service, primary)
    belonging = Belonging(
        group=f"service:{service.service_name}",
        started_by=primary.id,
        tags=_new_tags(service, definition),
        service_arn=service.service_arn,
        deployment_id=primary.id,
    )
    started = []
    for number in range(service.id_counter, service.id_counter + count):
        task_id = derived_hex(service.id_seed, "task", str(number))
        task = new_task(definition, service.cluster_arn, task_id, launch, belonging, turn.now)
        turn.put(task, StartTask(task, definition))
        started.append(task_id)
    counted = evolve(service, id_counter=service.id_counter + count)
    return told(counted, turn.now, service_events.started(started))


def _new_tags(service: Service, definition: TaskDefinition) -> tuple[Tag, ...]:
    propagated = {"TASK_DEFINITION": definition.tags, "SERVICE": service.tags}.get(service.propagate_tags, ())
    cluster_name = short_name(service.cluster_arn)
    return task_tags((), propagated, service.enable_ecs_managed_tags, cluster_name, service.service_name)


def _at_rest(service: Service, plan: Plan, turn: Sighting) -> Service:
    """The service, drained or steady or blocked if it has become so; the first time it says so."""
    tasks = tuple(turn.tasks.values())
    turn.wake_at(completes_at(service, tasks, turn.now))
    if service.status is ServiceStatus.DRAINING:
        return _drained(service, tasks, turn)
    if plan.blocked != (service.blocked_at is not None):
        service = evolve(service, blocked_at=turn.now if plan.blocked else None)
        service = told(service, turn.now, [service_events.BLOCKED] if plan.blocked else [])
    steady = _is_steady(service, plan, tasks)
    if steady == (service.steady_at is not None):
        return service
    service = evolve(service, steady_at=turn.now if steady else None)
    return told(service, turn.now, [service_events.STEADY] if steady else [])


def _is_steady(service: Service, plan: Plan, tasks: Sequence[Task]) -> bool:
    primary = service.primary
    if primary is None or plan.start or plan.stops or primary.rollout_state is not RolloutState.COMPLETED:
        return False
    census = take_census(primary, tasks)
    running = [task for task in census.sound if task.last_status is TaskStatus.RUNNING]
    return len(running) == census.occupying == desired(service) and plan.look_again_at is None


def _drained(service: Service, tasks: Sequence[Task], turn: Sighting) -> Service:
    """A draining service is INACTIVE once its last task has stopped."""
    if any(task.last_status is not TaskStatus.STOPPED for task in tasks):
        return service
    status = checked_service(service.status, ServiceStatus.INACTIVE)
    turn.wake_at(turn.now + REMEMBERED)
    return evolve(service, status=status, deployments=(), last_completed=None, deleted_at=turn.now)


def _forgotten(service: Service | None, turn: Sighting) -> tuple[Service | None, tuple[Forget, ...]]:
    """Nothing is left of an INACTIVE service after a day."""
    if service is None or service.deleted_at is None:
        return service, ()
    if turn.now < service.deleted_at + REMEMBERED:
        turn.wake_at(service.deleted_at + REMEMBERED)
        return service, ()
    return None, (Forget(service.service_arn),)


def _kept(state: ServiceState, service: Service | None, turn: Sighting) -> HashTrieMap[str, TaskDefinition]:
    """The task definitions that may still be needed."""
    if service is None:
        return HashTrieMap()
    if len(state.task_definitions) <= 1 and service.status is not ServiceStatus.INACTIVE:
        return state.task_definitions
    needed = definitions_needed(service, turn.tasks.values())
    return HashTrieMap({arn: one for arn, one in state.task_definitions.items() if arn in needed})
