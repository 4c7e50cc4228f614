"""`requiresAttributes`: what a container instance must be able to do for a task definition.

Source: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-placement-constraints.html (attributes of the
agent), and what AWS returns for the features named here.
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.container_definition import ContainerDefinition
from engine.task_definition import Attribute, TaskDefinition

_COM = "com.amazonaws.ecs.capability"


def required_attributes(definition: TaskDefinition) -> tuple[Attribute, ...] | None:
    """The attributes, each once, in the order of first need; None when there are none."""
    names = dict.fromkeys(_of_task(definition))
    for container in definition.container_definitions:
        names |= dict.fromkeys(_of_container(container, definition))
    return tuple(map(Attribute, names)) or None


def _of_task(definition: TaskDefinition) -> Iterator[str]:
    if definition.task_role_arn:
        host = definition.network_mode == "host"
        yield f"{_COM}.task-iam-role-network-host" if host else f"{_COM}.task-iam-role"
    if definition.network_mode == "awsvpc":
        yield "ecs.capability.task-eni"
    if definition.pid_mode or definition.ipc_mode:
        yield "ecs.capability.pid-ipc-namespace-sharing"
    if definition.proxy_configuration:
        yield "ecs.capability.aws-appmesh"
    if definition.cpu or definition.memory:
        yield "ecs.capability.task-cpu-mem-limit"
    if any(volume.efs_volume_configuration for volume in definition.volumes):
        yield "ecs.capability.efs"


def _of_container(container: ContainerDefinition, definition: TaskDefinition) -> Iterator[str]:
    yield f"{_COM}.docker-remote-api.1.18"
    if container.memory_reservation is not None:
        yield f"{_COM}.docker-remote-api.1.21"
    if container.privileged:
        yield f"{_COM}.privileged-container"
    if ".dkr.ecr." in container.image:
        yield f"{_COM}.ecr-auth"
        if definition.execution_role_arn:
            yield "ecs.capability.execution-role-ecr-pull"
    if container.log_configuration is not None:
        driver = container.log_configuration.log_driver
        yield f"{_COM}.logging-driver.{driver}"
        if driver == "awslogs":
            yield f"{_COM}.docker-remote-api.1.19"
            if definition.execution_role_arn:
                yield "ecs.capability.execution-role-awslogs"
    for secret in container.secrets or ():
        store = "asm" if ":secretsmanager:" in secret.value_from else "ssm"
        yield f"ecs.capability.secrets.{store}.environment-variables"
    if container.environment_files:
        yield "ecs.capability.env-files.s3"
    if container.health_check is not None:
        yield "ecs.capability.container-health-check"
        yield f"{_COM}.docker-remote-api.1.24"
    if container.depends_on:
        yield "ecs.capability.container-ordering"
    if container.firelens_configuration is not None:
        yield f"ecs.capability.firelens.{container.firelens_configuration.type}"
