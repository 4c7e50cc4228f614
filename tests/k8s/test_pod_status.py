"""What pods tell, from pods as a real kubelet (1.20, containerd) left them: `fixtures/pods.json`."""

import copy
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache, reduce
from operator import getitem
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.observation import ContainerObservation, Phase, TaskObservation
from k8s import names
from k8s.pod_status import OUT_OF_MEMORY, observation


@cache
def _recorded() -> dict[str, Any]:
    loaded: dict[str, Any] = orjson.loads((Path(__file__).parent / "fixtures" / "pods.json").read_bytes())
    return loaded


def _pod(name: str) -> dict[str, Any]:
    pod: dict[str, Any] = copy.deepcopy(_recorded()[name])
    return pod


def _observed(pod: dict[str, Any], deleted: bool = False) -> TaskObservation:
    seen = observation(pod, deleted)
    assert seen is not None
    return seen


def _only(seen: TaskObservation) -> ContainerObservation:
    (container,) = seen.containers
    return container


def test_every_recorded_pod_is_a_task() -> None:
    for name in _recorded():
        assert _observed(_pod(name)).task_arn.startswith("arn:aws:ecs:us-east-1:000000000000:task/Truth/")


def test_a_pod_that_is_no_task_tells_nothing() -> None:
    assert observation({"metadata": {"name": "x"}, "spec": {}, "status": {}}) is None


@pytest.mark.parametrize(
    ("name", "phase"),
    [
        ("accepted", Phase.ACCEPTED),
        ("unschedulable", Phase.ACCEPTED),
        ("placed", Phase.PLACED),
        ("healthy_running", Phase.RUNNING),
        ("two_containers_running", Phase.RUNNING),
        ("exit_0", Phase.ENDED),
    ],
)
def test_how_far_a_task_is(name: str, phase: Phase) -> None:
    assert _observed(_pod(name)).phase is phase


@pytest.mark.parametrize(
    ("name", "exit_code", "reason"),
    [
        ("exit_0", 0, None),
        ("exit_3", 3, None),
        ("out_of_memory", 137, OUT_OF_MEMORY),
        ("stopped_politely", 7, None),
        ("stopped_by_force", 137, None),
    ],
)
def test_how_a_container_ended(name: str, exit_code: int, reason: str | None) -> None:
    seen = _observed(_pod(name))
    container = _only(seen)
    assert seen.phase is Phase.ENDED
    assert (container.exit_code, container.reason) == (exit_code, reason)
    assert container.ended
    assert not container.running
    assert container.started_at is not None
    assert container.finished_at is not None
    assert container.finished_at >= container.started_at >= datetime(2026, 1, 1, tzinfo=UTC)
    assert seen.start_error is None


def test_a_stop_that_was_asked_for_is_visible() -> None:
    assert _observed(_pod("stopped_politely")).stopping
    assert not _observed(_pod("exit_3")).stopping


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("image_missing", "CannotPullContainerError: rpc error: code = Unknown desc = failed to pull and unpack image"),
        ("image_name_invalid", "CannotPullContainerError: Failed to apply default image tag"),
        ("command_missing", "CannotStartContainerError: failed to create containerd task"),
        ("one_missing_image_running", "CannotPullContainerError: Back-off pulling image"),
        ("bad_sysctl", "ResourceInitializationError: SysctlForbidden: Pod forbidden sysctl"),
    ],
)
def test_why_a_task_can_never_start(name: str, error: str) -> None:
    assert (_observed(_pod(name)).start_error or "").startswith(error)


def test_a_container_that_could_not_start_has_no_exit_code() -> None:
    container = _only(_observed(_pod("command_missing")))
    assert container.exit_code is None
    assert container.started_at is None
    assert (container.reason or "").startswith("CannotStartContainerError: ")


def test_a_pod_whose_only_image_is_missing_has_ended() -> None:
    assert _observed(_pod("image_missing")).phase is Phase.ENDED


def test_a_pod_with_one_missing_image_and_one_running_container_has_not_ended() -> None:
    seen = _observed(_pod("one_missing_image_running"))
    assert seen.phase is Phase.RUNNING
    assert [one.running for one in seen.containers] == [True, False]


def test_a_pod_that_only_waits_for_our_finalizer_has_ended() -> None:
    stopped = _observed(_pod("one_missing_image"))
    assert stopped.phase is Phase.ENDED
    assert [one.exit_code for one in stopped.containers] == [137, None]


def test_a_pod_that_was_deleted_before_it_had_a_node_has_ended() -> None:
    assert _observed(_pod("too_big")).phase is Phase.ENDED


def test_a_pod_that_is_being_stopped_runs_until_its_kubelet_lets_it_go() -> None:
    pod = _pod("healthy_running")
    pod["metadata"] |= {"deletionTimestamp": "2026-11-22T22:50:00Z", "deletionGracePeriodSeconds": 30}
    seen = _observed(pod)
    assert seen.phase is Phase.RUNNING
    assert seen.stopping


def test_a_pod_that_is_deleted_while_its_containers_are_made_has_not_ended_yet() -> None:
    pod = _pod("placed")
    pod["metadata"] |= {"deletionTimestamp": "2026-11-22T22:50:00Z", "deletionGracePeriodSeconds": 30}
    assert _observed(pod).phase is Phase.PLACED
    pod["metadata"]["deletionGracePeriodSeconds"] = 0
    assert _observed(pod).phase is Phase.ENDED


def test_health_is_readiness() -> None:
    assert _only(_observed(_pod("healthy_running"))).ready
    assert not _only(_observed(_pod("unhealthy_running"))).ready


def test_a_deleted_pod_is_gone_and_still_tells_its_end() -> None:
    seen = _observed(_pod("exit_3"), deleted=True)
    assert seen.phase is Phase.GONE
    assert _only(seen).exit_code == 3
    assert not any(one.running for one in _observed(_pod("healthy_running"), deleted=True).containers)


def test_containers_have_ecs_names_runtime_ids_and_digests() -> None:
    seen = _observed(_pod("two_containers"))
    assert [one.name for one in seen.containers] == ["Main", "side_car"]
    assert all(one.runtime_id and "/" not in one.runtime_id for one in seen.containers)
    assert all((one.image_digest or "").startswith("sha256:") for one in seen.containers)
    assert seen.ip
    assert seen.node == "lab-node"


def test_a_node_that_shuts_down_is_why_a_task_ended() -> None:
    pod = _pod("exit_3")
    pod["status"] |= {"phase": "Failed", "reason": "NodeShutdown", "message": "the instance was stopped"}
    seen = _observed(pod)
    assert seen.ended_because == "NodeShutdown: the instance was stopped"
    assert seen.start_error is None


def test_a_task_that_its_node_lost_before_it_started_did_not_fail_to_start() -> None:
    pod = _pod("placed")
    pod["status"] = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}
    seen = _observed(pod)
    assert seen.phase is Phase.ENDED
    assert seen.ended_because == "Evicted: The node was low on resource: memory."
    assert seen.start_error is None


def test_without_its_record_a_container_is_called_what_kubernetes_calls_it() -> None:
    pod = _pod("exit_0")
    del pod["metadata"]["annotations"][names.CONTAINER_NAMES]
    assert _only(_observed(pod)).name.startswith("main-x")


def test_a_signal_without_exit_code_counts_from_128() -> None:
    pod = _pod("exit_3")
    terminated = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    del terminated["exitCode"]
    terminated["signal"] = 9
    assert _only(_observed(pod)).exit_code == 137


JUNK: tuple[Any, ...] = (None, 0, 1.5, "", "junk", [], {}, ["junk"], {"a": 1}, True, [None], [{}])


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything inside a JSON value."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from _places(child, (*path, key))


@pytest.mark.parametrize("name", ["exit_3", "two_containers_running", "image_missing"])
def test_whatever_a_status_says_reading_it_never_fails(name: str) -> None:
    for *parents, last in _places({"status": _pod(name)["status"]}):
        for junk in JUNK:
            pod = _pod(name)
            place = reduce(getitem, parents, pod)
            place[last] = junk
            assert observation(pod) is not None, (parents, last, junk)


@pytest.mark.parametrize("text", ["junk", "[]", "null", "3", '{"main": ', '{"other": "x"}'])
def test_container_names_that_somebody_spoilt_are_those_of_kubernetes(text: str) -> None:
    pod = _pod("exit_0")
    pod["metadata"]["annotations"][names.CONTAINER_NAMES] = text
    assert _only(_observed(pod)).name.startswith("main-x")


@pytest.mark.parametrize(
    "arn", ["", "junk", "arn:aws:ecs:us-east-1:000000000000:cluster/c", "arn:aws:ecs:x:0:task/c/a"]
)
def test_a_pod_with_a_spoilt_task_arn_is_no_task(arn: str) -> None:
    pod = _pod("exit_0")
    pod["metadata"]["annotations"][names.TASK_ARN] = arn
    assert observation(pod) is None


def test_a_container_that_somebody_else_put_into_the_pod_is_no_container_of_the_task() -> None:
    pod = _pod("exit_0")
    pod["spec"]["containers"].append({"name": "injected"})
    assert len(_observed(pod).containers) == 1
