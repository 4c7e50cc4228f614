"""Requests that no client means: whatever is sent, the server answers as Kubernetes does and stays as it was."""

from __future__ import annotations

import tempfile
from copy import deepcopy
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k8s.client import JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, JsonObject
from k8s.embedded.apiserver import ApiServer
from k8s.embedded.apiserver.bodies import APPLY_PATCH
from k8s.embedded.apiserver.messages import Request, Response
from tests.k8s.embedded.apiserver.objects import CONFIG_MAPS, PODS, config_map, custom_definition, pod

integers = st.integers(-(2**63), 2**64 - 1)
scalars = st.none() | st.booleans() | integers | st.floats(allow_nan=False) | st.text(max_size=8)
KEYS = """
metadata spec status name namespace labels annotations finalizers ownerReferences uid resourceVersion containers image
env ports volumes emptyDir deletionTimestamp generateName conditions type data group names versions plural kind items
apiVersion preconditions gracePeriodSeconds managedFields terminationGracePeriodSeconds nodeName restartPolicy $patch
$setElementOrder/containers $retainKeys $deleteFromPrimitiveList/finalizers
"""
PARAMETERS = """
labelSelector fieldSelector limit continue resourceVersion resourceVersionMatch gracePeriodSeconds propagationPolicy
timeoutSeconds includeObject orphanDependents
"""
keys = st.sampled_from(KEYS.split())
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
)


@pytest.fixture(scope="module")
def answer() -> Any:
    with tempfile.TemporaryDirectory() as folder:
        server = ApiServer.open(Path(folder) / "objects.db", node_name="node-1")
        definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        for path, body in ((PODS, pod()), (CONFIG_MAPS, config_map()), (definitions, custom_definition())):
            assert server._handlers.answer(Request("POST", path, body=orjson.dumps(body))).status == 201
        yield server._handlers.answer
        server.close()


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inside for place in _places(item, (*path, key)))]


def _changed(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    document = deepcopy(document)
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return document


def _check(response: Response) -> None:
    body: JsonObject = orjson.loads(response.body)
    assert response.status < 500 or response.status == 501, body
    if response.status >= 400:
        assert body["kind"] == "Status"
        assert body["reason"]
        assert body["code"] == response.status


TARGETS = [
    (PODS, pod("fuzz")),
    (CONFIG_MAPS, config_map("fuzz")),
    ("/api/v1/namespaces", {"metadata": {"name": "fuzz"}}),
    ("/api/v1/namespaces/default/services", {"metadata": {"name": "fuzz"}, "spec": {"ports": [{"port": 80}]}}),
    ("/api/v1/namespaces/default/secrets", {"metadata": {"name": "fuzz"}, "stringData": {"a": "b"}}),
    ("/api/v1/namespaces/default/events", {"metadata": {"name": "fuzz"}, "involvedObject": {"namespace": "default"}}),
    ("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", custom_definition()),
    ("/apis/traefik.io/v1alpha1/namespaces/default/middlewares", {"metadata": {"name": "fuzz"}, "spec": {"a": 1}}),
    ("/apis/networking.k8s.io/v1/namespaces/default/ingresses", {"metadata": {"name": "f"}, "spec": {"rules": [{}]}}),
    ("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {"spec": {}}),
    (f"{PODS}/web/binding", {"target": {"name": "n"}}),
    (f"{PODS}/web/eviction", {"deleteOptions": {"gracePeriodSeconds": 5}}),
]
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@settings(deadline=None, max_examples=400)
@given(st.data(), st.sampled_from(TARGETS), values)
def test_any_body_of_a_create(answer: Any, data: st.DataObject, target: tuple[str, Any], value: Any) -> None:
    path, body = target
    body = _changed(body, data.draw(st.sampled_from(_places(body))), value)
    response = answer(Request("POST", path, {"dryRun": "All"}, accept=TABLE, body=orjson.dumps(body)))
    _check(response)


@settings(deadline=None, max_examples=400)
@given(
    st.sampled_from([f"{PODS}/web", f"{PODS}/web/status", f"{CONFIG_MAPS}/settings", f"{CONFIG_MAPS}/new"]),
    st.sampled_from([MERGE_PATCH, STRATEGIC_MERGE_PATCH, APPLY_PATCH]),
    st.dictionaries(keys, values, max_size=4),
)
def test_any_merge_patch(answer: Any, path: str, kind: str, patch: JsonObject) -> None:
    params = {"dryRun": "All", "fieldManager": "fuzz"}
    _check(answer(Request("PATCH", path, params, accept=TABLE, content_type=kind, body=orjson.dumps(patch))))


pointers = st.sampled_from(
    [
        "",
        "/metadata",
        "/metadata/name",
        "/spec/containers/0",
        "/spec/containers/-",
        "/data/a",
        "/x/y",
        "//",
        "/spec/nodeName",
    ]
)
operations = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "x"]), "path": pointers | scalars},
    optional={"value": values, "from": pointers | scalars},
)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from([f"{PODS}/web", f"{CONFIG_MAPS}/settings"]), st.lists(operations, max_size=4))
def test_any_json_patch(answer: Any, path: str, patch: Any) -> None:
    body = orjson.dumps(patch)
    _check(answer(Request("PATCH", path, {"dryRun": "All"}, content_type=JSON_PATCH, body=body)))


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(["GET", "DELETE"]), st.sampled_from([PODS, f"{PODS}/web", "/api/v1/nodes", "/apis"]), st.data())
def test_any_parameters(answer: Any, method: str, path: str, data: st.DataObject) -> None:
    names = PARAMETERS.split()
    params = data.draw(st.dictionaries(st.sampled_from(names), st.text(max_size=12), max_size=4))
    _check(
        answer(Request(method, path, {**params, "dryRun": "All"})) if path != "/apis" else answer(Request("GET", path))
    )


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "BREW"]), st.text(max_size=40), st.binary(max_size=40))
def test_any_path(answer: Any, method: str, path: str, body: bytes) -> None:
    for prefix in ("/", "/api/v1/", "/apis/", f"{PODS}/", "/openapi/v3/"):
        _check_quietly(answer(Request(method, prefix + path, body=body)))


def _check_quietly(response: Response) -> None:
    if response.content_type == "application/json" and response.producer is None:
        _check(response)


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"]
)
@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"a":' * 900 + b"1" + b"}" * 900,
        b'{"metadata":{"name":"\\ud800"}}',
        b'{"data":{"a":' + b"9" * 400 + b"}}",
        b"\x00" * 50,
        b"&a [*a]",
        b"a: &x 1\nb: [*x, *x]\n? [1]\n: 2",
        b"!!python/object:os.system {}",
        b'{"metadata":{"name":"x"},"data":{"n":.inf}}',
    ],
)
def test_hostile_texts(answer: Any, content_type: str, body: bytes) -> None:
    for method, path in (("POST", CONFIG_MAPS), ("PUT", f"{CONFIG_MAPS}/settings"), ("DELETE", f"{CONFIG_MAPS}/x")):
        _check(answer(Request(method, path, {"dryRun": "All"}, content_type=content_type, body=body)))
