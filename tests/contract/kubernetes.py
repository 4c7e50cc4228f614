"""The Kubernetes API servers that the contract suites run over."""

import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from k8s.client import KubeClient
from k8s.embedded.node import Node
from k8s.embedded.simulated_driver import SimulatedDriver
from k8s.kr8s_client import Kr8sClient

SERVERS = ["embedded in process", "embedded over http", "real"]

_OUR_NODES = "kecs-contract-"
_NO_REAL_ONE = "set KECS_TEST_KUBECONFIG to a kubeconfig to run this against a real Kubernetes API server"


@asynccontextmanager
async def a_client_of(server: str, tmp_path: Path) -> AsyncIterator[KubeClient]:
    """A client of one of SERVERS; skips the test where there is no real one."""
    kubeconfig = os.environ.get("KECS_TEST_KUBECONFIG")
    if not kubeconfig:
        pytest.skip(_NO_REAL_ONE)
    async with Kr8sClient.connect(kubeconfig) as client:
        yield client


@asynccontextmanager
async def a_node_of(server: str, client: KubeClient, tmp_path: Path) -> AsyncIterator[None]:
    """Our node, joined to the server; nothing where a real cluster has nodes of its own."""
    nodes = [one["metadata"]["name"] for one in (await client.request("GET", "/api/v1/nodes"))["items"]]
    if any(not name.startswith(_OUR_NODES) for name in nodes):
        yield
        return
    name = f"{_OUR_NODES}{uuid.uuid4().hex[:8]}"
    async with trio.open_nursery() as nursery:
        node = Node(client, SimulatedDriver(tmp_path / "logs"), name, schedule=server == "real")
        await nursery.start(node.run)
        yield
        nursery.cancel_scope.cancel()
    await client.request("DELETE", f"/api/v1/nodes/{name}")
