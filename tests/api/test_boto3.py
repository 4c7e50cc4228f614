"""boto3, unmodified, over a real socket: pagers, waiters, errors, retries and its own signing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import boto3
import pytest
import trio
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.api.conftest import Instance
from tests.api.stub import front_port


@pytest.fixture
async def ecs(instance: Instance) -> AsyncIterator[Any]:
    async with front_port(instance.endpoint) as port:
        client = boto3.session.Session().client(
            "ecs",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name="eu-central-1",
            aws_access_key_id="123456789012",
            aws_secret_access_key="x",
            config=Config(retries={"max_attempts": 1}),
        )
        yield client
        client.close()


async def off_loop(work: Callable[[], Any]) -> Any:
    with trio.fail_after(30):
        return await trio.to_thread.run_sync(work)


async def test_a_session_from_cluster_to_stopped_task(ecs: Any) -> None:
    def session() -> dict[str, Any]:
        ecs.create_cluster(clusterName="default")
        ecs.register_task_definition(
            family="web", containerDefinitions=[{"name": "app", "image": "busybox", "memory": 16, "command": ["true"]}]
        )
        arn = ecs.run_task(taskDefinition="web")["tasks"][0]["taskArn"]
        ecs.get_waiter("tasks_running").wait(tasks=[arn], WaiterConfig={"Delay": 0.1, "MaxAttempts": 50})
        ecs.stop_task(task=arn)
        ecs.get_waiter("tasks_stopped").wait(tasks=[arn], WaiterConfig={"Delay": 0.1, "MaxAttempts": 50})
        found: dict[str, Any] = ecs.describe_tasks(tasks=[arn])["tasks"][0]
        return found

    task = await off_loop(session)
    assert task["taskArn"].startswith("arn:aws:ecs:eu-central-1:123456789012:task/default/")
    assert task["containers"][0]["exitCode"] == 143
    assert task["stoppedAt"].tzinfo is not None


async def test_pagers_walk_every_page(ecs: Any) -> None:
    def session() -> list[str]:
        for number in range(7):
            ecs.create_cluster(clusterName=f"c{number}")
        pages = ecs.get_paginator("list_clusters").paginate(PaginationConfig={"PageSize": 3})
        return [arn for page in pages for arn in page["clusterArns"]]

    assert len(await off_loop(session)) == 7


async def test_errors_have_their_own_classes(ecs: Any) -> None:
    def session() -> ClientError:
        with pytest.raises(ecs.exceptions.ClusterNotFoundException) as caught:
            ecs.list_tasks(cluster="nope")
        error: ClientError = caught.value
        return error

    response = (await off_loop(session)).response
    assert response["Error"]["Message"] == "Cluster not found."
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert len(response["ResponseMetadata"]["RequestId"]) == 36


@pytest.mark.parametrize(("service", "call"), [("sts", "get_caller_identity"), ("dynamodb", "list_tables")])
async def test_another_service_is_named_in_an_error_that_its_client_can_read(ecs: Any, service: str, call: str) -> None:
    def session() -> ClientError:
        client = boto3.session.Session().client(
            service,
            endpoint_url=ecs.meta.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id="x",
            aws_secret_access_key="x",
            config=Config(retries={"max_attempts": 1}),
        )
        with pytest.raises(ClientError) as caught:
            getattr(client, call)()
        client.close()
        error: ClientError = caught.value
        return error

    error = (await off_loop(session)).response["Error"]
    assert error["Code"] == "UnsupportedFeatureException"
    assert service in error["Message"].lower()
