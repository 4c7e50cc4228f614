"""Registering, deregistering and deleting task definitions."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from engine import commands
from engine.arn import Scope
from engine.container_definition import (
    ContainerDefinition,
    ContainerDependency,
    HealthCheck,
    MountPoint,
    PortMapping,
    Secret,
)
from engine.decision import Forget, Tick, WakeAt
from engine.errors import AwsError
from engine.tags import Tag
from engine.task_definition import TaskDefinition, TaskDefinitionsState
from engine.task_definition_turn import decide, reference
from engine.volume import HostVolumeProperties, Volume
from tests.engine.make import NOW, SCOPE, after, container, definition, registering

FARGATE: dict[str, Any] = {
    "network_mode": "awsvpc", "requires_compatibilities": ("FARGATE",), "cpu": "256", "memory": "512",
}  # fmt: skip


def refused(*containers: ContainerDefinition, **members: Any) -> str:
    with pytest.raises(AwsError) as caught:
        definition(*containers, **members)
    return str(caught.value)


def depends(name: str, condition: str = "START") -> dict[str, Any]:
    return {"depends_on": (ContainerDependency(name, condition),), "essential": True}


@pytest.mark.parametrize(
    ("containers", "members", "words"),
    [
        ((), {"family": ""}, "Family should not be null or empty."),
        ((), {"family": "a b"}, "Family contains invalid characters."),
        ((), {"family": "a" * 256}, "Family contains invalid characters."),
        ((), {"container_definitions": ()}, "Container list cannot be empty."),
        ((container(links=("db:store",)),), {}, "Unknown container 'db' in links."),
        (
            (container(links=("db",)), container("db")),
            {"network_mode": "awsvpc"},
            "Links are not supported when networkMode=awsvpc.",
        ),
        ((container(""),), {}, "Container.name should not be null or empty."),
        ((container("a/b"),), {}, "Container name contains invalid characters."),
        ((container(image=""),), {}, "Container.image should not be null or empty."),
        ((container(), container()), {}, "Duplicate container name: 'web'"),
        ((container(essential=False),), {}, "at least one essential container"),
        (
            (container(memory=None),),
            {},
            "Invalid setting for container 'web'. At least one of 'memory' or 'memoryReservation' must be specified.",
        ),
        ((container(memory=8, memory_reservation=9),), {}, "'memoryReservation' must not be greater than 'memory'"),
        ((container(memory=1),), {}, "'memory' must be at least 4"),
        ((container(memory=600),), {"memory": "512"}, "exceeds the memory of the task"),
        ((container(),), {"cpu": "much"}, "Invalid 'cpu' setting for task."),
        ((container(port_mappings=(PortMapping(70000),)),), {}, "Invalid port"),
        ((container(port_mappings=(PortMapping(),)),), {}, "'containerPort' or 'containerPortRange'"),
        ((container(port_mappings=(PortMapping(80, 81),)),), {"network_mode": "awsvpc"}, "must match"),
        ((container(port_mappings=(PortMapping(80, 81),)),), {"network_mode": "host"}, "must match"),
        ((container(port_mappings=(PortMapping(1, 80), PortMapping(2, 80))),), {}, "The same host port 80"),
        ((container(**depends("nobody")),), {}, "Unknown container 'nobody'"),
        ((container(**depends("b")), container("b", **depends("web"))), {}, "Circular dependency"),
        ((container(**depends("b", "HEALTHY")), container("b")), {}, "has no health check"),
        ((container(**depends("b", "SUCCESS")), container("b")), {}, "cannot be set on an essential container"),
        ((container(health_check=HealthCheck(("x",), interval=4)),), {}, "interval must be between 5 and 300"),
        ((container(health_check=HealthCheck(("x",), start_period=301)),), {}, "startPeriod must be between"),
        ((container(health_check=HealthCheck(())),), {}, "the command is empty"),
        ((container(mount_points=(MountPoint("data"),)),), {}, "Unknown volume 'data'."),
        ((), FARGATE | {"network_mode": "bridge"}, "Fargate only supports network mode 'awsvpc'."),
        ((), FARGATE | {"cpu": None}, "Fargate requires that 'cpu' be defined at the task level."),
        ((), FARGATE | {"memory": "4096"}, "No Fargate configuration exists for given values"),
        ((container(stop_timeout=121),), FARGATE, "2 to 120 seconds"),
        ((container(privileged=True),), FARGATE, "privileged"),
        ((), {"tags": (Tag("a"), Tag("a"))}, "Duplicate tag keys"),
        ((), {"tags": (Tag("aws:a"),)}, "reserved"),
    ],
)
def test_what_registering_refuses(containers: tuple[Any, ...], members: dict[str, Any], words: str) -> None:
    assert words in refused(*containers, **members)


def test_what_is_read_back_has_defaults() -> None:
    made = definition(container(port_mappings=(PortMapping(80),), health_check=HealthCheck(("CMD", "true"))))
    [one] = made.container_definitions
    assert one.port_mappings == (PortMapping(80, 0, "tcp"),)
    assert one.health_check == HealthCheck(("CMD", "true"), interval=30, timeout=5, retries=3)
    assert (one.cpu, one.essential, one.environment, one.mount_points) == (0, True, (), ())
    assert made.compatibilities == ("EXTERNAL", "EC2")
    assert (made.network_mode, made.status, made.revision, made.registered_at) == (None, "ACTIVE", 1, NOW)


@pytest.mark.parametrize("mode", ["awsvpc", "host"])
def test_the_host_port_is_filled_where_it_is_the_container_s(mode: str) -> None:
    [one] = definition(container(port_mappings=(PortMapping(80),)), network_mode=mode).container_definitions
    assert one.port_mappings[0].host_port == 80


def test_a_fargate_task_definition_is_compatible_with_both() -> None:
    assert definition(**FARGATE).compatibilities == ("EC2", "FARGATE")


@pytest.mark.parametrize(("given", "kept"), [("1 vCPU", "1024"), (".25 vcpu", "256"), ("512", "512")])
def test_a_task_s_cpu_is_kept_as_units(given: str, kept: str) -> None:
    assert definition(cpu=given).cpu == kept


def test_a_volume_without_a_kind_is_an_empty_directory() -> None:
    assert definition(volumes=(Volume("data"),)).volumes == (Volume("data", host=HostVolumeProperties()),)


def test_required_attributes_name_what_is_used() -> None:
    made = definition(container(secrets=(Secret("A", "arn:aws:ssm:us-east-1:0:parameter/a"),)), **FARGATE)
    names = [attribute.name for attribute in made.requires_attributes or ()]
    assert "ecs.capability.task-eni" in names
    assert "ecs.capability.secrets.ssm.environment-variables" in names
    assert len(set(names)) == len(names)


def register(state: TaskDefinitionsState, **members: Any) -> tuple[TaskDefinitionsState, TaskDefinition]:
    decision = decide(state, registering(**members), NOW)
    assert isinstance(decision.reply, TaskDefinition)
    assert decision.reply in decision.records
    return decision.state, decision.reply


def test_revisions_count_up_and_are_never_used_again() -> None:
    state, first = register(TaskDefinitionsState())
    state, second = register(state)
    assert (first.revision, second.revision) == (1, 2)
    state = decide(state, commands.DeregisterTaskDefinition(SCOPE, "web:2"), NOW).state
    decision = decide(state, commands.DeleteTaskDefinitions(SCOPE, ("web:2",)), NOW)
    assert decision.effects == (WakeAt(after(3600)),)
    decision = decide(decision.state, Tick(), after(3600))
    assert decision.records == (Forget(second.arn),)
    _, third = register(decision.state)
    assert third.revision == 3


def test_families_of_two_regions_are_two() -> None:
    elsewhere = Scope(region="eu-west-1")
    state, here = register(TaskDefinitionsState())
    decision = decide(TaskDefinitionsState(), registering(scope=elsewhere), NOW)
    assert {record.arn for record in decision.records}.isdisjoint({here.arn, state.families["web"].arn})


def test_deregistering_twice_is_refused() -> None:
    state, _ = register(TaskDefinitionsState())
    decision = decide(state, commands.DeregisterTaskDefinition(SCOPE, "web:1"), after(1))
    assert isinstance(decision.reply, TaskDefinition)
    assert (decision.reply.status, decision.reply.deregistered_at) == ("INACTIVE", after(1))
    for name in ("web:1", "web", "web:9", "other:1"):
        with pytest.raises(AwsError):
            decide(decision.state, commands.DeregisterTaskDefinition(SCOPE, name), NOW)


def test_only_inactive_revisions_are_deleted() -> None:
    state, _ = register(TaskDefinitionsState())
    reply = decide(state, commands.DeleteTaskDefinitions(SCOPE, ("web:1", "none:1")), NOW).reply
    assert isinstance(reply, commands.DeleteTaskDefinitionsResult)
    assert [failure.reason for failure in reply.failures] == [
        "The specified task definition is still in ACTIVE status. Please deregister the target and try again.",
        "The specified task definition does not exist. Specify a valid account, family, revision and try again.",
    ]


def test_a_revision_in_use_stays_in_deletion() -> None:
    state, made = register(TaskDefinitionsState())
    state = decide(state, commands.DeregisterTaskDefinition(SCOPE, "web:1"), NOW).state
    decision = decide(state, commands.DeleteTaskDefinitions(SCOPE, ("web:1",), frozenset({made.arn})), NOW)
    assert decision.effects == ()
    [kept] = decision.records
    assert isinstance(kept, TaskDefinition)
    assert kept.status == "DELETE_IN_PROGRESS"
    assert decide(decision.state, Tick(), after(99_999)).records == ()


def test_tags_of_a_task_definition_change() -> None:
    state, made = register(TaskDefinitionsState(), tags=(Tag("a", "1"),))
    decision = decide(state, commands.TagResource(made.arn, (Tag("a", "2"), Tag("b"))), NOW)
    assert decision.records == (evolve(made, tags=(Tag("a", "2"), Tag("b"))),)
    decision = decide(decision.state, commands.UntagResource(made.arn, ("a", "none")), NOW)
    assert decision.records == (evolve(made, tags=(Tag("b"),)),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("web", ("web", None)), ("web:3", ("web", 3)), (SCOPE.task_definition_arn("web", 3), ("web", 3))],
)
def test_a_reference_is_a_family_a_revision_or_an_arn(text: str, expected: tuple[str, int | None]) -> None:
    assert reference(text, SCOPE) == expected


@given(st.text(max_size=20))
def test_a_reference_is_understood_or_refused(text: str) -> None:
    for each in (text, f"web:{text}", f"arn:aws:ecs:us-east-1:000000000000:task-definition/{text}"):
        try:
            family, revision = reference(each, SCOPE)
        except AwsError:
            continue
        assert revision is None or revision > 0
        assert isinstance(family, str)
