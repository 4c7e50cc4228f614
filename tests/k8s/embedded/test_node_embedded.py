"""The node on the embedded API server, in one process as an instance has them, on a clock that jumps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock

from k8s.client import MERGE_PATCH, JsonObject, KubeError
from k8s.embedded.apiserver.server import ApiServer
from k8s.embedded.node import Node
from k8s.embedded.simulated_driver import SimulatedDriver, SimulatedWorld
from tests.k8s.embedded.pod_objects import container_object, pod_object
from tests.k8s.embedded.test_node import now, phase

PODS = "/api/v1/namespaces/default/pods"


@define
class Instance:
    """The node process of an instance, which may be stopped, killed and started again over the same files."""

    directory: Path
    world: SimulatedWorld = field(factory=SimulatedWorld)
    api: ApiServer | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Node]:
        self.api = api = ApiServer.open(self.directory / "objects.db", node_name="node", now=now)
        driver = SimulatedDriver(self.directory / "logs", world=self.world, now=now)
        node = Node(api.client(), driver, "node", now=now)
        api.gateway = node.gateway
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(node.run)
                yield node
                nursery.cancel_scope.cancel()
        finally:
            api.close()

    async def call(
        self, method: str, path: str, body: object = None, content_type: str = "application/json"
    ) -> JsonObject:
        assert self.api is not None
        return await self.api.client().request(method, path, body=body, content_type=content_type)

    async def create(self, name: str, **fields: Any) -> None:
        pod = pod_object(name, **fields)
        for part, key in (("metadata", "uid"), ("spec", "nodeName")):
            del pod[part][key]
        await self.call("POST", PODS, pod)

    async def pod(self, name: str) -> JsonObject | None:
        try:
            return await self.call("GET", f"{PODS}/{name}")
        except KubeError as error:
            if error.status == 404:
                return None
            raise

    async def until(self, name: str, holds: Callable[[JsonObject], bool]) -> JsonObject:
        with trio.fail_after(1000):
            while True:
                pod = await self.pod(name)
                if pod is not None and holds(pod):
                    return pod
                await trio.sleep(0.05)

    async def until_gone(self, name: str) -> None:
        with trio.fail_after(1000):
            while await self.pod(name) is not None:  # noqa: ASYNC110 - the clock jumps
                await trio.sleep(0.05)


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    return Instance(tmp_path)


def end_of(pod: JsonObject) -> dict[str, Any]:
    ended: dict[str, Any] = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    return ended


async def test_a_pod_lives_and_dies(instance: Instance, autojump_clock: MockClock) -> None:
    async with instance.running() as node:
        await instance.create("pod", finalizers=["kecs.dev/task-record"])
        pod = await instance.until("pod", phase("Running"))
        assert pod["spec"]["nodeName"] == "node"
        await instance.call("DELETE", f"{PODS}/pod")
        pod = await instance.until("pod", phase("Failed"))
        assert end_of(pod)["exitCode"] == 143
        pod = await instance.until("pod", lambda p: p["metadata"]["deletionGracePeriodSeconds"] == 0)
        await instance.call("PATCH", f"{PODS}/pod", {"metadata": {"finalizers": None}}, MERGE_PATCH)
        await instance.until_gone("pod")
        await trio.sleep(1)
        assert not node.pods
        assert not instance.world.pods


async def test_a_finished_pod_can_be_deleted(instance: Instance, autojump_clock: MockClock) -> None:
    async with instance.running() as node:
        await instance.create("pod", containers=[container_object("main", "sh", "-c", "exit 3")])
        assert end_of(await instance.until("pod", phase("Failed")))["exitCode"] == 3
        await instance.call("DELETE", f"{PODS}/pod")
        await instance.until_gone("pod")
        await trio.sleep(1)
        assert not node.pods


async def test_everything_is_found_again_after_the_process_was_killed(
    instance: Instance, autojump_clock: MockClock
) -> None:
    async with instance.running():
        for name in ("lives", "dies", "vanishes"):
            await instance.create(name)
            await instance.until(name, phase("Running"))
        uids = {
            name: (await instance.until(name, phase("Running")))["metadata"]["uid"] for name in ("dies", "vanishes")
        }
    del instance.world.pods[uids["vanishes"]]
    async with instance.running() as node:
        await instance.until("lives", phase("Running"))
        ended = end_of(await instance.until("vanishes", phase("Failed")))
        assert (ended["exitCode"], ended["reason"]) == (137, "ContainerStatusUnknown")
        await instance.call("DELETE", f"{PODS}/dies")
        await instance.until_gone("dies")
        await trio.sleep(1)
        assert {w.pod.name for w in node.pods.values()} == {"lives", "vanishes"}


async def test_an_orderly_stop_is_remembered(instance: Instance, autojump_clock: MockClock) -> None:
    async with instance.running() as node:
        await instance.create("pod")
        await instance.until("pod", phase("Running"))
        await node.shut_down(10)
    assert not instance.world.pods
    async with instance.running():
        await trio.sleep(5)
        pod = await instance.until("pod", phase("Failed"))
        assert (pod["status"]["reason"], end_of(pod)["exitCode"]) == ("NodeShutdown", 143)
        node_object = await instance.call("GET", "/api/v1/nodes/node")
        conditions = {c["type"]: c["status"] for c in node_object["status"]["conditions"]}
        assert conditions["Ready"] == "True"


async def test_idle_pods_cost_no_tasks(instance: Instance, autojump_clock: MockClock) -> None:
    async with instance.running() as node:
        before = trio.lowlevel.current_statistics().tasks_living
        for n in range(500):
            await instance.create(f"pod-{n}")
        for n in range(500):
            await instance.until(f"pod-{n}", phase("Running"))
        await trio.sleep(60)
        assert len(node.pods) == 500
        assert trio.lowlevel.current_statistics().tasks_living - before < 10
