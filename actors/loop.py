"""One actor: receive, decide, submit, next.

A turn never awaits: it asks the behaviour to decide, takes the decided state as its own and queues the changed records
for the next transaction. What follows a turn (reads, reply, effects) happens when that transaction is durable, while
the actor is already turns ahead. This file knows neither ECS nor any port but the store and the clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from actors.mailbox import ActorStopped, Envelope, Mailbox, Reply
from actors.ports import Clock, SnapshotStore
from actors.registry import Address
from engine.decision import Decision
from engine.errors import AwsError

S = TypeVar("S")
REMEMBERED_MESSAGES = 20


class Behaviour(Protocol[S]):
    """What one kind of actor is: its decisions and its snapshot."""

    def decide(self, state: S, message: Any, now: datetime) -> Decision[S]:
        """The outcome of one turn. Raises AwsError to refuse a command."""
        ...

    async def restore(self) -> S:
        """The state as it was made durable last."""
        ...

    def is_vacant(self, state: S) -> bool:
        """Whether there is nothing an actor is needed for."""
        ...

    def summary(self, state: S) -> Mapping[str, object]:
        """The state in a few words and numbers, none of them secret."""
        ...

    def task_arns(self, state: S) -> Iterable[str]:
        """The tasks it owns."""
        ...


Committed = Callable[["Actor[Any]", Decision[Any]], None]
"""Called once a turn's records are durable, before its reply is settled."""


class Actor(Generic[S]):
    """An address, a mailbox, and a state that only its own turns replace."""

    def __init__(
        self,
        address: Address,
        behaviour: Behaviour[S],
        state: S,
        mailbox: Mailbox,
        store: SnapshotStore,
        clock: Clock,
        committed: Committed,
    ) -> None:
        self.address = address
        self.behaviour = behaviour
        self.state = state
        self.mailbox = mailbox
        self.turns = 0
        self.restarts = 0
        self.last_error: str | None = None
        self.last_messages: deque[tuple[str, datetime]] = deque(maxlen=REMEMBERED_MESSAGES)
        self._store = store
        self._clock = clock
        self._committed = committed

    async def run(self) -> None:
        """Take turns. Returns when nothing is left that needs an actor; raises whatever a decision raises."""
        while True:
            envelope = await self.mailbox.receive()
            await self._store.room()
            if self.mailbox.is_closed:
                return
            self._take_turn(envelope)
            if not self.mailbox and self.behaviour.is_vacant(self.state):
                return

    async def restore(self) -> None:
        """Go back to what is durable. Messages that wait are kept."""
        self.state = await self.behaviour.restore()

    def _take_turn(self, envelope: Envelope) -> None:
        message, reply = envelope.opened(), envelope.reply
        if reply is not None and reply.abandoned:
            return
        now = self._clock.now()
        self.turns += 1
        self.last_messages.append((type(message).__name__, now))
        try:
            decision = self.behaviour.decide(self.state, message, now)
        except AwsError as refusal:
            if reply is None:
                raise
            self._store.submit((), partial(reply.fail, refusal))  # it may rest on turns that are not durable yet
        except Exception:
            if reply is not None:
                reply.fail(ActorStopped(f"{self.address} crashed"))
            raise
        else:
            self.state = decision.state
            self._store.submit(decision.records, partial(self._follow, decision, reply), awaited=reply is not None)

    def _follow(self, decision: Decision[S], reply: Reply | None) -> None:
        self._committed(self, decision)
        if reply is not None:
            reply.settle(decision.reply)
