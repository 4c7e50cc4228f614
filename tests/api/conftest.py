from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing
from attrs import frozen

from actors.instance import ControlPlane
from api.dispatch import Endpoint
from tests.api.oracle import Client
from tests.fakes import CountingIds, FakeOrchestrator, InMemoryStore, TrioClock


@frozen
class Instance:
    """A whole control plane in memory, behind its endpoint."""

    control_plane: ControlPlane
    orchestrator: FakeOrchestrator
    store: InMemoryStore
    endpoint: Endpoint

    async def settle(self) -> None:
        """Let everything that was begun come to its end: nothing here waits for time."""
        await trio.testing.wait_all_tasks_blocked()


@pytest.fixture
async def instance() -> AsyncIterator[Instance]:
    store, orchestrator = InMemoryStore(commit_s=0), FakeOrchestrator(delay_s=0)
    control_plane = ControlPlane(store, orchestrator, TrioClock(), CountingIds())
    async with trio.open_nursery() as nursery:
        await nursery.start(control_plane.run)
        yield Instance(control_plane, orchestrator, store, Endpoint(control_plane))
        nursery.cancel_scope.cancel()


@pytest.fixture
def call(instance: Instance) -> Client:
    """A client of the instance: `await call("ListClusters")`."""
    return Client(instance.endpoint)
