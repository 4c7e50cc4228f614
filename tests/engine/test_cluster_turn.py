"""Clusters, and tasks of no service."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from engine import commands
from engine.cluster import CapacityProviderStrategyItem, Cluster, ClusterSetting, ClusterState
from engine.cluster_turn import decide, restore
from engine.commands import RunTask, RunTaskResult
from engine.decision import Forget, RemoveCluster, StartRefused, StartTask, StopTask, TasksObserved, Tick, WakeAt
from engine.errors import AwsError
from engine.network import AwsVpcConfiguration, NetworkConfiguration
from engine.observation import Phase, TaskObservation
from engine.overrides import ContainerOverride, TaskOverride
from engine.tags import Tag
from engine.task import Task
from engine.task_definition import TaskDefinitionStatus
from tests.engine.make import NOW, SCOPE, after, cluster_state, container, definition, ended, of_type, running, seen


def creating(**members: Any) -> commands.CreateCluster:
    return commands.CreateCluster(scope=SCOPE, id_seed="seed", **members)


def run(state: ClusterState, when: float = 0, **members: Any) -> tuple[ClusterState, tuple[Task, ...]]:
    decision = decide(state, RunTask(members.pop("task_definition", definition()), **members), after(when))
    assert isinstance(decision.reply, RunTaskResult)
    return decision.state, decision.reply.tasks


def refused(state: ClusterState, command: Any) -> AwsError:
    with pytest.raises(AwsError) as caught:
        decide(state, command, NOW)
    return caught.value


def test_creating_a_cluster_again_returns_the_one_that_exists() -> None:
    first = decide(ClusterState(), creating(tags=(Tag("a", "1"),)), NOW)
    assert isinstance(first.reply, Cluster)
    assert (first.reply.cluster_name, first.reply.status) == ("default", "ACTIVE")
    assert first.reply.settings == (ClusterSetting("containerInsights", "disabled"),)
    again = decide(first.state, creating(), after(1))
    assert (again.reply, again.records) == (first.reply, ())


@pytest.mark.parametrize(
    "members",
    [
        {"cluster_name": ""},
        {"cluster_name": "a b"},
        {"capacity_providers": ("mine",)},
        {"default_capacity_provider_strategy": (CapacityProviderStrategyItem("FARGATE"),)},
        {"settings": (ClusterSetting("containerInsights", "maybe"),)},
    ],
)
def test_what_create_cluster_refuses(members: dict[str, Any]) -> None:
    assert refused(ClusterState(), creating(**members)).code == "InvalidParameterException"


def test_every_command_needs_an_active_cluster() -> None:
    for command in (commands.UpdateCluster(), commands.DeleteCluster(), RunTask(definition())):
        error = refused(ClusterState(), command)
        assert (error.code, error.message) == ("ClusterNotFoundException", "Cluster not found.")


def test_a_cluster_s_capacity_providers_and_settings_change() -> None:
    strategy = (CapacityProviderStrategyItem("FARGATE", 1),)
    state = decide(cluster_state(), commands.PutClusterCapacityProviders(("FARGATE",), strategy), NOW).state
    changed = decide(state, commands.UpdateClusterSettings((ClusterSetting("containerInsights", "enabled"),)), NOW)
    assert isinstance(changed.reply, Cluster)
    assert changed.reply.default_capacity_provider_strategy == strategy
    assert changed.reply.settings == (ClusterSetting("containerInsights", "enabled"),)


def test_a_cluster_with_services_or_tasks_is_not_deleted() -> None:
    state = cluster_state()
    assert refused(state, commands.DeleteCluster(active_services=1)).code == "ClusterContainsServicesException"
    assert refused(state, commands.DeleteCluster(service_tasks=1)).code == "ClusterContainsTasksException"
    state, _ = run(state)
    assert refused(state, commands.DeleteCluster()).code == "ClusterContainsTasksException"


def test_a_deleted_cluster_stays_describable_for_a_day_and_may_be_made_again() -> None:
    deleted = decide(cluster_state(), commands.DeleteCluster(), NOW)
    assert isinstance(deleted.reply, Cluster)
    assert deleted.reply.status == "INACTIVE"
    assert of_type(deleted.effects, RemoveCluster)
    assert refused(deleted.state, commands.DeleteCluster()).code == "ClusterNotFoundException"
    assert decide(deleted.state, creating(), NOW).state.cluster != deleted.state.cluster
    gone = decide(deleted.state, Tick(), after(86_400))
    assert gone.records == (Forget(deleted.reply.cluster_arn),)
    assert gone.state.cluster is None


def test_run_task_starts_tasks_with_ids_of_their_own() -> None:
    state, tasks = run(cluster_state(), count=3, started_by="me")
    state, more = run(state, count=3)
    assert len({task.task_arn for task in (*tasks, *more)}) == 6
    [one, *_] = tasks
    assert (one.group, one.started_by, one.last_status, one.launch_type) == ("family:web", "me", "PROVISIONING", "EC2")
    assert len(one.task_id) == 32
    assert one.overrides.container_overrides == (ContainerOverride(name="web"),)


@pytest.mark.parametrize(
    ("members", "code", "words"),
    [
        ({"count": 0}, "InvalidParameterException", "Count"),
        ({"count": 11}, "InvalidParameterException", "Count"),
        (
            {"task_definition": evolve(definition(), status=TaskDefinitionStatus.INACTIVE)},
            "ClientException",
            "TaskDefinition is inactive",
        ),
        ({"launch_type": "FARGATE"}, "InvalidParameterException", "does not support launch_type FARGATE"),
        ({"propagate_tags": "SERVICE"}, "InvalidParameterException", "propagateTags"),
        ({"client_token": "x" * 65}, "InvalidParameterException", "clientToken"),
        (
            {"task_definition": definition(network_mode="awsvpc")},
            "InvalidParameterException",
            "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
        ),
        (
            {"network_configuration": NetworkConfiguration(AwsVpcConfiguration(("subnet-1",)))},
            "InvalidParameterException",
            "Network Configuration is not valid for the given networkMode of this task definition.",
        ),
        (
            {"overrides": TaskOverride((ContainerOverride(name="other"),))},
            "InvalidParameterException",
            "is not a container in the TaskDefinition",
        ),
        (
            {"launch_type": "EC2", "capacity_provider_strategy": (CapacityProviderStrategyItem("FARGATE"),)},
            "InvalidParameterException",
            "both a launch type and capacity provider strategy",
        ),
        ({"volume_configurations": [{"name": "v"}]}, "UnsupportedFeatureException", "volumeConfigurations"),
    ],
)
def test_what_run_task_refuses(members: dict[str, Any], code: str, words: str) -> None:
    state = cluster_state()
    error = refused(state, RunTask(members.pop("task_definition", definition()), **members))
    assert error.code == code
    assert words in error.message


def test_a_client_token_starts_tasks_once() -> None:
    state, tasks = run(cluster_state(), count=2, client_token="t")
    again = decide(state, RunTask(definition(), count=2, client_token="t"), after(5))
    assert again.reply == RunTaskResult(tasks)
    assert (again.records, again.effects) == ((), ())
    error = refused(state, RunTask(definition(), count=1, client_token="t"))
    assert (error.code, error.resource_ids) == ("ConflictException", tuple(task.task_arn for task in tasks))
    restored = restore(state.cluster, state.tasks.values())
    assert refused(restored, RunTask(definition(), count=1, client_token="t")).code == "ConflictException"


def test_tags_of_a_task_are_its_own_then_the_propagated_ones() -> None:
    made = definition(tags=(Tag("a", "definition"), Tag("b", "definition")))
    _, [task] = run(
        cluster_state(), task_definition=made, tags=(Tag("a", "own"),), propagate_tags="TASK_DEFINITION",
        enable_ecs_managed_tags=True,
    )  # fmt: skip
    assert {tag.key: tag.value for tag in task.tags} == {
        "a": "own",
        "b": "definition",
        "aws:ecs:clusterName": "default",
    }


def test_a_default_strategy_decides_where_tasks_run() -> None:
    strategy = (CapacityProviderStrategyItem("FARGATE_SPOT", 1),)
    state = cluster_state(capacity_providers=("FARGATE_SPOT",), default_capacity_provider_strategy=strategy)
    made = definition(network_mode="awsvpc", cpu="256", memory="512")
    vpc = NetworkConfiguration(AwsVpcConfiguration(("subnet-1",)))
    _, [task] = run(state, task_definition=made, network_configuration=vpc)
    assert (task.launch_type, task.capacity_provider_name) == ("FARGATE", "FARGATE_SPOT")


def test_stop_task_asks_for_the_end_once() -> None:
    state, [task] = run(cluster_state(), task_definition=definition(container(stop_timeout=3)))
    decision = decide(state, commands.StopTask(task.task_arn, "enough"), NOW)
    assert decision.effects == (StopTask(task.task_arn, 3, "enough"),)
    assert isinstance(decision.reply, Task)
    assert (decision.reply.desired_status, decision.reply.stop_code) == ("STOPPED", "UserInitiated")
    again = decide(decision.state, commands.StopTask(task.task_arn), NOW)
    assert (again.effects, again.records, again.reply) == ((), (), decision.reply)
    error = refused(state, commands.StopTask(task.task_arn + "0"))
    assert (error.code, error.message) == ("InvalidParameterException", "The referenced task was not found.")


def test_a_task_runs_ends_is_remembered_and_forgotten() -> None:
    state, [task] = run(cluster_state(), task_definition=definition(), client_token="t")
    state = decide(state, TasksObserved((seen(task, Phase.RUNNING, running()),)), after(1)).state
    decision = decide(state, TasksObserved((seen(task, Phase.ENDED, ended(exit_code=3)),)), after(2))
    [record] = decision.records
    assert isinstance(record, Task)
    assert (record.last_status, record.containers[0].exit_code) == ("STOPPED", 3)
    [wake] = of_type(decision.effects, WakeAt)
    gone = decide(decision.state, Tick(), wake.when)
    assert gone.records == (Forget(task.task_arn),)
    assert not gone.state.client_tokens
    assert not gone.state.task_definitions


def test_after_a_complete_listing_what_was_never_seen_is_asked_for_again_and_what_was_is_lost() -> None:
    state, [unseen] = run(cluster_state())
    state, [known] = run(state, 1)
    state = decide(state, TasksObserved((seen(known, Phase.RUNNING, running()),)), after(2)).state
    early = decide(state, TasksObserved((), complete=True, taken_at=after(-1)), after(3))
    assert not early.records
    decision = decide(state, TasksObserved((), complete=True, taken_at=after(3)), after(4))
    [asked] = of_type(decision.effects, StartTask)
    assert asked.task.task_arn == unseen.task_arn
    assert decision.state.tasks[known.task_arn].stop_code == "TerminationNotice"


def test_a_refused_start_stops_the_task() -> None:
    state, [task] = run(cluster_state())
    decision = decide(state, StartRefused(task.task_arn, "no"), NOW)
    assert decision.state.tasks[task.task_arn].stop_code == "TaskFailedToStart"


def test_what_has_no_record_is_ended() -> None:
    arn = SCOPE.task_arn("default", "f" * 32)
    decision = decide(cluster_state(), TasksObserved((TaskObservation(arn, Phase.RUNNING),)), NOW)
    assert [type(effect) for effect in decision.effects] == [StopTask]


def test_tags_of_clusters_and_tasks_change() -> None:
    state, [task] = run(cluster_state())
    assert state.cluster is not None
    for arn in (state.cluster.cluster_arn, task.task_arn):
        decision = decide(state, commands.TagResource(arn, (Tag("a", "1"),)), NOW)
        [record] = decision.records
        assert record.tags == (Tag("a", "1"),)  # type: ignore[union-attr]  # a Cluster or a Task
        [record] = decide(decision.state, commands.UntagResource(arn, ("a",)), NOW).records
        assert record.tags == ()  # type: ignore[union-attr]  # likewise


phases = st.sampled_from([Phase.ACCEPTED, Phase.PLACED, Phase.RUNNING, Phase.ENDED, Phase.GONE])


@given(st.lists(st.tuples(st.integers(0, 3), phases, st.booleans(), st.sampled_from([0, 1, 4000])), max_size=25))
def test_records_tell_all_that_changes(steps: list[tuple[int, Phase, bool, int]]) -> None:
    state, _ = run(cluster_state(), count=4, client_token="t")
    records: dict[str, Any] = dict(state.tasks.items())
    arns, seconds = sorted(records), 0.0
    for which, phase, complete, waits in steps:
        seconds += 1 + waits
        containers = {Phase.RUNNING: (running(),), Phase.ENDED: (ended(),)}.get(phase, ())
        observed = TasksObserved((seen(arns[which], phase, *containers),), complete, after(seconds - 0.5))
        for message in (observed, Tick()):
            decision = decide(state, message, after(seconds))
            for record in decision.records:
                if isinstance(record, Forget):
                    del records[record.arn]
                else:
                    assert records.get(record.arn) != record
                    records[record.arn] = record
            state = decision.state
            assert dict(state.tasks.items()) == records
            restored = restore(state.cluster, records.values(), state.task_definitions.values())
            assert restored.tasks == state.tasks
            assert restored.client_tokens == state.client_tokens


def test_a_turn_does_not_cost_what_the_cluster_has() -> None:
    def cost(state: ClusterState) -> float:
        def once() -> float:
            start = perf_counter()
            after_run, [task] = run(state, 3, client_token="x")
            decide(after_run, TasksObserved((seen(task, Phase.RUNNING, running()),)), after(4))
            return perf_counter() - start

        return min(once() for _ in range(20))

    few = many = cluster_state()
    for number in range(400):
        many, _ = run(many, number / 1000, count=10, client_token=str(number))
    assert cost(many) < 20 * cost(few)  # a hundred times more were it linear
