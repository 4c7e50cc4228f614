"""Server-side apply: what a manager declares is there, what it no longer declares goes, what others hold stays."""

from __future__ import annotations

from typing import Any

import pytest

from k8s.client import JsonObject, KubeError
from k8s.embedded.apiserver.bodies import APPLY_PATCH
from k8s.embedded.apiserver.in_process import InProcessClient
from tests.k8s.embedded.apiserver.objects import CONFIG_MAPS, PODS, pod

Client = InProcessClient


async def _apply(client: Client, data: dict[str, str], manager: str = "one", **params: str) -> JsonObject:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data}
    params = {"fieldManager": manager, **params}
    return await client.request("PATCH", f"{CONFIG_MAPS}/m", params=params, body=body, content_type=APPLY_PATCH)


async def test_an_apply_creates_changes_and_removes(client: Client) -> None:
    created = await _apply(client, {"a": "1", "b": "2"})
    assert created["data"] == {"a": "1", "b": "2"}
    assert created["metadata"]["managedFields"][0]["manager"] == "one"
    assert created["metadata"]["managedFields"][0]["fieldsV1"] == {"f:data": {"f:a": {}, "f:b": {}}}
    assert (await _apply(client, {"a": "3", "c": "4"}))["data"] == {"a": "3", "c": "4"}


async def test_the_same_apply_twice_changes_nothing(client: Client) -> None:
    assert await _apply(client, {"a": "1"}) == await _apply(client, {"a": "1"})


async def test_fields_of_others_stay(client: Client) -> None:
    await _apply(client, {"a": "1"})
    await _apply(client, {"b": "2"}, "two")
    assert (await _apply(client, {}))["data"] == {"b": "2"}


async def test_two_managers_may_agree_but_not_differ(client: Client) -> None:
    await _apply(client, {"a": "1"})
    await _apply(client, {"a": "1"}, "two")
    with pytest.raises(KubeError) as conflict:
        await _apply(client, {"a": "2"}, "two")
    assert (conflict.value.status, conflict.value.reason) == (409, "Conflict")
    assert conflict.value.details["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.a"}
    ]
    forced = await _apply(client, {"a": "2"}, "two", force="true")
    assert forced["data"] == {"a": "2"}
    assert [entry["manager"] for entry in forced["metadata"]["managedFields"]] == ["two"]


async def test_items_of_keyed_lists_are_fields(client: Client) -> None:
    async def apply(manager: str, **labels: Any) -> JsonObject:
        params = {"fieldManager": manager}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", **labels}, "spec": {"containers": []}}
        body["spec"] = pod()["spec"]
        return await client.request("PATCH", f"{PODS}/web", params=params, body=body, content_type=APPLY_PATCH)

    first = await apply("one", finalizers=["a.b/c"], labels={"x": "1"})
    assert first["spec"]["containers"][0]["name"] == "main"
    second = await apply("one", labels={"y": "2"})
    assert "finalizers" not in second["metadata"]
    assert second["metadata"]["labels"] == {"y": "2"}
    assert second["spec"] == first["spec"]


async def test_an_apply_needs_a_manager(client: Client) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}}
    with pytest.raises(KubeError) as refused:
        await client.request("PATCH", f"{CONFIG_MAPS}/m", body=body, content_type=APPLY_PATCH)
    assert refused.value.status == 422
