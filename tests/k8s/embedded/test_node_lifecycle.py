"""What the node does next with a pod, told as tables: no driver, no API server, no clock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from k8s.embedded.driver import ContainerState, Failure, Phase, PodState
from k8s.embedded.pod_lifecycle import (
    Action,
    Condemn,
    DeleteObject,
    RemoveSandbox,
    StartContainer,
    StartPod,
    StopContainer,
    has_ended,
    is_over,
    plan,
)
from k8s.embedded.pod_progress import (
    Progress,
    Sandbox,
    Verdict,
    back_off,
    with_container,
    with_lost,
    with_pod_state,
    with_sandbox_error,
    with_state,
)
from k8s.embedded.pod_report import recalled, status
from k8s.embedded.pod_spec import Deletion, Pod, PodSpecError, parse_pod
from tests.k8s.embedded.pod_objects import container_object, pod_object

T0 = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DELETION = Deletion(T0 + timedelta(seconds=30), 30)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def parsed(**fields: Any) -> Pod:
    return parse_pod(pod_object(**fields))


def chain(*links: tuple[str, str, str]) -> Pod:
    """A pod whose containers depend on each other: (container, dependency, condition)."""
    names = dict.fromkeys(n for c, d, _ in links for n in (d, c))
    depends_on: dict[str, dict[str, str]] = {}
    for c, d, condition in links:
        depends_on.setdefault(c, {})[d] = condition
    return parsed(containers=[container_object(n) for n in names], depends_on=depends_on)


def running(name: str, attempt: int = 0, since: float = 0) -> ContainerState:
    return ContainerState(
        "uid", name, Phase.RUNNING, attempt, container_id=f"c://{name}{attempt}", started_at=at(since)
    )


def exited(name: str, code: int = 0, attempt: int = 0, when: float = 1) -> ContainerState:
    return evolve(running(name, attempt), phase=Phase.EXITED, exit_code=code, finished_at=at(when))


def failed(name: str, failure: Failure, when: float = 0) -> ContainerState:
    return ContainerState("uid", name, Phase.FAILED, finished_at=at(when), failure=failure, message="no")


def seen(pod: Pod, *states: ContainerState) -> Progress:
    return with_pod_state(pod, Progress(T0), PodState(pod.uid, "10.0.0.2", states))


def actions(pod: Pod, progress: Progress, deletion: Deletion | None = None, now: float = 1) -> Sequence[Action]:
    return plan(pod, progress, deletion, at(now)).actions


def told(progress: Progress) -> Progress:
    return evolve(progress, reported_end=True)


def starts(*names: str) -> tuple[StartContainer, ...]:
    return tuple(StartContainer(n, 0) for n in names)


def test_containers_without_dependencies_start_in_one_go() -> None:
    pod = parsed(containers=[container_object("a"), container_object("b")])
    assert actions(pod, Progress(T0)) == (StartPod(starts("a", "b")),)


def test_start_dependencies_are_part_of_the_first_go_in_their_order() -> None:
    pod = parsed(containers=[container_object("b"), container_object("a")], depends_on={"b": {"a": "START"}})
    assert actions(pod, Progress(T0)) == (StartPod(starts("a", "b")),)


@pytest.mark.parametrize(
    ("condition", "dependency", "starts_now"),
    [
        ("COMPLETE", running("a"), False),
        ("COMPLETE", exited("a", 1), True),
        ("SUCCESS", running("a"), False),
        ("SUCCESS", exited("a", 0), True),
        ("SUCCESS", exited("a", 1), False),
        ("START", running("a"), True),
        ("START", exited("a", 1), True),
    ],
)
def test_a_container_waits_for_its_dependency(condition: str, dependency: ContainerState, starts_now: bool) -> None:
    pod = chain(("b", "a", condition))
    expected = starts("b") if starts_now else ()
    assert tuple(a for a in actions(pod, seen(pod, dependency)) if isinstance(a, StartContainer)) == expected


def test_a_container_waits_until_its_dependency_is_healthy() -> None:
    probe = {"exec": {"command": ["true"]}}
    pod = parsed(
        containers=[container_object("a", readinessProbe=probe), container_object("b")],
        depends_on={"b": {"a": "HEALTHY"}},
    )
    progress = seen(pod, running("a"))
    assert actions(pod, progress) == ()
    progress = with_container(progress, "a", evolve(progress.of("a"), ready=True))
    assert actions(pod, progress) == starts("b")


@pytest.mark.parametrize("condition", ["SUCCESS", "HEALTHY"])
def test_a_dependency_that_can_no_longer_be_met_ends_the_pod_once_nothing_runs(condition: str) -> None:
    pod = chain(("b", "a", condition))
    progress = seen(pod, exited("a", 1))
    assert has_ended(pod, progress, at(1))
    assert actions(pod, told(progress)) == (RemoveSandbox(),)
    report = status(pod, progress, None, at(1), host_ip="h", before={})
    assert report["phase"] == "Failed"
    waiting = report["containerStatuses"][1]["state"]["waiting"]
    assert waiting["reason"] == "CreateContainerError"
    assert "SUCCESS" in waiting["message"] or "HEALTHY" in waiting["message"]


def test_a_start_timeout_gives_up_on_a_dependency() -> None:
    pod = parsed(
        containers=[container_object("a"), container_object("b")],
        depends_on={"b": {"a": "COMPLETE"}},
        annotations={"kecs.dev/start-timeouts": '{"a": 5}'},
    )
    progress = seen(pod, running("a"))
    assert plan(pod, progress, None, at(1)).wake_at == at(5)
    report = status(pod, progress, None, at(5), host_ip="h", before={})
    assert report["containerStatuses"][1]["state"]["waiting"]["reason"] == "CreateContainerError"


@pytest.mark.parametrize(
    ("depends_on", "message"),
    [
        ({"a": {"b": "START"}, "b": {"a": "START"}}, "circle"),
        ({"a": {"c": "START"}}, "cannot depend"),
        ({"a": {"b": "SOON"}}, "cannot depend"),
    ],
)
def test_impossible_dependencies_are_refused(depends_on: dict[str, dict[str, str]], message: str) -> None:
    with pytest.raises(PodSpecError, match=message):
        parsed(containers=[container_object("a"), container_object("b")], depends_on=depends_on)


def test_containers_stop_in_the_reverse_order_each_with_its_own_timeout() -> None:
    pod = parsed(
        containers=[container_object("a"), container_object("b")],
        depends_on={"b": {"a": "START"}},
        stop_timeouts={"a": 7, "b": 3},
    )
    progress = seen(pod, running("a"), running("b"))
    assert actions(pod, progress, DELETION) == (StopContainer("b", 3),)
    asked = with_container(progress, "b", evolve(progress.of("b"), stop_grace_s=3))
    assert actions(pod, asked, DELETION) == ()
    assert actions(pod, with_state(pod, asked, exited("b", 143)), DELETION) == (StopContainer("a", 7),)


@pytest.mark.parametrize(
    ("stop_timeout", "grace", "expected"),
    [(None, 30, 30), (None, 5, 5), (7, 30, 7), (7, 5, 5), (7, 0, 0), (60, 30, 60)],
)
def test_the_shorter_of_stop_timeout_and_an_impatient_deletion_counts(
    stop_timeout: int | None, grace: float, expected: float
) -> None:
    pod = parsed(stop_timeouts={} if stop_timeout is None else {"main": stop_timeout})
    assert actions(pod, seen(pod, running("main")), Deletion(at(grace), grace)) == (StopContainer("main", expected),)


def test_a_second_deletion_with_less_patience_is_passed_on() -> None:
    pod = parsed()
    progress = seen(pod, running("main"))
    progress = with_container(progress, "main", evolve(progress.of("main"), stop_grace_s=30))
    assert actions(pod, progress, DELETION) == ()
    assert actions(pod, progress, Deletion(T0, 0)) == (StopContainer("main", 0),)


def test_an_ended_pod_is_told_then_gives_back_its_sandbox_then_lets_the_object_go() -> None:
    pod = parsed()
    progress = with_state(pod, seen(pod, running("main")), exited("main", 143))
    assert actions(pod, progress, DELETION) == ()
    progress = told(progress)
    assert actions(pod, progress, DELETION) == (RemoveSandbox(),)
    progress = evolve(progress, sandbox=Sandbox.REMOVED)
    assert actions(pod, progress, DELETION) == (DeleteObject(),)
    assert actions(pod, evolve(progress, deleted=True), DELETION) == ()


def test_an_object_whose_deletion_was_forced_is_not_deleted_again() -> None:
    pod = parsed()
    progress = evolve(seen(pod, exited("main")), sandbox=Sandbox.REMOVED, reported_end=True)
    assert actions(pod, progress, Deletion(T0, 0)) == ()


def test_a_pod_deleted_before_it_started_never_starts() -> None:
    pod = parsed()
    assert actions(pod, Progress(T0), DELETION) == ()
    assert is_over(pod, Progress(T0), DELETION, at(1))
    assert not is_over(pod, Progress(T0, starting=True), DELETION, at(1))


@pytest.mark.parametrize(
    ("policy", "code", "restarts"),
    [("Never", 1, False), ("OnFailure", 0, False), ("OnFailure", 1, True), ("Always", 0, True), ("Always", 1, True)],
)
def test_the_restart_policy_decides_what_comes_back(policy: str, code: int, restarts: bool) -> None:
    pod = parsed(restartPolicy=policy)
    progress = with_state(pod, seen(pod, running("main")), exited("main", code))
    expected = (StartContainer("main", 1),) if restarts else (RemoveSandbox(),)
    assert actions(pod, progress if restarts else told(progress)) == expected


def test_restarts_are_put_off_longer_each_time() -> None:
    pod = parsed(restartPolicy="Always")
    progress = seen(pod, running("main"))
    waits = []
    for attempt in range(7):
        progress = with_state(pod, progress, running("main", attempt))
        progress = with_state(pod, progress, exited("main", 1, attempt, when=0))
        wake_at = plan(pod, progress, None, at(0)).wake_at
        waits.append((wake_at - at(0)).total_seconds() if wake_at else 0)
    assert waits == [0, 10, 20, 40, 80, 160, 300]


def test_a_container_that_ran_for_long_restarts_at_once() -> None:
    pod = parsed(restartPolicy="Always")
    progress = seen(pod, running("main"))
    for attempt in range(3):
        progress = with_state(pod, progress, running("main", attempt))
        progress = with_state(pod, progress, exited("main", 1, attempt, when=601))
    assert actions(pod, progress, now=601) == (StartContainer("main", 3),)


@pytest.mark.parametrize("failure", [Failure.IMAGE_PULL, Failure.CREATE, Failure.CONFIG])
def test_a_start_that_failed_is_tried_again_later(failure: Failure) -> None:
    pod = parsed()
    progress = seen(pod, failed("main", failure))
    assert plan(pod, progress, None, at(1)) == plan(pod, progress, None, at(2))
    assert plan(pod, progress, None, at(1)).wake_at == at(10)
    assert actions(pod, progress, now=10) == (StartContainer("main", 0),)
    report = status(pod, progress, None, at(1), host_ip="h", before={})
    assert (report["phase"], report["containerStatuses"][0]["state"]["waiting"]["reason"]) == ("Pending", failure)


def test_a_command_that_cannot_be_executed_ends_the_pod() -> None:
    pod = parsed()
    progress = seen(pod, failed("main", Failure.RUN))
    report = status(pod, progress, None, at(1), host_ip="h", before={})
    ended = report["containerStatuses"][0]["state"]["terminated"]
    assert (report["phase"], ended["exitCode"], ended["reason"], ended["message"]) == (
        "Failed",
        128,
        "StartError",
        "no",
    )


def test_a_sandbox_that_fails_is_tried_again() -> None:
    pod = parsed()
    progress = with_sandbox_error(Progress(T0), "no address", at(0))
    assert plan(pod, progress, None, at(0)).actions == ()
    assert plan(pod, progress, None, at(0)).wake_at == at(1)
    assert actions(pod, progress, now=1) == (StartPod(starts("main")),)
    assert with_sandbox_error(progress, "no address", at(1)).sandbox_retry_at == at(3)


def test_init_containers_come_one_after_another_before_the_others() -> None:
    pod = parsed(initContainers=[container_object("one"), container_object("two")])
    assert actions(pod, Progress(T0)) == (StartPod(starts("one")),)
    progress = seen(pod, exited("one"))
    assert actions(pod, progress) == starts("two")
    progress = with_state(pod, progress, exited("two"))
    assert actions(pod, progress) == starts("main")


def test_an_init_container_that_fails_ends_a_pod_that_never_restarts() -> None:
    pod = parsed(initContainers=[container_object("one")])
    progress = seen(pod, exited("one", 1))
    assert actions(pod, told(progress)) == (RemoveSandbox(),)
    report = status(pod, progress, None, at(1), host_ip="h", before={})
    assert report["phase"] == "Failed"
    assert report["containerStatuses"][0]["state"]["waiting"]["reason"] == "PodInitializing"


def test_a_deadline_ends_the_pod() -> None:
    pod = parsed(activeDeadlineSeconds=60)
    progress = seen(pod, running("main"))
    assert plan(pod, progress, None, at(1)).wake_at == at(60)
    (condemned,) = actions(pod, progress, now=60)
    assert isinstance(condemned, Condemn)
    progress = evolve(progress, verdict=condemned.verdict)
    assert actions(pod, progress, now=60) == (StopContainer("main", 30),)
    progress = with_state(pod, progress, exited("main", 143))
    report = status(pod, progress, None, at(61), host_ip="h", before={})
    assert (report["phase"], report["reason"]) == ("Failed", "DeadlineExceeded")


def test_a_verdict_may_shorten_stop_timeouts() -> None:
    pod = parsed()
    progress = evolve(seen(pod, running("main")), verdict=Verdict("NodeShutdown", "bye", grace_s=3))
    assert actions(pod, progress) == (StopContainer("main", 3),)


def test_containers_that_vanished_ended_with_137() -> None:
    pod = parsed()
    reported = status(pod, seen(pod, running("main")), None, at(1), host_ip="h", before={})
    progress = with_lost(recalled(pod, reported, at(5)), ["main"], at(5))
    report = status(pod, progress, None, at(5), host_ip="h", before=reported)
    ended = report["containerStatuses"][0]["state"]["terminated"]
    assert (report["phase"], ended["exitCode"], ended["reason"]) == ("Failed", 137, "ContainerStatusUnknown")


def test_a_pod_whose_end_was_reported_stays_as_it_is() -> None:
    pod = parsed()
    progress = with_state(pod, seen(pod, running("main")), exited("main", 3))
    reported = status(pod, progress, None, at(1), host_ip="h", before={})
    again = recalled(pod, reported, at(9))
    assert again.settled
    assert actions(pod, again, now=9) == ()
    assert status(pod, again, None, at(9), host_ip="other", before=reported) == reported


def test_conditions_keep_their_times_while_they_hold() -> None:
    pod = parsed()
    progress = seen(pod, running("main"))
    first = status(pod, progress, None, at(1), host_ip="h", before={})
    second = status(pod, progress, None, at(9), host_ip="h", before=first)
    assert first == second
    ended = status(pod, with_state(pod, progress, exited("main", when=9)), None, at(9), host_ip="h", before=first)
    ready = next(c for c in ended["conditions"] if c["type"] == "Ready")
    assert (ready["status"], ready["reason"], ready["lastTransitionTime"]) == (
        "False",
        "PodCompleted",
        "2026-11-22T12:00:09Z",
    )


def test_old_news_changes_nothing() -> None:
    pod = parsed(restartPolicy="Always")
    progress = with_state(pod, seen(pod, running("main")), exited("main", 1))
    assert with_state(pod, progress, running("main")) is progress
    later = with_state(pod, progress, running("main", 1))
    assert with_state(pod, later, exited("main", 1)) is later


def test_back_off_grows_to_five_minutes() -> None:
    assert [back_off(n).total_seconds() for n in (0, 1, 2, 3, 6, 100)] == [0, 10, 20, 40, 300, 300]


@st.composite
def pods(draw: st.DrawFn) -> Pod:
    names = ["a", "b", "c", "d"][: draw(st.integers(1, 4))]
    depends_on = {
        name: {
            earlier: draw(st.sampled_from(["START", "COMPLETE", "SUCCESS"]))
            for earlier in names[:index]
            if draw(st.booleans())
        }
        for index, name in enumerate(names)
    }
    return parsed(
        containers=draw(st.permutations([container_object(n) for n in names])),
        depends_on={n: d for n, d in depends_on.items() if d},
        restartPolicy=draw(st.sampled_from(["Never", "OnFailure", "Always"])),
        initContainers=[container_object(f"i{n}") for n in range(draw(st.integers(0, 2)))],
    )


def _carried_out(pod: Pod, progress: Progress, action: Action, now: float) -> Progress:
    """The progress after a driver that does as it is told."""
    match action:
        case StartPod():
            for start in action.containers:
                _check_start(pod, progress, start)
                progress = with_state(pod, progress, running(start.name, start.attempt, now))
            return evolve(progress, sandbox=Sandbox.UP, ip="10.0.0.2")
        case StartContainer():
            assert progress.sandbox is Sandbox.UP
            _check_start(pod, progress, action)
            return with_state(pod, progress, running(action.name, action.attempt, now))
        case StopContainer():
            known = evolve(progress.of(action.name), stop_grace_s=action.grace_s)
            assert not any(
                progress.of(c.name).running and any(d.container == action.name for d in c.depends_on)
                for c in pod.containers
            )
            return with_container(progress, action.name, known)
        case RemoveSandbox():
            assert not progress.any_running
            assert progress.reported_end
            return evolve(progress, sandbox=Sandbox.REMOVED)
        case Condemn():
            return evolve(progress, verdict=action.verdict)
        case DeleteObject():
            assert progress.sandbox is not Sandbox.UP
            assert progress.reported_end
            return evolve(progress, deleted=True)


def _check_start(pod: Pod, progress: Progress, start: StartContainer) -> None:
    known = progress.of(start.name)
    assert not known.running
    for dependency in pod.container(start.name).depends_on:
        other = progress.of(dependency.container)
        assert other.running or other.exited
        if dependency.condition != "START":
            assert other.exited or other.restarts > 0
    if start.name in {c.name for c in pod.containers}:
        assert all(progress.of(c.name).exited for c in pod.init_containers)


@given(pods(), st.data())
def test_whatever_happens_the_order_holds_and_a_deleted_pod_comes_to_its_end(pod: Pod, data: st.DataObject) -> None:
    progress, now, deletion = Progress(T0), 0.0, None
    for _ in range(data.draw(st.integers(0, 25))):
        for action in plan(pod, progress, deletion, at(now)).actions:
            progress = _carried_out(pod, progress, action, now)
        alive = [n for n, c in progress.containers.items() if c.running]
        if alive:
            name = data.draw(st.sampled_from(alive))
            attempt = progress.of(name).restarts
            progress = with_state(pod, progress, exited(name, data.draw(st.integers(0, 1)), attempt, when=now))
        now += data.draw(st.sampled_from([0, 1, 400]))
        report = status(pod, progress, deletion, at(now), host_ip="h", before={})
        if report["phase"] in ("Succeeded", "Failed"):
            progress = evolve(progress, reported_end=True)
    deletion = Deletion(at(now + 30), 30)
    for _ in range(20):
        planned = plan(pod, progress, deletion, at(now)).actions
        assert not any(isinstance(a, StartPod | StartContainer) for a in planned)
        for action in planned:
            progress = _carried_out(pod, progress, action, now)
        for name in [n for n, c in progress.containers.items() if c.running and c.stop_grace_s is not None]:
            progress = with_state(pod, progress, exited(name, 143, progress.of(name).restarts, when=now))
        if is_over(pod, progress, deletion, at(now)):
            progress = evolve(progress, reported_end=True)
    assert progress.deleted
    assert plan(pod, progress, deletion, at(now)).actions == ()
    assert status(pod, progress, deletion, at(now), host_ip="h", before={})["phase"] in ("Succeeded", "Failed")
