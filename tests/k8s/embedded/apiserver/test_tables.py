"""The columns that people see."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from k8s.client import JsonObject
from k8s.embedded.apiserver.durations import human, since
from k8s.embedded.apiserver.resources import BUILT_IN
from k8s.embedded.apiserver.tables import cells, column_definitions
from tests.k8s.embedded.apiserver.objects import pod

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
TYPES = {type_.plural: type_ for type_ in BUILT_IN if type_.group != "events.k8s.io"}


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (600, "10m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 300, "3h5m"),
        (8 * 3600 + 300, "8h"),
        (47 * 3600, "47h"),
        (50 * 3600, "2d2h"),
        (10 * 86400, "10d"),
        (800 * 86400, "2y70d"),
        (3000 * 86400, "8y"),
        (-5, "<invalid>"),
    ],
)
def test_ages(seconds: int, shown: str) -> None:
    assert human(seconds) == shown


def test_no_time_is_unknown() -> None:
    assert since(None, NOW) == "<unknown>"
    assert since("yesterday", NOW) == "<invalid>"


def _status(**state: Any) -> JsonObject:
    return {"name": "main", "ready": "running" in state, "restartCount": 0, "state": state}


@pytest.mark.parametrize(
    ("status", "metadata", "shown"),
    [
        ({"phase": "Pending"}, {}, "Pending"),
        ({"phase": "Running", "containerStatuses": [_status(running={})]}, {}, "Running"),
        ({"phase": "Pending", "containerStatuses": [_status(waiting={"reason": "ErrImagePull"})]}, {}, "ErrImagePull"),
        ({"phase": "Failed", "containerStatuses": [_status(terminated={"reason": "OOMKilled"})]}, {}, "OOMKilled"),
        ({"phase": "Failed", "containerStatuses": [_status(terminated={"exitCode": 3})]}, {}, "ExitCode:3"),
        ({"phase": "Failed", "containerStatuses": [_status(terminated={"signal": 9})]}, {}, "Signal:9"),
        ({"phase": "Failed", "reason": "NodeShutdown"}, {}, "NodeShutdown"),
        ({"phase": "Running", "containerStatuses": [_status(running={})]}, {"deletionTimestamp": "x"}, "Terminating"),
        ({"phase": "Succeeded", "containerStatuses": []}, {"deletionTimestamp": "x"}, "Succeeded"),
    ],
)
def test_the_status_of_a_pod(status: JsonObject, metadata: JsonObject, shown: str) -> None:
    body = {**pod(**metadata), "status": status}
    assert cells(TYPES["pods"], body, NOW)[2] == shown


def test_an_init_container_that_holds_the_pod_up_is_shown() -> None:
    body = pod()
    body["spec"]["initContainers"] = [{"name": "i", "image": "x"}, {"name": "j", "image": "x"}]
    body["status"] = {
        "phase": "Pending",
        "initContainerStatuses": [_status(terminated={"exitCode": 0}), _status(running={})],
    }
    assert cells(TYPES["pods"], body, NOW)[2] == "Init:1/2"


@pytest.mark.parametrize("plural", sorted(TYPES))
def test_every_kind_has_as_many_cells_as_columns_even_when_empty(plural: str) -> None:
    resource = TYPES[plural]
    assert len(cells(resource, {"metadata": {"name": "x"}}, NOW)) == len(column_definitions(resource))


def test_a_node_and_a_service() -> None:
    node = {
        "metadata": {"name": "n", "labels": {"node-role.kubernetes.io/worker": ""}, "creationTimestamp": None},
        "spec": {"unschedulable": True},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
            "nodeInfo": {"kubeletVersion": "v1"},
        },
    }
    assert cells(TYPES["nodes"], node, NOW)[:6] == [
        "n",
        "Ready,SchedulingDisabled",
        "worker",
        "<unknown>",
        "v1",
        "10.0.0.1",
    ]
    ports = [{"port": 80, "nodePort": 30080, "protocol": "TCP"}]
    service = {"metadata": {"name": "s"}, "spec": {"type": "NodePort", "ports": ports, "selector": {"a": "b"}}}
    assert cells(TYPES["services"], service, NOW)[4] == "80:30080/TCP"
