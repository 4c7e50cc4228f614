"""Create, read, change: through the client in the same process, which sends what any client sends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from k8s.client import JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, JsonObject, KubeError
from k8s.embedded.apiserver import ApiServer
from k8s.embedded.apiserver.in_process import InProcessClient
from tests.k8s.embedded.apiserver.objects import CONFIG_MAPS, PODS, config_map, custom_definition, namespace, pod

Client = InProcessClient


async def _refused(client: Client, *args: Any, **kwargs: Any) -> KubeError:
    with pytest.raises(KubeError) as refused:
        await client.request(*args, **kwargs)
    return refused.value


async def test_a_created_pod_has_what_the_server_gives_it(client: Client) -> None:
    created = await client.request("POST", PODS, body=pod(labels={"a": "b"}, uid="mine", creationTimestamp=None))
    metadata, spec = created["metadata"], created["spec"]
    assert metadata["namespace"] == "default"
    assert len(metadata["uid"]) == 36
    assert metadata["creationTimestamp"].endswith("Z")
    assert metadata["generation"] == 1
    assert spec["nodeName"] == "node-1"
    assert spec["terminationGracePeriodSeconds"] == 30
    assert spec["dnsPolicy"] == "ClusterFirst"
    assert spec["containers"][0]["imagePullPolicy"] == "IfNotPresent"
    assert created["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    assert await client.request("GET", f"{PODS}/web") == created


@pytest.mark.parametrize(
    ("limits", "requests", "expected"),
    [
        ({}, {}, "BestEffort"),
        ({"memory": "1Gi"}, {}, "Burstable"),
        ({}, {"cpu": "100m"}, "Burstable"),
        ({"memory": "1Gi", "cpu": "1"}, {}, "Guaranteed"),
        ({"memory": "1Gi", "cpu": "1"}, {"cpu": "500m"}, "Burstable"),
    ],
)
async def test_the_quality_of_service_follows_from_resources(
    client: Client, limits: JsonObject, requests: JsonObject, expected: str
) -> None:
    body = pod()
    body["spec"]["containers"][0]["resources"] = {"limits": limits, "requests": requests}
    assert (await client.request("POST", PODS, body=body))["status"]["qosClass"] == expected


async def test_a_name_is_generated(client: Client) -> None:
    body = pod()
    body["metadata"] = {"generateName": "web-"}
    names = {(await client.request("POST", PODS, body=body))["metadata"]["name"] for _ in range(20)}
    assert len(names) == 20
    assert all(name.startswith("web-") and len(name) == 9 for name in names)


async def test_a_taken_name_is_a_conflict(client: Client) -> None:
    await client.request("POST", PODS, body=pod())
    refused = await _refused(client, "POST", PODS, body=pod())
    assert (refused.status, refused.reason, refused.message) == (409, "AlreadyExists", 'pods "web" already exists')
    assert refused.details == {"name": "web", "kind": "pods"}


async def test_a_namespace_must_be_there(client: Client) -> None:
    refused = await _refused(client, "POST", "/api/v1/namespaces/nowhere/pods", body=pod())
    assert (refused.status, refused.message) == (404, 'namespaces "nowhere" not found')
    assert refused.details["kind"] == "namespaces"


async def test_a_dry_run_changes_nothing(client: Client) -> None:
    created = await client.request("POST", PODS, params={"dryRun": "All"}, body=pod())
    assert created["spec"]["nodeName"] == "node-1"
    assert (await _refused(client, "GET", f"{PODS}/web")).status == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda body: body["metadata"].update(name="Bad_Name"), "metadata.name"),
        (lambda body: body["metadata"].pop("name"), "metadata.name"),
        (lambda body: body["metadata"].update(labels={"a b": "c"}), "metadata.labels"),
        (lambda body: body["metadata"].update(labels={"a": "-c"}), "metadata.labels"),
        (lambda body: body["metadata"].update(annotations={"/": "c"}), "metadata.annotations"),
        (lambda body: body["metadata"].update(annotations={"a": "x" * 300_000}), "metadata.annotations"),
        (lambda body: body["metadata"].update(finalizers=["no good"]), "metadata.finalizers"),
        (lambda body: body.pop("spec"), "spec.containers"),
        (lambda body: body["spec"].update(containers=[]), "spec.containers"),
        (lambda body: body["spec"]["containers"][0].pop("image"), "spec.containers[0].image"),
        (lambda body: body["spec"]["containers"][0].update(name="X"), "spec.containers[0].name"),
        (lambda body: body["spec"]["containers"].append({"name": "main", "image": "x"}), "spec.containers[1].name"),
        (lambda body: body["spec"].update(restartPolicy="Sometimes"), "spec.restartPolicy"),
        (lambda body: body["spec"].update(terminationGracePeriodSeconds=-1), "spec.terminationGracePeriodSeconds"),
        (
            lambda body: body["spec"]["containers"][0].update(volumeMounts=[{"name": "v", "mountPath": "/v"}]),
            "spec.containers[0].volumeMounts[0].name",
        ),
        (
            lambda body: body["spec"]["containers"][0].update(ports=[{"containerPort": 70000}]),
            "spec.containers[0].ports[0].containerPort",
        ),
        (
            lambda body: body["spec"]["containers"][0].update(resources={"limits": {"memory": "lots"}}),
            "spec.containers[0].resources.limits.memory",
        ),
    ],
)
async def test_an_invalid_pod_is_refused_by_field(
    client: Client, change: Callable[[JsonObject], object], field: str
) -> None:
    body = pod()
    change(body)
    refused = await _refused(client, "POST", PODS, body=body)
    assert (refused.status, refused.reason) == (422, "Invalid")
    assert field in [cause["field"] for cause in refused.details["causes"]]
    assert refused.message.startswith('Pod "')


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda body: body.update(kind="Service"), "does not match the expected kind"),
        (lambda body: body.update(apiVersion="v2"), "does not match the expected API version"),
        (
            lambda body: body["spec"].update(containers={}),
            "cannot unmarshal object into Go struct field spec.containers",
        ),
        (lambda body: body["spec"]["containers"][0].update(name=5), "spec.containers[0].name of type string"),
        (lambda body: body["metadata"].update(labels={"a": 1}), "metadata.labels.a of type string"),
        (lambda body: body["spec"].update(hostNetwork="yes"), "spec.hostNetwork of type bool"),
        (lambda body: body["metadata"].update(namespace="other"), "does not match the namespace"),
        (lambda body: body["metadata"].update(resourceVersion="5"), "resourceVersion should not be set"),
        (lambda body: body.update(metadata=[]), "metadata"),
    ],
)
async def test_what_is_no_pod_is_a_bad_request(
    client: Client, change: Callable[[JsonObject], object], words: str
) -> None:
    body = pod()
    change(body)
    refused = await _refused(client, "POST", PODS, body=body)
    assert refused.status == 400
    assert words in refused.message


@pytest.mark.parametrize("body", [[], "text", 5, True, {"metadata": 5}, {"metadata": {"name": 5}}])
async def test_hostile_bodies_are_bad_requests(client: Client, body: object) -> None:
    for path in (PODS, CONFIG_MAPS, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"):
        assert (await _refused(client, "POST", path, body=body)).status == 400


async def test_unknown_fields_are_told_refused_or_ignored(client: Client) -> None:
    body = pod()
    body["spec"]["containers"][0]["imag"] = "x"
    refused = await _refused(client, "POST", PODS, params={"fieldValidation": "Strict"}, body=body)
    assert refused.status == 400
    assert 'strict decoding error: unknown field "spec.containers[0].imag"' in refused.message
    created = await client.request("POST", PODS, params={"fieldValidation": "Ignore"}, body=body)
    assert "imag" not in created["spec"]["containers"][0]


async def test_an_update_needs_the_version_that_was_read(client: Client) -> None:
    first = await client.request("POST", CONFIG_MAPS, body=config_map())
    second = await client.request("PUT", f"{CONFIG_MAPS}/settings", body={**first, "data": {"a": "2"}})
    assert int(second["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])
    refused = await _refused(client, "PUT", f"{CONFIG_MAPS}/settings", body={**first, "data": {"a": "3"}})
    assert (refused.status, refused.reason) == (409, "Conflict")
    assert refused.message.startswith('Operation cannot be fulfilled on configmaps "settings": the object has been mod')
    free = config_map()
    free["data"] = {"a": "4"}
    assert (await client.request("PUT", f"{CONFIG_MAPS}/settings", body=free))["data"] == {"a": "4"}


async def test_an_update_that_changes_nothing_gives_no_new_version(client: Client) -> None:
    first = await client.request("POST", PODS, body=pod())
    assert await client.request("PUT", f"{PODS}/web", body=first) == first
    assert await client.request("PATCH", f"{PODS}/web", body={"metadata": {}}, content_type=MERGE_PATCH) == first


async def test_another_uid_is_a_conflict(client: Client) -> None:
    first = await client.request("POST", CONFIG_MAPS, body=config_map())
    first["metadata"]["uid"] = "11111111-0000-0000-0000-000000000000"
    assert (await _refused(client, "PUT", f"{CONFIG_MAPS}/settings", body=first)).status == 409


async def test_a_pods_spec_does_not_change_but_for_its_images(client: Client) -> None:
    await client.request("POST", PODS, body=pod())
    change: JsonObject = {"spec": {"containers": [{"name": "main", "image": "busybox:2"}]}}
    changed = await client.request("PATCH", f"{PODS}/web", body=change, content_type=STRATEGIC_MERGE_PATCH)
    assert changed["spec"]["containers"][0]["image"] == "busybox:2"
    assert changed["metadata"]["generation"] == 2
    change = {"spec": {"containers": [{"name": "main", "command": ["other"]}]}}
    refused = await _refused(client, "PATCH", f"{PODS}/web", body=change, content_type=STRATEGIC_MERGE_PATCH)
    assert refused.status == 422
    assert "pod updates may not change fields other than" in refused.message


async def test_status_and_spec_are_written_apart(client: Client) -> None:
    await client.request("POST", PODS, body=pod())
    change = {"status": {"phase": "Running"}, "metadata": {"labels": {"x": "y"}}, "spec": {"hostname": "h"}}
    written = await client.request("PATCH", f"{PODS}/web/status", body=change, content_type=MERGE_PATCH)
    assert written["status"]["phase"] == "Running"
    assert "labels" not in written["metadata"]
    assert "hostname" not in written["spec"]
    assert written["metadata"]["generation"] == 1
    change = {"status": {"phase": "Failed"}, "metadata": {"labels": {"x": "y"}}}
    written = await client.request("PATCH", f"{PODS}/web", body=change, content_type=MERGE_PATCH)
    assert written["status"]["phase"] == "Running"
    assert written["metadata"]["labels"] == {"x": "y"}
    assert await client.request("GET", f"{PODS}/web/status") == written


async def test_conditions_merge_by_type(client: Client) -> None:
    await client.request("POST", PODS, body=pod())
    for kind, value in (("Ready", "False"), ("Initialized", "True"), ("Ready", "True")):
        change = {"status": {"conditions": [{"type": kind, "status": value}]}}
        written = await client.request("PATCH", f"{PODS}/web/status", body=change, content_type=STRATEGIC_MERGE_PATCH)
    assert written["status"]["conditions"] == [
        {"type": "Ready", "status": "True"},
        {"type": "Initialized", "status": "True"},
    ]


async def test_a_json_patch_is_all_or_nothing(client: Client) -> None:
    first = await client.request("POST", CONFIG_MAPS, body=config_map())
    steps = [{"op": "add", "path": "/data/b", "value": "2"}, {"op": "test", "path": "/data/a", "value": "no"}]
    refused = await _refused(client, "PATCH", f"{CONFIG_MAPS}/settings", body=steps, content_type=JSON_PATCH)
    assert refused.status == 422
    assert await client.request("GET", f"{CONFIG_MAPS}/settings") == first
    done = await client.request("PATCH", f"{CONFIG_MAPS}/settings", body=steps[:1], content_type=JSON_PATCH)
    assert done["data"] == {"a": "1", "b": "2"}


async def test_a_patch_cannot_change_who_an_object_is(client: Client) -> None:
    first = await client.request("POST", CONFIG_MAPS, body=config_map())
    change = {
        "metadata": {"uid": None, "creationTimestamp": "2000-01-01T00:00:00Z", "generation": 9},
        "data": {"a": "2"},
    }
    patched = await client.request("PATCH", f"{CONFIG_MAPS}/settings", body=change, content_type=MERGE_PATCH)
    for field in ("uid", "creationTimestamp"):
        assert patched["metadata"][field] == first["metadata"][field]
    renamed = {"metadata": {"name": "other"}}
    refused = await _refused(client, "PATCH", f"{CONFIG_MAPS}/settings", body=renamed, content_type=MERGE_PATCH)
    assert refused.status == 400


async def test_an_unknown_patch_type_is_refused(client: Client) -> None:
    await client.request("POST", CONFIG_MAPS, body=config_map())
    refused = await _refused(client, "PATCH", f"{CONFIG_MAPS}/settings", body={}, content_type="text/plain")
    assert (refused.status, refused.reason) == (415, "UnsupportedMediaType")


async def test_secrets_take_plain_text_and_keep_it_encoded(client: Client) -> None:
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "b"}}
    created = await client.request("POST", "/api/v1/namespaces/default/secrets", body=body)
    assert created["data"] == {"a": "Yg=="}
    assert "stringData" not in created
    assert created["type"] == "Opaque"


async def test_frozen_data_stays(client: Client) -> None:
    await client.request("POST", CONFIG_MAPS, body={**config_map(), "immutable": True})
    change = {"data": {"a": "2"}}
    refused = await _refused(client, "PATCH", f"{CONFIG_MAPS}/settings", body=change, content_type=MERGE_PATCH)
    assert refused.status == 422


async def test_a_pod_without_a_node_is_bound_once(tmp_path: Any) -> None:
    server = ApiServer.open(tmp_path / "other.db")
    client = server.client()
    assert "nodeName" not in (await client.request("POST", PODS, body=pod()))["spec"]
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "web"}, "target": {"name": "n1"}}
    assert (await client.request("POST", f"{PODS}/web/binding", body=binding))["status"] == "Success"
    assert (await client.request("GET", f"{PODS}/web"))["spec"]["nodeName"] == "n1"
    assert (await _refused(client, "POST", f"{PODS}/web/binding", body=binding)).status == 409
    server.close()


async def test_custom_resources_are_served_once_defined_and_after_a_restart(
    server: ApiServer, reopened: Callable[[ApiServer], ApiServer]
) -> None:
    client, path = server.client(), "/apis/traefik.io/v1alpha1/namespaces/default/middlewares"
    assert (await _refused(client, "GET", path)).status == 404
    definition = await client.request(
        "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body=custom_definition()
    )
    conditions = {item["type"]: item["status"] for item in definition["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
    body = {
        "apiVersion": "traefik.io/v1alpha1",
        "kind": "Middleware",
        "metadata": {"name": "m"},
        "spec": {"a": {"b": 1}},
    }
    created = await client.request("POST", path, body=body)
    assert created["spec"] == {"a": {"b": 1}}
    patched = await client.request("PATCH", f"{path}/m", body={"spec": {"a": {"c": 2}}}, content_type=MERGE_PATCH)
    assert patched["spec"] == {"a": {"b": 1, "c": 2}}
    assert patched["metadata"]["generation"] == 2
    client = reopened(server).client()
    assert (await client.request("GET", path))["items"] == [patched]
    await client.request("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/middlewares.traefik.io")
    assert (await _refused(client, "GET", path)).status == 404


async def test_events_are_one_kind_in_two_versions(client: Client) -> None:
    about = {"kind": "Pod", "name": "web", "namespace": "default"}
    body = {
        "metadata": {"name": "web.1"},
        "involvedObject": about,
        "reason": "Started",
        "message": "it runs",
        "source": {"component": "kubelet"},
    }
    await client.request("POST", "/api/v1/namespaces/default/events", body=body)
    path = "/apis/events.k8s.io/v1/namespaces/default/events"
    seen = (await client.request("GET", path, params={"fieldSelector": "regarding.name=web"}))["items"]
    assert [(event["apiVersion"], event["note"], event["regarding"]) for event in seen] == [
        ("events.k8s.io/v1", "it runs", about)
    ]
    assert not (await client.request("GET", path, params={"fieldSelector": "regarding.name=other"}))["items"]
    await client.request("POST", path, body={"metadata": {"name": "web.2"}, "regarding": about, "note": "again"})
    core = await client.request("GET", "/api/v1/namespaces/default/events/web.2")
    assert (core["apiVersion"], core["message"], core["involvedObject"]) == ("v1", "again", about)


async def test_lists_come_in_pages_in_order(client: Client) -> None:
    for number in range(25):
        await client.request("POST", CONFIG_MAPS, body=config_map(f"m{number:02}"))
    names: list[str] = []
    params = {"limit": "10"}
    while True:
        page = await client.request("GET", CONFIG_MAPS, params=params)
        names += [item["metadata"]["name"] for item in page["items"]]
        assert len(page["items"]) <= 10
        if not (token := page["metadata"].get("continue")):
            break
        params["continue"] = token
    assert names == [f"m{number:02}" for number in range(25)]


async def test_a_page_token_does_not_survive_a_restart_or_tampering(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = server.client()
    for number in range(3):
        await client.request("POST", CONFIG_MAPS, body=config_map(f"m{number}"))
    page = await client.request("GET", CONFIG_MAPS, params={"limit": "1"})
    token = page["metadata"]["continue"]
    assert (await _refused(client, "GET", CONFIG_MAPS, params={"continue": "rubbish"})).status == 400
    monkeypatch.setattr("k8s.embedded.apiserver.reads._BOOT", "another")
    refused = await _refused(client, "GET", CONFIG_MAPS, params={"continue": token})
    assert (refused.status, refused.reason) == (410, "Expired")


async def test_lists_select_by_labels_and_fields(client: Client) -> None:
    await client.request("POST", "/api/v1/namespaces", body=namespace("other"))
    for name, labels in (("a", {"x": "1"}), ("b", {"x": "2"}), ("c", {})):
        await client.request("POST", PODS, body=pod(name, labels=labels))
        await client.request("POST", "/api/v1/namespaces/other/pods", body=pod(name, labels=labels))
    change = {"status": {"phase": "Running"}}
    await client.request("PATCH", f"{PODS}/b/status", body=change, content_type=MERGE_PATCH)

    async def found(path: str, **params: str) -> list[str]:
        listed = await client.request("GET", path, params=params)
        return [f"{item['metadata']['namespace']}/{item['metadata']['name']}" for item in listed["items"]]

    assert await found("/api/v1/pods", labelSelector="x=1") == ["default/a", "other/a"]
    assert await found(PODS, labelSelector="x") == ["default/a", "default/b"]
    assert await found(PODS, fieldSelector="metadata.name=c") == ["default/c"]
    assert await found("/api/v1/pods", fieldSelector="metadata.name=c,metadata.namespace=other") == ["other/c"]
    assert await found("/api/v1/pods", fieldSelector="status.phase=Running") == ["default/b"]
    assert await found(PODS, fieldSelector="spec.nodeName=node-1,status.phase!=Running") == ["default/a", "default/c"]
    refused = await _refused(client, "GET", PODS, params={"fieldSelector": "spec.volumes=1"})
    assert refused.status == 400


async def test_a_list_from_the_future_is_told_to_wait(client: Client) -> None:
    refused = await _refused(client, "GET", PODS, params={"resourceVersion": "999999999"})
    assert (refused.status, refused.reason) == (504, "Timeout")
    assert refused.details["causes"][0]["reason"] == "ResourceVersionTooLarge"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/api/v1/namespaces/default/deployments", 404),
        ("GET", "/apis/apps/v1/deployments", 404),
        ("POST", "/api/v1/pods", 405),
        ("PUT", PODS, 405),
        ("DELETE", "/api/v1/pods", 405),
        ("GET", "/api/v1/pods/web", 404),
        ("GET", f"{PODS}/missing", 404),
        ("GET", f"{PODS}/missing/nonsense", 404),
        ("POST", f"{PODS}/missing/portforward", 501),
        ("GET", "/api/v1/namespaces/default/nodes", 404),
        ("GET", f"{PODS}?limit=x", 404),
    ],
)
async def test_what_is_not_served_is_said_in_a_status(client: Client, method: str, path: str, status: int) -> None:
    refused = await _refused(client, method, path, body={} if method in ("POST", "PUT") else None)
    assert refused.status == status
    assert refused.reason
