"""A control plane of records alone: reads are real, and what an ask answers is said by the test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, cast

import trio

from actors.registry import Address
from actors.views import Views
from api import front, server
from api.app import create_app
from api.dispatch import Endpoint
from api.hypercorn_server import HypercornServer
from engine.arn import Scope
from engine.cluster import Cluster
from engine.container_definition import ContainerDefinition
from engine.decision import Record
from engine.lifecycle import TaskStatus
from engine.task import Container, Task
from engine.task_definition import TaskDefinition
from tests.fakes import CountingIds

SCOPE = Scope()
NOW = datetime(2026, 1, 1, 12, 0, 0, 250_000, tzinfo=UTC)


class StubControlPlane:
    def __init__(self, *records: Record) -> None:
        self.views = Views()
        self.views.apply(records)
        self.ids = CountingIds()
        self.asked: list[tuple[Address, object]] = []
        self.reply: Callable[[object], Awaitable[Any]] | None = None

    async def ask(self, address: Address, message: object, deadline_s: float = 30) -> Any:
        self.asked.append((address, message))
        assert self.reply is not None, f"nobody expected {message}"
        return await self.reply(message)

    def owner_of(self, task_arn: str) -> Address | None:
        return None

    def inspect(self) -> list[Any]:
        return []

    def inspect_one(self, address: Address) -> None:
        return None


def endpoint_over(stub: StubControlPlane) -> Endpoint:
    return Endpoint(cast(Any, stub))


def cluster(name: str = "default") -> Cluster:
    return Cluster(SCOPE.cluster_arn(name), name)


def task_definition(family: str = "web", revision: int = 1) -> TaskDefinition:
    container = ContainerDefinition(name="app", image="busybox", command=("sleep", "60"))
    return TaskDefinition(
        SCOPE.task_definition_arn(family, revision), family, revision, (container,), registered_at=NOW
    )


def task(number: int, cluster_name: str = "default") -> Task:
    arn = SCOPE.task_arn(cluster_name, f"{number:032x}")
    return Task(
        arn,
        SCOPE.cluster_arn(cluster_name),
        SCOPE.task_definition_arn("web", 1),
        last_status=TaskStatus.RUNNING,
        containers=(Container(SCOPE.container_arn(cluster_name, f"{number:032x}", "c"), arn, "app", "busybox"),),
        created_at=NOW,
        launch_type="FARGATE",
    )


@asynccontextmanager
async def front_port(endpoint: Endpoint, limits: front.Limits | None = None) -> AsyncIterator[int]:
    """Serve the endpoint as an instance does; the port."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")

        async def serve(task_status: trio.TaskStatus[None]) -> None:
            await server.serve([listener], endpoint, limits=limits, task_status=task_status)

        await nursery.start(serve)
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def app_port(endpoint: Endpoint) -> AsyncIterator[int]:
    """Serve the Quart app alone, on hypercorn; the port."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        hypercorn = HypercornServer(create_app(endpoint))

        async def serve(task_status: trio.TaskStatus[None]) -> None:
            await hypercorn.run([listener], task_status=task_status)

        await nursery.start(serve)
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()
