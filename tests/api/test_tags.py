from __future__ import annotations

from typing import Any

import pytest

from tests.api.examples import a_cluster, a_service, a_task, a_task_definition
from tests.api.oracle import Client, FaultError

TAGS = [{"key": "a", "value": "1"}, {"key": "b", "value": ""}]


@pytest.fixture
async def arns(call: Client) -> dict[str, str]:
    """One resource of each kind."""
    return {
        "cluster": await a_cluster(call),
        "task definition": await a_task_definition(call),
        "task": await a_task(call),
        "service": await a_service(call, count=0),
    }


@pytest.mark.parametrize("kind", ["cluster", "task definition", "task", "service"])
async def test_tags_are_added_replaced_and_removed(call: Client, arns: dict[str, str], kind: str) -> None:
    arn = arns[kind]
    assert await call("TagResource", resourceArn=arn, tags=TAGS) == {}
    assert (await call("ListTagsForResource", resourceArn=arn))["tags"] == TAGS
    await call("TagResource", resourceArn=arn, tags=[{"key": "a", "value": "2"}])
    await call("UntagResource", resourceArn=arn, tagKeys=["b", "never there"])
    assert (await call("ListTagsForResource", resourceArn=arn))["tags"] == [{"key": "a", "value": "2"}]


@pytest.mark.parametrize(
    ("arn", "code"),
    [
        ("nonsense", "InvalidParameterException"),
        ("arn:aws:ecs:eu-west-1:000000000000:cluster/default", "InvalidParameterException"),
        ("arn:aws:ecs:us-east-1:000000000000:cluster/nope", "ClusterNotFoundException"),
        ("arn:aws:ecs:us-east-1:000000000000:task/default/" + "0" * 32, "InvalidParameterException"),
        ("arn:aws:ecs:us-east-1:000000000000:service/default/nope", "InvalidParameterException"),
        ("arn:aws:ecs:us-east-1:000000000000:task-definition/nope:1", "InvalidParameterException"),
        ("arn:aws:ecs:us-east-1:000000000000:container-instance/default/x", "UnsupportedFeatureException"),
        ("arn:aws:ecs:us-east-1:000000000000:nonsense/x", "InvalidParameterException"),
    ],
)
@pytest.mark.parametrize("operation", ["TagResource", "UntagResource", "ListTagsForResource"])
async def test_what_has_no_tags_is_refused(
    call: Client, arns: dict[str, str], operation: str, arn: str, code: str
) -> None:
    given: dict[str, dict[str, Any]] = {"TagResource": {"tags": TAGS}, "UntagResource": {"tagKeys": ["a"]}}
    with pytest.raises(FaultError) as caught:
        await call(operation, resourceArn=arn, **given.get(operation, {}))
    assert caught.value.code == code


async def test_at_most_fifty_tags(call: Client, arns: dict[str, str]) -> None:
    many = [{"key": f"k{number}", "value": ""} for number in range(51)]
    with pytest.raises(FaultError) as caught:
        await call("TagResource", resourceArn=arns["cluster"], tags=many)
    assert caught.value.code == "InvalidParameterException"


async def test_a_deleted_cluster_has_no_tags_and_says_so_in_aws_words(call: Client) -> None:
    arn = await a_cluster(call)
    await call("DeleteCluster", cluster=arn)
    with pytest.raises(FaultError) as caught:
        await call("ListTagsForResource", resourceArn=arn)
    assert caught.value.code == "InvalidParameterException"
    assert "The specified cluster is inactive. Specify an active cluster and try again." in str(caught.value)
