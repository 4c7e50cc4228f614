from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from actors.registry import cluster_address
from api.admin.app import create_admin_app
from api.admin.readiness import Readiness
from tests.api.conftest import Instance
from tests.api.examples import a_cluster, a_service, a_task, a_task_definition
from tests.api.oracle import Client

if TYPE_CHECKING:
    from quart.typing import TestClientProtocol as AdminClient


@pytest.fixture
def readiness() -> Readiness:
    return Readiness(["state", "Kubernetes"])


@pytest.fixture
def admin(instance: Instance, readiness: Readiness) -> AdminClient:
    return create_admin_app(instance.control_plane, readiness, instance.endpoint.figures).test_client()


async def test_health_says_that_the_process_answers(admin: AdminClient) -> None:
    response = await admin.get("/health")
    assert (response.status_code, await response.get_json()) == (200, {"status": "ok"})


async def test_ready_is_503_and_names_what_is_awaited(admin: AdminClient, readiness: Readiness) -> None:
    response = await admin.get("/ready")
    assert (response.status_code, await response.get_json()) == (
        503,
        {"ready": False, "awaited": ["state", "Kubernetes"]},
    )
    for step in ("state", "Kubernetes", "never heard of"):
        readiness.reached(step)
    response = await admin.get("/ready")
    assert (response.status_code, await response.get_json()) == (200, {"ready": True, "awaited": []})


async def test_unknown_paths_are_404_in_json(admin: AdminClient) -> None:
    response = await admin.get("/nothing")
    assert (response.status_code, await response.get_json()) == (404, {"error": "Not Found"})


async def test_metrics_are_prometheus_text(admin: AdminClient, call: Client, instance: Instance) -> None:
    await a_cluster(call)
    await a_task_definition(call)
    await a_task(call, count=2)
    await instance.settle()
    response = await admin.get("/metrics")
    families = {family.name: family for family in text_string_to_metric_families(await response.get_data(as_text=True))}
    requests = {
        (sample.labels["operation"], sample.labels["code"]): sample.value
        for sample in families["kecs_requests"].samples
    }
    assert requests[("CreateCluster", "OK")] == 1
    assert {sample.labels["status"]: sample.value for sample in families["kecs_tasks"].samples} == {"RUNNING": 2}
    assert {sample.labels["kind"]: sample.value for sample in families["kecs_actors"].samples} == {
        "cluster": 1,
        "task-definitions": 1,
    }
    for name in ("kecs_request_seconds", "kecs_mailbox_messages", "kecs_actor_restarts", "process_cpu_seconds"):
        assert families[name].samples, name
    assert families["process_resident_memory_bytes"].samples[0].value > 1_000_000


async def test_the_inspector_shows_every_actor(admin: AdminClient, call: Client, instance: Instance) -> None:
    arn = await a_cluster(call)
    await a_task_definition(call)
    await a_service(call, count=1)
    await instance.settle()
    body = await (await admin.get("/debug/actors")).get_json()
    assert body["count"] == len(body["actors"]) == 3
    assert [one["address"] for one in body["actors"]] == sorted(one["address"] for one in body["actors"])
    address = str(cluster_address(arn))
    (shown,) = [one for one in body["actors"] if one["address"] == address]
    assert shown["kind"] == "cluster"
    assert shown["turns"] >= 1
    assert shown["restarts"] == shown["mailbox_depth"] == 0
    assert shown["last_messages"][0]["message"]
    assert datetime.fromisoformat(shown["last_messages"][0]["at"]).tzinfo in (UTC, datetime.now(UTC).tzinfo)
    one = await admin.get(f"/debug/actors/{address}")
    assert one.status_code == 200
    assert (await one.get_json())["address"] == address


@pytest.mark.parametrize("address", ["cluster/us-east-1/000000000000/nope", "nonsense", "a/b/c/d/e", "%00"])
async def test_nobody_at_an_address_is_404(admin: AdminClient, address: str) -> None:
    response = await admin.get(f"/debug/actors/{address}")
    assert response.status_code == 404
    assert "error" in await response.get_json()


async def test_the_inspector_shows_no_environment_and_no_secret(
    admin: AdminClient, call: Client, instance: Instance
) -> None:
    await a_cluster(call)
    container = {
        "name": "app",
        "image": "busybox",
        "memory": 64,
        "environment": [{"name": "PASSWORD", "value": "hunter2"}],
    }
    await a_task_definition(call, containerDefinitions=[container])
    await a_task(
        call, overrides={"containerOverrides": [{"name": "app", "environment": [{"name": "K", "value": "hunter3"}]}]}
    )
    await a_service(call, count=1)
    await instance.settle()
    body = await (await admin.get("/debug/actors")).get_data(as_text=False)
    assert isinstance(body, bytes)
    orjson.loads(body)
    assert b"hunter" not in body
