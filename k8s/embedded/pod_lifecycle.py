"""A pod's life as a pure function: what the node should do next, from what the pod asks for and what has become of it.

`plan(pod, progress, deletion, now)` is called after everything that is learned and gives the actions that are due now,
and when to look again. Carrying out an action changes the progress (`pod_progress`), and with it the plan; when nothing
is left to do, it is empty. The worker carries actions out; this module knows no driver and no API server.

Containers start in the order of their dependencies and stop in the reverse order, by the rules of ECS:
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDependency.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from attrs import frozen

from k8s.embedded.driver import Failure, Phase
from k8s.embedded.pod_progress import ContainerProgress, Progress, Sandbox, Verdict, restart_due
from k8s.embedded.pod_spec import Container, Deletion, Dependency, Pod

DEADLINE_EXCEEDED: Final = Verdict("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")


@frozen
class StartContainer:
    """Start this attempt of a container in the sandbox that is there."""

    name: str
    attempt: int


@frozen
class StartPod:
    """Make the sandbox and start these containers in this order."""

    containers: tuple[StartContainer, ...]


@frozen
class StopContainer:
    """Ask a container to end, and kill it after the grace."""

    name: str
    grace_s: float


@frozen
class RemoveSandbox:
    """Nothing runs any more and nothing will: give everything back but the logs."""


@frozen
class Condemn:
    """End the pod, for this reason."""

    verdict: Verdict


@frozen
class DeleteObject:
    """Everything has ended and been told: let the API server delete the pod."""


Action: TypeAlias = StartPod | StartContainer | StopContainer | RemoveSandbox | Condemn | DeleteObject


@frozen
class Plan:
    """Actions that are due now, in order, and when to plan again if nothing is learned before."""

    actions: tuple[Action, ...] = ()
    wake_at: datetime | None = None


def plan(pod: Pod, progress: Progress, deletion: Deletion | None, now: datetime) -> Plan:
    """What to do now. Gives no actions once there is nothing to do until something is learned, or `wake_at`."""
    if deletion is not None or progress.is_condemned:
        return _wind_down(pod, progress, deletion)
    if pod.active_deadline_s is not None and not has_ended(pod, progress, now):
        deadline = progress.accepted_at + timedelta(seconds=pod.active_deadline_s)
        if deadline <= now:
            return Plan((Condemn(DEADLINE_EXCEEDED),))
        return _earlier(_go_on(pod, progress, now), deadline)
    return _go_on(pod, progress, now)


def _earlier(planned: Plan, when: datetime) -> Plan:
    return Plan(planned.actions, when if planned.wake_at is None else min(planned.wake_at, when))


def _go_on(pod: Pod, progress: Progress, now: datetime) -> Plan:
    if has_ended(pod, progress, now):
        return _clean_up(progress)
    if progress.sandbox_retry_at is not None and now < progress.sandbox_retry_at:
        return Plan((), progress.sandbox_retry_at)
    due = _due(pod, progress, now)
    wake_at = min(_looks(pod, progress, now), default=None)
    if progress.sandbox is not Sandbox.UP:
        if pod.needs_ip:
            return Plan((StartPod(()),), wake_at)
        return Plan((StartPod(_starts(progress, _batch(pod, progress, due))),), wake_at)
    return Plan((*_kills(pod, progress), *_starts(progress, due)), wake_at)


def _kills(pod: Pod, progress: Progress) -> Iterator[StopContainer]:
    for c in pod.containers:
        known = progress.of(c.name)
        if known.condemned and known.running and known.stop_grace_s is None:
            yield StopContainer(c.name, stop_grace_s(pod, c, None))


def _starts(progress: Progress, containers: Sequence[Container]) -> tuple[StartContainer, ...]:
    return tuple(StartContainer(c.name, _next_attempt(progress.of(c.name))) for c in containers)


def _next_attempt(container: ContainerProgress) -> int:
    if container.state is None:
        return 0
    return container.state.attempt + (1 if _ran(container) else 0)


def _batch(pod: Pod, progress: Progress, due: Sequence[Container]) -> list[Container]:
    """What may start in one go: what is due, and what waits only for the start of something before it."""
    batch = list(due)
    if current_init(pod, progress) is not None:
        return batch
    names = {c.name for c in batch}
    grown = True
    while grown:
        grown = False
        for c in pod.containers:
            if (
                c.name not in names
                and progress.of(c.name).state is None
                and all(d.condition == "START" and d.container in names for d in c.depends_on)
            ):
                batch.append(c)
                names.add(c.name)
                grown = True
    return batch


def _due(pod: Pod, progress: Progress, now: datetime) -> list[Container]:
    """The containers that may be started now."""
    init = current_init(pod, progress)
    candidates = pod.containers if init is None else (init,)
    return [c for c in candidates if _may_start(pod, progress, c, now)]


def _may_start(pod: Pod, progress: Progress, container: Container, now: datetime) -> bool:
    known = progress.of(container.name)
    if known.running or is_final(pod, progress, container, now):
        return False
    when = _start_due(known)
    return (when is None or when <= now) and all(_is_met(pod, progress, d) for d in container.depends_on)


def _start_due(known: ContainerProgress) -> datetime | None:
    if known.state is None:
        return None
    return known.retry_at if known.state.phase is Phase.FAILED else restart_due(known)


def _ran(known: ContainerProgress) -> bool:
    """Whether the newest attempt counts as one that ran: a kubelet counts a command that could not be executed."""
    state = known.state
    return state is not None and (state.phase is not Phase.FAILED or state.failure is Failure.RUN)


def _looks(pod: Pod, progress: Progress, now: datetime) -> Iterator[datetime]:
    for c in (*pod.init_containers, *pod.containers):
        known = progress.of(c.name)
        if known.state is not None and not known.running and not is_final(pod, progress, c, now):
            when = _start_due(known)
            if when is not None and when > now:
                yield when
        if c.start_timeout_s is not None and (limit := _start_limit(progress, c)) is not None and limit > now:
            yield limit


def _start_limit(progress: Progress, container: Container) -> datetime | None:
    """When those that wait for this container give up (ECS's `startTimeout`), if nobody has given up or gone on yet."""
    state = progress.of(container.name).state
    if container.start_timeout_s is None or state is None or state.started_at is None:
        return None
    return state.started_at + timedelta(seconds=container.start_timeout_s)


def current_init(pod: Pod, progress: Progress) -> Container | None:
    """The init container whose turn it is; None once all have succeeded."""
    for c in pod.init_containers:
        state = progress.of(c.name).state
        if state is None or state.phase is not Phase.EXITED or state.exit_code != 0:
            return c
    return None


def _is_met(pod: Pod, progress: Progress, dependency: Dependency) -> bool:
    known = progress.of(dependency.container)
    match dependency.condition:
        case "START":
            return known.running or known.exited
        case "COMPLETE":
            return known.exited and not _restarts(pod, known)
        case "SUCCESS":
            return known.exited and known.state is not None and known.state.exit_code == 0
        case _:
            return known.running and known.ready


def _restarts(pod: Pod, known: ContainerProgress) -> bool:
    """Whether the restart policy brings back a container that has ended."""
    if pod.restart_policy == "Never" or known.state is None:
        return False
    return pod.restart_policy == "Always" or known.state.phase is Phase.FAILED or known.state.exit_code != 0


def is_final(pod: Pod, progress: Progress, container: Container, now: datetime) -> bool:
    """Whether the container has ended for good, or can never start."""
    known = progress.of(container.name)
    if known.state is None:
        return unmet_dependency(pod, progress, container, now) is not None
    if known.running or not _ran(known):
        return False
    if any(c.name == container.name for c in pod.init_containers):
        succeeded = known.state.phase is Phase.EXITED and known.state.exit_code == 0
        return succeeded or pod.restart_policy == "Never"
    return not _restarts(pod, known)


def unmet_dependency(pod: Pod, progress: Progress, container: Container, now: datetime) -> str | None:
    """Why a container that never started never will, in a sentence; None while it still may."""
    for d in container.depends_on:
        if not _is_met(pod, progress, d) and _is_hopeless(pod, progress, d, now):
            return f"the container waits for {d.container} to reach {d.condition}, which it can no longer do"
    return None


def _is_hopeless(pod: Pod, progress: Progress, dependency: Dependency, now: datetime) -> bool:
    waited_for = pod.container(dependency.container)
    if is_final(pod, progress, waited_for, now):
        return True
    limit = _start_limit(progress, waited_for)
    return dependency.condition != "START" and limit is not None and limit <= now


def has_ended(pod: Pod, progress: Progress, now: datetime) -> bool:
    """Whether every container has ended for good, so that nothing of the pod will ever run again."""
    if progress.any_running:
        return False
    init = current_init(pod, progress)
    if init is not None:
        return is_final(pod, progress, init, now)
    return all(is_final(pod, progress, c, now) for c in pod.containers)


def is_over(pod: Pod, progress: Progress, deletion: Deletion | None, now: datetime) -> bool:
    """Whether the pod's phase is final: it has ended, or was ended and nothing of it runs."""
    if deletion is not None or progress.is_condemned:
        return not progress.any_running and not progress.starting
    return has_ended(pod, progress, now)


def _wind_down(pod: Pod, progress: Progress, deletion: Deletion | None) -> Plan:
    """Stop what runs, those that others depend on last; tell; then give everything back; then let the object go."""
    if progress.any_running:
        return Plan(tuple(_stops(pod, progress, deletion)))
    cleaned = _clean_up(progress)
    if cleaned.actions or not progress.reported_end:
        return cleaned
    if deletion is not None and deletion.grace_s > 0 and not progress.deleted:
        return Plan((DeleteObject(),))
    return Plan()


def _clean_up(progress: Progress) -> Plan:
    """Give an ended pod's sandbox back once its end is told: until then only the driver knows the exit codes, and a
    node that dies now must find them there again.
    """
    if progress.sandbox is Sandbox.UP and progress.reported_end:
        return Plan((RemoveSandbox(),))
    return Plan()


def _stops(pod: Pod, progress: Progress, deletion: Deletion | None) -> Iterator[StopContainer]:
    for c in (*pod.init_containers, *pod.containers):
        known = progress.of(c.name)
        if not known.running or _has_running_dependents(pod, progress, c.name):
            continue
        grace_s = stop_grace_s(pod, c, deletion)
        if progress.verdict is not None and progress.verdict.grace_s is not None:
            grace_s = min(grace_s, progress.verdict.grace_s)
        if known.stop_grace_s is None or grace_s < known.stop_grace_s:
            yield StopContainer(c.name, grace_s)


def stop_grace_s(pod: Pod, container: Container, deletion: Deletion | None) -> float:
    """Seconds from the stop signal to the kill: the container's own, unless the caller asked for a shorter one."""
    own = pod.grace_s if container.stop_timeout_s is None else container.stop_timeout_s
    if deletion is None:
        return own
    if container.stop_timeout_s is None:
        return deletion.grace_s
    return own if deletion.grace_s >= pod.grace_s else min(own, deletion.grace_s)


def _has_running_dependents(pod: Pod, progress: Progress, name: str) -> bool:
    return any(progress.of(c.name).running and any(d.container == name for d in c.depends_on) for c in pod.containers)
