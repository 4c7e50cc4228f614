"""Pods as what was seen of tasks, in ECS's words. Pure, and a function of one pod as it is now.

People edit annotations, and other software writes statuses: what cannot be read is as if it were not there.

Source: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final

import orjson
from attrs import evolve

from engine.arn import parse_arn
from engine.observation import ContainerObservation, Phase, TaskObservation
from k8s import names
from k8s.client import JsonObject

OUT_OF_MEMORY: Final = "OutOfMemoryError: Container killed due to memory usage"

NEVER_STARTS: Final[Mapping[str, str]] = {
    "ErrImagePull": "CannotPullContainerError",
    "ImagePullBackOff": "CannotPullContainerError",
    "ErrImageNeverPull": "CannotPullContainerError",
    "InvalidImageName": "CannotPullContainerError",
    "ImageInspectError": "CannotInspectContainerError",
    "RegistryUnavailable": "CannotPullContainerError",
    "CreateContainerConfigError": "CannotCreateContainerError",
    "CreateContainerError": "CannotCreateContainerError",
    "PreCreateHookError": "CannotCreateContainerError",
    "RunContainerError": "CannotStartContainerError",
    "PreStartHookError": "CannotStartContainerError",
    "PostStartHookError": "CannotStartContainerError",
}
"""A kubelet's reasons for a container that waits in vain, and ECS's word for each. (A kubelet goes on trying to pull;
ECS gives up, and so do we.)"""

_FAILED_STARTS: Final = frozenset({"StartError", "ContainerCannotRun"})
_ORDINARY_ENDS: Final = frozenset({"Completed", "Error"})


def observation(pod: JsonObject, deleted: bool = False) -> TaskObservation | None:
    """What a pod tells about its task; None for a pod that is not a task's.

    `deleted`: this is the last that the API server knew of it.
    """
    task_arn = _task_arn(pod["metadata"])
    if task_arn is None:
        return None
    try:
        return _observation(task_arn, pod, pod.get("status") or {}, deleted)
    except (AttributeError, KeyError, TypeError, ValueError):  # a status that is none
        return _observation(task_arn, pod, {}, deleted)


def _task_arn(metadata: Mapping[str, Any]) -> str | None:
    """The ARN that a pod has in its annotation, if the pod has the name that goes with it."""
    task_arn = (metadata.get("annotations") or {}).get(names.TASK_ARN)
    if not isinstance(task_arn, str) or metadata.get("name") != names.pod_name(task_arn):
        return None
    parsed = parse_arn(task_arn)
    return task_arn if parsed is not None and parsed.kind == "task" and len(parsed.path) == 2 else None


def _observation(task_arn: str, pod: JsonObject, status: Mapping[str, Any], deleted: bool) -> TaskObservation:
    metadata, spec = pod["metadata"], pod.get("spec") or {}
    by_k8s_name = {one["name"]: one for one in status.get("containerStatuses") or ()}
    ecs_names = _ecs_names(metadata["annotations"], spec)
    states = [(ecs, by_k8s_name.get(k8s) or {}) for k8s, ecs in ecs_names.items()]
    final = _is_final(metadata, status, [one for _, one in states])
    seen = tuple(_container(ecs, one) for ecs, one in states)
    return TaskObservation(
        task_arn=task_arn,
        phase=Phase.GONE if deleted else Phase.ENDED if final else _phase(spec, seen),
        containers=tuple(evolve(c, running=False) for c in seen) if deleted or final else seen,
        ip=status.get("podIP") or None,
        node=spec.get("nodeName") or None,
        start_error=_start_error(status, [one for _, one in states], seen),
        ended_because=_ended_because(status),
        stopping="deletionTimestamp" in metadata,
    )


def _ecs_names(annotations: Mapping[str, str], spec: Mapping[str, Any]) -> Mapping[str, str]:
    """ECS's name of each container, by Kubernetes' name."""
    own = {one["name"]: one["name"] for one in spec.get("containers") or ()}
    try:
        recorded = orjson.loads(annotations.get(names.CONTAINER_NAMES) or "{}")
        return {name: str(recorded[name]) for name in own if name in recorded} or own
    except (TypeError, ValueError):
        return own


def _is_final(metadata: Mapping[str, Any], status: Mapping[str, Any], states: list[JsonObject]) -> bool:
    """Whether no container runs or ever will.

    A deleted pod whose grace period is 0 has been let go by its kubelet (or never had one): what it shows is its last,
    and only our finalizer keeps it.
    """
    if status.get("phase") in ("Succeeded", "Failed"):
        return True
    if all(_has_ended(one) for one in states):
        return bool(states)
    let_go = "deletionTimestamp" in metadata and metadata.get("deletionGracePeriodSeconds") == 0
    return let_go and not any("running" in (one.get("state") or {}) for one in states)


def _has_ended(container_status: JsonObject) -> bool:
    state = container_status.get("state") or {}
    return "terminated" in state or (state.get("waiting") or {}).get("reason") in NEVER_STARTS


def _phase(spec: Mapping[str, Any], seen: tuple[ContainerObservation, ...]) -> Phase:
    if any(one.started_at is not None for one in seen):
        return Phase.RUNNING
    return Phase.PLACED if spec.get("nodeName") else Phase.ACCEPTED


def _container(name: str, container_status: JsonObject) -> ContainerObservation:
    state = container_status.get("state") or {}
    known = partial(
        ContainerObservation,
        name=name,
        runtime_id=(container_status.get("containerID") or "").partition("://")[2] or None,
        image_digest=_digest(container_status.get("imageID") or ""),
    )
    if running := state.get("running"):
        started_at = _time(running.get("startedAt"))
        return known(running=True, ready=bool(container_status.get("ready")), started_at=started_at)
    if terminated := state.get("terminated"):
        return known(**_end(terminated))
    return known(reason=_never_starts(state.get("waiting") or {}))


def _end(terminated: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a container's end says of it."""
    failed_start = _failed_start(terminated)
    signal = terminated.get("signal")
    exit_code = terminated.get("exitCode", 128 + signal if signal else None)
    return {
        "exit_code": None if failed_start else exit_code,
        "reason": failed_start or _end_reason(terminated),
        "started_at": None if failed_start else _time(terminated.get("startedAt")),
        "finished_at": _time(terminated.get("finishedAt")),
    }


def _end_reason(terminated: Mapping[str, Any]) -> str | None:
    reason, message = terminated.get("reason"), terminated.get("message")
    if reason == "OOMKilled":
        return OUT_OF_MEMORY
    if not reason or reason in _ORDINARY_ENDS:
        return None
    return f"{reason}: {message}" if message else str(reason)


def _never_starts(waiting: Mapping[str, Any]) -> str | None:
    word = NEVER_STARTS.get(waiting.get("reason") or "")
    return f"{word}: {waiting.get('message') or waiting['reason']}" if word else None


def _failed_start(terminated: Mapping[str, Any]) -> str | None:
    if terminated.get("reason") not in _FAILED_STARTS:
        return None
    return f"CannotStartContainerError: {terminated.get('message') or 'the container could not be started'}"


def _start_error(
    status: Mapping[str, Any], states: list[JsonObject], seen: tuple[ContainerObservation, ...]
) -> str | None:
    """The first container's reason never to start, or the node's reason to refuse the pod."""
    for one in states:
        state = one.get("state") or {}
        error = _never_starts(state.get("waiting") or {}) or _failed_start(state.get("terminated") or {})
        if error:
            return error
    nothing_started = all(one.started_at is None and one.exit_code is None for one in seen)
    if status.get("phase") == "Failed" and nothing_started and status.get("reason") not in _ENDED_BY_THE_WORLD:
        return f"ResourceInitializationError: {_explained(status) or 'the node refused the task'}"
    return None


_ENDED_BY_THE_WORLD: Final = frozenset(
    {"NodeShutdown", "StatusRefused", "Shutdown", "Terminated", "Evicted", "NodeLost", "Preempting"}
)


def _ended_because(status: Mapping[str, Any]) -> str | None:
    if status.get("phase") == "Failed" and status.get("reason") in _ENDED_BY_THE_WORLD:
        return _explained(status)
    return None


def _explained(status: Mapping[str, Any]) -> str | None:
    reason, message = status.get("reason"), status.get("message")
    return f"{reason}: {message}" if reason and message else reason or message or None


def _digest(image_id: str) -> str | None:
    """`sha256:...` of an imageID such as `docker.io/library/nginx@sha256:...` or `sha256:...`."""
    last = image_id.rpartition("@")[2]
    return last if last.startswith("sha256:") else None


def _time(text: str | None) -> datetime | None:
    """A Kubernetes time; None for the zero times that a runtime gives what never happened."""
    if not text:
        return None
    when = datetime.fromisoformat(text)
    return when if when.year > 1970 else None
