"""Services: what the scheduler does, and what it tells."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from engine import commands, service_events
from engine.commands import CreateService, DeploymentConfigurationChange, UpdateService
from engine.decision import Forget, StartRefused, StartTask, StopTask, Tick
from engine.errors import AwsError
from engine.lifecycle import RolloutState, ServiceStatus
from engine.observation import Phase
from engine.service import DeploymentCircuitBreaker, ServiceState, ThresholdConfiguration
from engine.service_turn import decide, definitions_needed
from engine.tags import Tag
from tests.engine.make import CHECK, NOW, after, cluster, container, definition, of_type
from tests.engine.world import World

BREAKER = DeploymentCircuitBreaker(enable=True, rollback=True)


def breaker(**members: Any) -> DeploymentConfigurationChange:
    return DeploymentConfigurationChange(
        deployment_circuit_breaker=DeploymentCircuitBreaker(**{"enable": True, "rollback": True} | members)
    )


def steady(desired: int = 3, **members: Any) -> World:
    world = World().create(definition(), desired, **members)
    world.settle()
    return world


def ids(world: World) -> list[str]:
    return [task.task_id for task in world.tasks]


def refused(state: ServiceState, command: Any) -> str:
    with pytest.raises(AwsError) as caught:
        decide(state, command, NOW)
    return str(caught.value)


def test_a_new_service_starts_its_tasks_and_says_so() -> None:
    world = World().create(definition(), 2)
    assert len(of_type(world.effects, StartTask)) == 2
    one, other = (effect.task.task_id for effect in of_type(world.effects, StartTask))
    assert world.messages() == [f"has started 2 tasks: (task {one}) (task {other})."]
    [task, _] = world.tasks
    assert (task.group, task.started_by) == ("service:web", world.service.deployments[0].id)
    primary = world.service.deployments[0]
    assert primary.rollout_state_reason == f"ECS deployment {primary.id} in progress."


def test_a_service_reaches_a_steady_state_and_says_so_once() -> None:
    world = steady()
    primary = world.service.deployments[0]
    assert world.messages()[-2:] == [f"(deployment {primary.id}) deployment completed.", "has reached a steady state."]
    assert (primary.rollout_state, primary.rollout_state_reason) == (
        RolloutState.COMPLETED,
        f"ECS deployment {primary.id} completed.",
    )
    world.pass_time(30)
    world.list_all()
    assert world.messages().count("has reached a steady state.") == 1


def test_a_task_that_dies_is_replaced_and_the_events_say_so() -> None:
    world = steady()
    victim = world.tasks[0]
    world.crash(victim.task_arn, exit_code=137)
    world.settle()
    stopped = world.state.tasks[victim.task_arn]
    assert (stopped.last_status, stopped.stop_code) == ("STOPPED", "EssentialContainerExited")
    assert stopped.containers[0].exit_code == 137
    new = world.tasks[-1].task_id
    assert world.messages()[-3:] == [
        f"has stopped 1 running tasks: (task {victim.task_id}).",
        f"has started 1 tasks: (task {new}).",
        "has reached a steady state.",
    ]


def test_scaling_in_stops_tasks_with_the_scheduler_s_reason() -> None:
    world = steady()
    world.send(UpdateService(desired_count=1))
    primary = world.service.deployments[0]
    leaving = [task for task in world.tasks if task.stop_code]
    assert len(leaving) == len(of_type(world.effects, StopTask)) == 2
    assert {task.stopped_reason for task in leaving} == {f"Scaling activity initiated by (deployment {primary.id})"}
    assert {task.stop_code for task in leaving} == {"ServiceSchedulerInitiated"}
    assert primary.desired_count == 1
    assert len(world.service.deployments) == 1


def test_a_new_revision_replaces_the_tasks_and_leaves_one_deployment() -> None:
    world = steady()
    first = ids(world)
    world.send(UpdateService(task_definition=definition(revision=2)))
    assert [one.status for one in world.service.deployments] == ["PRIMARY", "ACTIVE"]
    world.settle()
    [deployment] = world.service.deployments
    assert deployment.task_definition.endswith("web:2")
    assert {task.task_id for task in world.up}.isdisjoint(first)
    assert len(world.up) == 3


def test_the_same_revision_again_is_no_new_deployment_unless_forced() -> None:
    world = steady()
    before = world.service.deployments
    world.send(UpdateService(task_definition=definition()))
    assert world.service.deployments == before
    world.send(UpdateService(force_new_deployment=True))
    assert len(world.service.deployments) == 2


def test_several_superseded_deployments_all_go() -> None:
    world = steady(2)
    for revision in (2, 3, 4):
        world.send(UpdateService(task_definition=definition(revision=revision)))
        world.carry_out()
    world.settle()
    [deployment] = world.service.deployments
    assert deployment.task_definition.endswith("web:4")


def test_a_deployment_that_the_percents_block_says_so_once() -> None:
    narrow = DeploymentConfigurationChange(maximum_percent=150, minimum_healthy_percent=100)
    world = steady(1, deployment_configuration=narrow)
    world.send(UpdateService(task_definition=definition(revision=2)))
    world.send(Tick())
    assert world.messages().count(service_events.BLOCKED) == 1
    world.send(UpdateService(deployment_configuration=DeploymentConfigurationChange(maximum_percent=200)))
    world.settle()


def test_an_unhealthy_task_is_replaced_before_it_is_stopped() -> None:
    world = World().create(definition(container(health_check=CHECK)), 2)
    world.settle()
    ill = world.tasks[0]
    world.pods[ill.task_arn] = evolve(world.pods[ill.task_arn], ready=False)
    world.observe([world.pods[ill.task_arn].seen()])
    assert not world.state.tasks[ill.task_arn].stop_code
    assert len(of_type(world.effects, StartTask)) == 1
    world.settle()
    stopped = world.state.tasks[ill.task_arn]
    assert stopped.stopped_reason == "Task failed container health checks"
    assert service_events.failed_health_checks(ill.task_id) in world.messages()


def test_a_crashing_first_deployment_fails_by_the_circuit_breaker() -> None:
    world = World().create(definition(), 2, deployment_configuration=breaker())
    for _ in range(10):
        world.round(fails=True)
        world.pass_time(5)
    [deployment] = world.service.deployments
    assert deployment.rollout_state is RolloutState.FAILED
    assert deployment.failed_tasks >= 3
    assert deployment.rollout_state_reason == "ECS deployment circuit breaker: tasks failed to start."
    assert f"(deployment {deployment.id}) deployment failed: tasks failed to start." in world.messages()
    count = len(world.tasks)
    world.pass_time(300)
    world.round(fails=True)
    assert len(world.tasks) == count


def test_a_crashing_new_revision_is_rolled_back_to_tasks_that_never_stopped() -> None:
    world = steady(2, deployment_configuration=breaker())
    before, good = ids(world), world.service.deployments[0].id
    world.send(UpdateService(task_definition=definition(revision=2)))
    bad = world.service.deployments[0].id
    for _ in range(10):
        world.carry_out()
        for task in world.tasks:
            if task.deployment_id == bad and task.task_arn in world.pods:
                world.crash(task.task_arn)
        world.observe([pod.seen() for pod in world.pods.values()])
        world.pass_time(5)
    world.settle()
    [deployment] = world.service.deployments
    assert (deployment.id, deployment.rollout_state) == (good, RolloutState.COMPLETED)
    assert world.service.task_definition.endswith("web:1")
    assert [task.task_id for task in world.up] == before
    assert f"rolling back to deployment {good}." in world.messages()


def test_a_failed_deployment_leaves_the_tasks_that_serve_alone() -> None:
    world = steady(2, deployment_configuration=breaker(rollback=False))
    before = ids(world)
    world.send(UpdateService(task_definition=definition(revision=2)))
    bad = world.service.deployments[0].id
    for _ in range(10):  # they fail one after the other: one is still starting when the deployment fails
        world.carry_out()
        starting = [pod for pod in world.pods.values() if pod.phase is Phase.ACCEPTED]
        if world.service.deployments[0].rollout_state is RolloutState.FAILED or not starting:
            break
        world.crash(starting[0].task_arn)
        world.observe([world.pods[starting[0].task_arn].seen()])
        world.pass_time(5)
    assert world.service.deployments[0].rollout_state is RolloutState.FAILED
    assert any(task.deployment_id == bad for task in world.tasks if task.stopped_at is None)
    assert [task.task_id for task in world.up] == before
    world.round()
    world.pass_time(60)
    assert len(world.up) >= 2


def test_a_container_that_never_lasts_does_not_complete_a_guarded_deployment() -> None:
    world = World().create(definition(), 1, deployment_configuration=breaker())
    for _ in range(12):
        world.round()
        world.pass_time(4)
        for arn in world.pods:
            world.crash(arn)
        world.round()
    assert world.service.deployments[0].rollout_state is RolloutState.FAILED


@pytest.mark.parametrize(
    ("threshold", "needed"),
    [(None, 3), (ThresholdConfiguration("COUNT", 1), 1), (ThresholdConfiguration("UNBOUNDED_PERCENT", 100), 1)],
)
def test_the_circuit_breaker_s_threshold(threshold: ThresholdConfiguration | None, needed: int) -> None:
    world = World().create(definition(), 1, deployment_configuration=breaker(threshold_configuration=threshold))
    for failures in range(1, needed + 1):
        assert world.service.deployments[0].rollout_state is RolloutState.IN_PROGRESS
        world.round(fails=True)
        assert world.service.deployments[0].failed_tasks == failures
        world.pass_time(100)
    assert world.service.deployments[0].rollout_state is RolloutState.FAILED


def test_tasks_that_keep_failing_are_started_ever_more_slowly() -> None:
    world = World().create(definition(), 1)
    for _ in range(100):
        world.round(fails=True)
        world.pass_time(1)
    assert 5 < len(world.tasks) < 15
    assert world.messages().count(service_events.INCONSISTENT) == 1


def test_a_refused_start_is_told_and_tried_again_later() -> None:
    world = World().create(definition(), 1)
    [task] = world.tasks
    world.effects.clear()
    world.send(StartRefused(task.task_arn, "no room"))
    assert world.messages()[1] == "failed to launch a task with (error no room)."
    assert world.state.tasks[task.task_arn].stopped_reason == "no room"
    world.settle()


def test_a_task_that_a_user_stops_is_replaced_and_is_no_failure() -> None:
    world = steady(1)
    task = world.tasks[0]
    reply = world.send(commands.StopTask(task.task_arn)).reply
    assert (reply.stop_code, reply.stopped_reason) == ("UserInitiated", "Task stopped by user")  # type: ignore[attr-defined]  # a Task
    world.settle()
    assert len(world.up) == 1
    assert world.service.deployments[0].failures_in_a_row == 0


def test_a_deleted_service_drains_and_stays_describable_for_a_day() -> None:
    world = steady(2)
    assert "The service cannot be stopped while it is scaled above 0." in refused(world.state, commands.DeleteService())
    world.send(commands.DeleteService(force=True))
    assert (world.service.status, world.service.desired_count) == (ServiceStatus.DRAINING, 0)
    assert "ServiceNotActiveException" in refused(world.state, UpdateService(desired_count=1))
    for _ in range(4):
        world.round()
    assert (world.service.status, world.service.deployments) == (ServiceStatus.INACTIVE, ())
    assert "ServiceNotFoundException" in refused(world.state, commands.DeleteService())
    world.pass_time(2 * 86_400)
    assert world.state.service is None
    assert not world.records


def test_a_name_may_be_used_again_once_it_is_inactive() -> None:
    world = steady(0)
    assert "Creation of service was not idempotent." in refused(world.state, creating())
    world.send(commands.DeleteService())
    first = world.service
    world.create(definition(), 1)
    world.settle()
    assert (first.status, world.service.status) == (ServiceStatus.INACTIVE, ServiceStatus.ACTIVE)


def creating(**members: Any) -> CreateService:
    given: dict[str, Any] = {
        "cluster": cluster(), "id_seed": "seed", "service_name": "web", "task_definition": definition(),
        "desired_count": 1,
    }  # fmt: skip
    return CreateService(**given | members)


def test_a_client_token_answers_the_same_service() -> None:
    state = decide(ServiceState(), creating(client_token="t-1"), NOW).state
    again = decide(state, creating(client_token="t-1", id_seed="other"), after(1))
    assert (again.reply, again.records, again.effects) == (state.service, (), ())
    assert "not idempotent" in refused(state, creating(client_token="t-1", desired_count=2))


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"service_name": "no spaces"}, "Service name contains invalid characters."),
        ({"task_definition": None}, "TaskDefinition can not be blank."),
        ({"desired_count": None}, "Desired count"),
        ({"desired_count": -1}, "Invalid desired count"),
        ({"scheduling_strategy": "DAEMON"}, "does not support a desired count"),
        ({"launch_type": "FARGATE"}, "Task definition does not support launch_type FARGATE."),
        ({"health_check_grace_period_seconds": 5}, "Health check grace period is only valid"),
        ({"client_token": "a b"}, "clientToken"),
        (
            {"deployment_configuration": DeploymentConfigurationChange(maximum_percent=100)},
            "cannot be 100 as this will block deployments",
        ),
        ({"deployment_configuration": DeploymentConfigurationChange(maximum_percent=50)}, "maximumPercent"),
        ({"deployment_configuration": DeploymentConfigurationChange(minimum_healthy_percent=101)}, "minimumHealthy"),
        ({"task_definition": definition(network_mode="awsvpc")}, "Network Configuration must be provided"),
    ],
)
def test_what_create_service_refuses(members: dict[str, Any], words: str) -> None:
    assert words in refused(ServiceState(), creating(**members))


def test_what_update_service_refuses() -> None:
    state = steady(1).state
    words = "Health check grace period is only valid for services configured to use load balancers"
    assert words in refused(state, UpdateService(health_check_grace_period_seconds=5))
    without = decide(state, UpdateService(health_check_grace_period_seconds=0), NOW).state.service
    assert without is not None
    assert without.health_check_grace_period_seconds == 0


def test_a_daemon_runs_one_task() -> None:
    world = World().create(definition(), 0, desired_count=None, scheduling_strategy="DAEMON")
    world.settle()
    assert len(world.up) == world.service.desired_count == 1
    world.send(UpdateService(task_definition=definition(revision=2)))
    world.settle()


def test_tags_reach_the_tasks_as_asked() -> None:
    world = World().create(
        definition(), 1, tags=(Tag("team", "a"),), propagate_tags="SERVICE", enable_ecs_managed_tags=True
    )
    assert {tag.key: tag.value for tag in world.tasks[0].tags} == {
        "team": "a",
        "aws:ecs:clusterName": "default",
        "aws:ecs:serviceName": "web",
    }


def test_a_service_keeps_its_newest_hundred_events() -> None:
    world = World().create(definition(), 1)
    for _ in range(130):
        world.send(UpdateService(force_new_deployment=True))
        world.round()
        world.pass_time(3)
    assert len(world.service.events) == 100
    assert world.service.events[0].created_at >= world.service.events[-1].created_at


def test_the_definitions_needed_are_those_of_deployments_and_of_what_to_roll_back_to() -> None:
    world = steady(1)
    world.send(UpdateService(task_definition=definition(revision=2)))
    assert {arn.rsplit(":")[-1] for arn in definitions_needed(world.service)} == {"1", "2"}
    world.settle()
    assert {arn.rsplit(":")[-1] for arn in definitions_needed(world.service)} == {"2"}
    assert set(world.state.task_definitions) == definitions_needed(world.service)


def test_stopped_tasks_are_forgotten_after_an_hour() -> None:
    world = steady(1)
    world.crash(world.tasks[0].task_arn)
    world.settle()
    assert len(world.tasks) == 2
    forgotten: list[Forget] = []
    world.now = after(2 * 3600)
    forgotten += of_type(world.send(Tick()).records, Forget)
    assert (len(world.tasks), len(forgotten)) == (1, 1)


def test_a_start_that_was_lost_with_the_control_plane_is_asked_for_again() -> None:
    world = World().create(definition(), 2)
    world.restart()
    assert [effect.task.task_arn for effect in of_type(world.effects, StartTask)] == sorted(world.state.tasks)
    world.settle()


def test_a_lost_task_is_replaced_at_once() -> None:
    world = steady(1)
    world.pods.clear()
    world.list_all()
    [lost, new] = world.tasks
    assert (lost.stop_code, new.last_status) == ("TerminationNotice", "PROVISIONING")


def test_phases_of_a_start_error_are_told() -> None:
    world = World().create(definition(), 1)
    world.carry_out()
    [arn] = world.pods
    world.pods[arn] = evolve(world.pods[arn], phase=Phase.ENDED, start_error="CannotPullContainerError: none")
    world.observe([world.pods[arn].seen()])
    assert world.state.tasks[arn].stopped_reason == "CannotPullContainerError: none"
    assert "failed to launch a task with (error CannotPullContainerError: none)." in world.messages()
