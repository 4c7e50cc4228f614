"""What happened to one kind of object: a bounded list of events that watchers read at their own pace.

A watcher is a position in this list, so that a slow one holds nothing but that number: once the list has moved on past
it, the watcher is told that its version has expired, as one that comes back too late is.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

import trio
from attrs import define, field

from k8s.client import JsonObject
from k8s.embedded.apiserver.errors import expired
from k8s.embedded.apiserver.stored import Stored

EVENTS_LIMIT: Final = 10_000
BYTES_LIMIT: Final = 32 * 1024 * 1024
FORGOTTEN: Final = -1
"""A position that no event has any more."""


@define(eq=False)
class Event:
    """One change. `stored` is the object after it (for DELETED: as it was, with the version of its deletion)."""

    version: int
    type: str
    stored: Stored
    previous: Stored | None
    _line: bytes = b""
    _parsed: JsonObject | None = None

    def line(self) -> bytes:
        """The event as JSON and a newline, made once for all watchers."""
        if not self._line:
            self._line = b'{"type":"%s","object":%s}\n' % (self.type.encode(), self.stored.encoded)
        return self._line

    def parsed(self) -> JsonObject:
        """The event as a dict, shared by all watchers of this process: not to be changed."""
        if self._parsed is None:
            self._parsed = {"type": self.type, "object": self.stored.body()}
        return self._parsed


@define(eq=False)
class History:
    """The events after version `floor`, oldest first. Positions count every event there ever was."""

    floor: int
    events_limit: int = EVENTS_LIMIT
    bytes_limit: int = BYTES_LIMIT
    _events: list[Event] = field(factory=list)
    _dropped: int = 0
    _bytes: int = 0
    _parked: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot)

    @property
    def end(self) -> int:
        """The position after the last event."""
        return self._dropped + len(self._events)

    def append(self, event: Event) -> None:
        """Add an event and wake who waits for one."""
        self._events.append(event)
        self._bytes += len(event.stored.encoded)
        if len(self._events) > self.events_limit or self._bytes > self.bytes_limit:
            self._forget()
        if self._parked:
            self._parked.unpark_all()

    def _forget(self) -> None:
        """Drop the older half: each event is moved at most once more, so an append costs the same at any length."""
        count = max(1, len(self._events) // 2)
        gone = self._events[:count]
        del self._events[:count]
        self._dropped += count
        self._bytes -= sum(len(event.stored.encoded) for event in gone)
        self.floor = gone[-1].version

    def position_after(self, version: int, current: int) -> int:
        """Where a watcher that has seen everything up to `version` goes on.

        Raises StatusError 410 for a version no longer (or, after a reset, never) known; `current` is the newest one.
        """
        if version < self.floor or version > current:
            raise expired(f"too old resource version: {version} ({max(self.floor, 0)})")
        return self._dropped + bisect_right(self._events, version, key=lambda event: event.version)

    def read(self, position: int, limit: int = 500) -> Sequence[Event]:
        """Some of the events from `position` on, none when there are none yet. Raises StatusError 410 if forgotten."""
        at = position - self._dropped
        if at < 0:
            raise expired(f"too old resource version: what happened up to {self.floor} is no longer remembered")
        return self._events[at : at + limit]

    async def more(self, position: int) -> None:
        """Wait until there is an event at `position`."""
        while position >= self.end:
            await self._parked.park()
