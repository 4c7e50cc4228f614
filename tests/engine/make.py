"""Short ways to the engine's records, for tests."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from engine import commands
from engine.arn import Scope
from engine.cluster import Cluster, ClusterState
from engine.cluster_turn import decide as decide_cluster
from engine.container_definition import ContainerDefinition, HealthCheck
from engine.observation import ContainerObservation, Phase, TaskObservation
from engine.registration import registered
from engine.task import Task
from engine.task_definition import TaskDefinition

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SCOPE = Scope()
CHECK = HealthCheck(command=("CMD-SHELL", "true"), interval=10, timeout=5, retries=2, start_period=20)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def container(name: str = "web", **members: Any) -> ContainerDefinition:
    given: dict[str, Any] = {"name": name, "image": "busybox", "memory": 64, "command": ("true",)}
    return ContainerDefinition(**given | members)


def registering(*containers: ContainerDefinition, **members: Any) -> commands.RegisterTaskDefinition:
    given: dict[str, Any] = {"scope": SCOPE, "family": "web", "container_definitions": containers or (container(),)}
    return commands.RegisterTaskDefinition(**given | members)


def definition(*containers: ContainerDefinition, revision: int = 1, **members: Any) -> TaskDefinition:
    return registered(registering(*containers, **members), revision, NOW)


def cluster_state(**members: Any) -> ClusterState:
    command = commands.CreateCluster(scope=SCOPE, id_seed="cluster-seed", **members)
    return decide_cluster(ClusterState(), command, NOW).state


def cluster(**members: Any) -> Cluster:
    made = cluster_state(**members).cluster
    assert made is not None
    return made


def seen(task: Task | str, phase: Phase, *containers: ContainerObservation, **members: Any) -> TaskObservation:
    arn = task if isinstance(task, str) else task.task_arn
    given: dict[str, Any] = {"ip": "10.0.0.7"}
    return TaskObservation(arn, phase, containers, **given | members)


def running(name: str = "web", at: datetime = NOW, ready: bool = True) -> ContainerObservation:
    return ContainerObservation(name, running=True, ready=ready, started_at=at, runtime_id="r-1")


def ended(name: str = "web", exit_code: int | None = 0, at: datetime = NOW, **members: Any) -> ContainerObservation:
    return ContainerObservation(name, exit_code=exit_code, started_at=at, finished_at=at, **members)


def of_type(effects: Iterable[object], kind: type) -> list[Any]:
    return [effect for effect in effects if isinstance(effect, kind)]
