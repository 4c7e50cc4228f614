"""How objects go: grace periods, finalizers, owners, namespaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from k8s.client import JSON_PATCH, MERGE_PATCH, JsonObject, KubeError
from k8s.embedded.apiserver import ApiServer
from k8s.embedded.apiserver.in_process import InProcessClient
from tests.k8s.embedded.apiserver.objects import CONFIG_MAPS, FINALIZER, PODS, config_map, namespace, pod

Client = InProcessClient


async def _found(client: Client, path: str) -> JsonObject | None:
    try:
        return await client.request("GET", path)
    except KubeError as error:
        if error.status != 404:
            raise
        return None


async def _refused(client: Client, *args: Any, **kwargs: Any) -> KubeError:
    with pytest.raises(KubeError) as refused:
        await client.request(*args, **kwargs)
    return refused.value


async def _set_phase(client: Client, phase: str) -> None:
    change = {"status": {"phase": phase}}
    await client.request("PATCH", f"{PODS}/web/status", body=change, content_type=MERGE_PATCH)


async def test_a_pod_waits_for_its_node_to_end_it(client: Client) -> None:
    await client.request("POST", PODS, body=pod())
    marked = await client.request("DELETE", f"{PODS}/web")
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 30
    assert marked["metadata"]["deletionTimestamp"] > marked["metadata"]["creationTimestamp"]
    assert await _found(client, f"{PODS}/web") == marked
    gone = await client.request("DELETE", f"{PODS}/web", body={"gracePeriodSeconds": 0})
    assert gone["kind"] == "Pod"
    assert await _found(client, f"{PODS}/web") is None


async def test_a_grace_period_only_gets_shorter(client: Client) -> None:
    await client.request("POST", PODS, body=pod())
    first = await client.request("DELETE", f"{PODS}/web", params={"gracePeriodSeconds": "20"})
    assert first["metadata"]["deletionGracePeriodSeconds"] == 20
    assert await client.request("DELETE", f"{PODS}/web", params={"gracePeriodSeconds": "60"}) == first
    assert await client.request("DELETE", f"{PODS}/web") == first
    shorter = await client.request("DELETE", f"{PODS}/web", params={"gracePeriodSeconds": "5"})
    assert shorter["metadata"]["deletionGracePeriodSeconds"] == 5
    assert shorter["metadata"]["deletionTimestamp"] < first["metadata"]["deletionTimestamp"]


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
async def test_a_pod_that_has_ended_goes_at_once(client: Client, phase: str) -> None:
    await client.request("POST", PODS, body=pod())
    await _set_phase(client, phase)
    await client.request("DELETE", f"{PODS}/web")
    assert await _found(client, f"{PODS}/web") is None


async def test_a_pod_that_no_node_has_goes_at_once(tmp_path: Any) -> None:
    server = ApiServer.open(tmp_path / "other.db")
    client = server.client()
    await client.request("POST", PODS, body=pod())
    await client.request("DELETE", f"{PODS}/web")
    assert await _found(client, f"{PODS}/web") is None
    server.close()


@pytest.mark.parametrize("how", ["merge", "json", "put"])
async def test_a_pod_with_a_finalizer_goes_in_the_write_that_removes_it(client: Client, how: str) -> None:
    await client.request("POST", PODS, body=pod(finalizers=[FINALIZER]))
    await client.request("DELETE", f"{PODS}/web")
    held = await client.request("DELETE", f"{PODS}/web", body={"gracePeriodSeconds": 0})
    assert held["metadata"]["deletionGracePeriodSeconds"] == 0
    assert await client.request("DELETE", f"{PODS}/web", body={"gracePeriodSeconds": 0}) == held
    if how == "merge":
        body: Any = {"metadata": {"finalizers": None}}
        await client.request("PATCH", f"{PODS}/web", body=body, content_type=MERGE_PATCH)
    elif how == "json":
        body = [{"op": "remove", "path": "/metadata/finalizers/0"}]
        await client.request("PATCH", f"{PODS}/web", body=body, content_type=JSON_PATCH)
    else:
        held["metadata"]["finalizers"] = []
        await client.request("PUT", f"{PODS}/web", body=held)
    assert await _found(client, f"{PODS}/web") is None


async def test_a_pod_whose_grace_still_runs_stays_when_its_finalizer_goes(client: Client) -> None:
    await client.request("POST", PODS, body=pod(finalizers=[FINALIZER]))
    await client.request("DELETE", f"{PODS}/web")
    await client.request("PATCH", f"{PODS}/web", body={"metadata": {"finalizers": []}}, content_type=MERGE_PATCH)
    assert await _found(client, f"{PODS}/web") is not None
    await client.request("DELETE", f"{PODS}/web", params={"gracePeriodSeconds": "0"})
    assert await _found(client, f"{PODS}/web") is None


async def test_no_finalizer_is_added_to_what_is_being_deleted(client: Client) -> None:
    await client.request("POST", CONFIG_MAPS, body=config_map(finalizers=["a.b/c"]))
    marked = await client.request("DELETE", f"{CONFIG_MAPS}/settings")
    assert marked["metadata"]["deletionTimestamp"]
    change = {"metadata": {"finalizers": ["a.b/c", "a.b/d"]}}
    refused = await _refused(client, "PATCH", f"{CONFIG_MAPS}/settings", body=change, content_type=MERGE_PATCH)
    assert refused.status == 422
    assert "no new finalizers can be added" in refused.message


async def test_a_plain_object_goes_at_once_and_leaves_a_status(client: Client) -> None:
    created = await client.request("POST", CONFIG_MAPS, body=config_map())
    answer = await client.request("DELETE", f"{CONFIG_MAPS}/settings")
    assert (answer["kind"], answer["status"]) == ("Status", "Success")
    assert answer["details"] == {"name": "settings", "kind": "configmaps", "uid": created["metadata"]["uid"]}
    assert (await _refused(client, "DELETE", f"{CONFIG_MAPS}/settings")).status == 404


async def test_a_deletion_may_name_the_object_it_means(client: Client) -> None:
    created = await client.request("POST", CONFIG_MAPS, body=config_map())
    for wrong in ({"uid": "other"}, {"resourceVersion": "1"}):
        refused = await _refused(client, "DELETE", f"{CONFIG_MAPS}/settings", body={"preconditions": wrong})
        assert (refused.status, refused.reason) == (409, "Conflict")
        assert "Precondition failed" in refused.message
    right = {"uid": created["metadata"]["uid"], "resourceVersion": created["metadata"]["resourceVersion"]}
    await client.request("DELETE", f"{CONFIG_MAPS}/settings", body={"preconditions": right})


async def test_a_dry_run_deletes_nothing(client: Client) -> None:
    await client.request("POST", CONFIG_MAPS, body=config_map())
    await client.request("DELETE", f"{CONFIG_MAPS}/settings", params={"dryRun": "All"})
    assert await _found(client, f"{CONFIG_MAPS}/settings") is not None


async def test_a_collection_is_deleted_by_selector(client: Client) -> None:
    for name in ("a", "b", "c"):
        await client.request("POST", CONFIG_MAPS, body=config_map(name, labels={"keep": str(name == "b").lower()}))
    answer = await client.request("DELETE", CONFIG_MAPS, params={"labelSelector": "keep=false"})
    assert answer["kind"] == "ConfigMapList"
    assert [item["metadata"]["name"] for item in answer["items"]] == ["a", "c"]
    left = (await client.request("GET", CONFIG_MAPS))["items"]
    assert [item["metadata"]["name"] for item in left] == ["b"]


def _owned_by(owner: JsonObject, name: str) -> JsonObject:
    reference = {"apiVersion": "v1", "kind": owner["kind"], "name": owner["metadata"]["name"]}
    return config_map(name, ownerReferences=[{**reference, "uid": owner["metadata"]["uid"]}])


async def test_what_an_object_owns_goes_with_it(client: Client) -> None:
    owner = await client.request("POST", CONFIG_MAPS, body=config_map("owner"))
    child = await client.request("POST", CONFIG_MAPS, body=_owned_by(owner, "child"))
    await client.request("POST", CONFIG_MAPS, body=_owned_by(child, "grandchild"))
    await client.request("POST", CONFIG_MAPS, body=config_map("stranger"))
    await client.request("DELETE", f"{CONFIG_MAPS}/owner")
    left = (await client.request("GET", CONFIG_MAPS))["items"]
    assert [item["metadata"]["name"] for item in left] == ["stranger"]


async def test_orphans_stay(client: Client) -> None:
    owner = await client.request("POST", CONFIG_MAPS, body=config_map("owner"))
    await client.request("POST", CONFIG_MAPS, body=_owned_by(owner, "child"))
    await client.request("DELETE", f"{CONFIG_MAPS}/owner", body={"propagationPolicy": "Orphan"})
    left = (await client.request("GET", CONFIG_MAPS))["items"]
    assert [item["metadata"]["name"] for item in left] == ["child"]
    assert not left[0]["metadata"].get("ownerReferences")


async def test_a_second_owner_keeps_what_it_owns(client: Client) -> None:
    owners = [await client.request("POST", CONFIG_MAPS, body=config_map(name)) for name in ("a", "b")]
    child = _owned_by(owners[0], "child")
    child["metadata"]["ownerReferences"] += _owned_by(owners[1], "x")["metadata"]["ownerReferences"]
    await client.request("POST", CONFIG_MAPS, body=child)
    await client.request("DELETE", f"{CONFIG_MAPS}/a")
    assert await _found(client, f"{CONFIG_MAPS}/child") is not None
    await client.request("DELETE", f"{CONFIG_MAPS}/b")
    assert await _found(client, f"{CONFIG_MAPS}/child") is None


async def test_in_the_foreground_the_owner_goes_last(client: Client) -> None:
    owner = await client.request("POST", CONFIG_MAPS, body=config_map("owner"))
    child = _owned_by(owner, "child")
    child["metadata"]["finalizers"] = ["a.b/c"]
    await client.request("POST", CONFIG_MAPS, body=child)
    marked = await client.request("DELETE", f"{CONFIG_MAPS}/owner", body={"propagationPolicy": "Foreground"})
    assert marked["metadata"]["finalizers"] == ["foregroundDeletion"]
    change: JsonObject = {"metadata": {"finalizers": []}}
    await client.request("PATCH", f"{CONFIG_MAPS}/child", body=change, content_type=MERGE_PATCH)
    assert await _found(client, f"{CONFIG_MAPS}/child") is None
    assert await _found(client, f"{CONFIG_MAPS}/owner") is None


async def test_a_namespace_takes_its_contents_with_it(client: Client) -> None:
    await client.request("POST", "/api/v1/namespaces", body=namespace("team"))
    await client.request("POST", "/api/v1/namespaces/team/configmaps", body=config_map())
    await client.request("DELETE", "/api/v1/namespaces/team")
    assert await _found(client, "/api/v1/namespaces/team") is None
    assert not (await client.request("GET", "/api/v1/namespaces/team/configmaps"))["items"]


async def test_a_namespace_waits_for_its_pods(client: Client) -> None:
    pods = "/api/v1/namespaces/team/pods"
    await client.request("POST", "/api/v1/namespaces", body=namespace("team"))
    await client.request("POST", pods, body=pod(finalizers=[FINALIZER]))
    going = await client.request("DELETE", "/api/v1/namespaces/team")
    assert going["status"]["phase"] == "Terminating"
    assert (await client.request("GET", f"{pods}/web"))["metadata"]["deletionTimestamp"]
    refused = await _refused(client, "POST", pods, body=pod("late"))
    assert (refused.status, refused.reason) == (403, "Forbidden")
    assert refused.details["causes"][0]["reason"] == "NamespaceTerminating"
    await client.request("DELETE", f"{pods}/web", params={"gracePeriodSeconds": "0"})
    assert await _found(client, "/api/v1/namespaces/team") is not None
    await client.request("PATCH", f"{pods}/web", body={"metadata": {"finalizers": None}}, content_type=MERGE_PATCH)
    assert await _found(client, f"{pods}/web") is None
    assert await _found(client, "/api/v1/namespaces/team") is None


async def test_a_namespaces_own_finalizers_hold_it(client: Client) -> None:
    body = namespace("team")
    body["spec"] = {"finalizers": ["a.b/c"]}
    created = await client.request("POST", "/api/v1/namespaces", body=body)
    assert created["spec"]["finalizers"] == ["a.b/c", "kubernetes"]
    going = await client.request("DELETE", "/api/v1/namespaces/team")
    assert going["spec"]["finalizers"] == ["a.b/c"]
    going["spec"]["finalizers"] = []
    await client.request("PUT", "/api/v1/namespaces/team/finalize", body=going)
    assert await _found(client, "/api/v1/namespaces/team") is None


async def test_the_first_namespaces_stay(client: Client) -> None:
    refused = await _refused(client, "DELETE", "/api/v1/namespaces/default")
    assert refused.status == 403


async def test_an_eviction_is_a_deletion(client: Client) -> None:
    await client.request("POST", PODS, body=pod())
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web"}}
    answer = await client.request("POST", f"{PODS}/web/eviction", body=eviction)
    assert answer["status"] == "Success"
    assert (await client.request("GET", f"{PODS}/web"))["metadata"]["deletionGracePeriodSeconds"] == 30


async def test_a_namespace_being_deleted_goes_on_after_a_restart(
    server: ApiServer, reopened: Callable[[ApiServer], ApiServer]
) -> None:
    client, pods = server.client(), "/api/v1/namespaces/team/pods"
    await client.request("POST", "/api/v1/namespaces", body=namespace("team"))
    await client.request("POST", pods, body=pod())
    await client.request("DELETE", "/api/v1/namespaces/team")
    client = reopened(server).client()
    assert (await _refused(client, "POST", pods, body=pod("late"))).status == 403
    await client.request("DELETE", f"{pods}/web", params={"gracePeriodSeconds": "0"})
    assert await _found(client, "/api/v1/namespaces/team") is None
