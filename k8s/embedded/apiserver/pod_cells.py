"""The row of a pod: what its STATUS column says is worked out from phase, reasons, containers and deletion.

Source: `printPod` in https://github.com/kubernetes/kubernetes/blob/v1.33.0/pkg/printers/internalversion/printers.go
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from k8s.client import JsonObject
from k8s.embedded.apiserver.durations import since


def pod_cells(pod: JsonObject, now: datetime) -> list[Any]:
    """Name, Ready, Status, Restarts, Age, IP, Node, Nominated Node, Readiness Gates."""
    spec, status, metadata = pod.get("spec") or {}, pod.get("status") or {}, pod["metadata"]
    statuses = status.get("containerStatuses") or []
    ready = sum(bool(one.get("ready")) and "running" in _state(one) for one in statuses)
    gates = spec.get("readinessGates") or ()
    return [
        metadata.get("name", ""),
        f"{ready}/{len(spec.get('containers') or ())}",
        _reason(pod, status, statuses),
        _restarts(statuses, now),
        since(metadata.get("creationTimestamp"), now),
        status.get("podIP") or "<none>",
        spec.get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        _gates(gates, status) if gates else "<none>",
    ]


def _state(status: JsonObject) -> JsonObject:
    state: JsonObject = status.get("state") or {}
    return state


def _reason(pod: JsonObject, status: JsonObject, statuses: Sequence[JsonObject]) -> str:
    reason = status.get("reason") or status.get("phase") or "Unknown"
    initial = _init_reason(pod.get("spec") or {}, status)
    if initial is not None:
        reason = initial
    else:
        reason = _container_reason(reason, statuses)
        if reason == "Completed" and any(one.get("ready") and "running" in _state(one) for one in statuses):
            conditions = {one.get("type"): one.get("status") for one in status.get("conditions") or ()}
            reason = "Running" if conditions.get("Ready") == "True" else "NotReady"
    if "deletionTimestamp" in pod["metadata"]:
        if status.get("reason") == "NodeLost":
            return "Unknown"
        if status.get("phase") not in ("Succeeded", "Failed"):
            return "Terminating"
    return str(reason)


def _ended(terminated: JsonObject, prefix: str = "") -> str:
    if terminated.get("reason"):
        return prefix + str(terminated["reason"])
    if terminated.get("signal"):
        return f"{prefix}Signal:{terminated['signal']}"
    return f"{prefix}ExitCode:{terminated.get('exitCode', 0)}"


def _container_reason(reason: str, statuses: Sequence[JsonObject]) -> str:
    for one in reversed(statuses):
        state = _state(one)
        if (state.get("waiting") or {}).get("reason"):
            reason = state["waiting"]["reason"]
        elif "terminated" in state:
            reason = _ended(state["terminated"])
    return reason


def _init_reason(spec: JsonObject, status: JsonObject) -> str | None:
    """What holds a pod up whose init containers are not through yet."""
    total = len(spec.get("initContainers") or ())
    for index, one in enumerate(status.get("initContainerStatuses") or ()):
        state = _state(one)
        terminated = state.get("terminated")
        if terminated is not None:
            if terminated.get("exitCode") == 0:
                continue
            return _ended(terminated, "Init:")
        waiting = (state.get("waiting") or {}).get("reason")
        if waiting and waiting != "PodInitializing":
            return f"Init:{waiting}"
        return f"Init:{index}/{total}"
    return None


def _restarts(statuses: Sequence[JsonObject], now: datetime) -> str:
    count = sum(one.get("restartCount", 0) for one in statuses)
    ends = [
        one["lastState"]["terminated"]["finishedAt"]
        for one in statuses
        if ((one.get("lastState") or {}).get("terminated") or {}).get("finishedAt")
    ]
    return f"{count} ({since(max(ends), now)} ago)" if count and ends else str(count)


def _gates(gates: Sequence[JsonObject], status: JsonObject) -> str:
    met = {one.get("type") for one in status.get("conditions") or () if one.get("status") == "True"}
    return f"{sum(gate.get('conditionType') in met for gate in gates)}/{len(gates)}"
