"""What Fargate accepts: sizes of tasks, and what a task definition must and must not have.

Source: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html#fargate-tasks-size
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from engine import errors
from engine.task_definition import TaskDefinition

GIB: Final = 1024
SIZES: Final[Mapping[int, frozenset[int]]] = {
    256: frozenset({512, GIB, 2 * GIB}),
    512: frozenset(GIB * n for n in range(1, 5)),
    1024: frozenset(GIB * n for n in range(2, 9)),
    2048: frozenset(GIB * n for n in range(4, 17)),
    4096: frozenset(GIB * n for n in range(8, 31)),
    8192: frozenset(GIB * n for n in range(16, 61, 4)),
    16384: frozenset(GIB * n for n in range(32, 121, 8)),
}
MIN_STOP_TIMEOUT_S, MAX_STOP_TIMEOUT_S = 2, 120


def check_fargate(definition: TaskDefinition) -> None:
    """Raise ClientException if the task definition cannot run on Fargate."""
    for problem in fargate_problems(definition):
        raise errors.client_error(problem)


def runs_on_fargate(definition: TaskDefinition) -> bool:
    """Whether the task definition could run on Fargate."""
    return not fargate_problems(definition)


def fargate_problems(definition: TaskDefinition) -> list[str]:
    """Why the task definition cannot run on Fargate, in AWS's words."""
    problems = []
    if definition.network_mode != "awsvpc":
        problems.append("Fargate only supports network mode 'awsvpc'.")
    for what, value in (("cpu", definition.cpu), ("memory", definition.memory)):
        if value is None:
            problems.append(f"Fargate requires that '{what}' be defined at the task level.")
    if definition.cpu and definition.memory and int(definition.memory) not in SIZES.get(int(definition.cpu), ()):
        problems.append(
            f"No Fargate configuration exists for given values: {definition.cpu} CPU, {definition.memory} memory. "
            "See the Amazon ECS documentation for the valid values."
        )
    for container in definition.container_definitions:
        if container.privileged:
            problems.append("Fargate does not support privileged containers.")
        if container.links:
            problems.append("Fargate does not support links.")
        timeout = container.stop_timeout
        if timeout is not None and not MIN_STOP_TIMEOUT_S <= timeout <= MAX_STOP_TIMEOUT_S:
            problems.append(
                f"Invalid stopTimeout setting for container '{container.name}'. "
                f"Fargate supports values from {MIN_STOP_TIMEOUT_S} to {MAX_STOP_TIMEOUT_S} seconds."
            )
    if definition.pid_mode == "host" or definition.ipc_mode not in (None, "none"):
        problems.append("Fargate does not support the given pidMode or ipcMode.")
    if any(volume.host and volume.host.source_path for volume in definition.volumes):
        problems.append("Fargate does not support host.sourcePath in volumes.")
    return problems
