"""What the API server itself decides about a pod: its defaults, what makes it invalid, and what may never change.

Source: https://github.com/kubernetes/kubernetes/blob/v1.33.0/pkg/apis/core/v1/defaults.go and
https://github.com/kubernetes/kubernetes/blob/v1.33.0/pkg/apis/core/validation/validation.go
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from k8s.client import JsonObject
from k8s.embedded.apiserver.errors import (
    Cause,
    duplicate,
    forbidden_field,
    invalid_value,
    not_found_value,
    required,
    unsupported,
)
from k8s.embedded.apiserver.validation import dns_label_problem

_PROBES: Final = ("livenessProbe", "readinessProbe", "startupProbe")
_PROBE_DEFAULTS: Final = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_RESTART_POLICIES: Final = ("Always", "OnFailure", "Never")
_DNS_POLICIES: Final = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_PULL_POLICIES: Final = ("Always", "IfNotPresent", "Never")
_PROTOCOLS: Final = ("SCTP", "TCP", "UDP")
_QUANTITY: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?")
_IMMUTABLE: Final = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def containers(spec: JsonObject) -> Iterator[tuple[str, JsonObject]]:
    """All containers with the path of their field, init containers last."""
    for field in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(field) or ()):
            yield f"spec.{field}[{index}]", container


def set_defaults(pod: JsonObject) -> None:
    """Fill in what the author of a pod left to Kubernetes."""
    spec = pod["spec"]
    for name, value in (
        ("restartPolicy", "Always"),
        ("terminationGracePeriodSeconds", 30),
        ("dnsPolicy", "ClusterFirst"),
        ("schedulerName", "default-scheduler"),
        ("enableServiceLinks", True),
    ):
        spec.setdefault(name, value)
    spec.setdefault("securityContext", {})
    for _, container in containers(spec):
        _container_defaults(container, bool(spec.get("hostNetwork")))
    for volume in spec.get("volumes") or ():
        _volume_defaults(volume)


def _container_defaults(container: JsonObject, host_network: bool) -> None:
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    if "imagePullPolicy" not in container:
        container["imagePullPolicy"] = "Always" if _is_latest(container.get("image", "")) else "IfNotPresent"
    resources = container.setdefault("resources", {})
    if limits := resources.get("limits"):
        resources["requests"] = {**limits, **(resources.get("requests") or {})}
    for port in container.get("ports") or ():
        port.setdefault("protocol", "TCP")
        if host_network:
            port.setdefault("hostPort", port.get("containerPort"))
    for name in _PROBES:
        if name in container:
            _probe_defaults(container[name])
    for variable in container.get("env") or ():
        if "fieldRef" in (variable.get("valueFrom") or {}):
            variable["valueFrom"]["fieldRef"].setdefault("apiVersion", "v1")


def _probe_defaults(probe: JsonObject) -> None:
    for key, value in _PROBE_DEFAULTS.items():
        if not probe.get(key):
            probe[key] = value
    if "httpGet" in probe:
        probe["httpGet"].setdefault("path", "/")
        probe["httpGet"].setdefault("scheme", "HTTP")


def _volume_defaults(volume: JsonObject) -> None:
    if len(volume) == 1:
        volume["emptyDir"] = {}
    for source in ("secret", "configMap", "projected", "downwardAPI"):
        if source in volume:
            volume[source].setdefault("defaultMode", 420)
    if "hostPath" in volume:
        volume["hostPath"].setdefault("type", "")


def _is_latest(image: str) -> bool:
    tail = image.rpartition("/")[2]
    return "@" not in tail and (":" not in tail or tail.endswith(":latest"))


def quality_of_service(spec: JsonObject) -> str:
    """Guaranteed, Burstable or BestEffort, from the containers' cpu and memory."""
    asked, guaranteed = False, True
    for _, container in containers(spec):
        resources = container.get("resources") or {}
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        for name in ("cpu", "memory"):
            asked = asked or name in limits or name in requests
            guaranteed = guaranteed and name in limits and requests.get(name, limits[name]) == limits[name]
    if not asked:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def causes_of(pod: JsonObject) -> list[Cause]:
    """What is wrong with a pod, after defaults."""
    spec = pod["spec"]
    causes = _choice("spec.restartPolicy", spec["restartPolicy"], _RESTART_POLICIES)
    causes += _choice("spec.dnsPolicy", spec["dnsPolicy"], _DNS_POLICIES)
    grace = spec["terminationGracePeriodSeconds"]
    if grace < 0:
        causes.append(invalid_value("spec.terminationGracePeriodSeconds", grace, "must be greater than or equal to 0"))
    if not spec.get("containers"):
        causes.append(required("spec.containers"))
    volumes, volume_causes = _volume_names(spec)
    causes += volume_causes
    seen: set[str] = set()
    for path, container in containers(spec):
        causes += _container_causes(container, path, volumes)
        name = container.get("name", "")
        if name in seen:
            causes.append(duplicate(f"{path}.name", name))
        seen.add(name)
    return causes


def _choice(field: str, value: object, known: tuple[str, ...]) -> list[Cause]:
    return [] if value in known else [unsupported(field, value, known)]


def _label(field: str, value: str) -> list[Cause]:
    if not value:
        return [required(field)]
    problem = dns_label_problem(value)
    return [invalid_value(field, value, problem)] if problem else []


def _volume_names(spec: JsonObject) -> tuple[set[str], list[Cause]]:
    names: set[str] = set()
    causes: list[Cause] = []
    for index, volume in enumerate(spec.get("volumes") or ()):
        field, name = f"spec.volumes[{index}].name", volume.get("name", "")
        causes += _label(field, name)
        if name in names:
            causes.append(duplicate(field, name))
        if len(volume) > 2:
            causes.append(forbidden_field(f"spec.volumes[{index}]", "may not specify more than 1 volume type"))
        names.add(name)
    return names, causes


def _container_causes(container: JsonObject, path: str, volumes: set[str]) -> list[Cause]:
    causes = _label(f"{path}.name", container.get("name", ""))
    if not container.get("image"):
        causes.append(required(f"{path}.image"))
    causes += _choice(f"{path}.imagePullPolicy", container["imagePullPolicy"], _PULL_POLICIES)
    for index, variable in enumerate(container.get("env") or ()):
        if not variable.get("name"):
            causes.append(required(f"{path}.env[{index}].name"))
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        causes += _mount_causes(mount, f"{path}.volumeMounts[{index}]", volumes)
    for index, port in enumerate(container.get("ports") or ()):
        causes += _port_causes(port, f"{path}.ports[{index}]")
    causes += _quantity_causes(container["resources"], f"{path}.resources")
    return causes


def _mount_causes(mount: JsonObject, path: str, volumes: set[str]) -> list[Cause]:
    causes = []
    if mount.get("name", "") not in volumes:
        causes.append(not_found_value(f"{path}.name", mount.get("name", "")))
    if not mount.get("mountPath"):
        causes.append(required(f"{path}.mountPath"))
    return causes


def _port_causes(port: JsonObject, path: str) -> list[Cause]:
    causes = _choice(f"{path}.protocol", port["protocol"], _PROTOCOLS)
    number = port.get("containerPort")
    if number is None:
        causes.append(required(f"{path}.containerPort"))
    for name in ("containerPort", "hostPort"):
        if not 0 < port.get(name, 1) < 65536:
            causes.append(invalid_value(f"{path}.{name}", port[name], "must be between 1 and 65535, inclusive"))
    return causes


def _quantity_causes(resources: JsonObject, path: str) -> list[Cause]:
    return [
        invalid_value(
            f"{path}.{kind}.{name}", str(amount), "quantities must match the regular expression of a quantity"
        )
        for kind in ("limits", "requests")
        for name, amount in (resources.get(kind) or {}).items()
        if not _QUANTITY.fullmatch(str(amount))
    ]


def update_causes(new: JsonObject, old: JsonObject) -> list[Cause]:
    """What an update tried to change in a pod's spec though it may not."""
    if new["spec"] == old["spec"] or _comparable(new["spec"], old["spec"]) == _comparable(old["spec"], old["spec"]):
        return []
    return [forbidden_field("spec", _IMMUTABLE)]


def _comparable(spec: Mapping[str, Any], old: Mapping[str, Any]) -> JsonObject:
    """The spec without what may change."""
    free = ("activeDeadlineSeconds", "containers", "initContainers", "tolerations")
    compared = {key: value for key, value in spec.items() if key not in free}
    for field in ("containers", "initContainers"):
        compared[field] = [{**container, "image": ""} for container in spec.get(field) or ()]
    tolerations = spec.get("tolerations") or []
    compared["tolerations kept"] = all(toleration in tolerations for toleration in old.get("tolerations") or ())
    return compared
