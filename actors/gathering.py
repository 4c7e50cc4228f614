"""How the engine's observations coalesce while they wait: levels, of which the latest says everything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from actors.mailbox import Gathering
from engine.decision import TasksObserved, Tick
from engine.observation import TaskObservation


class GatheredTicks:
    """Any number of ticks is one tick."""

    def add(self, message: Tick) -> None:
        """Nothing to remember."""

    def message(self) -> Tick:
        """A tick."""
        return Tick()


class GatheredObservations:
    """The latest observation of each task.

    A complete observation makes all earlier ones moot. One that follows it adds to it, but the whole stays complete
    only as of the moment at which everything was seen: a task asked for since then is not gone.
    """

    def __init__(self) -> None:
        self._latest: dict[str, TaskObservation] = {}
        self._complete = False
        self._taken_at: datetime | None = None

    def add(self, message: TasksObserved) -> None:
        """Take in what was seen later."""
        if message.complete:
            self._latest.clear()
        for observation in message.observations:
            self._latest[observation.task_arn] = observation
        if message.complete or not self._complete:
            self._taken_at = message.taken_at
        self._complete = self._complete or message.complete

    def message(self) -> TasksObserved:
        """One message that says what all of them said."""
        return TasksObserved(tuple(self._latest.values()), self._complete, self._taken_at)


GATHERINGS: Final[Mapping[type, Callable[[], Gathering]]] = {Tick: GatheredTicks, TasksObserved: GatheredObservations}
