"""Carrying out what turns decided, once it is durable.

Effects on one task run one after the other, in the order in which they were decided; effects on different tasks run
side by side, a bounded number at a time. What the orchestrator cannot do now is tried again, at growing intervals;
what it will never do is told to the actor that asked for it. All effects are idempotent, so nothing here is
remembered: after a restart the engine decides again what is missing.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import assert_never

import trio
from attrs import define, field

from actors.ports import Orchestrator, PortError, RejectedError
from actors.registry import Address
from actors.supervision import describe, trace
from engine.decision import ReleaseTask, RemoveCluster, StartRefused, StartTask, StopTask

_log = logging.getLogger(__name__)

WorldEffect = StartTask | StopTask | ReleaseTask | RemoveCluster
Tell = Callable[[Address, object], None]

CONCURRENCY = 32
FIRST_RETRY_S = 0.1
LONGEST_RETRY_S = 15.0


@define
class _Lane:
    """The effects on one task, or on one cluster as a whole, that still have to be carried out."""

    cluster_arn: str
    waiting: deque[tuple[Address | None, WorldEffect]] = field(factory=deque)
    after: tuple[trio.Event, ...] = ()
    done: trio.Event = field(factory=trio.Event)


class Effects:
    """The lanes of an instance. `open` gives them the nursery they live in."""

    def __init__(self, orchestrator: Orchestrator, tell: Tell, concurrency: int = CONCURRENCY) -> None:
        self._orchestrator = orchestrator
        self._tell = tell
        self._limiter = trio.CapacityLimiter(concurrency)
        self._lanes: dict[str, _Lane] = {}
        self._removals: dict[str, _Lane] = {}  # of clusters
        self._nursery: trio.Nursery | None = None
        self._closed = False

    def open(self, nursery: trio.Nursery) -> None:
        """Let lanes live in `nursery`. Cancelling it drops what is not carried out yet."""
        self._nursery = nursery

    def close(self) -> None:
        """Drop whatever is submitted from now on: the instance is stopping."""
        self._closed = True

    @property
    def pending(self) -> Mapping[str, int]:
        """How many effects wait or run, by the ARN they concern."""
        return {key: len(lane.waiting) for key, lane in self._lanes.items()}

    def is_busy(self, arn: str) -> bool:
        """Whether something is still to be done about this task or cluster."""
        return arn in self._lanes

    def submit(self, owner: Address | None, effect: WorldEffect) -> None:
        """Carry an effect out after those on the same task that were submitted before. Never blocks.

        `owner` is told when a StartTask is refused.
        """
        if self._closed:
            return
        key = _key(effect)
        lane = self._lanes.get(key)
        if lane is not None:
            lane.waiting.append((owner, effect))
            return
        if self._nursery is None:
            raise RuntimeError("effects are submitted before they are open")
        self._lanes[key] = lane = self._new_lane(key, effect)
        lane.waiting.append((owner, effect))
        self._nursery.start_soon(self._run, key, lane)

    def _new_lane(self, key: str, effect: WorldEffect) -> _Lane:
        """A cluster's removal waits for what is under way in the cluster, and later effects wait for it."""
        cluster_arn = _cluster_of(key)
        if isinstance(effect, RemoveCluster):
            under_way = tuple(lane.done for lane in self._lanes.values() if lane.cluster_arn == cluster_arn)
            lane = self._removals[cluster_arn] = _Lane(cluster_arn, after=under_way)
            return lane
        removal = self._removals.get(cluster_arn)
        return _Lane(cluster_arn, after=(removal.done,) if removal is not None else ())

    async def _run(self, key: str, lane: _Lane) -> None:
        try:
            for earlier in lane.after:
                await earlier.wait()
            while lane.waiting:
                owner, effect = lane.waiting[0]
                await self._carry_out(owner, effect, lane)
                lane.waiting.popleft()
        finally:
            del self._lanes[key]
            if self._removals.get(lane.cluster_arn) is lane:
                del self._removals[lane.cluster_arn]
            lane.done.set()

    async def _carry_out(self, owner: Address | None, effect: WorldEffect, lane: _Lane) -> None:
        delay_s = FIRST_RETRY_S
        while True:
            try:
                async with self._limiter:
                    await self._perform(effect)
                return
            except RejectedError as error:
                self._refused(owner, effect, error)
                return
            except PortError as error:
                _log.info("%s of %s: %s; again in %.1f s", type(effect).__name__, _key(effect), error, delay_s)
            except Exception as error:
                _log.error("%s of %s: %s\n%s", type(effect).__name__, _key(effect), describe(error), trace(error))
            await trio.sleep(delay_s)
            delay_s = min(delay_s * 2, LONGEST_RETRY_S)
            if isinstance(effect, StartTask) and len(lane.waiting) > 1:
                return  # it is to be stopped already

    async def _perform(self, effect: WorldEffect) -> None:
        match effect:
            case StartTask():
                await self._orchestrator.start_task(effect.task, effect.task_definition)
            case StopTask():
                await self._orchestrator.stop_task(effect.task_arn, effect.grace_s)
            case ReleaseTask():
                await self._orchestrator.release_task(effect.task_arn)
            case RemoveCluster():
                await self._orchestrator.remove_cluster(effect.cluster_arn)
            case _:
                assert_never(effect)

    def _refused(self, owner: Address | None, effect: WorldEffect, error: RejectedError) -> None:
        if isinstance(effect, StartTask) and owner is not None:
            self._tell(owner, StartRefused(effect.task.task_arn, error.message))
        else:
            _log.warning("%s of %s is refused: %s", type(effect).__name__, _key(effect), error)


def _key(effect: WorldEffect) -> str:
    match effect:
        case StartTask():
            return effect.task.task_arn
        case RemoveCluster():
            return effect.cluster_arn
        case _:
            return effect.task_arn


def _cluster_of(arn: str) -> str:
    """`arn:...:cluster/name` of a task's or a cluster's own ARN."""
    head, _, resource = arn.rpartition(":")
    return f"{head}:cluster/{resource.split('/')[1]}"
