"""Deadlines of asks."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from actors.deadlines import CHECK_S, Deadlines
from actors.mailbox import ActorStopped, DeadlineExceeded, Reply


async def test_a_reply_that_does_not_come_is_given_up_at_its_deadline(autojump_clock: MockClock) -> None:
    deadlines, reply = Deadlines(), Reply()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.run)
        began = trio.current_time()
        with pytest.raises(DeadlineExceeded, match=r"within 2\.5 s"):
            await deadlines.wait(reply, 2.5)
        assert 2.5 <= trio.current_time() - began <= 2.5 + CHECK_S
        assert reply.abandoned
        nursery.cancel_scope.cancel()


async def test_an_answer_in_time_is_the_answer(autojump_clock: MockClock) -> None:
    deadlines, reply = Deadlines(), Reply()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.run)
        reply.settle("done")
        assert await deadlines.wait(reply, 1) == "done"
        await trio.sleep(5)
        assert not reply.abandoned
        nursery.cancel_scope.cancel()


async def test_who_still_waits_at_the_end_is_told(autojump_clock: MockClock) -> None:
    deadlines, reply = Deadlines(), Reply()
    async with trio.open_nursery() as nursery:

        async def end() -> None:
            await trio.testing.wait_all_tasks_blocked()
            deadlines.settle_all(ActorStopped("the instance has stopped"))

        nursery.start_soon(end)
        with pytest.raises(ActorStopped, match="the instance has stopped"):
            await deadlines.wait(reply, 30)
