"""The Kubernetes API servers that the contract suites run over."""

import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from api.hypercorn_server import HypercornServer
from k8s.client import KubeClient
from k8s.embedded.apiserver import ApiServer
from k8s.embedded.node import Node
from k8s.embedded.simulated_driver import SimulatedDriver
from k8s.kr8s_client import Kr8sClient

EMBEDDED_NODE = "kecs-contract-node"
_OUR_NODES = "kecs-contract-"

SERVERS_OVER_SOCKETS = [
    "embedded over http",
    pytest.param(
        "real",
        marks=pytest.mark.skipif(
            not os.environ.get("KECS_TEST_KUBECONFIG"),
            reason="set KECS_TEST_KUBECONFIG to a kubeconfig to run this against a real Kubernetes API server",
        ),
    ),
]
SERVERS = ["embedded in process", *SERVERS_OVER_SOCKETS]


@asynccontextmanager
async def a_client_of(server: str, tmp_path: Path) -> AsyncIterator[KubeClient]:
    """A client of one of SERVERS."""
    if server == "real":
        async with Kr8sClient.connect(os.environ["KECS_TEST_KUBECONFIG"]) as client:
            yield client
        return
    api = ApiServer.open(tmp_path / "kubernetes.db", node_name=EMBEDDED_NODE)
    try:
        if server == "embedded in process":
            yield api.client()
        else:
            async with _served(api) as url, Kr8sClient.connect(url=url) as client:
                yield client
    finally:
        api.close()


@asynccontextmanager
async def _served(api: ApiServer) -> AsyncIterator[str]:
    """Its address, over hypercorn."""
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(HypercornServer(api.asgi).run, listeners)
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def a_node_of(server: str, client: KubeClient, tmp_path: Path) -> AsyncIterator[None]:
    """Our node, joined to the server; nothing where a real cluster has nodes of its own."""
    nodes = [one["metadata"]["name"] for one in (await client.request("GET", "/api/v1/nodes"))["items"]]
    if any(not name.startswith(_OUR_NODES) for name in nodes):
        yield
        return
    name = f"{_OUR_NODES}{uuid.uuid4().hex[:8]}" if server == "real" else EMBEDDED_NODE
    async with trio.open_nursery() as nursery:
        node = Node(client, SimulatedDriver(tmp_path / "logs"), name, schedule=server == "real")
        await nursery.start(node.run)
        yield
        nursery.cancel_scope.cancel()
    if server == "real":
        await client.request("DELETE", f"/api/v1/nodes/{name}")
