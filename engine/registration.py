"""What registering a task definition checks and fills in.

AWS answers ClientException, in its own words where they are known. What is read back is not what was sent: ports,
health checks and sizes come back with their defaults.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from attrs import evolve

from engine import errors
from engine.capabilities import required_attributes
from engine.commands import RegisterTaskDefinition
from engine.container_definition import ContainerDefinition, HealthCheck, PortMapping
from engine.fargate import check_fargate, runs_on_fargate
from engine.health import INTERVAL_S, RETRIES, TIMEOUT_S
from engine.tags import checked_tags
from engine.task_definition import TaskDefinition
from engine.volume import HostVolumeProperties, Volume

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,255}", re.ASCII)
_VCPU: Final = re.compile(r"(\d*\.?\d+)\s*vcpus?", re.ASCII | re.IGNORECASE)
_GB: Final = re.compile(r"(\d*\.?\d+)\s*gb", re.ASCII | re.IGNORECASE)
MIN_MEMORY_MIB: Final = 4
MAX_CONTAINERS: Final = 10


def registered(command: RegisterTaskDefinition, revision: int, now: datetime) -> TaskDefinition:
    """The task definition that the command registers as `revision`.

    Raises ClientException, InvalidParameterException.
    """
    _check_family(command.family)
    mode = command.network_mode
    definition = TaskDefinition(
        task_definition_arn=command.scope.task_definition_arn(command.family, revision),
        family=command.family,
        revision=revision,
        container_definitions=tuple(_filled(container, mode) for container in command.container_definitions),
        task_role_arn=command.task_role_arn,
        execution_role_arn=command.execution_role_arn,
        network_mode=mode,
        volumes=tuple(map(_filled_volume, command.volumes or ())),
        placement_constraints=command.placement_constraints or (),
        requires_compatibilities=command.requires_compatibilities,
        cpu=task_size("cpu", command.cpu),
        memory=task_size("memory", command.memory),
        inference_accelerators=command.inference_accelerators,
        pid_mode=command.pid_mode,
        ipc_mode=command.ipc_mode,
        proxy_configuration=command.proxy_configuration,
        ephemeral_storage=command.ephemeral_storage,
        runtime_platform=command.runtime_platform,
        enable_fault_injection=command.enable_fault_injection,
        trusted_execution_configuration=command.trusted_execution_configuration,
        registered_at=now,
        registered_by=command.registered_by,
        tags=checked_tags(command.tags),
    )
    _check(definition)
    return evolve(
        definition,
        compatibilities=_compatibilities(definition),
        requires_attributes=required_attributes(definition),
    )


def task_size(what: str, value: str | None) -> str | None:
    """A task's `cpu` (units, or `1 vCPU`) or `memory` (MiB, or `1 GB`) as ECS keeps it: an integer in a string."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit() and int(text) > 0:
        return str(int(text))
    unit = (_VCPU if what == "cpu" else _GB).fullmatch(text)
    if unit is None:
        raise errors.client_error(f"Invalid '{what}' setting for task. Value: '{value}'.")
    return str(int(float(unit.group(1)) * 1024))


def _check_family(family: str) -> None:
    if not family:
        raise errors.client_error("Family should not be null or empty.")
    if not _NAME.fullmatch(family):
        raise errors.client_error("Family contains invalid characters.")


def _filled(container: ContainerDefinition, network_mode: str | None) -> ContainerDefinition:
    return evolve(
        container,
        port_mappings=tuple(_filled_port(port, network_mode) for port in container.port_mappings),
        health_check=container.health_check and _filled_check(container.health_check),
    )


def _filled_port(port: PortMapping, network_mode: str | None) -> PortMapping:
    if port.container_port_range is not None:
        return evolve(port, protocol=port.protocol or "tcp")
    same = network_mode in ("awsvpc", "host")
    host_port = port.host_port or (port.container_port if same else 0)
    return evolve(port, host_port=host_port, protocol=port.protocol or "tcp")


def _filled_check(check: HealthCheck) -> HealthCheck:
    return evolve(
        check,
        interval=INTERVAL_S if check.interval is None else check.interval,
        timeout=TIMEOUT_S if check.timeout is None else check.timeout,
        retries=RETRIES if check.retries is None else check.retries,
    )


def _filled_volume(volume: Volume) -> Volume:
    kinds = (
        volume.host,
        volume.docker_volume_configuration,
        volume.efs_volume_configuration,
        volume.s3files_volume_configuration,
        volume.fsx_windows_file_server_volume_configuration,
        volume.configured_at_launch,
    )
    return volume if any(kind is not None for kind in kinds) else evolve(volume, host=HostVolumeProperties())


def _compatibilities(definition: TaskDefinition) -> tuple[str, ...]:
    if definition.network_mode != "awsvpc":
        return ("EXTERNAL", "EC2")
    return ("EC2", "FARGATE") if runs_on_fargate(definition) else ("EC2",)


def _check(definition: TaskDefinition) -> None:
    containers = definition.container_definitions
    if not containers:
        raise errors.client_error("Container list cannot be empty.")
    if len(containers) > MAX_CONTAINERS:
        raise errors.client_error(f"Too many containers: a task definition has at most {MAX_CONTAINERS}.")
    for container in containers:
        _check_names(container)
    names = [container.name for container in containers]
    for name in names:
        if names.count(name) > 1:
            raise errors.client_error(f"Container names must be unique. Duplicate container name: '{name}'.")
    if not any(container.essential for container in containers):
        raise errors.client_error("Task definition must contain at least one essential container.")
    _check_volumes(definition)
    for container in containers:
        _check_memory(container, definition)
        _check_ports(container, definition.network_mode)
        _check_health(container)
        if container.stop_timeout is not None and container.stop_timeout < 0:
            raise errors.client_error(f"Invalid stopTimeout setting for container '{container.name}'.")
    _check_host_ports(definition)
    _check_links(definition)
    _check_dependencies({container.name: container for container in containers})
    if "FARGATE" in (definition.requires_compatibilities or ()):
        check_fargate(definition)


def _check_names(container: ContainerDefinition) -> None:
    if not container.name:
        raise errors.client_error("Container.name should not be null or empty.")
    if not _NAME.fullmatch(container.name):
        raise errors.client_error(
            f"Invalid container name: '{container.name}'. Container name contains invalid characters."
        )
    if not container.image:
        raise errors.client_error("Container.image should not be null or empty.")
    if any(ch.isspace() for ch in container.image):
        raise errors.client_error("Container.image contains invalid characters.")


def _check_volumes(definition: TaskDefinition) -> None:
    volumes = [volume.name for volume in definition.volumes]
    if any(not name for name in volumes):
        raise errors.client_error("Volume.name should not be null or empty.")
    if len(set(volumes)) != len(volumes):
        raise errors.client_error("Volume names must be unique.")
    names = {container.name for container in definition.container_definitions}
    for container in definition.container_definitions:
        for mount in container.mount_points:
            if mount.source_volume not in volumes:
                raise errors.client_error(f"Unknown volume '{mount.source_volume}'.")
        for shared in container.volumes_from:
            if shared.source_container not in names:
                raise errors.client_error(f"Unknown container '{shared.source_container}' in volumesFrom.")


def _check_memory(container: ContainerDefinition, definition: TaskDefinition) -> None:
    prefix = f"Invalid setting for container '{container.name}'."
    hard, soft = container.memory, container.memory_reservation
    if hard is None and soft is None and definition.memory is None:
        raise errors.client_error(f"{prefix} At least one of 'memory' or 'memoryReservation' must be specified.")
    for what, value in (("memory", hard), ("memoryReservation", soft)):
        if value is not None and value < MIN_MEMORY_MIB:
            raise errors.client_error(f"{prefix} '{what}' must be at least {MIN_MEMORY_MIB}.")
    if hard is not None and soft is not None and soft > hard:
        raise errors.client_error(f"{prefix} 'memoryReservation' must not be greater than 'memory'.")
    if definition.memory is not None and max(hard or 0, soft or 0) > int(definition.memory):
        raise errors.client_error(f"{prefix} Its memory exceeds the memory of the task, {definition.memory}.")
    if container.cpu < 0:
        raise errors.client_error(f"{prefix} 'cpu' must not be negative.")
    if definition.cpu is not None and container.cpu > int(definition.cpu):
        raise errors.client_error(f"{prefix} Its cpu exceeds the cpu of the task, {definition.cpu}.")


def _check_ports(container: ContainerDefinition, network_mode: str | None) -> None:
    prefix = f"Invalid setting for container '{container.name}'."
    if container.port_mappings and network_mode == "none":
        raise errors.client_error(f"{prefix} Port mappings are not allowed when networkMode=none.")
    for port in container.port_mappings:
        if port.container_port is None and port.container_port_range is None:
            raise errors.client_error(f"{prefix} 'containerPort' or 'containerPortRange' must be specified.")
        for value in (port.container_port, port.host_port):
            if value is not None and not 0 <= value <= 65535:
                raise errors.client_error(f"{prefix} Invalid port: {value}. Ports are from 0 to 65535.")
        if network_mode in ("awsvpc", "host") and port.host_port != port.container_port:
            raise errors.client_error(
                f"When networkMode={network_mode}, the host ports and container ports in port mappings must match."
            )


def _check_host_ports(definition: TaskDefinition) -> None:
    """No host port twice: in awsvpc and host mode containers share one address, in bridge mode the host's."""
    taken: set[tuple[int, str | None]] = set()
    for container in definition.container_definitions:
        for port in container.port_mappings:
            if not port.host_port:
                continue
            if (port.host_port, port.protocol) in taken:
                raise errors.client_error(
                    f"The same host port {port.host_port} with protocol {port.protocol} is used by more than one "
                    "port mapping."
                )
            taken.add((port.host_port, port.protocol))


def _check_links(definition: TaskDefinition) -> None:
    """Links (`container` or `container:alias`) name containers of the task, in bridge mode only."""
    names = {container.name for container in definition.container_definitions}
    for container in definition.container_definitions:
        if container.links and definition.network_mode not in (None, "bridge"):
            raise errors.client_error(f"Links are not supported when networkMode={definition.network_mode}.")
        for link in container.links or ():
            name = link.partition(":")[0]
            if name not in names:
                raise errors.client_error(f"Unknown container '{name}' in links.")


_HEALTH_RANGES: Final[Mapping[str, tuple[int, int]]] = {
    "interval": (5, 300),
    "timeout": (2, 60),
    "retries": (1, 10),
    "start_period": (0, 300),
}


def _check_health(container: ContainerDefinition) -> None:
    check = container.health_check
    if check is None:
        return
    if not check.command:
        raise errors.client_error(f"Invalid health check for container '{container.name}': the command is empty.")
    for attribute, (low, high) in _HEALTH_RANGES.items():
        value = getattr(check, attribute)
        if value is not None and not low <= value <= high:
            member = "startPeriod" if attribute == "start_period" else attribute
            raise errors.client_error(
                f"Invalid health check for container '{container.name}': {member} must be between {low} and {high}."
            )


def _check_dependencies(containers: Mapping[str, ContainerDefinition]) -> None:
    for container in containers.values():
        for dependency in container.depends_on or ():
            other = containers.get(dependency.container_name)
            prefix = f"Invalid dependsOn setting for container '{container.name}'."
            if other is None:
                raise errors.client_error(f"{prefix} Unknown container '{dependency.container_name}'.")
            if dependency.condition == "HEALTHY" and other.health_check is None:
                raise errors.client_error(f"{prefix} Container '{other.name}' has no health check.")
            if dependency.condition in ("COMPLETE", "SUCCESS") and other.essential:
                raise errors.client_error(
                    f"{prefix} The condition {dependency.condition} cannot be set on an essential container."
                )
    _check_acyclic({name: _dependencies(container) for name, container in containers.items()})


def _dependencies(container: ContainerDefinition) -> list[str]:
    return [dependency.container_name for dependency in container.depends_on or ()]


def _check_acyclic(graph: Mapping[str, Iterable[str]]) -> None:
    """Take away, again and again, what depends on nothing that is left; what remains is a cycle."""
    left = {name: set(others) for name, others in graph.items()}
    while free := {name for name, others in left.items() if not others & left.keys()}:
        left = {name: others for name, others in left.items() if name not in free}
    if left:
        names = ", ".join(sorted(left))
        raise errors.client_error(f"Circular dependency between containers is not allowed: {names}.")
