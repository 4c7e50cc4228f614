"""Properties of a service: in a world that loses, delays and repeats, and in a perfect one."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from engine import commands
from engine.decision import Tick
from engine.errors import AwsError
from engine.lifecycle import RolloutState
from engine.observation import TaskObservation
from tests.engine.make import CHECK, container, definition
from tests.engine.world import World

percents = st.sampled_from([(0, 100), (0, 200), (50, 100), (50, 150), (100, 150), (100, 200), (75, 125)])


def configured(bounds: tuple[int, int], **members: Any) -> commands.DeploymentConfigurationChange:
    return commands.DeploymentConfigurationChange(
        minimum_healthy_percent=bounds[0], maximum_percent=bounds[1], **members
    )


class ServiceMachine(RuleBasedStateMachine):
    """`World.check` holds the invariants after each turn."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.revision = 1
        self.old: list[TaskObservation] = []

    @initialize(desired=st.integers(0, 6), bounds=percents, checked=st.booleans())
    def create(self, desired: int, bounds: tuple[int, int], checked: bool) -> None:
        self.check = CHECK if checked else None
        self.world.create(self.make(), desired, deployment_configuration=configured(bounds))

    def make(self) -> Any:
        return definition(container(health_check=self.check), revision=self.revision)

    @rule(count=st.integers(1, 3))
    def effects_reach_the_world(self, count: int) -> None:
        self.world.carry_out(count)

    @rule(data=st.data())
    @precondition(lambda self: self.world.pods)
    def a_pod_moves(self, data: st.DataObject) -> None:
        self.world.move(data.draw(st.sampled_from(sorted(self.world.pods))))

    @rule()
    @precondition(lambda self: self.world.pods)
    def every_pod_moves(self) -> None:
        for arn in self.world.pods:
            self.world.move(arn)

    @rule(data=st.data())
    @precondition(lambda self: self.world.pods)
    def a_pod_crashes(self, data: st.DataObject) -> None:
        self.world.crash(data.draw(st.sampled_from(sorted(self.world.pods))))

    @rule(data=st.data())
    @precondition(lambda self: self.world.pods)
    def a_pod_vanishes(self, data: st.DataObject) -> None:
        del self.world.pods[data.draw(st.sampled_from(sorted(self.world.pods)))]

    @rule(data=st.data(), ready=st.booleans())
    @precondition(lambda self: self.world.pods)
    def a_health_check_turns(self, data: st.DataObject, ready: bool) -> None:
        arn = data.draw(st.sampled_from(sorted(self.world.pods)))
        self.world.pods[arn] = evolve(self.world.pods[arn], ready=ready)

    @rule(data=st.data())
    @precondition(lambda self: self.world.pods)
    def something_is_seen(self, data: st.DataObject) -> None:
        pod = self.world.pods[data.draw(st.sampled_from(sorted(self.world.pods)))]
        self.old.append(pod.seen())
        self.world.observe([pod.seen()])

    @rule()
    def everything_is_seen(self) -> None:
        self.old.extend(pod.seen() for pod in self.world.pods.values())
        self.world.observe([pod.seen() for pod in self.world.pods.values()])

    @rule(data=st.data())
    @precondition(lambda self: self.old)
    def something_old_is_seen_again(self, data: st.DataObject) -> None:
        self.world.observe([data.draw(st.sampled_from(self.old))])

    @rule()
    def a_complete_listing_arrives(self) -> None:
        self.world.list_all()

    @rule(seconds=st.sampled_from([0.1, 1, 3, 45, 4000]))
    def time_passes(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule()
    def a_tick_comes_for_nothing(self) -> None:
        self.world.send(Tick())

    @rule(desired=st.none() | st.integers(0, 6), force=st.booleans(), new=st.booleans(), bounds=st.none() | percents)
    def update(self, desired: int | None, force: bool, new: bool, bounds: tuple[int, int] | None) -> None:
        self.revision += new
        change = configured(bounds) if bounds else None
        command = commands.UpdateService(
            desired_count=desired,
            force_new_deployment=force,
            task_definition=self.make() if new else None,
            deployment_configuration=change,
        )
        self.world.send(command)

    @rule(data=st.data())
    @precondition(lambda self: self.world.tasks)
    def stop_a_task(self, data: st.DataObject) -> None:
        task = data.draw(st.sampled_from(self.world.tasks))
        self.world.send(commands.StopTask(task.task_arn))

    @rule()
    def a_command_is_refused(self) -> None:
        before = self.world.state
        try:
            self.world.send(commands.StopTask("arn:aws:ecs:us-east-1:000000000000:task/default/none"))
        except AwsError:
            assert self.world.state is before

    @rule()
    def the_control_plane_is_killed(self) -> None:
        self.world.restart()

    def teardown(self) -> None:
        """From wherever it is, a perfect world brings the service to rest."""
        if self.world.state.service is None:
            return
        bounds = self.world.service.deployment_configuration
        if (bounds.minimum_healthy_percent, bounds.maximum_percent) in ((100, 150), (75, 125), (50, 100), (50, 150)):
            wide = configured((0, 200))  # with few tasks, narrow bounds may rightly allow no step
            self.world.send(commands.UpdateService(deployment_configuration=wide))
        for arn, pod in self.world.pods.items():
            self.world.pods[arn] = evolve(pod, ready=True)
        self.world.list_all()
        self.world.settle()
        self.world.list_all()  # releases what is left of tasks that were lost and came back
        self.world.settle()
        assert_at_rest(self.world)


def assert_at_rest(world: World) -> None:
    primary = world.service.primary
    assert primary is not None
    assert primary.rollout_state is RolloutState.COMPLETED
    assert len(world.service.deployments) == 1
    assert [task.deployment_id for task in world.up] == [primary.id] * world.service.desired_count
    assert world.messages()[-1] == "has reached a steady state."
    before = world.state
    world.list_all()
    world.send(Tick())
    assert not world.effects
    assert world.state == before


TestServiceMachine = ServiceMachine.TestCase


@given(st.integers(0, 7), percents, st.integers(0, 7), st.booleans())
@settings(max_examples=40)
def test_a_perfect_world_takes_a_new_revision_within_the_percents(
    desired: int, bounds: tuple[int, int], rescaled: int, checked: bool
) -> None:
    check = CHECK if checked else None
    first, second = (definition(container(health_check=check), revision=number) for number in (1, 2))
    world = World().create(first, desired, deployment_configuration=configured(bounds))
    world.settle()
    world.send(commands.UpdateService(task_definition=second))
    lowest = -(-desired * bounds[0] // 100)
    most = desired * bounds[1] // 100
    if desired and lowest == most:
        world.send(commands.UpdateService(deployment_configuration=configured((0, 200))))
        lowest, most = 0, desired * 2
    for _ in range(60):
        world.round()
        assert lowest <= len(world.up) <= most
        world.pass_time(3)
    assert_at_rest(world)
    world.send(commands.UpdateService(desired_count=rescaled))
    world.settle()
    assert_at_rest(world)
