"""The keepers of a driver and the pods that they keep: records, exits, deaths.

A keeper tells a pod's whole state at every change; when it is killed, the pods' files have the last word, and what they
say is running is killed and has ended with 137. All is learnt from two descriptors, however many pods there are.
"""

from __future__ import annotations

import math
import os
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import trio
from attrs import define, field

from k8s.embedded.driver import ContainerState, Phase
from k8s.embedded.process import keeper_client, state
from k8s.embedded.process.keeper_client import KeeperGoneError
from k8s.embedded.process.zygote import wire
from k8s.embedded.process.zygote_process import Zygote

PODS_PER_KEEPER = 32  # few enough that one that is killed is no catastrophe; many enough that memory is no concern
_SPREAD_OVER = 4
_LEAVES_WITHIN_S = 5.0


@define(eq=False)
class Keeper:
    """A keeper as the driver knows it."""

    number: str
    pid: int
    ticks: int
    pods: set[str] = field(factory=set)
    dead: trio.Event = field(factory=trio.Event)


@define(eq=False)
class Pod:
    """A pod as the driver knows it. `record` is what its keeper said last, {} before it said anything."""

    uid: str
    ip: str = ""
    record: dict[str, Any] = field(factory=dict)
    keeper: Keeper | None = None
    busy: trio.Lock = field(factory=trio.Lock)  # one start or removal at a time
    changed: trio.Event = field(factory=trio.Event)  # replaced at each change
    told: set[tuple[str, int]] = field(factory=set)  # exits that were told

    @property
    def containers(self) -> dict[str, ContainerState]:
        """The newest attempt of each container."""
        return {container.name: container for container in state.container_states(self.record)} if self.record else {}

    @property
    def alive(self) -> bool:
        """Whether it has a keeper that lives."""
        return self.keeper is not None and not self.keeper.dead.is_set()


class Keepers:
    """Every pod that the driver has, by uid. `exits` carries each container's end once."""

    def __init__(self, layout: state.Layout, zygote: Zygote) -> None:
        self.pods: dict[str, Pod] = {}
        self._keepers: dict[str, Keeper] = {}
        self._exits, self.exits = trio.open_memory_channel[ContainerState](math.inf)
        self._layout = layout
        self._zygote = zygote
        self._choosing = trio.Lock()
        self._by_pidfd: dict[int, Keeper] = {}
        self._deaths = select.epoll()

    @contextmanager
    def ear(self) -> Iterator[trio.socket.SocketType]:
        """The socket to which keepers tell what changed."""
        self._layout.driver_socket.unlink(missing_ok=True)
        plain = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with self._layout.reachable() as root:
            plain.bind(wire.socket_path(root, self._layout.driver_socket.name))
        with trio.socket.from_stdlib_socket(plain) as ear:
            yield ear

    async def listen(self, ear: trio.socket.SocketType) -> None:
        """Take in what keepers tell, until cancelled."""
        while True:
            record = wire.decode(await ear.recv(wire.MAX_MESSAGE))
            if (pod := self.pods.get(record["uid"])) is not None:
                self.take(pod, record)

    async def watch_deaths(self) -> None:
        """Notice keepers that end, until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._deaths.fileno())
            for pidfd, _ in self._deaths.poll(0):
                self._deaths.unregister(pidfd)
                os.close(pidfd)
                self._died(self._by_pidfd.pop(pidfd))

    def take(self, pod: Pod, record: dict[str, Any], *, tell: bool = True) -> None:
        """Take a pod's whole state, and tell of exits that were not told."""
        pod.record = record
        for container in state.container_states(record):
            key = (container.name, container.attempt)
            if container.phase is Phase.EXITED and key not in pod.told:
                pod.told.add(key)
                if tell:
                    self._exits.send_nowait(container)
        pod.changed.set()
        pod.changed = trio.Event()

    async def all_ended(self, pod: Pod) -> None:
        """Wait until no container of a pod runs."""
        while any(container.phase is Phase.RUNNING for container in pod.containers.values()):
            await pod.changed.wait()

    # -- keepers

    async def assign(self, pod: Pod) -> Keeper:
        """A keeper for a new pod: the one with the fewest, or a new one. Raises SandboxError."""
        async with self._choosing:
            living = [keeper for keeper in self._keepers.values() if not keeper.dead.is_set()]
            keeper = min(living, key=lambda keeper: len(keeper.pods), default=None)
            if keeper is None or len(keeper.pods) >= (PODS_PER_KEEPER if len(living) >= _SPREAD_OVER else 1):
                keeper = Keeper(*await self._zygote.fork("keeper"))
                self._add(keeper)
            keeper.pods.add(pod.uid)
            pod.keeper = keeper
        return keeper

    async def forget(self, pod: Pod) -> None:
        """The pod is gone. A keeper that is left without any may leave, but for a few."""
        self.pods.pop(pod.uid, None)
        if (keeper := pod.keeper) is None:
            return
        keeper.pods.discard(pod.uid)
        if not keeper.pods and len(self._keepers) > _SPREAD_OVER:
            await self._dismiss(keeper)

    async def _dismiss(self, keeper: Keeper) -> None:
        async with self._choosing:
            if keeper.pods:
                return
            self._keepers.pop(keeper.number, None)
            with suppress(KeeperGoneError):
                await keeper_client.command(self._layout.ear(keeper.number), {"op": "leave"})

    async def dismiss_idle(self) -> None:
        """Have every keeper leave that keeps nothing."""
        for keeper in [keeper for keeper in self._keepers.values() if not keeper.pods]:
            await self._dismiss(keeper)
            with suppress(ProcessLookupError), trio.move_on_after(_LEAVES_WITHIN_S):
                await _ended(keeper.pid)

    def adopt(self) -> None:
        """Find the keepers and pods of an earlier driver. Ends that it did not see are not told on `exits`."""
        for number, (pid, ticks) in state.keepers(self._layout).items():
            if not state.lives(pid, ticks):
                state.unlink_keeper(self._layout, number)
            elif number.startswith("keeper-"):
                self._add(Keeper(number, pid, ticks))
        for directory in self._layout.pods.iterdir():
            record = state.read_record(directory)
            if record is None:  # only its logs were kept
                continue
            pod = self.pods[directory.name] = Pod(directory.name, record["ip"])
            pod.keeper = self._keepers.get(record["keeper"])
            if pod.keeper is None:
                state.end(directory, record)
            else:
                pod.keeper.pods.add(pod.uid)
            self.take(pod, record, tell=False)

    def _add(self, keeper: Keeper) -> None:
        """Know from now on when this keeper dies, also when it is dead already."""
        self._keepers[keeper.number] = keeper
        try:
            pidfd = os.pidfd_open(keeper.pid)
        except ProcessLookupError:
            self._died(keeper)
            return
        self._by_pidfd[pidfd] = keeper
        self._deaths.register(pidfd, select.EPOLLIN)

    def _died(self, keeper: Keeper) -> None:
        keeper.dead.set()
        self._keepers.pop(keeper.number, None)
        state.unlink_keeper(self._layout, keeper.number)
        for uid in keeper.pods:
            record = state.read_record(self._layout.pod(uid)) or self.pods[uid].record
            if record:
                state.end(self._layout.pod(uid), record)
                self.take(self.pods[uid], record)


async def _ended(pid: int) -> None:
    """Wait for the end of a process that is nobody's child here. Raises ProcessLookupError when there is none."""
    pidfd = os.pidfd_open(pid)
    try:
        await trio.lowlevel.wait_readable(pidfd)
    finally:
        os.close(pidfd)
