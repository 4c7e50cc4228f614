"""Things to do later: one heap and one task for a whole node, however many pods wait."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Hashable

import trio
from attrs import define, field


@define
class Timers:
    """Named timers. Setting a name again replaces its timer; actions are called from `run` and must not block."""

    _due: dict[Hashable, tuple[float, Callable[[], None]]] = field(factory=dict, init=False)
    _heap: list[tuple[float, int, Hashable]] = field(factory=list, init=False)
    _count: int = field(default=0, init=False)
    _sooner: trio.Event = field(factory=trio.Event, init=False)

    def __len__(self) -> int:
        return len(self._due)

    def set(self, name: Hashable, delay_s: float, action: Callable[[], None]) -> None:
        """Call `action` once, after `delay_s` seconds."""
        when = trio.current_time() + max(delay_s, 0)
        self._due[name] = (when, action)
        self._count += 1
        heapq.heappush(self._heap, (when, self._count, name))
        if self._heap[0][2] == name:
            self._sooner.set()

    def cancel(self, name: Hashable) -> None:
        """Forget a timer; one that is not there is no error."""
        self._due.pop(name, None)
        if len(self._heap) > 1000 and len(self._heap) > 4 * len(self._due):
            self._heap = [entry for entry in self._heap if self._is_current(entry)]
            heapq.heapify(self._heap)

    def _is_current(self, entry: tuple[float, int, Hashable]) -> bool:
        known = self._due.get(entry[2])
        return known is not None and known[0] == entry[0]

    async def run(self) -> None:
        """Call what is due, until cancelled."""
        while True:
            self._call_due()
            self._sooner = trio.Event()
            with trio.move_on_at(self._heap[0][0] if self._heap else math.inf):
                await self._sooner.wait()

    def _call_due(self) -> None:
        now = trio.current_time()
        while self._heap and (self._heap[0][0] <= now or not self._is_current(self._heap[0])):
            entry = heapq.heappop(self._heap)
            if self._is_current(entry):
                _, action = self._due.pop(entry[2])
                action()
