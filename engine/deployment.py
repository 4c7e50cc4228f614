"""Deployments of a service: how one begins, completes, fails, and is rolled back.

The circuit breaker counts tasks of the primary deployment that ended on their own or failed their health checks; a
task that proves itself sets the count back. Starting again after failures waits longer each round.

Source: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from attrs import evolve

from engine import service_events
from engine.identifiers import derived_digits
from engine.launch import Launch
from engine.lifecycle import RolloutState, StopCode, checked_rollout
from engine.scheduler import SETTLE, desired, is_healthy, settles_at, take_census
from engine.service import Deployment, Service, ThresholdConfiguration
from engine.service_events import told
from engine.task import Task

DEFAULT_THRESHOLD: Final = ThresholdConfiguration("BOUNDED_PERCENT", 50)
LEAST_FAILURES, MOST_FAILURES = 3, 200
PROOF: Final = timedelta(seconds=10)  # how long a task without health checks must run where failures are counted
LASTED: Final = timedelta(seconds=60)  # a task that ran for so long did not fail to start
FREE_RETRIES: Final = 2
LONGEST_WAIT_S: Final = 60
_OWN_ENDS: Final = frozenset({StopCode.ESSENTIAL_CONTAINER_EXITED, StopCode.TASK_FAILED_TO_START})


def begin(service: Service, task_definition: str, launch: Launch, platform: str | None, now: datetime) -> Service:
    """The service with a new primary deployment; the one before stays ACTIVE until its tasks are gone."""
    number = str(service.id_counter)
    deployment_id = f"ecs-svc/{derived_digits(service.id_seed, 'deployment', number)}"
    deployment = Deployment(
        id=deployment_id,
        status="PRIMARY",
        task_definition=task_definition,
        desired_count=service.desired_count,
        created_at=now,
        updated_at=now,
        rollout_state_reason=f"ECS deployment {deployment_id} in progress.",
        launch_type=None if launch.capacity_provider_strategy else launch.launch_type,
        platform_version=launch.platform_version,
        platform_family=platform,
        capacity_provider_strategy=launch.capacity_provider_strategy,
        network_configuration=launch.network_configuration,
    )
    others = tuple(evolve(one, status="ACTIVE") for one in service.deployments)
    return evolve(
        service,
        task_definition=task_definition,
        deployments=(deployment, *others),
        id_counter=service.id_counter + 1,
        steady_at=None,
        blocked_at=None,
    )


def note_failures(service: Service, ended: Iterable[Task], now: datetime) -> Service:
    """The service after tasks of it ended on their own, or failed their health checks."""
    primary = service.primary
    for task in ended:
        if primary is None or task.deployment_id != primary.id or task.stop_code not in _COUNTED:
            continue
        primary = _waiting(_counted(primary), task, now)
    return _with_primary(service, primary, now)


def ended_on_its_own(task: Task) -> bool:
    """Whether a task failed: its essential container ended, or it never started."""
    return task.stop_code in _OWN_ENDS


_COUNTED: Final = _OWN_ENDS | {StopCode.SERVICE_SCHEDULER_INITIATED}


def _counted(primary: Deployment) -> Deployment:
    if primary.rollout_state is not RolloutState.IN_PROGRESS:
        return primary
    return evolve(primary, failed_tasks=primary.failed_tasks + 1)


def _waiting(primary: Deployment, task: Task, now: datetime) -> Deployment:
    """The next start waits 1, 2, 4 ... 60 seconds once tasks have failed a few rounds in a row.

    A round: tasks that were created since the failure before. One that ran for a minute begins a new count.
    """
    last = primary.last_failure_at
    if last is not None and task.created_at is not None and task.created_at < last:
        return primary
    lasted = task.started_at is not None and now - task.started_at >= LASTED
    rounds = 1 if lasted else primary.failures_in_a_row + 1
    wait_s = 0 if rounds <= FREE_RETRIES else min(LONGEST_WAIT_S, 2 ** min(rounds - FREE_RETRIES - 1, 10))
    return evolve(
        primary,
        failures_in_a_row=rounds,
        last_failure_at=now,
        retry_at=now + timedelta(seconds=wait_s) if wait_s else None,
    )


def progress(service: Service, tasks: Sequence[Task], now: datetime) -> Service:
    """The service after its deployments have completed, failed, been rolled back, or run out of tasks."""
    service = _without_emptied(service, tasks)
    primary = service.primary
    if primary is None or primary.rollout_state is not RolloutState.IN_PROGRESS:
        return service
    census = take_census(primary, tasks)
    proved = [task for task in census.sound if is_healthy(task, now, _proof(service))]
    if proved and primary.failed_tasks and _resets(service):
        primary = evolve(primary, failed_tasks=0)
        service = _with_primary(service, primary, now)
    if primary.failed_tasks >= _threshold(service):
        return _fail(service, primary, now)
    if len(proved) == len(census.sound) == desired(service) and not (census.unhealthy or _others(service)):
        return _complete(service, primary, now)
    return service


def completes_at(service: Service, tasks: Iterable[Task], now: datetime) -> datetime | None:
    """When time alone may complete the deployment."""
    primary = service.primary
    if primary is None or primary.rollout_state is not RolloutState.IN_PROGRESS:
        return None
    proof = _proof(service)
    times = (settles_at(task, now, proof) for task in tasks if task.deployment_id == primary.id)
    return max((when for when in times if when), default=None)


def _proof(service: Service) -> timedelta:
    """Where failures are counted, a task must run for longer before it counts as a success."""
    return PROOF if _breaker_is_on(service) else SETTLE


def _breaker_is_on(service: Service) -> bool:
    breaker = service.deployment_configuration.deployment_circuit_breaker
    return breaker is not None and breaker.enable


def _resets(service: Service) -> bool:
    breaker = service.deployment_configuration.deployment_circuit_breaker
    return breaker is None or breaker.reset_on_healthy_task is not False


def _threshold(service: Service) -> float:
    """How many failed tasks fail a deployment; without a circuit breaker, none do."""
    breaker = service.deployment_configuration.deployment_circuit_breaker
    if breaker is None or not breaker.enable:
        return float("inf")
    threshold = breaker.threshold_configuration or DEFAULT_THRESHOLD
    if threshold.type == "COUNT":
        return max(1, threshold.value)
    share = -(-service.desired_count * threshold.value // 100)
    return max(1, share) if threshold.type == "UNBOUNDED_PERCENT" else min(max(share, LEAST_FAILURES), MOST_FAILURES)


def _complete(service: Service, primary: Deployment, now: datetime) -> Service:
    state = checked_rollout(primary.rollout_state, RolloutState.COMPLETED)
    reason = f"ECS deployment {primary.id} completed."
    done = evolve(primary, rollout_state=state, rollout_state_reason=reason, updated_at=now)
    after = evolve(_with_primary(service, done, now), last_completed=done)
    return told(after, now, [service_events.completed(done)])


def _fail(service: Service, primary: Deployment, now: datetime) -> Service:
    state = checked_rollout(primary.rollout_state, RolloutState.FAILED)
    reason = "ECS deployment circuit breaker: tasks failed to start."
    failed = evolve(primary, rollout_state=state, rollout_state_reason=reason, updated_at=now)
    after = told(_with_primary(service, failed, now), now, [service_events.failed(failed)])
    breaker, back = service.deployment_configuration.deployment_circuit_breaker, service.last_completed
    if breaker is None or not breaker.rollback or back is None or back.id == primary.id:
        return after
    return _roll_back(after, back, now)


def _roll_back(service: Service, back: Deployment, now: datetime) -> Service:
    """The last completed deployment is the primary one again; tasks of it that still run go on running."""
    primary = evolve(
        back,
        status="PRIMARY",
        desired_count=service.desired_count,
        rollout_state=checked_rollout(back.rollout_state, RolloutState.IN_PROGRESS),
        rollout_state_reason=f"ECS deployment circuit breaker: rolling back to deploymentId {back.id}.",
        updated_at=now,
        failed_tasks=0,
        failures_in_a_row=0,
        retry_at=None,
    )
    others = tuple(evolve(one, status="ACTIVE") for one in service.deployments if one.id != back.id)
    after = evolve(
        service,
        deployments=(primary, *others),
        task_definition=primary.task_definition,
        launch_type=primary.launch_type,
        capacity_provider_strategy=primary.capacity_provider_strategy,
        platform_version=primary.platform_version,
        platform_family=primary.platform_family,
        network_configuration=primary.network_configuration,
    )
    return told(after, now, [service_events.rolling_back(primary)])


def _others(service: Service) -> tuple[Deployment, ...]:
    return tuple(one for one in service.deployments if one.status != "PRIMARY")


def _without_emptied(service: Service, tasks: Sequence[Task]) -> Service:
    """Deployments that are not the primary one are dropped with their last task; until then they count theirs."""
    primary = service.primary
    if primary is None or len(service.deployments) == 1:
        return service
    census = take_census(primary, tasks)
    present = [task.deployment_id for task in (*census.outdated, *census.leaving)]
    staying = [task.deployment_id for task in census.outdated]
    others = (evolve(one, desired_count=staying.count(one.id)) for one in _others(service) if one.id in present)
    return evolve(service, deployments=(primary, *others))


def _with_primary(service: Service, primary: Deployment | None, now: datetime) -> Service:
    if primary is None or primary == service.primary:
        return service
    changed = evolve(primary, updated_at=now)
    return evolve(service, deployments=(changed, *_others(service)))
