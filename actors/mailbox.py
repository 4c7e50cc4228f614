"""A bounded mailbox, and replies that are always settled.

Commands push back: a full mailbox raises Overloaded. Observations are never refused: those of one type that wait are
gathered into one message, so that they never need more room than one message a type.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import trio
from attrs import define


class Overloaded(Exception):  # noqa: N818  (names what is the matter, as AWS's throttling errors do)
    """The actor's mailbox is full. Nothing happened; trying again later may succeed."""


class DeadlineExceeded(Exception):  # noqa: N818  (see Overloaded)
    """No reply came in time. The command may still be carried out if its turn has begun."""


class ActorStopped(Exception):  # noqa: N818  (see Overloaded)
    """The actor does not exist, stopped or crashed before it replied."""


class Reply:
    """The answer to one message: a value or an error, settled once."""

    __slots__ = ("_error", "_settled", "_value", "abandoned")

    def __init__(self) -> None:
        self._settled = trio.Event()
        self._value: object = None
        self._error: Exception | None = None
        self.abandoned = False  # nobody waits for it any more

    def settle(self, value: object) -> None:
        """Answer. Only the first answer or error counts."""
        if not self._settled.is_set():
            self._value = value
            self._settled.set()

    def fail(self, error: Exception) -> None:
        """Answer with an error. Only the first answer or error counts."""
        if not self._settled.is_set():
            self._error = error
            self._settled.set()

    async def wait(self) -> Any:
        """The answer. Raises its error; abandoned when cancelled. How long to wait is kept by `actors.deadlines`."""
        try:
            await self._settled.wait()
        except trio.Cancelled:
            self.abandoned = True
            raise
        if self._error is not None:
            raise self._error
        return self._value

    def give_up(self, error: Exception) -> None:
        """Answer with an error unless there is an answer: whoever has not begun with the message need not begin."""
        if not self._settled.is_set():
            self.abandoned = True
            self.fail(error)


class Gathering(Protocol):
    """Messages of one type on their way to become one."""

    def add(self, message: Any) -> None:
        """Take one more message in; later ones know better."""
        ...

    def message(self) -> object:
        """The one message that says what all of them said."""
        ...


@define
class Envelope:
    """A message that waits. `arrived` is trio's time."""

    message: object
    arrived: float
    reply: Reply | None = None
    gathering: Gathering | None = None

    def opened(self) -> object:
        """The message, as it stands now."""
        return self.message if self.gathering is None else self.gathering.message()


class Mailbox:
    """The messages that wait for one actor, oldest first. One task receives."""

    def __init__(self, limit: int, gatherings: Mapping[type, Callable[[], Gathering]]) -> None:
        self._limit = limit
        self._gatherings = gatherings
        self._waiting: deque[Envelope] = deque()
        self._gathered: dict[type, Envelope] = {}
        self._arrival = trio.lowlevel.ParkingLot()
        self._closed: str | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def oldest_arrived(self) -> float | None:
        """When the oldest waiting message arrived, in trio's time."""
        return self._waiting[0].arrived if self._waiting else None

    @property
    def is_closed(self) -> bool:
        """Whether everything is refused."""
        return self._closed is not None

    def ask(self, message: object) -> Reply:
        """Leave a command. Raises Overloaded when the mailbox is full, ActorStopped when it is closed."""
        if self._closed is not None:
            raise ActorStopped(self._closed)
        if len(self._waiting) >= self._limit:
            raise Overloaded(f"{len(self._waiting)} messages wait")
        reply = Reply()
        self._leave(Envelope(message, trio.current_time(), reply))
        return reply

    def tell(self, message: object) -> None:
        """Leave an observation, gathered with those of its type that wait. A closed mailbox drops it."""
        if self._closed is not None:
            return
        kind = type(message)
        waiting = self._gathered.get(kind)
        if waiting is not None and waiting.gathering is not None:
            waiting.gathering.add(message)
            return
        envelope = Envelope(message, trio.current_time())
        if (new_gathering := self._gatherings.get(kind)) is not None:
            envelope.gathering = new_gathering()
            envelope.gathering.add(message)
            self._gathered[kind] = envelope
        self._leave(envelope)

    async def receive(self) -> Envelope:
        """The oldest message. A checkpoint, always."""
        if self._waiting:
            await trio.lowlevel.checkpoint()
        while not self._waiting:
            await self._arrival.park()
        envelope = self._waiting.popleft()
        if envelope.gathering is not None:
            del self._gathered[type(envelope.message)]
        return envelope

    def close(self, why: str) -> None:
        """Refuse everything from now on; whoever waits for a reply gets ActorStopped."""
        self._closed = why
        while self._waiting:
            if (reply := self._waiting.popleft().reply) is not None:
                reply.fail(ActorStopped(why))
        self._gathered.clear()

    def _leave(self, envelope: Envelope) -> None:
        self._waiting.append(envelope)
        self._arrival.unpark()
