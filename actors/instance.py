"""The control plane of one instance: actors over a snapshot store and an orchestrator.

How a write travels: `ask` → mailbox → turn → store → durable → views → reply → effects. How an observation travels:
orchestrator → owner's mailbox → turn, and on like a write. Only the edges ask; nothing here knows HTTP or Kubernetes.
"""

from __future__ import annotations

import logging
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import trio
from attrs import frozen

from actors import cluster, service, task_definitions
from actors.alarms import Alarms
from actors.behaviours import Surroundings
from actors.deadlines import Deadlines
from actors.effects import Effects
from actors.gathering import GATHERINGS
from actors.loop import Actor, Behaviour
from actors.mailbox import ActorStopped, Mailbox, Overloaded
from actors.ports import Clock, Ids, Orchestrator, Snapshot, SnapshotStore
from actors.registry import (
    CLUSTER,
    SERVICE,
    TASK_DEFINITIONS,
    Address,
    Registry,
    cluster_address,
    service_address,
    task_definitions_address,
)
from actors.supervision import RestartPolicy, describe, supervise, trace
from actors.views import Views
from actors.watch import Watch
from engine.arn import parse_arn
from engine.cluster import ClusterState
from engine.commands import CreateCluster, CreateService, RegisterTaskDefinition
from engine.decision import Decision, RemoveCluster, Tick, WakeAt
from engine.service import ServiceState
from engine.task import Task
from engine.task_definition import TaskDefinitionsState

_log = logging.getLogger(__name__)

MAILBOX_LIMIT = 1_000
SHUTDOWN_S = 20.0
_CREATING = (CreateCluster, CreateService, RegisterTaskDefinition)


@frozen
class ActorReport:
    """What the inspector shows of one actor. Nothing in it is secret."""

    address: str
    kind: str
    state: Mapping[str, object]
    mailbox_depth: int
    oldest_message_age_s: float | None
    turns: int
    restarts: int
    last_error: str | None
    last_messages: Sequence[tuple[str, datetime]]  # type names, oldest first


class ControlPlane:
    """Actors over a store and an orchestrator. `run` once; everything else works while it is ready."""

    def __init__(
        self,
        store: SnapshotStore,
        orchestrator: Orchestrator,
        clock: Clock,
        ids: Ids,
        mailbox_limit: int = MAILBOX_LIMIT,
        restart_policy: RestartPolicy | None = None,
    ) -> None:
        self.clock = clock
        self.ids = ids
        self.views = Views()
        self._store = store
        self._mailbox_limit = mailbox_limit
        self._restart_policy = restart_policy or RestartPolicy()
        self._registry = Registry()
        self._surroundings = Surroundings(self._registry, store, self.views)
        self._effects = Effects(orchestrator, self._tell)
        self._alarms = Alarms(clock, lambda address: self._tell(address, Tick()))
        self._home: trio.Nursery | None = None  # where actors live
        self._watch = Watch(orchestrator, self._registry, self.owner_of, self._effects)
        self._ready = False
        self._deadlines = Deadlines()
        self._resetting = False

    # the edges

    async def ask(self, address: Address, message: object, deadline_s: float = 30) -> Any:
        """The reply to a command.

        Raises AwsError as the engine does, Overloaded when too many commands wait, DeadlineExceeded, and
        ActorStopped when nobody lives at `address` (commands that create or register bring someone there).
        """
        if self._resetting:
            raise Overloaded("everything is being reset")
        actor = self._registry.get(address)
        if actor is None:
            if self._home is None or not isinstance(message, _CREATING):
                raise ActorStopped(f"nobody lives at {address}")
            actor = self._spawn(address, self._behaviour(address), _VACANT[address.kind]())
        return await self._deadlines.wait(actor.mailbox.ask(message), deadline_s)

    def owner_of(self, task_arn: str) -> Address | None:
        """The address of the actor that owns a remembered task."""
        task = self.views.task(task_arn)
        if task is None:
            return None
        if task.service_arn is not None:
            return service_address(task.service_arn)
        return cluster_address(task.cluster_arn)

    def inspect(self) -> Sequence[ActorReport]:
        """Every living actor, by address."""
        return sorted((self._report(actor) for actor in self._registry), key=lambda report: report.address)

    def inspect_one(self, address: Address) -> ActorReport | None:
        """The actor that lives at `address`."""
        actor = self._registry.get(address)
        return None if actor is None else self._report(actor)

    # running

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; `started` once everything durable is loaded and the world has been seen.

        On the way out all that has been decided is made durable, and whoever waits for a reply gets one. Raises
        StoreFailedError or ActorFailedError when the instance cannot go on.
        """
        try:
            async with trio.open_nursery() as keeper:
                store_scope = await keeper.start(self._keep_store)
                try:
                    await self._serve(task_status)
                finally:
                    if not keeper.cancel_scope.cancel_called:  # then the store itself has failed
                        await self._settle()
                    store_scope.cancel()
        except BaseExceptionGroup as group:
            raise _reason(group) from None
        finally:
            self._deadlines.settle_all(ActorStopped("the instance has stopped"))

    async def backup(self, path: Path | None = None) -> Path:
        """Write a complete copy of all that is durable into the backups' folder, and to `path` where one is given.

        Returns where it is. Raises OSError when it cannot be written.
        """
        made = await self._store.backup(self.clock.now())
        if path is None:
            return made
        await trio.to_thread.run_sync(_copy, made, path)
        return path

    async def reset(self) -> None:
        """Forget everything, durably; what runs is removed in the background. Writes are pushed back meanwhile."""
        clusters = self._watch.clusters() | {task.cluster_arn for task in self.views.tasks()}
        self._resetting = True
        try:
            for actor in self._registry:
                actor.mailbox.close("everything was reset")
                self._registry.discard(actor)
            home = self._home
            if home is not None:
                home.cancel_scope.cancel()
            await self._store.clear()
            while home is not None and self._home is home:
                await trio.lowlevel.checkpoint()  # its last inhabitants are leaving
            self.views.clear()
        finally:
            self._resetting = False
        clusters |= self._watch.clusters()
        for cluster_arn in sorted(clusters):
            self._effects.submit(None, RemoveCluster(cluster_arn))

    async def _keep_store(self, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        """Run the store until the scope that is handed out is cancelled: it must outlive the actors."""
        with trio.CancelScope(shield=True) as scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._store.run)
                task_status.started(scope)

    async def _serve(self, task_status: trio.TaskStatus[None]) -> None:
        snapshot = await self._store.load()
        async with trio.open_nursery() as nursery:
            self._effects.open(nursery)
            try:
                await nursery.start(self._house)
                self._bring_back(snapshot)
                nursery.start_soon(self._alarms.run)
                nursery.start_soon(self._deadlines.run)
                await nursery.start(self._watch.run)
                self._ready = True
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._home = None
                self._effects.close()
                for actor in self._registry:
                    actor.mailbox.close("the instance is stopping")

    async def _house(self, task_status: trio.TaskStatus[None]) -> None:
        """Give actors a home. A reset ends it, and all who live there; those who come later get another."""
        while True:
            async with trio.open_nursery() as home:
                self._home = home
                task_status.started()
                task_status = trio.TASK_STATUS_IGNORED
                await trio.sleep_forever()

    async def _settle(self) -> None:
        """Make durable what is decided, so that its replies go out, and back everything up."""
        with trio.move_on_after(SHUTDOWN_S, shield=True) as scope:
            durable = trio.Event()
            self._store.submit((), durable.set)
            await durable.wait()
            if self._ready:
                try:
                    await self.backup()
                except Exception as error:
                    _log.error("no backup could be written: %s\n%s", describe(error), trace(error))
        if scope.cancelled_caught:
            _log.error("the store did not come to rest within %g s", SHUTDOWN_S)

    # actors

    def _bring_back(self, snapshot: Snapshot) -> None:
        """Spawn everyone who lived when the snapshot was taken, and remind them to look around."""
        for records in (snapshot.task_definitions, snapshot.clusters, snapshot.services, snapshot.tasks):
            self.views.apply(records)
        for address, state in _states(snapshot, self.views):
            self._spawn(address, self._behaviour(address), state).mailbox.tell(Tick())

    def _spawn(self, address: Address, behaviour: Behaviour[Any], state: Any) -> Actor[Any]:
        if self._home is None:
            raise ActorStopped("the instance is not running")
        mailbox = Mailbox(self._mailbox_limit, GATHERINGS)
        actor = Actor(address, behaviour, state, mailbox, self._store, self.clock, self._committed)
        self._registry.add(actor)
        self._home.start_soon(self._live, actor, name=str(address))
        return actor

    async def _live(self, actor: Actor[Any]) -> None:
        try:
            await supervise(actor, self._restart_policy, self._catch_up)
        finally:
            self._registry.discard(actor)
            actor.mailbox.close(f"{actor.address} is gone")

    def _behaviour(self, address: Address) -> Behaviour[Any]:
        return _BEHAVIOURS[address.kind](address, self._surroundings)

    def _catch_up(self, actor: Actor[Any]) -> None:
        """Tell a restarted actor what it may have missed: the time, and what the world was last seen to hold."""
        actor.mailbox.tell(Tick())
        self._watch.repeat(actor)

    def _committed(self, actor: Actor[Any], decision: Decision[Any]) -> None:
        self.views.apply(decision.records)
        for effect in decision.effects:
            if isinstance(effect, WakeAt):
                self._alarms.set(actor.address, effect.when)
            else:
                self._effects.submit(actor.address, effect)

    def _tell(self, address: Address, message: object) -> None:
        """Leave an observation with whoever lives at `address`; when nobody does, nobody needs it."""
        if (actor := self._registry.get(address)) is not None:
            actor.mailbox.tell(message)

    # the inspector

    def _report(self, actor: Actor[Any]) -> ActorReport:
        arrived = actor.mailbox.oldest_arrived
        return ActorReport(
            address=str(actor.address),
            kind=actor.address.kind,
            state=actor.behaviour.summary(actor.state),
            mailbox_depth=len(actor.mailbox),
            oldest_message_age_s=None if arrived is None else trio.current_time() - arrived,
            turns=actor.turns,
            restarts=actor.restarts,
            last_error=actor.last_error,
            last_messages=tuple(actor.last_messages),
        )


_BEHAVIOURS: Mapping[str, Callable[[Address, Surroundings], Behaviour[Any]]] = {
    CLUSTER: cluster.ClusterBehaviour,
    SERVICE: service.ServiceBehaviour,
    TASK_DEFINITIONS: task_definitions.TaskDefinitionsBehaviour,
}
_VACANT: Mapping[str, Callable[[], Any]] = {
    CLUSTER: ClusterState,
    SERVICE: ServiceState,
    TASK_DEFINITIONS: TaskDefinitionsState,
}


def _states(snapshot: Snapshot, views: Views) -> Iterator[tuple[Address, Any]]:
    """Who lived, and in which state, when the snapshot was taken."""
    tasks: defaultdict[str, list[Task]] = defaultdict(list)
    for task in snapshot.tasks:
        tasks[task.service_arn or task.cluster_arn].append(task)
    for scope in {parsed.scope for each in snapshot.families if (parsed := parse_arn(each.arn)) is not None}:
        prefix = scope.arn("task-definition", "")
        yield (
            task_definitions_address(scope),
            task_definitions.restored(
                (each for each in snapshot.families if each.arn.startswith(prefix)),
                (each for each in snapshot.task_definitions if each.arn.startswith(prefix)),
            ),
        )
    for each in snapshot.clusters:
        yield cluster_address(each.cluster_arn), cluster.restored(each, tasks[each.cluster_arn], views)
    for held in snapshot.services:
        yield service_address(held.service_arn), service.restored(held, tasks[held.service_arn], views)


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    target.chmod(0o600)


def _reason(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What made the instance stop: the one error in a group, or the group where there are more."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
