"""Mailboxes push commands back, gather observations and settle every reply."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio
from trio.testing import MockClock

from actors.gathering import GATHERINGS
from actors.mailbox import ActorStopped, Mailbox, Overloaded, Reply
from engine.decision import StartRefused, TasksObserved, Tick
from engine.observation import Phase, TaskObservation
from tests.actors.records import NOW

LATER, LATEST = NOW + timedelta(seconds=1), NOW + timedelta(seconds=2)


def seen(*arns: str, phase: Phase = Phase.RUNNING) -> tuple[TaskObservation, ...]:
    return tuple(TaskObservation(arn, phase) for arn in arns)


def mailbox(limit: int = 3) -> Mailbox:
    return Mailbox(limit, GATHERINGS)


async def received(box: Mailbox) -> object:
    return (await box.receive()).opened()


async def test_messages_are_received_in_the_order_they_were_left() -> None:
    box = mailbox()
    box.ask("first")
    box.tell(StartRefused("arn", "reason"))
    box.ask("third")
    assert [await received(box) for _ in range(3)] == ["first", StartRefused("arn", "reason"), "third"]


async def test_a_full_mailbox_pushes_commands_back_and_takes_observations() -> None:
    box = mailbox(limit=2)
    box.ask("one")
    box.ask("two")
    with pytest.raises(Overloaded):
        box.ask("three")
    box.tell(Tick())
    assert len(box) == 3


async def test_ticks_that_wait_become_one() -> None:
    box = mailbox()
    box.tell(Tick())
    box.tell(Tick())
    assert await received(box) == Tick()
    assert len(box) == 0
    box.tell(Tick())
    assert len(box) == 1


async def test_observations_that_wait_become_one_that_knows_the_latest_of_each_task() -> None:
    box = mailbox()
    box.tell(TasksObserved(seen("a", "b"), taken_at=NOW))
    box.tell(TasksObserved(seen("b", phase=Phase.ENDED), taken_at=LATER))
    expected = TasksObserved((*seen("a"), *seen("b", phase=Phase.ENDED)), False, LATER)
    assert await received(box) == expected
    assert len(box) == 0


async def test_what_follows_a_complete_observation_adds_to_it_and_keeps_its_time() -> None:
    box = mailbox()
    box.tell(TasksObserved(seen("a"), complete=True, taken_at=NOW))
    box.tell(TasksObserved(seen("b"), taken_at=LATER))
    assert await received(box) == TasksObserved(seen("a", "b"), True, NOW)


async def test_a_complete_observation_makes_earlier_ones_moot() -> None:
    box = mailbox()
    box.tell(TasksObserved(seen("a", "b"), complete=True, taken_at=NOW))
    box.tell(TasksObserved(seen("c"), taken_at=LATER))
    box.tell(TasksObserved(seen("b"), complete=True, taken_at=LATEST))
    assert await received(box) == TasksObserved(seen("b"), True, LATEST)


async def test_a_thousand_observations_cost_no_more_than_one_message() -> None:
    box = mailbox()
    for number in range(1_000):
        box.tell(TasksObserved(seen(f"{number}"), taken_at=NOW))
    assert len(box) == 1
    message = await received(box)
    assert isinstance(message, TasksObserved)
    assert len(message.observations) == 1_000


async def test_the_receiver_is_woken(autojump_clock: MockClock) -> None:
    box = mailbox()
    async with trio.open_nursery() as nursery:

        async def leave_later() -> None:
            await trio.sleep(5)
            box.tell(Tick())

        nursery.start_soon(leave_later)
        with trio.fail_after(6):
            assert await received(box) == Tick()


async def test_a_closed_mailbox_refuses_and_settles_what_waits() -> None:
    box = mailbox()
    waiting = box.ask("never")
    box.close("gone")
    with pytest.raises(ActorStopped, match="gone"):
        await waiting.wait()
    with pytest.raises(ActorStopped, match="gone"):
        box.ask("more")
    box.tell(Tick())
    assert len(box) == 0


async def test_only_the_first_outcome_of_a_reply_counts() -> None:
    reply = Reply()
    reply.settle(1)
    reply.fail(ValueError())
    reply.settle(2)
    assert await reply.wait() == 1


async def test_a_reply_whose_asker_was_cancelled_is_abandoned(autojump_clock: MockClock) -> None:
    reply = Reply()
    with trio.move_on_after(1):
        await reply.wait()
    assert reply.abandoned
