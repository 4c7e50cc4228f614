"""The tables of life cycles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.lifecycle import (
    TASK_TRANSITIONS,
    IllegalTransitionError,
    RolloutState,
    ServiceStatus,
    TaskStatus,
    checked_rollout,
    checked_service,
    is_before,
    path,
)

statuses = st.sampled_from(TaskStatus)


@given(statuses, statuses)
def test_a_path_is_monotonic_and_every_step_is_in_the_table(start: TaskStatus, target: TaskStatus) -> None:
    try:
        steps = path(start, target)
    except IllegalTransitionError:
        return
    for one, other in zip((start, *steps), steps, strict=False):
        assert other in TASK_TRANSITIONS[one]
        assert is_before(one, other)
    assert steps[-1:] == ((target,) if target is not start else ())


@given(statuses.filter(lambda status: is_before(status, TaskStatus.STOPPED)))
def test_every_status_leads_to_stopped(start: TaskStatus) -> None:
    assert path(start, TaskStatus.STOPPED)[-1] is TaskStatus.STOPPED


@given(statuses, statuses)
def test_going_back_raises(start: TaskStatus, target: TaskStatus) -> None:
    if is_before(target, start):
        with pytest.raises(IllegalTransitionError):
            path(start, target)


def test_a_task_passes_through_every_status_on_its_way() -> None:
    T = TaskStatus  # noqa: N806 - a short name for a table
    assert path(T.PROVISIONING, T.RUNNING) == (T.PENDING, T.ACTIVATING, T.RUNNING)
    assert path(T.RUNNING, T.STOPPED) == (T.DEACTIVATING, T.STOPPING, T.DEPROVISIONING, T.STOPPED)


def test_a_task_that_never_ran_does_not_pass_running() -> None:
    T = TaskStatus  # noqa: N806 - a short name for a table
    assert path(T.PENDING, T.STOPPED) == (T.STOPPING, T.DEPROVISIONING, T.STOPPED)
    assert path(T.PROVISIONING, T.STOPPED) == (T.DEPROVISIONING, T.STOPPED)


@pytest.mark.parametrize("target", [ServiceStatus.ACTIVE, ServiceStatus.DRAINING])
def test_an_inactive_service_stays_inactive(target: ServiceStatus) -> None:
    with pytest.raises(IllegalTransitionError):
        checked_service(ServiceStatus.INACTIVE, target)


def test_a_failed_deployment_stays_failed() -> None:
    for target in RolloutState:
        with pytest.raises(IllegalTransitionError):
            checked_rollout(RolloutState.FAILED, target)
