"""An API server over a file of its own for each test, reached in process or over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import trio

from api.hypercorn_server import HypercornServer
from k8s.embedded.apiserver import ApiServer
from k8s.embedded.apiserver.in_process import InProcessClient
from k8s.embedded.apiserver.kubeconfig import kubeconfig
from tests.k8s.embedded.apiserver.fake_node import FakeNode


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    server = ApiServer.open(tmp_path / "objects.db", node_name="node-1")
    yield server
    server.close()


@pytest.fixture
def client(server: ApiServer) -> InProcessClient:
    return server.client()


@pytest.fixture
def node(server: ApiServer) -> FakeNode:
    node = FakeNode()
    server.gateway = node
    return node


@pytest.fixture
async def url(server: ApiServer, node: FakeNode) -> AsyncIterator[str]:
    """The address of the server, listening on a free port."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    shutdown = trio.Event()
    async with trio.open_nursery() as nursery:
        http = HypercornServer(server.asgi, grace_s=0.2)
        await nursery.start(lambda task_status: http.run(listeners, shutdown=shutdown, task_status=task_status))
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        shutdown.set()


@pytest.fixture
def config_file(url: str, tmp_path: Path) -> Path:
    path = tmp_path / "kubeconfig"
    path.write_text(kubeconfig("kecs", url))
    return path


@pytest.fixture
def reopened(tmp_path: Path) -> Iterator[Callable[[ApiServer], ApiServer]]:
    """Close a server and open its file again, as after a restart."""
    opened: list[ApiServer] = []

    def reopen(server: ApiServer) -> ApiServer:
        server.close()
        opened.append(ApiServer.open(tmp_path / "objects.db", node_name="node-1"))
        return opened[-1]

    yield reopen
    for server in opened:
        server.close()
