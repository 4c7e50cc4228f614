"""What the node knows of a pod's containers, as one immutable value, and how each thing it learns changes it.

Pure. `pod_lifecycle` decides from it, `pod_report` tells the API server about it. Everything here is a level, so
learning the same thing twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from attrs import evolve, field, frozen

from k8s.embedded.driver import ContainerState, Phase, PodState
from k8s.embedded.pod_spec import Pod

_BACK_OFF_S: Final = 10.0
_BACK_OFF_CAP_S: Final = 300.0
_SANDBOX_CAP_S: Final = 60.0  # 1 s, 2 s ... : what a pod refers to is often made just after it
_STABLE_AFTER_S: Final = 600.0  # a container that ran this long is restarted at once again

LOST_EXIT_CODE: Final = 137
LOST_REASON: Final = "ContainerStatusUnknown"
LOST_MESSAGE: Final = "The container could not be located when the node came back."


class Sandbox(Enum):
    """What the driver has of the pod."""

    NONE = "NONE"
    UP = "UP"
    REMOVED = "REMOVED"  # everything but the logs was given back


@frozen
class Verdict:
    """Why the node itself ends the pod: `status.reason` and `status.message`; `grace_s` shortens every stop timeout."""

    reason: str
    message: str
    grace_s: float | None = None


@frozen
class ContainerProgress:
    """One container. `state` is the newest attempt's, `previous` the end of the one before.

    `failures` counts what went wrong in a row (starts that failed, ends); `stop_grace_s` is the shortest grace that the
    driver was asked for; `condemned` says that its liveness or startup probe has given it up; `reason` overrides what
    is derived from `state`.
    """

    state: ContainerState | None = None
    previous: ContainerState | None = None
    restarts: int = 0
    failures: int = 0
    ready: bool = False
    unhealthy: bool = False  # its readiness probe has failed as often as it may
    started: bool = False  # its startup probe, if any, has passed
    stop_grace_s: float | None = None
    condemned: bool = False
    retry_at: datetime | None = None  # when a start that failed may be tried again
    reason: str = ""

    @property
    def running(self) -> bool:
        """Whether it runs now."""
        return self.state is not None and self.state.phase is Phase.RUNNING

    @property
    def exited(self) -> bool:
        """Whether its newest attempt has ended."""
        return self.state is not None and self.state.phase is Phase.EXITED


@frozen
class Progress:
    """One pod. `starting` is true while the driver is starting something; `settled`, that an earlier run of the node
    reported the pod's end, so that its status stands; `reported_end`, that the API server knows the final status;
    `deleted`, that it was told to let the object go.
    """

    accepted_at: datetime
    containers: Mapping[str, ContainerProgress] = field(factory=dict)
    sandbox: Sandbox = Sandbox.NONE
    ip: str = ""
    sandbox_failures: int = 0
    sandbox_retry_at: datetime | None = None
    sandbox_error: str = ""
    starting: bool = False
    verdict: Verdict | None = None
    settled: bool = False
    reported_end: bool = False
    deleted: bool = False

    def of(self, name: str) -> ContainerProgress:
        """A container's progress; empty before it was started."""
        return self.containers.get(name) or _NOTHING

    @property
    def is_condemned(self) -> bool:
        """Whether nothing of the pod may run, whatever its spec says."""
        return self.settled or self.verdict is not None

    @property
    def any_running(self) -> bool:
        """Whether any container runs."""
        return any(c.running for c in self.containers.values())


_NOTHING: Final = ContainerProgress()


def with_container(progress: Progress, name: str, container: ContainerProgress) -> Progress:
    """With this container's progress replaced."""
    return evolve(progress, containers={**progress.containers, name: container})


def with_state(pod: Pod, progress: Progress, state: ContainerState) -> Progress:
    """After the driver told a container's state; a FAILED one has `finished_at`, the time of the failure.

    Older attempts, and news that ended attempts run, change nothing.
    """
    known = progress.of(state.name)
    if known.state is not None and not _supersedes(state, known.state):
        return progress
    return with_container(progress, state.name, _container_after(pod, known, state))


def _supersedes(new: ContainerState, old: ContainerState) -> bool:
    if new.attempt != old.attempt:
        return new.attempt > old.attempt
    return new != old and old.phase is not Phase.EXITED


def _container_after(pod: Pod, known: ContainerProgress, state: ContainerState) -> ContainerProgress:
    fresh = known.state is None or state.attempt > known.state.attempt
    if fresh and known.state is not None:
        known = evolve(known, previous=known.state if known.exited else known.previous)
        known = evolve(known, stop_grace_s=None, condemned=False, reason="")
    failed = known.state is not None and known.state.phase is Phase.FAILED
    probes = pod.container(state.name)
    match state.phase:
        case Phase.RUNNING:
            ready = probes.readiness is None and probes.startup is None
            started = probes.startup is None
            known = evolve(known, ready=ready, started=started, retry_at=None, unhealthy=False)
            return evolve(known, state=state, restarts=state.attempt, failures=0 if failed else known.failures)
        case Phase.EXITED:
            return evolve(
                known, state=state, restarts=state.attempt, ready=False, started=False, failures=_crashes(known, state)
            )
        case Phase.FAILED:
            failures = known.failures + 1
            retry_at = (state.finished_at or _EPOCH) + back_off(failures)
            return evolve(known, state=state, restarts=state.attempt, ready=False, failures=failures, retry_at=retry_at)


_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def _crashes(known: ContainerProgress, state: ContainerState) -> int:
    if (
        state.started_at
        and state.finished_at
        and (state.finished_at - state.started_at).total_seconds() >= (_STABLE_AFTER_S)
    ):
        return 0
    return known.failures + 1


def back_off(failures: int) -> timedelta:
    """How long to wait after so many failures in a row: 10 s, 20 s ... 5 min, as a kubelet."""
    if failures <= 0:
        return timedelta()
    return timedelta(seconds=min(_BACK_OFF_S * 2.0 ** min(failures - 1, 10), _BACK_OFF_CAP_S))


def restart_due(container: ContainerProgress) -> datetime:
    """When an ended container may be restarted: after its first end at once, then with growing delays."""
    state = container.state
    ended = state.finished_at if state is not None else None
    return (ended or _EPOCH) + back_off(container.failures - 1)


def with_pod_state(pod: Pod, progress: Progress, state: PodState) -> Progress:
    """After the driver started the pod, or was found to have it."""
    progress = evolve(
        progress, sandbox=Sandbox.UP, ip=state.ip, sandbox_failures=0, sandbox_error="", sandbox_retry_at=None
    )
    names = {c.name for c in (*pod.init_containers, *pod.containers)}
    for container in state.containers:
        if container.name in names:
            progress = with_state(pod, progress, container)
    return progress


def with_sandbox_error(progress: Progress, message: str, now: datetime) -> Progress:
    """After the driver could not make the pod's surroundings."""
    failures = progress.sandbox_failures + 1
    return evolve(
        progress,
        sandbox_failures=failures,
        sandbox_error=message,
        sandbox_retry_at=now + timedelta(seconds=min(2.0 ** min(failures - 1, 10), _SANDBOX_CAP_S)),
    )


def with_lost(progress: Progress, names: Iterable[str], now: datetime) -> Progress:
    """After containers that ran are found missing: they have ended, and nobody knows how."""
    for name in names:
        known = progress.of(name)
        if known.state is None or not known.running:
            continue
        state = evolve(known.state, phase=Phase.EXITED, exit_code=LOST_EXIT_CODE, finished_at=now, message=LOST_MESSAGE)
        lost = evolve(known, state=state, ready=False, started=False, reason=LOST_REASON)
        progress = with_container(progress, name, lost)
    return progress
