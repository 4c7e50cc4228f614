"""Container definitions as containers of a pod. Pure; the definitions come with the task's overrides applied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from engine.arn import parse_arn
from engine.container_definition import ContainerDefinition, MountPoint
from engine.task import Task
from engine.task_definition import TaskDefinition
from k8s import names
from k8s.client import JsonObject

DEFAULT_STOP_TIMEOUT_S: Final = 30
"""Source: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html (stopTimeout)."""


def stop_timeout_s(definition: ContainerDefinition) -> int:
    """How long a container has between SIGTERM and SIGKILL."""
    return DEFAULT_STOP_TIMEOUT_S if definition.stop_timeout is None else definition.stop_timeout


def container(
    definition: ContainerDefinition,
    task: Task,
    task_definition: TaskDefinition,
    siblings: Iterable[ContainerDefinition],
) -> JsonObject:
    """One container of the pod's spec; `siblings` are all of the task, for `volumesFrom`."""
    spec: JsonObject = {
        "name": names.label(definition.name),
        "image": definition.image,
        "imagePullPolicy": "IfNotPresent",
        "env": _environment(definition, task),
        "resources": _resources(definition, task, task_definition),
    }
    if definition.entry_point:
        spec["command"] = [escaped(word) for word in definition.entry_point]
    if definition.command:
        spec["args"] = [escaped(word) for word in definition.command]
    if definition.working_directory:
        spec["workingDir"] = definition.working_directory
    if ports := _ports(definition, task_definition.network_mode or "bridge"):
        spec["ports"] = ports
    if mounts := _mounts(definition, {sibling.name: sibling for sibling in siblings}):
        spec["volumeMounts"] = mounts
    if probe := _readiness_probe(definition):
        spec["readinessProbe"] = probe
    if security := _security_context(definition):
        spec["securityContext"] = security
    if definition.interactive:
        spec["stdin"] = True
    if definition.pseudo_terminal:
        spec["tty"] = True
    return spec


def escaped(text: str) -> str:
    """`text` so that Kubernetes passes it on unchanged: it expands `$(NAME)`, and ECS does not."""
    return text.replace("$", "$$") if "$(" in text or "$$" in text else text


def memory_volumes(definition: ContainerDefinition) -> list[JsonObject]:
    """The volumes behind a container's tmpfs mounts and its shared memory."""
    return [
        {"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": f"{size}Mi"}}
        for name, size, _ in _memory_mounts(definition)
    ]


def _memory_mounts(definition: ContainerDefinition) -> list[tuple[str, int, str]]:
    """(volume, MiB, path) of each."""
    linux = definition.linux_parameters
    if linux is None:
        return []
    mounts = [(t.size, t.container_path) for t in linux.tmpfs or ()]
    if linux.shared_memory_size:
        mounts.append((linux.shared_memory_size, "/dev/shm"))
    return [(names.label(f"{definition.name} memory {n}"), size, path) for n, (size, path) in enumerate(mounts)]


def _environment(definition: ContainerDefinition, task: Task) -> list[JsonObject]:
    """What ECS sets, then what the definition sets."""
    values = dict(_ecs_environment(task))
    values |= {pair.name: pair.value or "" for pair in definition.environment if pair.name}
    return [{"name": name, "value": escaped(value)} for name, value in values.items()]


def _ecs_environment(task: Task) -> Mapping[str, str]:
    arn = parse_arn(task.task_arn)
    if task.launch_type == "FARGATE" and arn is not None:
        region = arn.scope.region
        return {"AWS_EXECUTION_ENV": "AWS_ECS_FARGATE", "AWS_REGION": region, "AWS_DEFAULT_REGION": region}
    return {"AWS_EXECUTION_ENV": "AWS_ECS_EC2"}


def _resources(definition: ContainerDefinition, task: Task, task_definition: TaskDefinition) -> JsonObject:
    """Requests and limits. The task's own size bounds each container; only with it has cpu a limit, as on Fargate.

    A request is always given: without one, Kubernetes would take the limit for it and reserve the task's size anew
    for each container.
    """
    task_cpu = _whole(task.overrides.cpu or task_definition.cpu)
    task_memory = _whole(task.overrides.memory or task_definition.memory)
    limits: dict[str, str] = {}
    requests = {"cpu": _cores(definition.cpu)}
    if task_cpu:
        limits["cpu"] = _cores(max(task_cpu, definition.cpu))
    memory = definition.memory or task_memory
    reservation = definition.memory_reservation or definition.memory or 0
    if memory:
        limits["memory"] = f"{max(memory, reservation)}Mi"
    requests["memory"] = f"{reservation}Mi"
    return {"limits": limits, "requests": requests} if limits else {"requests": requests}


def _cores(units: int) -> str:
    """CPU units (1024 to a core) as Kubernetes' millicores, rounded up."""
    return f"{-(-units * 1000 // 1024)}m"


def _whole(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def _ports(definition: ContainerDefinition, network_mode: str) -> list[JsonObject]:
    ports: list[JsonObject] = []
    for mapping in definition.port_mappings:
        if mapping.container_port is None:
            continue
        port: JsonObject = {
            "containerPort": mapping.container_port,
            "protocol": (mapping.protocol or "tcp").upper(),
        }
        if network_mode == "bridge" and mapping.host_port:
            port["hostPort"] = mapping.host_port
        if port not in ports:
            ports.append(port)
    return ports


def _mounts(definition: ContainerDefinition, siblings: Mapping[str, ContainerDefinition]) -> list[JsonObject]:
    """Its own mounts, those it takes from others, and its memory: one for each path, its own first."""
    by_path: dict[str, JsonObject] = {}
    for volume, _, path in _memory_mounts(definition):
        by_path[path] = {"name": volume, "mountPath": path}
    for point in _mount_points(definition, siblings, frozenset()):
        if point.source_volume and point.container_path:
            mount: JsonObject = {"name": names.label(point.source_volume), "mountPath": point.container_path}
            if point.read_only:
                mount["readOnly"] = True
            by_path.setdefault(point.container_path, mount)
    return list(by_path.values())


def _mount_points(
    definition: ContainerDefinition, siblings: Mapping[str, ContainerDefinition], seen: frozenset[str]
) -> list[MountPoint]:
    points = list(definition.mount_points)
    for source in definition.volumes_from:
        other = siblings.get(source.source_container or "")
        if other is not None and other.name not in seen:
            for point in _mount_points(other, siblings, seen | {definition.name}):
                read_only = bool(point.read_only or source.read_only)
                points.append(MountPoint(point.source_volume, point.container_path, read_only))
    return points


def _readiness_probe(definition: ContainerDefinition) -> JsonObject | None:
    """The health check: it tells, and never restarts; what an unhealthy task means, its service decides.

    There is no delay: ECS's start period forgives failures, and a success in it counts.
    """
    check = definition.health_check
    if check is None or not check.command or check.command[0] == "NONE":
        return None
    kind, *words = check.command
    command = ["/bin/sh", "-c", " ".join(words)] if kind == "CMD-SHELL" else words if kind == "CMD" else [kind, *words]
    return {
        "exec": {"command": command},
        "periodSeconds": check.interval or 30,
        "timeoutSeconds": check.timeout or 5,
        "failureThreshold": check.retries or 3,
        "successThreshold": 1,
    }


def _security_context(definition: ContainerDefinition) -> JsonObject:
    context: JsonObject = {}
    user, _, group = (definition.user or "").partition(":")
    if user.isdecimal():
        context["runAsUser"] = int(user)
        if group.isdecimal():
            context["runAsGroup"] = int(group)
    if definition.readonly_root_filesystem:
        context["readOnlyRootFilesystem"] = True
    if definition.privileged:
        context["privileged"] = True
    if any(option.startswith("no-new-privileges") for option in definition.docker_security_options or ()):
        context["allowPrivilegeEscalation"] = False
    capabilities = definition.linux_parameters and definition.linux_parameters.capabilities
    if capabilities and (capabilities.add or capabilities.drop):
        context["capabilities"] = {
            key: list(value) for key, value in (("add", capabilities.add), ("drop", capabilities.drop)) if value
        }
    return context
