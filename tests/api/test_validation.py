from __future__ import annotations

from typing import Any

import pytest

from api.ecs.shapes import classes
from api.protocol import json_protocol, model
from api.protocol.model import snake
from api.protocol.validation import Validation
from engine.cluster import ClusterSetting
from engine.commands import DeploymentConfigurationChange
from engine.container_definition import ContainerDefinition, KeyValuePair
from engine.errors import AwsError
from engine.tags import Tag

ECS = model.load("ecs")
VALIDATION = Validation(ECS, classes(ECS))


def read(operation: str, members: Any) -> dict[str, Any]:
    return VALIDATION.reader(operation)(members)


def refusal(operation: str, members: Any) -> AwsError:
    with pytest.raises(AwsError) as caught:
        read(operation, members)
    return caught.value


def test_members_are_read_into_the_engines_classes_by_snake_case_names() -> None:
    found = read("CreateCluster", {"clusterName": "a", "settings": [{"name": "containerInsights", "value": "enabled"}]})
    assert found == {"cluster_name": "a", "settings": (ClusterSetting("containerInsights", "enabled"),)}


def test_nested_shapes_are_read_whole() -> None:
    found = read(
        "RegisterTaskDefinition",
        {
            "family": "web",
            "containerDefinitions": [
                {"name": "app", "environment": [{"name": "A", "value": "b"}], "dockerLabels": {"x": "y"}}
            ],
        },
    )
    (container,) = found["container_definitions"]
    assert container == ContainerDefinition(name="app", environment=(KeyValuePair("A", "b"),), docker_labels={"x": "y"})


def test_a_partial_deployment_configuration_is_a_change() -> None:
    found = read("UpdateService", {"service": "web", "deploymentConfiguration": {"maximumPercent": 150}})
    assert found["deployment_configuration"] == DeploymentConfigurationChange(maximum_percent=150)


def test_unknown_members_and_null_are_ignored() -> None:
    assert read("ListClusters", {"nope": 1, "maxResults": None, "nextToken": "x"}) == {"next_token": "x"}


@pytest.mark.parametrize(
    ("operation", "members", "message"),
    [
        ("CreateCluster", {"clusterName": 1}, "NUMBER_VALUE cannot be converted to String"),
        ("CreateCluster", {"clusterName": True}, "TRUE_VALUE cannot be converted to String"),
        ("CreateCluster", {"clusterName": ["a"]}, "Start of list found where not expected"),
        ("CreateCluster", {"clusterName": {}}, "Start of structure or map found where not expected."),
        ("CreateCluster", {"tags": "a"}, "Unrecognized collection type class java.lang.String"),
        ("RunTask", {"taskDefinition": "x", "count": "3"}, "STRING_VALUE cannot be converted to Integer"),
        ("RunTask", {"taskDefinition": "x", "count": 2**40}, "NUMBER_VALUE cannot be converted to Integer"),
        ("RunTask", {"taskDefinition": "x", "count": 1.5}, "NUMBER_VALUE cannot be converted to Integer"),
        ("RunTask", {"taskDefinition": "x", "count": 1e300}, "NUMBER_VALUE cannot be converted to Integer"),
        (
            "RunTask",
            {"taskDefinition": "x", "enableExecuteCommand": "yes"},
            "STRING_VALUE cannot be converted to Boolean",
        ),
        ("ListClusters", [], "Start of list found where not expected"),
    ],
)
def test_a_wrong_type_is_a_serialization_exception(operation: str, members: Any, message: str) -> None:
    error = refusal(operation, members)
    assert (error.code, error.message) == ("SerializationException", message)


def test_an_integral_float_is_an_integer() -> None:
    assert read("RunTask", {"taskDefinition": "x", "count": 3.0})["count"] == 3


@pytest.mark.parametrize(
    ("operation", "members", "message"),
    [
        (
            "DescribeTasks",
            {},
            "1 validation error detected: Value null at 'tasks' failed to satisfy constraint: Member must not be null",
        ),
        (
            "CreateService",
            {"serviceName": "a", "launchType": "X"},
            "1 validation error detected: Value 'X' at 'launchType' failed to satisfy constraint: "
            "Member must satisfy enum value set: [EC2, FARGATE, EXTERNAL, MANAGED_INSTANCES]",
        ),
        (
            "TagResource",
            {"resourceArn": "a", "tags": [{"key": "k", "value": "v" * 257}]},
            f"1 validation error detected: Value '{'v' * 200}...' at 'tags.1.member.value' failed to satisfy "
            "constraint: Member must have length less than or equal to 256",
        ),
        (
            "CreateCluster",
            {"defaultCapacityProviderStrategy": [{"capacityProvider": "x", "weight": 1001}]},
            "1 validation error detected: Value '1001' at 'defaultCapacityProviderStrategy.1.member.weight' failed to "
            "satisfy constraint: Member must have value less than or equal to 1000",
        ),
    ],
)
def test_a_broken_constraint_is_worded_as_aws_does(operation: str, members: Any, message: str) -> None:
    error = refusal(operation, members)
    assert (error.code, error.message) == ("InvalidParameterException", message)


def test_several_violations_are_told_together() -> None:
    error = refusal("CreateService", {"launchType": "X", "schedulingStrategy": "Y"})
    assert error.message.startswith("3 validation errors detected: Value 'X' at 'launchType'")
    assert error.message.count("; ") == 2


def test_a_million_violations_make_a_short_message() -> None:
    error = refusal("DescribeTasks", {"tasks": [], "include": ["x"] * 100_000})
    assert len(error.message) < 5_000


@pytest.mark.parametrize("key", ["a b", "Ünï-code.1:/=+@", "名前", "x\u2003y"])
def test_tag_keys_may_be_letters_of_any_script_and_spaces(key: str) -> None:
    found = read("TagResource", {"resourceArn": "a", "tags": [{"key": key, "value": ""}]})
    assert found["tags"] == (Tag(key, ""),)


@pytest.mark.parametrize("key", ["a\tb", "a;b", "a\nb", "💥", "a#"])
def test_other_characters_in_tag_keys_are_refused(key: str) -> None:
    assert "regular expression" in refusal("TagResource", {"resourceArn": "a", "tags": [{"key": key}]}).message


@pytest.mark.parametrize(
    "body",
    [b"{", b"", b"NaN", b'{"a":NaN}', b"[" * 3000, b'"\\ud800"', b'"\xff"', b'{"a":1e999}', b"\xef\xbb\xbf{}"],
)
def test_a_body_that_is_not_json_is_a_serialization_exception(body: bytes) -> None:
    if body == b"":
        assert json_protocol.parse(body) == {}
        return
    with pytest.raises(AwsError) as caught:
        json_protocol.parse(body)
    assert caught.value.code == "SerializationException"


def test_u0000_is_refused_wherever_it_stands() -> None:
    for body in (b'{"a":{"b":["\\u0000"]}}', b'{"\\u0000":1}'):
        with pytest.raises(AwsError, match=r"U\+0000"):
            json_protocol.parse(body)
    assert json_protocol.parse(b'{"a":"\\\\u0000"}') == {"a": "\\u0000"}


def test_every_member_of_every_shape_that_is_read_has_a_field() -> None:
    """What a class has no field for is refused; the engine means to refuse by its own list only."""
    known = classes(ECS)
    missing = [
        (name, member)
        for name, cls in known.items()
        for member in ECS.shapes[name]["members"]
        if not hasattr(cls, snake(member)) and name in _read_shapes()
    ]
    assert missing == []


def _read_shapes() -> set[str]:
    from api.ecs.operations import READS, WRITES

    seen: set[str] = set()
    waiting = [ECS.input_shape(name) for name in [*READS, *WRITES]]
    known = classes(ECS)
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        shape = ECS.shapes[name]
        match shape["type"]:
            case "structure" if name in known or name.endswith("Request"):
                waiting.extend(member["shape"] for member in shape["members"].values())
            case "list":
                waiting.append(shape["member"]["shape"])
    return seen
