"""What a pod refers to: resolved by a kubelet's rules, and when it cannot be, said without a value."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from k8s.embedded.driver import Files
from k8s.embedded.pod_inputs import InputError, PodFacts, PodInputs, expand
from k8s.embedded.pod_spec import parse_pod
from tests.k8s.embedded.faulty_api import FaultyApi
from tests.k8s.embedded.pod_objects import container_object, pod_object

CANARY = "hunter2"


def inputs(**spec: Any) -> PodInputs:
    api = FaultyApi()
    encoded = base64.b64encode(CANARY.encode()).decode()
    for kind, name, data in (
        ("ConfigMap", "settings", {"COLOUR": "blue", "SIZE": "9"}),
        ("Secret", "password", {"PASSWORD": encoded}),
        ("Secret", "spoilt", {"PASSWORD": f"!{CANARY}", "OTHER": 7}),
    ):
        body = {"kind": kind, "metadata": {"name": name, "uid": name}, "data": data}
        api.create(f"/api/v1/namespaces/default/{kind.lower()}s", body)
    source = pod_object(annotations={"note": "well"}, **spec)
    return PodInputs(api, parse_pod(source), source, PodFacts("10.0.0.1", "10.0.0.2", "node"))


async def environment(**fields: Any) -> dict[str, str]:
    made = inputs(containers=[container_object(**fields)])
    return dict((await made.container(made.pod.containers[0], 0)).env)


async def test_variables_come_from_all_that_a_pod_may_name() -> None:
    env = await environment(
        envFrom=[{"configMapRef": {"name": "settings"}, "prefix": "MY_"}, {"secretRef": {"name": "password"}}],
        env=[
            {"name": "PLAIN", "value": "a $(MY_COLOUR) one"},
            {"name": "SIZE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "SIZE"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "NOTE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['note']"}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "none", "key": "x", "optional": True}}},
        ],
        resources={"limits": {"cpu": "1500m"}},
    )
    assert env["MY_COLOUR"] == "blue"
    assert env["PASSWORD"] == CANARY
    assert env["PLAIN"] == "a blue one"
    assert (env["SIZE"], env["IP"], env["NOTE"], env["CPU"]) == ("9", "10.0.0.1", "well", "2")
    assert "NONE" not in env


async def test_volumes_of_files_have_the_chosen_keys_and_modes() -> None:
    items = [{"key": "COLOUR", "path": "sub/colour", "mode": 0o400}]
    made = inputs(volumes=[{"name": "v", "configMap": {"name": "settings", "items": items}}])
    assert (await made.sandbox()).volumes == (Files("v", {"sub/colour": (b"blue", 0o400)}),)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"envFrom": [{"configMapRef": {"name": "none"}}]}, 'configmap "none" not found'),
        ({"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "x"}}}]}, "find key x"),
        ({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.hostIPs"}}}]}, "unsupported field path"),
        ({"env": [{"name": "A", "valueFrom": {"fileKeyRef": {"path": "x"}}}]}, "cannot read a variable"),
        ({"env": [{"name": "A", "valueFrom": {"fieldRef": {}}}]}, "environment cannot be read"),
        ({"envFrom": [{}]}, "environment cannot be read"),
        ({"envFrom": [{"configMapRef": {}}]}, "environment cannot be read"),
        ({"envFrom": [{"secretRef": {"name": "spoilt"}}]}, "environment cannot be read"),
    ],
)
async def test_what_cannot_be_resolved_is_said_in_a_sentence_without_values(
    fields: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        await environment(**fields)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("volume", "sentence"),
    [
        ({"secret": {"secretName": "none"}}, 'secret "none" not found'),
        ({"nfs": {"server": "x", "path": "/"}}, "knows no volumes of kind nfs"),
        ({"configMap": {"name": "settings", "items": [{"key": "x", "path": "x"}]}}, "has no key x"),
        ({"downwardAPI": {"items": [{"path": "x", "resourceFieldRef": {"resource": "limits.cpu"}}]}}, "cannot be read"),
        ({"secret": {"secretName": "spoilt"}}, "volumes cannot be read"),
    ],
)
async def test_a_volume_that_cannot_be_made_is_said_in_a_sentence_without_values(
    volume: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        await inputs(volumes=[{"name": "v", **volume}]).sandbox()
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expanded"),
    [("$(A)", "1"), ("$$(A)", "$(A)"), ("$(B)", "$(B)"), ("$$", "$"), ("a$b", "a$b"), ("$(A", "$(A"), ("$$$(A)", "$1")],
)
def test_expressions_are_expanded_as_kubernetes_does(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1"}) == expanded
