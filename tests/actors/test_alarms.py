"""One alarm an address; the earliest counts."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio
from trio.testing import MockClock

from actors.alarms import Alarms
from actors.registry import Address, cluster_address
from tests.actors.records import SCOPE
from tests.fakes import EPOCH, TrioClock

ONE, OTHER = cluster_address(SCOPE.cluster_arn("one")), cluster_address(SCOPE.cluster_arn("other"))


async def rings_of(*settings: tuple[float, Address, float], for_s: float = 1_000) -> list[tuple[float, Address]]:
    """When and for whom it rings, when alarms are set: at a time, for an address, to a time."""
    rings: list[tuple[float, Address]] = []
    start = trio.current_time()
    alarms = Alarms(TrioClock(), lambda address: rings.append((trio.current_time() - start, address)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alarms.run)
        for at, address, to in settings:
            await trio.sleep_until(start + at)
            alarms.set(address, EPOCH + timedelta(seconds=start + to))
        await trio.sleep(for_s)
        nursery.cancel_scope.cancel()
    return rings


async def test_rings_at_the_earliest_time_set(autojump_clock: MockClock) -> None:
    [(when, who)] = await rings_of((0, ONE, 300), (1, ONE, 200), (2, ONE, 400))
    assert (round(when), who) == (200, ONE)


async def test_rings_again_for_a_time_set_after_it_rang(autojump_clock: MockClock) -> None:
    rings = await rings_of((0, ONE, 10), (20, ONE, 90))
    assert [round(when) for when, _ in rings] == [10, 90]


async def test_keeps_addresses_apart(autojump_clock: MockClock) -> None:
    rings = await rings_of((0, ONE, 70), (0, OTHER, 65))
    assert [(round(when), who) for when, who in rings] == [(65, OTHER), (70, ONE)]


async def test_a_time_that_is_past_rings_at_once(autojump_clock: MockClock) -> None:
    [(when, _)] = await rings_of((100, ONE, 50))
    assert when == pytest.approx(100, abs=0.1)
