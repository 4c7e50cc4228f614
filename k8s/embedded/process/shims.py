"""The pods of a driver and what their shims say: records, exits, deaths.

A shim tells its pod's whole state at every change; when it is killed, its file has the last word, and what it says is
running is killed and has ended with 137. Everything is learnt from two descriptors, however many pods there are.
"""

from __future__ import annotations

import math
import os
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import trio
from attrs import define, field

from k8s.embedded.driver import ContainerState, Phase
from k8s.embedded.process import state
from k8s.embedded.process.zygote import wire

NO_SHIM = 0


@define(eq=False)
class Pod:
    """A pod as the driver knows it. `record` is what its shim said last, {} before it said anything."""

    uid: str
    ip: str = ""
    record: dict[str, Any] = field(factory=dict)
    asked: bool = False  # the zygote was asked for the shim
    shim: int = NO_SHIM
    spoke: trio.Event = field(factory=trio.Event)  # the shim has said how the start went, or has died
    dead: trio.Event = field(factory=trio.Event)  # the shim has ended
    busy: trio.Lock = field(factory=trio.Lock)  # one start or removal at a time
    changed: trio.Event = field(factory=trio.Event)  # replaced at each change
    told: set[tuple[str, int]] = field(factory=set)  # exits that were told

    @property
    def containers(self) -> dict[str, ContainerState]:
        """The newest attempt of each container."""
        return {container.name: container for container in state.container_states(self.record)} if self.record else {}

    @property
    def alive(self) -> bool:
        """Whether its shim has started and not ended."""
        return bool(self.record) and not self.dead.is_set()


class Shims:
    """Every pod that the driver has, by uid. `exits` carries each container's end once."""

    def __init__(self, layout: state.Layout) -> None:
        self.pods: dict[str, Pod] = {}
        self._exits, self.exits = trio.open_memory_channel[ContainerState](math.inf)
        self._layout = layout
        self._by_pidfd: dict[int, Pod] = {}
        self._deaths = select.epoll()

    @contextmanager
    def ear(self) -> Iterator[trio.socket.SocketType]:
        """The socket to which shims tell what changed."""
        self._layout.driver_socket.unlink(missing_ok=True)
        plain = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with self._layout.reachable() as root:
            plain.bind(wire.socket_path(root, self._layout.driver_socket.name))
        with trio.socket.from_stdlib_socket(plain) as ear:
            yield ear

    async def listen(self, ear: trio.socket.SocketType) -> None:
        """Take in what shims tell, until cancelled."""
        while True:
            record = wire.decode(await ear.recv(wire.MAX_MESSAGE))
            if (pod := self.pods.get(record["uid"])) is not None:
                self.take(pod, record)

    async def watch_deaths(self) -> None:
        """Notice shims that end, until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._deaths.fileno())
            for pidfd, _ in self._deaths.poll(0):
                pod = self._by_pidfd.pop(pidfd)
                self._deaths.unregister(pidfd)
                os.close(pidfd)
                self._died(pod)

    def take(self, pod: Pod, record: dict[str, Any], *, tell: bool = True) -> None:
        """Take a shim's whole state, and tell of exits that were not told."""
        pod.record = record
        for container in state.container_states(record):
            key = (container.name, container.attempt)
            if container.phase is Phase.EXITED and key not in pod.told:
                pod.told.add(key)
                if tell:
                    self._exits.send_nowait(container)
        pod.spoke.set()
        pod.changed.set()
        pod.changed = trio.Event()
        self.watch(pod, record["pid"])

    async def all_ended(self, pod: Pod) -> None:
        """Wait until no container of a pod runs."""
        while any(container.phase is Phase.RUNNING for container in pod.containers.values()):
            await pod.changed.wait()

    def watch(self, pod: Pod, shim: int) -> None:
        """Know from now on when this shim dies, also when it is dead already."""
        if pod.shim != NO_SHIM:
            return
        pod.shim = shim
        try:
            pidfd = os.pidfd_open(shim)
        except ProcessLookupError:
            self._died(pod)
            return
        self._by_pidfd[pidfd] = pod
        self._deaths.register(pidfd, select.EPOLLIN)

    def adopt(self) -> None:
        """Find the pods of an earlier driver. Their ends are not told on `exits`."""
        for directory in self._layout.pods.iterdir():
            record = state.read_record(directory)
            if record is None:  # killed before it became a pod
                record = state.empty_record(directory.name)
            pod = self.pods[directory.name] = Pod(directory.name, record["ip"])
            if wire.start_ticks(record["pid"]) != record["ticks"] or not record["pid"]:
                pod.shim = -1  # never a live one
                state.end(directory, record)
                pod.dead.set()
            self.take(pod, record, tell=False)

    def no_zygote(self) -> None:
        """The zygote died: what it had not forked yet will never be."""
        for pod in self.pods.values():
            if pod.shim == NO_SHIM:
                pod.dead.set()
                pod.spoke.set()

    def _died(self, pod: Pod) -> None:
        record = state.read_record(self._layout.pod(pod.uid)) or pod.record
        pod.dead.set()
        if record:
            state.end(self._layout.pod(pod.uid), record)
            self.take(pod, record)
        pod.spoke.set()
