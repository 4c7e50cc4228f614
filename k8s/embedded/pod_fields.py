"""What a pod may ask for that this node cannot do, and would have to pretend: such a pod is refused, with a sentence.

Pure. Fields that change nothing here (where to schedule, what a kernel module should check) are ignored instead; the
page docs/node.md names them, and a test compares both with all fields that there are.

Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

REFUSED_OF_PODS: Final[Sequence[str]] = (
    "ephemeralContainers",
    "readinessGates",
    "resourceClaims",
    "runtimeClassName",
    "schedulingGates",
    "setHostnameAsFQDN",
)
REFUSED_OF_CONTAINERS: Final[Sequence[str]] = ("lifecycle", "restartPolicy", "volumeDevices")
REFUSED_OF_MOUNTS: Final[Sequence[str]] = ("subPathExpr",)
REFUSED_OF_PROBES: Final[Sequence[str]] = ("terminationGracePeriodSeconds",)
PROBES: Final[Sequence[str]] = ("livenessProbe", "readinessProbe", "startupProbe")


def refusal(spec: Mapping[str, Any]) -> str | None:
    """Why this node refuses a pod with this spec, in a sentence; None when it takes it."""
    return next(_refusals(spec), None)


def _refusals(spec: Mapping[str, Any]) -> Iterator[str]:
    yield from _present(spec, REFUSED_OF_PODS, "spec")
    if spec.get("hostUsers") is False:
        yield "spec.hostUsers: false is not supported by this node"
    if (spec.get("os") or {}).get("name", "linux") != "linux":
        yield "spec.os: this node runs Linux"
    for field in ("initContainers", "containers"):
        for container in spec.get(field) or ():
            yield from _refusals_of_container(container, spec, f"container {container['name']}")


def _refusals_of_container(container: Mapping[str, Any], spec: Mapping[str, Any], where: str) -> Iterator[str]:
    yield from _present(container, REFUSED_OF_CONTAINERS, where)
    for mount in container.get("volumeMounts") or ():
        yield from _present(mount, REFUSED_OF_MOUNTS, f"{where}, volumeMounts")
    for probe in PROBES:
        yield from _present(container.get(probe) or {}, REFUSED_OF_PROBES, f"{where}, {probe}")
    security = {**(spec.get("securityContext") or {}), **(container.get("securityContext") or {})}
    if security.get("runAsNonRoot") and not security.get("runAsUser"):
        yield f"{where}: runAsNonRoot needs a runAsUser other than 0, for there is no image that would name one"


def _present(value: Mapping[str, Any], fields: Sequence[str], where: str) -> Iterator[str]:
    for field in fields:
        if value.get(field):
            yield f"{where}: {field} is not supported by this node"
