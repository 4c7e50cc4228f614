"""From the world to the actors: every observation goes to the owner of its task, and what nobody owns is removed.

It remembers what the world was last seen to hold, so that a restarted actor need not wait for the next list.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import trio

from actors.effects import Effects
from actors.loop import Actor
from actors.ports import Orchestrator, PortError
from actors.registry import TASK_DEFINITIONS, Address, Registry
from actors.supervision import describe, trace
from engine.arn import cluster_arn_of
from engine.decision import ReleaseTask, StopTask, TasksObserved
from engine.observation import Phase, TaskObservation

_log = logging.getLogger(__name__)

ORPHAN_GRACE_S = 30
_FIRST_RETRY_S = 0.5
_LONGEST_RETRY_S = 15.0


class Watch:
    """The instance's one watch over its orchestrator."""

    def __init__(
        self,
        orchestrator: Orchestrator,
        registry: Registry,
        owner_of: Callable[[str], Address | None],
        effects: Effects,
    ) -> None:
        self._orchestrator = orchestrator
        self._registry = registry
        self._owner_of = owner_of
        self._effects = effects
        self._seen: dict[str, TaskObservation] = {}
        self._listed_at: datetime | None = None

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the orchestrator watching until cancelled; `started` with the first complete list."""
        first, delay_s = True, _FIRST_RETRY_S
        while True:
            try:
                async with trio.open_nursery() as nursery:
                    await nursery.start(self._orchestrator.run, self.observe)
                    delay_s = _FIRST_RETRY_S
                    if first:
                        task_status.started()
                        first = False
            except* PortError as group:
                _log.warning("the orchestrator does not answer: %s", group.exceptions[0])
            except* Exception as group:
                _log.error("watching failed: %s\n%s", describe(group.exceptions[0]), trace(group.exceptions[0]))
            await trio.sleep(delay_s)
            delay_s = min(delay_s * 2, _LONGEST_RETRY_S)

    def observe(self, observations: Sequence[TaskObservation], complete: bool, taken_at: datetime) -> None:
        """Hand observations to the owners of their tasks. After a list every owner hears, also of nothing."""
        if complete:
            self._seen.clear()
            self._listed_at = taken_at
        by_owner: defaultdict[Address, list[TaskObservation]] = defaultdict(list)
        for observation in observations:
            self._remember(observation)
            owner = self._owner_of(observation.task_arn)
            if owner is None:
                self._dispose(observation)
            else:
                by_owner[owner].append(observation)
        if complete:
            for actor in self._registry:
                if actor.address.kind != TASK_DEFINITIONS:
                    by_owner[actor.address]  # a defaultdict: an owner who is not in it is told of nothing
        for address, seen in by_owner.items():
            if (owning := self._registry.get(address)) is not None:
                owning.mailbox.tell(TasksObserved(tuple(seen), complete, taken_at))

    def repeat(self, actor: Actor[Any]) -> None:
        """Tell one actor all that was last seen of its tasks, as complete as the last list was."""
        if self._listed_at is not None:
            arns = actor.behaviour.task_arns(actor.state)
            seen = tuple(self._seen[arn] for arn in arns if arn in self._seen)
            actor.mailbox.tell(TasksObserved(seen, complete=True, taken_at=self._listed_at))

    def clusters(self) -> set[str]:
        """The clusters in which something was last seen."""
        return {cluster_arn_of(arn) for arn in self._seen}

    def _remember(self, observation: TaskObservation) -> None:
        if observation.phase == Phase.GONE:
            self._seen.pop(observation.task_arn, None)
        else:
            self._seen[observation.task_arn] = observation

    def _dispose(self, orphan: TaskObservation) -> None:
        """Rid the world of a task that nobody here remembers."""
        if orphan.phase == Phase.ENDED:
            self._effects.submit(None, ReleaseTask(orphan.task_arn))
        elif orphan.phase != Phase.GONE and not orphan.stopping and not self._effects.is_busy(orphan.task_arn):
            self._effects.submit(None, StopTask(orphan.task_arn, ORPHAN_GRACE_S, "nobody remembers this task"))
