"""What is seen of a task becomes its status."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from engine.container_definition import PortMapping
from engine.decision import ReleaseTask, StopTask, WakeAt
from engine.launch import Belonging, Launch, new_task
from engine.lifecycle import DesiredStatus, HealthStatus, StopCode, TaskStatus, is_before
from engine.network import AwsVpcConfiguration, NetworkConfiguration
from engine.observation import ContainerObservation, Phase, TaskObservation
from engine.progress import lose, may_be_forgotten, observe, pass_time, refuse_start, request_stop
from engine.task import Task
from engine.task_definition import TaskDefinition
from tests.engine.make import CHECK, NOW, after, cluster, container, definition, ended, of_type, running, seen

VPC = NetworkConfiguration(AwsVpcConfiguration(subnets=("subnet-1",)))


def task_of(made: TaskDefinition, **launch: Any) -> Task:
    return new_task(made, cluster().cluster_arn, "0" * 32, Launch(**launch), Belonging("family:web"), NOW)


@pytest.fixture
def task() -> Task:
    return task_of(definition())


def test_a_task_rises_with_what_is_seen_and_notes_when(task: Task) -> None:
    task, _ = observe(task, seen(task, Phase.ACCEPTED, ip=None), after(1))
    assert task.last_status is TaskStatus.PROVISIONING
    task, _ = observe(task, seen(task, Phase.PLACED, ip=None), after(2))
    assert (task.last_status, task.pull_started_at, task.connectivity) == ("PENDING", after(2), "CONNECTED")
    task, _ = observe(task, seen(task, Phase.RUNNING, running(at=after(3))), after(4))
    assert task.last_status is TaskStatus.RUNNING
    assert (task.pull_stopped_at, task.started_at) == (after(3), after(3))
    [one] = task.containers
    assert (one.last_status, one.runtime_id) == ("RUNNING", "r-1")


def test_a_task_waits_in_activating_until_every_container_has_started() -> None:
    task = task_of(definition(container(), container("log")))
    task, _ = observe(task, seen(task, Phase.RUNNING, running(), ContainerObservation("log")), NOW)
    assert task.last_status is TaskStatus.ACTIVATING
    task, _ = observe(task, seen(task, Phase.RUNNING, running(), running("log")), NOW)
    assert task.last_status is TaskStatus.RUNNING


def test_an_essential_container_that_exits_stops_the_task(task: Task) -> None:
    task, _ = observe(task, seen(task, Phase.RUNNING, running()), NOW)
    task, effects = observe(task, seen(task, Phase.ENDED, ended(exit_code=3, at=after(5))), after(6))
    assert (task.last_status, task.desired_status) == ("STOPPED", "STOPPED")
    assert (task.stop_code, task.stopped_reason) == ("EssentialContainerExited", "Essential container in task exited")
    assert (task.containers[0].exit_code, task.execution_stopped_at, task.stopped_at) == (3, after(5), after(6))
    assert effects == (ReleaseTask(task.task_arn),)


def test_the_times_of_a_stopped_task_are_in_order_though_the_world_tells_whole_seconds(task: Task) -> None:
    task, _ = observe(task, seen(task, Phase.RUNNING, running(at=NOW)), after(0.4))
    task, _ = request_stop(task, StopCode.USER_INITIATED, "bye")
    task, _ = observe(task, seen(task, Phase.RUNNING, running(at=NOW), stopping=True), after(0.6))
    task, _ = observe(task, seen(task, Phase.ENDED, ended(at=NOW), stopping=True), after(0.9))
    assert task.stopping_at == after(0.6)
    assert task.execution_stopped_at == after(0.6)
    assert task.stopped_at == after(0.9)


def test_a_container_that_ends_on_its_own_does_not_end_before_it_started(task: Task) -> None:
    task, _ = observe(task, seen(task, Phase.PLACED), after(0.4))
    task, _ = observe(task, seen(task, Phase.RUNNING, running(at=NOW)), after(0.4))
    task, _ = observe(task, seen(task, Phase.ENDED, ended(at=NOW)), after(0.9))
    assert (task.started_at, task.execution_stopped_at) == (after(0.4), after(0.4))


def test_execution_that_never_reached_running_does_not_stop_before_the_images_were_there() -> None:
    task = task_of(definition(container(), container("log")))
    task, _ = observe(task, seen(task, Phase.PLACED), after(0.2))
    task, _ = observe(task, seen(task, Phase.RUNNING, running(at=NOW)), after(0.4))
    task, _ = observe(
        task, seen(task, Phase.ENDED, ended(at=NOW), start_error="CannotStartContainerError: x"), after(2)
    )
    assert task.pull_stopped_at is not None
    assert task.execution_stopped_at == task.pull_stopped_at


def test_the_other_containers_are_stopped_when_an_essential_one_exits() -> None:
    task = task_of(definition(container(stop_timeout=7), container("log", stop_timeout=3)))
    task, effects = observe(task, seen(task, Phase.RUNNING, ended(), running("log")), NOW)
    assert task.last_status is TaskStatus.STOPPING
    assert [(effect.grace_s, effect.task_arn) for effect in of_type(effects, StopTask)] == [(7, task.task_arn)]


def test_a_container_that_is_not_essential_may_exit() -> None:
    task = task_of(definition(container(), container("init", essential=False)))
    task, effects = observe(task, seen(task, Phase.RUNNING, running(), ended("init", 1)), NOW)
    assert (task.last_status, task.desired_status, effects) == ("RUNNING", "RUNNING", ())
    assert task.containers[1].exit_code == 1


def test_a_short_life_is_seen_to_have_run(task: Task) -> None:
    task, _ = observe(task, seen(task, Phase.ENDED, ended(exit_code=0, at=after(1))), after(2))
    assert (task.last_status, task.started_at) == ("STOPPED", after(1))


def test_a_start_error_says_why_in_ecs_words(task: Task) -> None:
    error = "CannotPullContainerError: no such image"
    task, effects = observe(task, seen(task, Phase.PLACED, ContainerObservation("web"), start_error=error), NOW)
    assert (task.stop_code, task.stopped_reason) == ("TaskFailedToStart", error)
    assert of_type(effects, StopTask)
    task, _ = observe(task, seen(task, Phase.ENDED, start_error=error, stopping=True), after(1))
    assert (task.last_status, task.started_at, task.execution_stopped_at) == ("STOPPED", None, None)


def test_an_oom_kill_keeps_its_reason_and_exit_code(task: Task) -> None:
    reason = "OutOfMemoryError: Container killed due to memory usage"
    task, _ = observe(task, seen(task, Phase.ENDED, ended(exit_code=137, reason=reason)), NOW)
    assert (task.containers[0].reason, task.containers[0].exit_code) == (reason, 137)


def test_a_stopped_task_goes_down_through_stopping(task: Task) -> None:
    task, _ = observe(task, seen(task, Phase.RUNNING, running()), NOW)
    task, effects = request_stop(task, StopCode.USER_INITIATED, "because")
    assert (task.last_status, task.desired_status) == ("RUNNING", "STOPPED")
    assert effects == (StopTask(task.task_arn, 30, "because"),)
    task, effects = observe(task, seen(task, Phase.RUNNING, running(), stopping=True), after(1))
    assert (task.last_status, task.stopping_at, effects) == ("STOPPING", after(1), ())
    task, _ = observe(task, seen(task, Phase.ENDED, ended(exit_code=143, at=after(2)), stopping=True), after(2))
    assert (task.last_status, task.stop_code, task.stopped_reason) == ("STOPPED", "UserInitiated", "because")


def test_a_stop_that_was_lost_is_asked_for_again(task: Task) -> None:
    task, _ = observe(task, seen(task, Phase.RUNNING, running()), NOW)
    task, _ = request_stop(task, StopCode.USER_INITIATED, "because")
    _, effects = observe(task, seen(task, Phase.RUNNING, running()), NOW)
    assert of_type(effects, StopTask)


def test_the_first_reason_to_stop_stays(task: Task) -> None:
    task, _ = request_stop(task, StopCode.USER_INITIATED, "first")
    again, effects = request_stop(task, StopCode.SERVICE_SCHEDULER_INITIATED, "second")
    assert again is task
    assert effects == ()


def test_what_the_world_ended_says_so(task: Task) -> None:
    why = "The instance was stopped"
    task, _ = observe(task, seen(task, Phase.ENDED, ended(exit_code=137), ended_because=why), NOW)
    assert (task.stop_code, task.stopped_reason) == ("TerminationNotice", why)


def test_a_refused_task_failed_to_start(task: Task) -> None:
    task = refuse_start(task, "no room", after(1))
    assert (task.last_status, task.stop_code, task.stopped_reason) == ("STOPPED", "TaskFailedToStart", "no room")


def test_a_lost_task_has_no_exit_code(task: Task) -> None:
    task, _ = observe(task, seen(task, Phase.RUNNING, running()), NOW)
    task = lose(task, after(1))
    assert (task.last_status, task.stop_code, task.containers[0].exit_code) == ("STOPPED", "TerminationNotice", None)


def test_a_task_that_is_gone_keeps_the_exit_code_it_was_last_seen_with(task: Task) -> None:
    task, _ = observe(task, seen(task, Phase.RUNNING, running()), NOW)
    task, effects = observe(task, seen(task, Phase.GONE, ended(exit_code=9, at=after(1))), after(2))
    assert (task.last_status, task.stop_code, task.containers[0].exit_code) == (
        "STOPPED",
        "EssentialContainerExited",
        9,
    )
    assert effects == ()


def test_what_is_left_of_a_stopped_task_is_released_after_a_complete_listing(task: Task) -> None:
    task, _ = observe(task, seen(task, Phase.ENDED, ended()), NOW)
    assert observe(task, seen(task, Phase.ENDED, ended()), NOW) == (task, ())
    assert observe(task, seen(task, Phase.ENDED, ended()), NOW, complete=True) == (task, (ReleaseTask(task.task_arn),))


def test_a_stopped_task_that_still_runs_is_stopped_again(task: Task) -> None:
    task = lose(task, NOW)
    same, effects = observe(task, seen(task, Phase.RUNNING, running()), NOW)
    assert same is task
    assert of_type(effects, StopTask)


def test_health_comes_from_the_check_and_from_time() -> None:
    task = task_of(definition(container(health_check=CHECK)))
    task, effects = observe(task, seen(task, Phase.RUNNING, running(ready=False)), NOW)
    assert task.health_status is HealthStatus.UNKNOWN
    assert effects == (WakeAt(after(45)),)  # start period 20, two rounds of 10, and a timeout of 5
    assert pass_time(task, after(44)) is task
    assert pass_time(task, after(45)).health_status is HealthStatus.UNHEALTHY
    task, effects = observe(task, seen(task, Phase.RUNNING, running()), after(10))
    assert (task.health_status, effects) == ("HEALTHY", ())
    assert pass_time(task, after(99)) is task
    task, _ = observe(task, seen(task, Phase.RUNNING, running(ready=False)), after(20))
    assert task.health_status is HealthStatus.UNHEALTHY


def test_health_is_that_of_essential_containers() -> None:
    sidecar = container("log", essential=False, health_check=CHECK)
    task = task_of(definition(container(health_check=CHECK), sidecar))
    task, _ = observe(task, seen(task, Phase.RUNNING, running(), running("log", ready=False)), NOW)
    assert task.health_status is HealthStatus.HEALTHY


def test_an_awsvpc_task_shows_its_network_interface() -> None:
    made = definition(container(port_mappings=()), network_mode="awsvpc", cpu="256", memory="512")
    task = task_of(made, launch_type="FARGATE", platform_version="LATEST", network_configuration=VPC)
    [eni] = task.attachments
    assert (eni.status, eni.details[0].value, task.platform_version) == ("PRECREATED", "subnet-1", "1.4.0")
    task, _ = observe(task, seen(task, Phase.RUNNING, running()), NOW)
    details = {detail.name: detail.value for detail in task.attachments[0].details}
    assert task.attachments[0].status == "ATTACHED"
    assert details["privateIPv4Address"] == "10.0.0.7"
    assert str(details["networkInterfaceId"]).startswith("eni-")
    assert task.containers[0].network_interfaces[0].attachment_id == eni.id
    assert lose(task, NOW).attachments[0].status == "DELETED"


def test_a_bridge_task_shows_where_its_ports_are() -> None:
    task = task_of(definition(container(port_mappings=(PortMapping(container_port=8080),))))
    task, _ = observe(task, seen(task, Phase.RUNNING, running()), NOW)
    [binding] = task.containers[0].network_bindings
    assert (binding.bind_ip, binding.container_port, binding.host_port, binding.protocol) == (
        "10.0.0.7",
        8080,
        8080,
        "tcp",
    )
    assert task.containers[0].network_interfaces[0].private_ipv4_address == "10.0.0.7"


def test_a_stopped_task_is_remembered_for_an_hour(task: Task) -> None:
    task = lose(task, NOW)
    assert not may_be_forgotten(task, after(3599))
    assert may_be_forgotten(task, after(3600))


containers = st.builds(
    ContainerObservation,
    name=st.sampled_from(["web", "log", "other"]),
    running=st.booleans(),
    ready=st.booleans(),
    exit_code=st.sampled_from([None, 0, 1, 137]),
    started_at=st.sampled_from([None, NOW, after(3)]),
    finished_at=st.sampled_from([None, after(4)]),
)
observations = st.builds(
    TaskObservation,
    task_arn=st.just("arn"),
    phase=st.sampled_from(Phase),
    containers=st.lists(containers, max_size=3).map(tuple),
    ip=st.sampled_from([None, "10.0.0.1"]),
    start_error=st.sampled_from([None, None, "CannotPullContainerError: x"]),
    ended_because=st.sampled_from([None, None, "gone"]),
    stopping=st.booleans(),
)


@given(st.lists(observations | st.just("stop"), max_size=12))
def test_whatever_is_seen_a_task_never_goes_back_and_repeating_changes_nothing(walk: list[Any]) -> None:
    task = task_of(definition(container(health_check=CHECK), container("log", essential=False)))
    for number, step in enumerate(walk):
        now = after(number)
        if step == "stop":
            following, _ = request_stop(task, StopCode.USER_INITIATED, "")
        else:
            following, _ = observe(task, step, now)
            again, _ = observe(following, step, now)
            assert again == following
        assert not is_before(following.last_status, task.last_status)
        assert following.version >= task.version
        if following.last_status is not task.last_status:
            assert following.version > task.version
        if task.desired_status is DesiredStatus.STOPPED:
            assert following.desired_status is DesiredStatus.STOPPED
            assert (following.stop_code, following.stopped_reason) == (task.stop_code, task.stopped_reason)
        if following.last_status is TaskStatus.STOPPED:
            assert following.stop_code is not None
            assert following.stopped_at is not None
            assert following.desired_status is DesiredStatus.STOPPED
        times = [following.created_at, following.pull_started_at, following.pull_stopped_at, following.started_at]
        assert [when for when in times if when] == sorted(when for when in times if when)
        task = following
    assert evolve(task) == task
