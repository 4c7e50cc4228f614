"""Records to test with."""

from __future__ import annotations

from datetime import UTC, datetime

from engine.arn import Scope
from engine.cluster import Cluster
from engine.container_definition import ContainerDefinition, KeyValuePair
from engine.lifecycle import TaskStatus
from engine.service import Service
from engine.task import Container, Task
from engine.task_definition import Family, TaskDefinition

SCOPE = Scope()
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
SECRET = "hunter2-do-not-tell"


def a_cluster(name: str = "default", scope: Scope = SCOPE) -> Cluster:
    return Cluster(scope.cluster_arn(name), name, created_at=NOW, id_seed="seed")


def a_task(
    number: int = 1,
    cluster: str = "default",
    service: str | None = None,
    family: str = "web",
    last_status: TaskStatus = TaskStatus.PROVISIONING,
) -> Task:
    arn = SCOPE.task_arn(cluster, f"{number:032x}")
    return Task(
        arn,
        SCOPE.cluster_arn(cluster),
        SCOPE.task_definition_arn(family, 1),
        last_status=last_status,
        containers=(Container(f"{arn}/container", arn, "app"),),
        service_arn=SCOPE.service_arn(cluster, service) if service is not None else None,
        deployment_id=f"ecs-svc/{service}" if service is not None else None,
        created_at=NOW,
    )


def a_definition(family: str = "web", revision: int = 1, scope: Scope = SCOPE) -> TaskDefinition:
    container = ContainerDefinition("app", command=("sleep", "1"), environment=(KeyValuePair("PASSWORD", SECRET),))
    return TaskDefinition(
        scope.task_definition_arn(family, revision), family, revision, (container,), registered_at=NOW
    )


def a_family(name: str = "web", latest_revision: int = 1, scope: Scope = SCOPE) -> Family:
    return Family(scope.arn("task-definition", name), name, latest_revision)


def a_service(name: str = "web", cluster: str = "default", desired_count: int = 1) -> Service:
    return Service(
        SCOPE.service_arn(cluster, name),
        name,
        SCOPE.cluster_arn(cluster),
        SCOPE.task_definition_arn("web", 1),
        desired_count,
        created_at=NOW,
    )
