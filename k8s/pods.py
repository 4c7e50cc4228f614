"""Tasks as pods: the one translator, pure, for every path by which a task can start.

Which pod field comes from which member of a task definition? Here for the task, in `k8s.pod_containers` for a
container. What Kubernetes cannot say goes into annotations that our own node obeys.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from engine.arn import short_name
from engine.container_definition import ContainerDefinition
from engine.task import Task
from engine.task_definition import TaskDefinition
from k8s import names
from k8s.client import JsonObject
from k8s.pod_containers import DEFAULT_STOP_TIMEOUT_S, container, memory_volumes, stop_timeout_s
from k8s.pod_overrides import overridden


def pod(task: Task, task_definition: TaskDefinition, instance: str) -> JsonObject:
    """The pod of a task: complete, ready to be created in `names.namespace(task.cluster_arn, instance)`."""
    definitions = overridden(task_definition.container_definitions, task.overrides)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": names.pod_name(task.task_arn),
            "namespace": names.namespace(task.cluster_arn, instance),
            "labels": _labels(task, task_definition, instance),
            "annotations": _annotations(task, definitions),
            "finalizers": [names.FINALIZER],
        },
        "spec": _spec(task, task_definition, definitions),
    }


def _labels(task: Task, task_definition: TaskDefinition, instance: str) -> JsonObject:
    labels = {
        names.MANAGED_BY: "kecs",
        names.INSTANCE: names.label_value(instance),
        names.TASK_ID: task.task_id,
        names.CLUSTER: names.label_value(short_name(task.cluster_arn)),
        names.FAMILY: names.label_value(task_definition.family),
    }
    if task.service_arn:
        labels[names.SERVICE] = names.label_value(short_name(task.service_arn))
    return labels


def _annotations(task: Task, definitions: tuple[ContainerDefinition, ...]) -> JsonObject:
    k8s_names = names.container_names(definition.name for definition in definitions)
    annotations = {
        names.TASK_ARN: task.task_arn,
        names.TASK_DEFINITION_ARN: task.task_definition_arn,
        names.CONTAINER_NAMES: _json({k8s: ecs for ecs, k8s in k8s_names.items()}),
        names.STOP_TIMEOUTS: _json({k8s_names[d.name]: stop_timeout_s(d) for d in definitions}),
    }
    if task.service_arn:
        annotations[names.SERVICE_ARN] = task.service_arn
    depends_on = {
        k8s_names[d.name]: [
            {"container": names.label(on.container_name), "condition": on.condition} for on in d.depends_on
        ]
        for d in definitions
        if d.depends_on
    }
    with_init = [
        k8s_names[d.name] for d in definitions if d.linux_parameters and d.linux_parameters.init_process_enabled
    ]
    ulimits = {
        k8s_names[d.name]: [{"name": u.name, "softLimit": u.soft_limit, "hardLimit": u.hard_limit} for u in d.ulimits]
        for d in definitions
        if d.ulimits
    }
    start_timeouts = {k8s_names[d.name]: d.start_timeout for d in definitions if d.start_timeout is not None}
    users = {k8s_names[d.name]: d.user for d in definitions if d.user}
    for key, value in (
        (names.DEPENDS_ON, depends_on),
        (names.START_TIMEOUTS, start_timeouts),
        (names.INIT_PROCESS, with_init),
        (names.ULIMITS, ulimits),
        (names.USERS, users),
    ):
        if value:
            annotations[key] = _json(value)
    for definition in definitions:
        labels = definition.docker_labels or {}
        annotations |= {key: text for key, text in labels.items() if key.startswith(names.DOCKER_LABEL_PREFIX)}
    return annotations


def _spec(task: Task, task_definition: TaskDefinition, definitions: tuple[ContainerDefinition, ...]) -> JsonObject:
    spec: JsonObject = {
        "restartPolicy": "Never",
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": max((stop_timeout_s(d) for d in definitions), default=DEFAULT_STOP_TIMEOUT_S),
        "containers": [container(d, task, task_definition, definitions) for d in definitions],
        **_dns(definitions),
        **_namespaces(task_definition),
    }
    if volumes := _volumes(task_definition, definitions):
        spec["volumes"] = volumes
    if aliases := _host_aliases(definitions):
        spec["hostAliases"] = aliases
    if hostname := next((d.hostname for d in definitions if d.hostname), None):
        spec["hostname"] = names.label(hostname)
    if sysctls := {c.namespace: c.value for d in definitions for c in d.system_controls if c.namespace}:
        spec["securityContext"] = {"sysctls": [{"name": name, "value": value or ""} for name, value in sysctls.items()]}
    return spec


def _namespaces(task_definition: TaskDefinition) -> JsonObject:
    spec: JsonObject = {}
    if task_definition.network_mode == "host":
        spec["hostNetwork"] = True
    if task_definition.pid_mode == "host":
        spec["hostPID"] = True
    if task_definition.pid_mode == "task":
        spec["shareProcessNamespace"] = True
    if task_definition.ipc_mode == "host":
        spec["hostIPC"] = True
    return spec


def _dns(definitions: tuple[ContainerDefinition, ...]) -> JsonObject:
    """Resolve as the node does, not as the cluster: ECS tasks know nothing of Kubernetes' service names."""
    servers = list(dict.fromkeys(s for d in definitions for s in d.dns_servers or ()))
    searches = list(dict.fromkeys(s for d in definitions for s in d.dns_search_domains or ()))
    config: JsonObject = {}
    if servers:
        config["nameservers"] = servers
    if searches:
        config["searches"] = searches
    return {"dnsPolicy": "None" if servers else "Default"} | ({"dnsConfig": config} if config else {})


def _host_aliases(definitions: tuple[ContainerDefinition, ...]) -> list[JsonObject]:
    """Extra hosts, and linked containers: containers of a pod find each other on the loopback address."""
    by_address: dict[str, dict[str, None]] = {}
    for definition in definitions:
        for host in definition.extra_hosts or ():
            by_address.setdefault(host.ip_address, {})[host.hostname] = None
        for link in definition.links or ():
            for alias in link.split(":"):
                by_address.setdefault("127.0.0.1", {})[names.label(alias)] = None
    return [{"ip": ip, "hostnames": list(hostnames)} for ip, hostnames in by_address.items()]


def _volumes(task_definition: TaskDefinition, definitions: tuple[ContainerDefinition, ...]) -> list[JsonObject]:
    """The task's volumes, and each container's memory-backed mounts."""
    volumes: list[JsonObject] = []
    for volume in task_definition.volumes:
        source: Mapping[str, object] = {"emptyDir": {}}
        if volume.host and volume.host.source_path:
            source = {"hostPath": {"path": volume.host.source_path}}
        volumes.append({"name": names.label(volume.name or ""), **source})
    return volumes + [volume for definition in definitions for volume in memory_volumes(definition)]


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
