"""The node over an API in memory and the simulated driver, on a clock that jumps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock

from k8s.client import JsonObject
from k8s.embedded.gateway import ExecRequest, GatewayError, LogRequest
from k8s.embedded.node import Node
from k8s.embedded.simulated_driver import SimulatedDriver, SimulatedWorld
from tests.k8s.embedded.faulty_api import FaultyApi
from tests.k8s.embedded.pod_objects import container_object, pod_object

T0 = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def now() -> datetime:
    return T0 + timedelta(seconds=trio.current_time())


@define
class Machine:
    """One machine: its API server and what runs on it. Nodes come and go."""

    logs: Path
    api: FaultyApi = field(factory=lambda: FaultyApi(now=now))
    world: SimulatedWorld = field(factory=SimulatedWorld)

    @asynccontextmanager
    async def node(self, **options: Any) -> AsyncIterator[Node]:
        """A node that runs inside the block, and then is gone as if killed."""
        driver = SimulatedDriver(self.logs, world=self.world, now=now)
        node = Node(self.api, driver, "node", now=now, **options)
        async with trio.open_nursery() as nursery:
            await nursery.start(node.run)
            yield node
            nursery.cancel_scope.cancel()

    async def until(self, name: str, holds: Callable[[JsonObject], bool]) -> JsonObject:
        """Wait until the pod is like this."""
        with trio.fail_after(2000):
            while True:
                pod = self.api.pod(name)
                if pod is not None and holds(pod):
                    return pod
                await trio.sleep(0.05)

    async def until_gone(self, name: str) -> None:
        with trio.fail_after(2000):
            while self.api.pod(name) is not None:  # noqa: ASYNC110 - the clock jumps
                await trio.sleep(0.05)


def phase(expected: str) -> Callable[[JsonObject], bool]:
    return lambda pod: (pod.get("status") or {}).get("phase") == expected


def state_of(pod: JsonObject, index: int = 0) -> dict[str, Any]:
    state: dict[str, Any] = pod["status"]["containerStatuses"][index]["state"]
    return state


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


async def test_a_pod_goes_from_pending_to_running_in_one_patch(machine: Machine, autojump_clock: MockClock) -> None:
    async with machine.node():
        machine.api.create_pod(pod_object())
        pod = await machine.until("pod", phase("Running"))
        assert [s["phase"] for _, s in machine.api.patches if _.endswith("/pods/pod/status")] == ["Running"]
        assert pod["status"]["podIP"].startswith("100.64.")
        assert state_of(pod)["running"]
        assert {c["type"]: c["status"] for c in pod["status"]["conditions"]}["Ready"] == "True"


async def test_the_node_registers_and_keeps_its_lease_fresh(machine: Machine, autojump_clock: MockClock) -> None:
    async with machine.node():
        node = machine.api.objects["/api/v1/nodes/node"]
        assert {c["type"]: c["status"] for c in node["status"]["conditions"]}["Ready"] == "True"
        lease = machine.api.objects["/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node"]
        first = lease["spec"]["renewTime"]
        await trio.sleep(25)
        assert lease["spec"]["renewTime"] > first


async def test_a_node_that_somebody_deleted_registers_again(machine: Machine, autojump_clock: MockClock) -> None:
    async with machine.node():
        del machine.api.objects["/api/v1/nodes/node"]
        del machine.api.objects["/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node"]
        machine.api.faults = lambda m, p: "500" if (m, p) == ("POST", "/api/v1/namespaces") else ""
        await trio.sleep(400)
        assert "/api/v1/nodes/node" in machine.api.objects


async def test_an_exit_code_reaches_the_api_server(machine: Machine, autojump_clock: MockClock) -> None:
    async with machine.node():
        machine.api.create_pod(pod_object(containers=[container_object("main", "sh", "-c", "sleep 5; exit 3")]))
        pod = await machine.until("pod", phase("Failed"))
        assert state_of(pod)["terminated"]["exitCode"] == 3
        assert machine.world.pods == {}


async def test_deleting_a_pod_stops_it_tells_how_it_ended_and_removes_the_object(
    machine: Machine, autojump_clock: MockClock
) -> None:
    async with machine.node() as node:
        machine.api.create_pod(pod_object())
        await machine.until("pod", phase("Running"))
        machine.api.delete_pod("pod")
        await machine.until_gone("pod")
        _, last = machine.api.patches[-1]
        assert last["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 143
        await trio.sleep(1)
        assert not node.pods
        assert not machine.world.pods


async def test_a_pod_held_by_a_finalizer_stays_with_its_end_told(machine: Machine, autojump_clock: MockClock) -> None:
    async with machine.node() as node:
        machine.api.create_pod(pod_object(finalizers=["kecs.dev/task-record"]))
        await machine.until("pod", phase("Running"))
        machine.api.delete_pod("pod")
        pod = await machine.until("pod", phase("Failed"))
        assert state_of(pod)["terminated"]["exitCode"] == 143
        await trio.sleep(100)
        pod = await machine.until("pod", lambda p: p["metadata"]["deletionGracePeriodSeconds"] == 0)
        machine.api.release_pod("pod")
        await machine.until_gone("pod")
        await trio.sleep(1)
        assert not node.pods


def status_writes(count: int, status: str) -> Callable[[str, str], str]:
    """The first `count` writes of the pod's status from now on fail like this."""
    left = [status] * count
    return lambda method, path: left.pop() if left and (method, path[-10:]) == ("PATCH", "pod/status") else ""


@pytest.mark.parametrize("writes_refused", [1, 2])
async def test_an_end_whose_status_is_refused_for_good_is_told_otherwise_and_leaves_nothing(
    machine: Machine, autojump_clock: MockClock, writes_refused: int
) -> None:
    async with machine.node() as node:
        machine.api.create_pod(pod_object(finalizers=["kecs.dev/task-record"]))
        await machine.until("pod", phase("Running"))
        machine.api.faults = status_writes(writes_refused, "422")
        machine.api.delete_pod("pod")
        pod = await machine.until("pod", lambda p: p["metadata"]["deletionGracePeriodSeconds"] == 0)
        if writes_refused == 1:
            assert (pod["status"]["phase"], pod["status"]["reason"]) == ("Failed", "StatusRefused")
            assert "422" in pod["status"]["message"]
            assert not pod["status"].get("containerStatuses")
        await trio.sleep(1)
        assert not machine.world.pods
        machine.api.release_pod("pod")
        await machine.until_gone("pod")
        await trio.sleep(1)
        assert not node.pods


@pytest.mark.parametrize("status", ["401", "403", "410", "429", "500"])
async def test_a_refusal_that_may_pass_loses_nothing(machine: Machine, autojump_clock: MockClock, status: str) -> None:
    async with machine.node():
        machine.api.create_pod(pod_object(containers=[container_object("main", "sh", "-c", "sleep 5; exit 3")]))
        await machine.until("pod", phase("Running"))
        machine.api.faults = status_writes(4, status)
        pod = await machine.until("pod", phase("Failed"))
        assert state_of(pod)["terminated"]["exitCode"] == 3


async def test_a_node_whose_statuses_are_refused_for_good_still_stops(
    machine: Machine, autojump_clock: MockClock
) -> None:
    async with machine.node() as node:
        machine.api.create_pod(pod_object())
        await machine.until("pod", phase("Running"))
        machine.api.faults = status_writes(100, "422")
        began = trio.current_time()
        await node.shut_down(1)
        assert trio.current_time() - began < 3
        assert not machine.world.pods


async def test_a_pod_deleted_while_it_starts_ends(machine: Machine, autojump_clock: MockClock) -> None:
    async with machine.node() as node:
        machine.api.create_pod(pod_object(annotations={"simulated.kecs.dev/start-seconds": "1000"}))
        await trio.sleep(1.5)
        pod = machine.api.pod("pod")
        assert pod is not None
        assert state_of(pod)["waiting"]["reason"] == "ContainerCreating"
        machine.api.delete_pod("pod")
        with trio.fail_after(10):
            await machine.until_gone("pod")
        await trio.sleep(1)
        assert not node.pods
        assert not machine.world.pods


async def test_a_pod_forced_away_while_it_runs_is_killed(machine: Machine, autojump_clock: MockClock) -> None:
    async with machine.node() as node:
        machine.api.create_pod(pod_object(annotations={"simulated.kecs.dev/stop-seconds": "never"}))
        await machine.until("pod", phase("Running"))
        machine.api.delete_pod("pod", 0)
        await trio.sleep(1)
        assert not node.pods
        assert not machine.world.pods


async def test_a_stubborn_container_is_killed_after_its_stop_timeout(
    machine: Machine, autojump_clock: MockClock
) -> None:
    async with machine.node():
        stubborn = {"simulated.kecs.dev/stop-seconds": "never"}
        machine.api.create_pod(pod_object(annotations=stubborn, stop_timeouts={"main": 7}))
        await machine.until("pod", phase("Running"))
        began = trio.current_time()
        machine.api.delete_pod("pod")
        await machine.until_gone("pod")
        assert 7 <= trio.current_time() - began < 8
        _, last = machine.api.patches[-1]
        assert last["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137


async def test_dependencies_hold(machine: Machine, autojump_clock: MockClock) -> None:
    async with machine.node():
        containers = [
            container_object("app"),
            container_object("init", "sh", "-c", "sleep 5; exit 0"),
            container_object("db", readinessProbe={"exec": {"command": ["check"]}, "periodSeconds": 2}),
        ]
        machine.api.create_pod(
            pod_object(
                containers=containers,
                depends_on={"app": {"init": "SUCCESS", "db": "HEALTHY"}},
                annotations={"simulated.kecs.dev/healthy-after-seconds.db": "9"},
            )
        )
        await trio.sleep(7)
        pod = machine.api.pod("pod")
        assert pod is not None
        assert "waiting" in state_of(pod, 0)
        assert state_of(pod, 1)["terminated"]["exitCode"] == 0
        pod = await machine.until("pod", phase("Running"))
        assert 9 <= trio.current_time() <= 12


async def test_a_container_that_turns_unhealthy_is_told_apart_from_one_that_is_not_ready_yet(
    machine: Machine, autojump_clock: MockClock
) -> None:
    async with machine.node():
        probe = {"exec": {"command": ["check"]}, "periodSeconds": 5, "failureThreshold": 3}
        machine.api.create_pod(
            pod_object(
                containers=[container_object("main", readinessProbe=probe)],
                annotations={"simulated.kecs.dev/healthy-after-seconds": "never"},
            )
        )
        pod = await machine.until("pod", phase("Running"))
        assert not pod["status"]["containerStatuses"][0]["ready"]
        await trio.sleep(8)
        kinds = {c["type"]: c for c in machine.api.pods["pod"]["status"]["conditions"]}
        assert "kecs.dev/Unhealthy" not in kinds
        await trio.sleep(8)
        kinds = {c["type"]: c for c in machine.api.pods["pod"]["status"]["conditions"]}
        assert (kinds["kecs.dev/Unhealthy"]["status"], kinds["kecs.dev/Unhealthy"]["message"]) == ("True", "main")


async def test_an_image_that_cannot_be_pulled_is_told_and_tried_again(
    machine: Machine, autojump_clock: MockClock
) -> None:
    async with machine.node():
        machine.api.create_pod(pod_object(annotations={"simulated.kecs.dev/start-error": "no such image"}))
        pod = await machine.until("pod", lambda p: "containerStatuses" in p["status"])
        assert state_of(pod)["waiting"] == {"reason": "ErrImagePull", "message": "no such image"}
        pod = await machine.until("pod", lambda p: state_of(p)["waiting"]["reason"] == "ImagePullBackOff")
        assert pod["status"]["phase"] == "Pending"
        await trio.sleep(1)
        events = [o for o in machine.api.objects.values() if o["kind"] == "Event"]
        assert [(e["reason"], e["type"], e["count"]) for e in events] == [("Failed", "Warning", 2)]


async def test_a_pod_that_this_node_cannot_run_is_rejected(machine: Machine, autojump_clock: MockClock) -> None:
    async with machine.node():
        machine.api.create_pod(pod_object(depends_on={"main": {"nobody": "START"}}))
        pod = await machine.until("pod", phase("Failed"))
        assert pod["status"]["reason"] == "UnexpectedAdmissionError"
        assert "cannot depend on nobody" in pod["status"]["message"]


async def test_an_always_restarted_container_comes_back(machine: Machine, autojump_clock: MockClock) -> None:
    async with machine.node():
        crash = [container_object("main", "sh", "-c", "sleep 1; exit 1")]
        machine.api.create_pod(pod_object(containers=crash, restartPolicy="Always"))
        pod = await machine.until("pod", lambda p: "CrashLoopBackOff" in str(p["status"]))
        assert pod["status"]["containerStatuses"][0]["restartCount"] == 1
        assert pod["status"]["phase"] == "Running"
        pod = await machine.until("pod", lambda p: p["status"]["containerStatuses"][0]["restartCount"] == 3)
        assert pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 1


async def test_a_failing_liveness_probe_restarts_the_container(machine: Machine, autojump_clock: MockClock) -> None:
    async with machine.node():
        probe = {"exec": {"command": ["false"]}, "periodSeconds": 2}
        containers = [container_object("main", livenessProbe=probe)]
        machine.api.create_pod(pod_object(containers=containers, restartPolicy="Always"))
        await machine.until("pod", lambda p: "143" in str(p["status"]))
        await machine.until("pod", lambda p: p["status"]["containerStatuses"][0]["restartCount"] == 1)
        assert trio.current_time() < 30


async def test_environment_comes_from_config_maps_secrets_and_fields(
    machine: Machine, autojump_clock: MockClock
) -> None:
    config = {"kind": "ConfigMap", "metadata": {"name": "config"}, "data": {"colour": "red"}}
    secret = {"kind": "Secret", "metadata": {"name": "secret"}, "data": {"word": "eHl6enk="}}
    machine.api.create("/api/v1/namespaces/default/configmaps", config)
    machine.api.create("/api/v1/namespaces/default/secrets", secret)
    env = [
        {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "config", "key": "colour"}}},
        {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "secret", "key": "word"}}},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "BOTH", "value": "$(COLOUR)-$(WORD)-$(MISSING)-$$(COLOUR)"},
    ]
    async with machine.node():
        machine.api.create_pod(pod_object(containers=[container_object("main", "sleep", "$(NODE)", env=env)]))
        pod = await machine.until("pod", phase("Running"))
        spec = machine.world.pods[pod["metadata"]["uid"]].containers["main"].spec
        assert spec.command == ("sleep", "node")
        assert dict(spec.env) == {
            "HOSTNAME": "pod",
            "COLOUR": "red",
            "WORD": "xyzzy",
            "NODE": "node",
            "IP": pod["status"]["podIP"],
            "BOTH": "red-xyzzy-$(MISSING)-$(COLOUR)",
        }


async def test_a_missing_secret_is_waited_for(machine: Machine, autojump_clock: MockClock) -> None:
    env = [{"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "secret", "key": "word"}}}]
    async with machine.node():
        machine.api.create_pod(pod_object(containers=[container_object(env=env)]))
        pod = await machine.until("pod", lambda p: "CreateContainerConfigError" in str(p["status"]))
        assert state_of(pod)["waiting"]["message"] == 'secret "secret" not found'
        secret = {"kind": "Secret", "metadata": {"name": "secret"}, "data": {"word": "eHl6enk="}}
        machine.api.create("/api/v1/namespaces/default/secrets", secret)
        await machine.until("pod", phase("Running"))


async def test_what_runs_is_adopted_after_the_node_was_killed(machine: Machine, autojump_clock: MockClock) -> None:
    async with machine.node():
        machine.api.create_pod(pod_object())
        before = await machine.until("pod", phase("Running"))
    machine.api.create_pod(pod_object("later"))
    async with machine.node() as node:
        await machine.until("later", phase("Running"))
        assert machine.api.pods["pod"]["status"] == before["status"]
        assert len(node.pods) == 2
        machine.api.delete_pod("pod")
        await machine.until_gone("pod")


async def test_what_ended_while_no_node_ran_is_told(machine: Machine, autojump_clock: MockClock) -> None:
    async with machine.node():
        machine.api.create_pod(pod_object())
        pod = await machine.until("pod", phase("Running"))
    machine.world.pods.pop(pod["metadata"]["uid"])
    async with machine.node():
        pod = await machine.until("pod", phase("Failed"))
        ended = state_of(pod)["terminated"]
        assert (ended["exitCode"], ended["reason"]) == (137, "ContainerStatusUnknown")


async def test_containers_whose_pod_is_gone_are_ended(machine: Machine, autojump_clock: MockClock) -> None:
    async with machine.node():
        machine.api.create_pod(pod_object())
        await machine.until("pod", phase("Running"))
    machine.api.delete_pod("pod", 0)
    async with machine.node() as node:
        await trio.sleep(1)
        assert not machine.world.pods
        assert not node.pods


async def test_an_orderly_stop_tells_why_and_leaves_nothing(machine: Machine, autojump_clock: MockClock) -> None:
    stubborn = {"simulated.kecs.dev/stop-seconds": "never"}
    async with machine.node() as node:
        machine.api.create_pod(pod_object("polite"))
        machine.api.create_pod(pod_object("stubborn", annotations=stubborn, finalizers=["x"]))
        for name in ("polite", "stubborn"):
            await machine.until(name, phase("Running"))
        began = trio.current_time()
        await node.shut_down(3)
        assert 3 <= trio.current_time() - began < 5
        assert not machine.world.pods
    for name, code in (("polite", 143), ("stubborn", 137)):
        status = machine.api.pods[name]["status"]
        assert (status["phase"], status["reason"]) == ("Failed", "NodeShutdown")
        assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == code
    before = machine.api.pods["polite"]["status"]
    async with machine.node():
        await trio.sleep(5)
        assert machine.api.pods["polite"]["status"] == before
        assert not machine.world.pods


async def test_an_orderly_stop_does_not_wait_for_pods_that_go_away_meanwhile(
    machine: Machine, autojump_clock: MockClock
) -> None:
    async with machine.node() as node:
        for name in ("held", "other"):
            machine.api.create_pod(pod_object(name, finalizers=["x"]))
            await machine.until(name, phase("Running"))
        machine.api.break_watches()
        machine.api.delete_pod("held", 0)
        machine.api.release_pod("held")
        machine.api.create_pod(pod_object("late"))
        began = trio.current_time()
        await node.shut_down(2)
        assert trio.current_time() - began < 2
        assert not machine.world.pods
        assert machine.api.pods["late"]["status"]["phase"] == "Pending"


async def test_pods_without_a_node_are_bound_when_asked_to(machine: Machine, autojump_clock: MockClock) -> None:
    async with machine.node(schedule=True):
        machine.api.create_pod(pod_object(node=""))
        pod = await machine.until("pod", phase("Running"))
        assert pod["spec"]["nodeName"] == "node"


async def test_a_watch_that_breaks_costs_nothing_but_time(machine: Machine, autojump_clock: MockClock) -> None:
    async with machine.node():
        for n in range(5):
            machine.api.create_pod(pod_object(f"pod-{n}"))
            machine.api.break_watches()
        for n in range(5):
            await machine.until(f"pod-{n}", phase("Running"))


async def test_a_thousand_pods_in_a_burst_start_beside_each_other(machine: Machine, autojump_clock: MockClock) -> None:
    async with machine.node():
        slow = {"simulated.kecs.dev/start-seconds": "0.5"}
        for n in range(1000):
            machine.api.create_pod(pod_object(f"pod-{n}", annotations=slow))
        began = trio.current_time()
        for n in range(1000):
            await machine.until(f"pod-{n}", phase("Running"))
        assert trio.current_time() - began < 2
        assert len(machine.api.patches) < 1100
        assert len({p["status"]["podIP"] for p in machine.api.pods.values()}) == 1000
        events = [o for o in machine.api.objects.values() if o["kind"] == "Event"]
        assert len(events) <= 100


def log_request(pod: JsonObject, **fields: Any) -> LogRequest:
    return LogRequest("default", "pod", pod["metadata"]["uid"], "main", **fields)


async def test_logs_are_read_through_the_gateway(machine: Machine, autojump_clock: MockClock) -> None:
    async with machine.node() as node:
        machine.api.create_pod(pod_object(annotations={"simulated.kecs.dev/log": "one\ntwo\nthree"}))
        pod = await machine.until("pod", phase("Running"))
        async with node.gateway.read_log(log_request(pod, tail_lines=2)) as pieces:
            assert b"".join([p async for p in pieces]) == b"two\nthree\n"


async def test_a_command_is_run_through_the_gateway(machine: Machine, autojump_clock: MockClock) -> None:
    async with machine.node() as node:
        machine.api.create_pod(pod_object())
        pod = await machine.until("pod", phase("Running"))
        request = ExecRequest("default", "pod", pod["metadata"]["uid"], "main", ("echo", "hi"))
        async with node.gateway.exec(request) as session:
            output = await session.receive()
            assert output is not None
            assert output.data == b"hi\n"
            assert await session.receive() is None
            assert session.exit_code() == 0


async def test_the_gateway_refuses_what_is_not_there(machine: Machine, autojump_clock: MockClock) -> None:
    async with machine.node() as node:
        machine.api.create_pod(pod_object(annotations={"simulated.kecs.dev/start-error": "no"}))
        pod = await machine.until("pod", lambda p: "containerStatuses" in p["status"])
        with pytest.raises(GatewayError, match="waiting to start") as refused:
            async with node.gateway.read_log(log_request(pod)):
                pass
        assert refused.value.status == 400
        with pytest.raises(GatewayError, match="not running"):
            async with node.gateway.exec(ExecRequest("default", "pod", pod["metadata"]["uid"], "main", ("true",))):
                pass
        with pytest.raises(GatewayError) as refused:
            async with node.gateway.read_log(LogRequest("default", "other", "no-such-uid", "main")):
                pass
        assert refused.value.status == 404
