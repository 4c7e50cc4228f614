"""Reading pods: every field that the node obeys, and a refusal in a sentence for what it cannot read."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8s.embedded.driver import EmptyDir, HostPath, Mount, PullPolicy, Resources, Ulimit
from k8s.embedded.pod_inputs import expand
from k8s.embedded.pod_spec import (
    ExecCheck,
    HttpCheck,
    Pod,
    PodSpecError,
    TcpCheck,
    parse_pod,
    plain_volume,
    quantity,
)
from tests.k8s.embedded.pod_objects import container_object, pod_object

FULL = pod_object(
    containers=[
        container_object(
            "app",
            "/bin/app",
            args=["--fast"],
            workingDir="/srv",
            imagePullPolicy="Always",
            resources={"limits": {"memory": "64Mi", "cpu": "1500m"}, "requests": {"cpu": "0.25"}},
            securityContext={
                "runAsUser": 1000,
                "runAsGroup": 2000,
                "readOnlyRootFilesystem": True,
                "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]},
            },
            volumeMounts=[{"name": "data", "mountPath": "/data", "readOnly": True, "subPath": "in"}],
            ports=[{"name": "web", "containerPort": 8080, "hostPort": 9090}],
            readinessProbe={"exec": {"command": ["ok"]}, "periodSeconds": 5, "timeoutSeconds": 2},
            livenessProbe={"httpGet": {"port": "web", "path": "/live"}, "initialDelaySeconds": 3},
            startupProbe={"tcpSocket": {"port": 8080}, "failureThreshold": 9},
        )
    ],
    annotations={
        "kecs.dev/ulimits": json.dumps({"app": [{"name": "nofile", "softLimit": 10, "hardLimit": 20}]}),
        "kecs.dev/init-process": json.dumps(["app"]),
    },
    hostname="app-host",
    hostAliases=[{"ip": "10.0.0.1", "hostnames": ["db"]}],
    dnsConfig={"nameservers": ["1.1.1.1"], "searches": ["example.com"], "options": [{"name": "ndots", "value": "2"}]},
    securityContext={"sysctls": [{"name": "net.core.somaxconn", "value": "1024"}]},
)


def full() -> Pod:
    return parse_pod(FULL)


def test_a_container_is_read_in_full() -> None:
    spec = full().containers[0].spec
    assert spec.argv == ("/bin/app", "--fast")
    assert (spec.working_dir, spec.user, spec.read_only_root, spec.init_process) == ("/srv", "1000:2000", True, True)
    assert spec.resources == Resources(64 * 2**20, 250, 1500)
    assert spec.ulimits == (Ulimit("nofile", 10, 20),)
    assert spec.mounts == (Mount("data", "/data", True, "in"),)
    assert (spec.capabilities_add, spec.capabilities_drop) == (("NET_ADMIN",), ("ALL",))
    assert spec.pull_policy is PullPolicy.ALWAYS


def test_probes_are_read_with_kubernetes_defaults() -> None:
    container = full().containers[0]
    assert container.readiness is not None
    assert container.liveness is not None
    assert container.startup is not None
    assert (container.readiness.check, container.readiness.period_s) == (ExecCheck(("ok",)), 5)
    assert (container.liveness.check, container.liveness.period_s) == (HttpCheck(8080, "/live"), 10)
    assert (container.startup.check, container.startup.failure_threshold) == (TcpCheck(8080), 9)


def test_a_sandbox_is_read_in_full() -> None:
    sandbox = full().sandbox
    assert sandbox.hostname == "app-host"
    assert sandbox.hosts == (("10.0.0.1", ("db",)),)
    assert sandbox.sysctls == (("net.core.somaxconn", "1024"),)
    assert (sandbox.dns_servers, sandbox.dns_search, sandbox.dns_options) == (
        ("1.1.1.1",),
        ("example.com",),
        ("ndots:2",),
    )
    assert [(p.port, p.container_port) for p in full().host_ports] == [(9090, 8080)]


def test_a_user_that_is_a_name_comes_from_the_annotation() -> None:
    pod = parse_pod(pod_object(annotations={"kecs.dev/users": json.dumps({"main": "nobody"})}))
    assert pod.containers[0].spec.user == "nobody"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("500m", "0.5"), ("64Mi", str(64 * 2**20)), ("1k", "1000"), (2, "2"), ("1e3", "1000"), ("1.5Gi", "1610612736")],
)
def test_quantities(text: object, expected: str) -> None:
    assert quantity(text) == Decimal(expected)


@pytest.mark.parametrize("text", ["", "lots", "5Xi", "m"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(PodSpecError, match="is not a quantity"):
        quantity(text)


def test_volumes_of_this_machine() -> None:
    assert plain_volume({"name": "a", "emptyDir": {}}) == EmptyDir("a")
    assert plain_volume({"name": "a", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}) == EmptyDir(
        "a", True, 2**20
    )
    assert plain_volume({"name": "a", "hostPath": {"path": "/x"}}) == HostPath("a", "/x")
    assert plain_volume({"name": "a", "secret": {}}) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("$(A)", "1"),
        ("$$(A)", "$(A)"),
        ("$(B)", "$(B)"),
        ("$$$(A)", "$1"),
        ("cost: 5$", "cost: 5$"),
        ("$A", "$A"),
        ("$(A", "$(A"),
        ("echo $$", "echo $"),
    ],
)
def test_references_are_expanded_as_a_kubelet_does(text: str, expected: str) -> None:
    assert expand(text, {"A": "1"}) == expected


JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.lists(st.integers(), max_size=2), st.just({"a": 1})
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(p for key, child in children for p in _paths(child, (*path, key)))]


@given(where=st.sampled_from([p for p in _paths(FULL["spec"]) if p]), junk=JUNK)
def test_a_broken_pod_is_refused_in_one_way_or_read(where: tuple[Any, ...], junk: Any) -> None:
    pod = copy.deepcopy(FULL)
    target = pod["spec"]
    for key in where[:-1]:
        target = target[key]
    target[where[-1]] = junk
    with suppress(PodSpecError):
        parse_pod(pod)
