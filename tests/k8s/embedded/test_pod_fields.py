"""Every field of a pod that there is, is obeyed, refused, or ignored in writing: nothing is silently left out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from engine.arn import Scope
from engine.container_definition import ContainerDefinition
from engine.task import Task
from engine.task_definition import TaskDefinition
from k8s import pods
from k8s.embedded import pod_fields
from k8s.embedded.pod_fields import refusal
from k8s.embedded.pod_spec import PodSpecError, parse_pod
from tests.k8s.embedded.pod_objects import container_object, pod_object

ROOT = Path(__file__).parents[3]
SCHEMA = json.loads((ROOT / "k8s/embedded/apiserver/schema/v1.33.json").read_text())

OBEYED = {
    "PodSpec": "activeDeadlineSeconds containers dnsConfig hostAliases hostIPC hostNetwork hostPID hostUsers hostname "
    "initContainers nodeName os resources restartPolicy schedulerName securityContext serviceAccount "
    "serviceAccountName shareProcessNamespace terminationGracePeriodSeconds volumes",
    "Container": "args command env envFrom image imagePullPolicy livenessProbe name ports readinessProbe resources "
    "securityContext startupProbe tty volumeMounts workingDir",
    "PodSecurityContext": "runAsGroup runAsNonRoot runAsUser supplementalGroups sysctls",
    "SecurityContext": "allowPrivilegeEscalation capabilities privileged readOnlyRootFilesystem runAsGroup "
    "runAsNonRoot runAsUser",
    "VolumeMount": "mountPath name readOnly subPath",
    "Probe": "exec failureThreshold grpc httpGet initialDelaySeconds periodSeconds successThreshold tcpSocket "
    "timeoutSeconds",
}
REFUSED = {
    "PodSpec": pod_fields.REFUSED_OF_PODS,
    "Container": pod_fields.REFUSED_OF_CONTAINERS,
    "VolumeMount": pod_fields.REFUSED_OF_MOUNTS,
    "Probe": pod_fields.REFUSED_OF_PROBES,
}


def ignored() -> set[str]:
    """The fields that docs/node.md says are ignored."""
    (row,) = (line for line in (ROOT / "docs/node.md").read_text().splitlines() if line.startswith("| ignored"))
    return set(re.findall(r"`(\w+)`", row))


def fields(kind: str) -> set[str]:
    return set(SCHEMA[f"io.k8s.api.core.v1.{kind}"]["properties"])


def with_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    pod = pod_object()
    pod["spec"] |= spec
    return pod


def test_every_field_is_obeyed_refused_or_documented_as_ignored() -> None:
    silent = {
        f"{kind}.{field}"
        for kind, obeyed in OBEYED.items()
        for field in fields(kind) - set(obeyed.split()) - set(REFUSED.get(kind, ())) - ignored()
    }
    assert silent == set()


def test_no_field_is_documented_as_ignored_that_is_not_there_or_is_refused() -> None:
    assert ignored() - set().union(*map(fields, OBEYED)) == set()
    assert ignored() & set().union(*REFUSED.values()) == set()


@pytest.mark.parametrize("field", pod_fields.REFUSED_OF_PODS)
def test_a_pod_is_refused_for_what_the_node_cannot_do(field: str) -> None:
    with pytest.raises(PodSpecError, match=f"spec: {field} is not supported by this node"):
        parse_pod(with_spec({field: [{"name": "x"}]}))


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"hostUsers": False}, "hostUsers"),
        ({"os": {"name": "windows"}}, "runs Linux"),
        ({"containers": [container_object(lifecycle={"preStop": {"exec": {"command": ["x"]}}})]}, "lifecycle"),
        ({"containers": [container_object(lifecycle={"postStart": {"sleep": {"seconds": 1}}})]}, "lifecycle"),
        ({"containers": [container_object(volumeDevices=[{"name": "x", "devicePath": "/x"}])]}, "volumeDevices"),
        ({"initContainers": [container_object("side", restartPolicy="Always")]}, "container side: restartPolicy"),
        (
            {"containers": [container_object(volumeMounts=[{"name": "v", "mountPath": "/", "subPathExpr": "$(A)"}])]},
            "Expr",
        ),
        ({"containers": [container_object(livenessProbe={"terminationGracePeriodSeconds": 1})]}, "livenessProbe: term"),
        ({"containers": [container_object(securityContext={"runAsNonRoot": True})]}, "runAsNonRoot"),
        ({"securityContext": {"runAsNonRoot": True, "runAsUser": 0}}, "runAsNonRoot"),
    ],
)
def test_a_container_is_refused_for_what_the_node_cannot_do(spec: Mapping[str, Any], sentence: str) -> None:
    with pytest.raises(PodSpecError, match=sentence):
        parse_pod(with_spec(spec))


def test_what_may_be_asked_for_is_not_refused() -> None:
    security = {"runAsNonRoot": True, "runAsUser": 1000}
    assert refusal({"securityContext": security, "containers": [container_object()], "os": {"name": "linux"}}) is None
    assert refusal({"hostUsers": True, "containers": [container_object(lifecycle={})]}) is None


def test_no_task_is_refused() -> None:
    scope = Scope()
    arn = scope.task_definition_arn("web", 1)
    task = Task(scope.task_arn("c", "a" * 32), scope.cluster_arn("c"), arn)
    definition = TaskDefinition(arn, "web", 1, (ContainerDefinition(name="web", image="x"),))
    assert refusal(pods.pod(task, definition, "default")["spec"]) is None
