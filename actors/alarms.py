"""Alarms: one a sleeper, of which the earliest counts; one task keeps them all."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import datetime
from itertools import count
from math import inf

import trio

from actors.ports import Clock
from actors.registry import Address

LONGEST_SLEEP_S = 60.0  # the time of day may be set while we sleep


class Alarms:
    """Rings for an address at the earliest time that was set for it since it last rang."""

    def __init__(self, clock: Clock, ring: Callable[[Address], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._set: dict[Address, datetime] = {}
        self._queue: list[tuple[datetime, int, Address]] = []
        self._order = count()
        self._changed = trio.Event()

    def set(self, address: Address, when: datetime) -> None:
        """Ring for `address` at `when`, unless that is later than a time set already."""
        current = self._set.get(address)
        if current is None or when < current:
            self._set[address] = when
            heapq.heappush(self._queue, (when, next(self._order), address))
            self._changed.set()

    async def run(self) -> None:
        """Ring until cancelled."""
        while True:
            self._changed = trio.Event()
            delay_s = self._ring_due()
            with trio.move_on_after(delay_s):
                await self._changed.wait()

    def _ring_due(self) -> float:
        """Ring for all whose time has come. Returns how long to sleep then, in seconds."""
        now = self._clock.now()
        while self._queue:
            when, _, address = self._queue[0]
            if self._set.get(address) != when:
                heapq.heappop(self._queue)  # an earlier time took its place
            elif when <= now:
                heapq.heappop(self._queue)
                del self._set[address]
                self._ring(address)
            else:
                return min((when - now).total_seconds(), LONGEST_SLEEP_S)
        return inf
