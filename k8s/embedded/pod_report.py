"""What the API server is told of a pod: its `status`, from the node's progress. Pure, in the kubelet's words.

Also the way back: what an earlier run of the node told (`recalled`), so that a node that starts again knows which
containers there were.

Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from attrs import evolve

from k8s.embedded.driver import ContainerState, Failure
from k8s.embedded.driver import Phase as ContainerPhase
from k8s.embedded.pod_lifecycle import current_init, is_final, is_over, unmet_dependency
from k8s.embedded.pod_progress import ContainerProgress, Progress, Sandbox, Verdict
from k8s.embedded.pod_spec import Container, Deletion, Pod

JsonObject = dict[str, Any]

UNHEALTHY: Final = "kecs.dev/Unhealthy"
"""A pod condition: True while containers fail their readiness probes for good; the message lists them, with commas."""

START_ERROR: Final = "StartError"
_START_ERROR_EXIT_CODE: Final = 128


def stamp(when: datetime) -> str:
    """A time as Kubernetes writes it: whole seconds, UTC."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def status(
    pod: Pod,
    progress: Progress,
    deletion: Deletion | None,
    now: datetime,
    *,
    host_ip: str,
    before: Mapping[str, Any],
) -> JsonObject:
    """The pod's status now. `before` is the last one: its conditions keep their times while they do not change."""
    if progress.settled:
        return dict(before)
    over = is_over(pod, progress, deletion, now)
    report: JsonObject = {
        "phase": _phase(pod, progress, over),
        "conditions": _conditions(pod, progress, over, now, before.get("conditions") or ()),
        "hostIP": host_ip,
        "hostIPs": [{"ip": host_ip}],
        "startTime": stamp(progress.accepted_at),
        "containerStatuses": [_container_status(pod, progress, c, now) for c in pod.containers],
    }
    if pod.init_containers:
        report["initContainerStatuses"] = [_container_status(pod, progress, c, now) for c in pod.init_containers]
    if progress.ip:
        report |= {"podIP": progress.ip, "podIPs": [{"ip": progress.ip}]}
    if progress.verdict is not None:
        report |= {"reason": progress.verdict.reason, "message": progress.verdict.message}
    elif before.get("reason") or before.get("message"):
        report |= {"reason": None, "message": None}
    return report


def rejection(verdict: Verdict, now: datetime) -> JsonObject:
    """The status of a pod that the node will not run."""
    return {"phase": "Failed", "reason": verdict.reason, "message": verdict.message, "startTime": stamp(now)}


def _phase(pod: Pod, progress: Progress, over: bool) -> str:
    if over:
        ends = [progress.of(c.name).state for c in (*pod.init_containers, *pod.containers)]
        good = all(s is not None and s.phase is ContainerPhase.EXITED and s.exit_code == 0 for s in ends)
        return "Succeeded" if good and progress.verdict is None else "Failed"
    if current_init(pod, progress) is not None:
        return "Pending"
    waits = any(progress.of(c.name).state is None and progress.of(c.name).previous is None for c in pod.containers)
    fails = any(_never_ran(progress.of(c.name)) for c in pod.containers)
    return "Pending" if waits or fails else "Running"


def _never_ran(container: ContainerProgress) -> bool:
    return (
        container.state is not None
        and container.state.phase is ContainerPhase.FAILED
        and container.state.failure is not Failure.RUN
        and container.previous is None
    )


def _container_status(pod: Pod, progress: Progress, container: Container, now: datetime) -> JsonObject:
    known = progress.of(container.name)
    state = known.state
    report: JsonObject = {
        "name": container.name,
        "image": container.spec.image,
        "imageID": state.image_id if state is not None else "",
        "ready": known.running and known.ready,
        "started": known.running and known.started,
        "restartCount": known.restarts,
        "state": _state(pod, progress, container, now),
        "lastState": {},
    }
    if state is not None and state.container_id:
        report["containerID"] = state.container_id
    waiting_to_restart = "waiting" in report["state"] and known.exited
    if waiting_to_restart or known.previous is not None:
        report["lastState"] = {"terminated": _terminated(known, state if waiting_to_restart else known.previous)}
    return report


def _state(pod: Pod, progress: Progress, container: Container, now: datetime) -> JsonObject:
    known = progress.of(container.name)
    state = known.state
    if state is None:
        return {"waiting": _waiting(pod, progress, container, now)}
    if state.phase is ContainerPhase.RUNNING:
        return {"running": {"startedAt": stamp(state.started_at or progress.accepted_at)}}
    if state.phase is ContainerPhase.FAILED and state.failure is not Failure.RUN:
        return {"waiting": _failed(known, state)}
    if not is_final(pod, progress, container, now) and known.failures > 1 and progress.verdict is None:
        message = f"back-off restarting failed container={container.name} pod={pod.name}_{pod.namespace}({pod.uid})"
        return {"waiting": {"reason": "CrashLoopBackOff", "message": message}}
    return {"terminated": _terminated(known, state)}


def _waiting(pod: Pod, progress: Progress, container: Container, now: datetime) -> JsonObject:
    hopeless = unmet_dependency(pod, progress, container, now)
    if hopeless is not None:
        return {"reason": Failure.CREATE.value, "message": hopeless}
    if progress.sandbox_error and progress.sandbox is not Sandbox.UP:
        return {"reason": "ContainerCreating", "message": progress.sandbox_error}
    init = current_init(pod, progress)
    return {"reason": "PodInitializing" if init is not None and init != container else "ContainerCreating"}


def _failed(known: ContainerProgress, state: ContainerState) -> JsonObject:
    failure = state.failure or Failure.CREATE
    if failure is Failure.IMAGE_PULL and known.failures > 1:
        return {"reason": "ImagePullBackOff", "message": state.message}
    return {"reason": failure.value, "message": state.message}


def _terminated(known: ContainerProgress, state: ContainerState | None) -> JsonObject:
    if state is None:
        return {}
    began, ended = state.started_at or state.finished_at, state.finished_at or state.started_at
    report: JsonObject = {"exitCode": _exit_code(state), "reason": _end_reason(known, state)}
    if began is not None and ended is not None:
        report |= {"startedAt": stamp(began), "finishedAt": stamp(ended)}
    if state.message:
        report["message"] = state.message
    if state.signal is not None:
        report["signal"] = state.signal
    if state.container_id:
        report["containerID"] = state.container_id
    return report


def _exit_code(state: ContainerState) -> int:
    if state.phase is ContainerPhase.FAILED:
        return _START_ERROR_EXIT_CODE
    return 0 if state.exit_code is None else state.exit_code


def _end_reason(known: ContainerProgress, state: ContainerState) -> str:
    if state.phase is ContainerPhase.FAILED:
        return START_ERROR
    if known.reason and state is known.state:
        return known.reason
    if state.oom_killed:
        return "OOMKilled"
    return "Completed" if state.exit_code == 0 else "Error"


def _conditions(
    pod: Pod, progress: Progress, over: bool, now: datetime, before: Sequence[Mapping[str, Any]]
) -> list[JsonObject]:
    initialized = current_init(pod, progress) is None
    unready = [c.name for c in pod.containers if not (progress.of(c.name).running and progress.of(c.name).ready)]
    unhealthy = [c.name for c in pod.containers if progress.of(c.name).running and progress.of(c.name).unhealthy]
    reason, message = "", ""
    if over:
        reason = "PodCompleted"
    elif unready:
        reason, message = "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
    conditions = [
        _condition("PodReadyToStartContainers", progress.sandbox is Sandbox.UP),
        _condition("Initialized", initialized, "" if initialized else "ContainersNotInitialized"),
        _condition("Ready", not unready and not over, reason, message),
        _condition("ContainersReady", not unready and not over, reason, message),
        _condition("PodScheduled", True),
    ]
    if unhealthy or any(c.get("type") == UNHEALTHY for c in before):
        conditions.append(_condition(UNHEALTHY, bool(unhealthy), message=",".join(unhealthy)))
    return [*_with_times(conditions, before, now), *_foreign(conditions, before)]


def _condition(kind: str, holds: bool, reason: str = "", message: str = "") -> JsonObject:
    condition: JsonObject = {"type": kind, "status": "True" if holds else "False"}
    if reason:
        condition["reason"] = reason
    if message:
        condition["message"] = message
    return condition


def _with_times(
    conditions: Iterable[JsonObject], before: Sequence[Mapping[str, Any]], now: datetime
) -> Iterable[JsonObject]:
    known = {c.get("type"): c for c in before}
    for condition in conditions:
        old = known.get(condition["type"])
        same = old is not None and old.get("status") == condition["status"]
        when = old.get("lastTransitionTime") if same and old is not None else None
        yield {**condition, "lastTransitionTime": when or stamp(now)}


def _foreign(conditions: Sequence[JsonObject], before: Sequence[Mapping[str, Any]]) -> Iterable[JsonObject]:
    own = {c["type"] for c in conditions}
    return [dict(c) for c in before if c.get("type") not in own]


def recalled(pod: Pod, reported: Mapping[str, Any], now: datetime) -> Progress:
    """The progress that an earlier run of the node reported, as far as a status can tell it."""
    started = reported.get("startTime")
    progress = Progress(accepted_at=datetime.fromisoformat(started) if started else now, ip=reported.get("podIP") or "")
    names = {c.name for c in (*pod.init_containers, *pod.containers)}
    statuses = [*(reported.get("initContainerStatuses") or ()), *(reported.get("containerStatuses") or ())]
    containers = {s["name"]: _recalled_container(pod, s) for s in statuses if s.get("name") in names}
    settled = reported.get("phase") in ("Succeeded", "Failed")
    known = {n: c for n, c in containers.items() if c is not None}
    return evolve(progress, containers=known, settled=settled, reported_end=settled)


def _recalled_container(pod: Pod, reported: Mapping[str, Any]) -> ContainerProgress | None:
    attempt = int(reported.get("restartCount") or 0)
    state = reported.get("state") or {}
    ended = state.get("terminated") or (reported.get("lastState") or {}).get("terminated")
    if (running := state.get("running")) is not None:
        now_running = ContainerState(
            pod.uid,
            reported["name"],
            ContainerPhase.RUNNING,
            attempt,
            container_id=reported.get("containerID") or "",
            image_id=reported.get("imageID") or "",
            started_at=_time(running.get("startedAt")),
        )
        return ContainerProgress(state=now_running, restarts=attempt)
    if ended is None:
        return None
    failed = ended.get("reason") == START_ERROR
    ended_state = ContainerState(
        pod.uid,
        reported["name"],
        ContainerPhase.FAILED if failed else ContainerPhase.EXITED,
        attempt,
        container_id=ended.get("containerID") or reported.get("containerID") or "",
        image_id=reported.get("imageID") or "",
        started_at=_time(ended.get("startedAt")),
        finished_at=_time(ended.get("finishedAt")),
        exit_code=None if failed else int(ended.get("exitCode") or 0),
        signal=ended.get("signal"),
        oom_killed=ended.get("reason") == "OOMKilled",
        failure=Failure.RUN if failed else None,
        message=ended.get("message") or "",
    )
    reason = ended.get("reason") or ""
    special = reason if reason not in ("Completed", "Error", "OOMKilled", START_ERROR) else ""
    return ContainerProgress(state=ended_state, restarts=attempt, failures=attempt, reason=special)


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
