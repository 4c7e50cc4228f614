"""Makes what tasks listen on reachable from the host, for an ordinary user: see `zygote.relay`.

The driver looks which ports tasks listen on (`/proc/<pid>/net/tcp`), soon after their start often and later now and
then, makes a listening socket of the same address and port on the host, and gives it to the relay.
"""

from __future__ import annotations

import logging
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import trio
from attrs import define, field

from k8s.embedded.driver import Phase
from k8s.embedded.process import keeper_client, state
from k8s.embedded.process.keeper_client import KeeperGoneError
from k8s.embedded.process.keepers import Keepers, Pod
from k8s.embedded.process.zygote_process import Zygote

_LISTEN = "0A"
_LOOPBACK = ("0100007F", "00000000000000000000000001000000")
_SOON_S = 0.05
_LATEST_S = 2.0
_BACKLOG = 1024

log = logging.getLogger(__name__)


@define(eq=False)
class _Watched:
    """When a pod is to be looked at again: ever more seldom."""

    again_at: float
    wait_s: float = _SOON_S
    ports: set[int] = field(factory=set)


class Publisher:
    """Keeps the host's listening sockets equal to the tasks'."""

    def __init__(self, layout: state.Layout, keepers: Keepers, zygote: Zygote) -> None:
        self._layout = layout
        self._keepers = keepers
        self._zygote = zygote
        self._relay = ""
        self._watched: dict[str, _Watched] = {}
        self._addresses: dict[str, str] = {}
        self._refused: set[int] = set()
        self._left = False
        self._finding = trio.Lock()

    async def run(self) -> None:
        """Publish until cancelled."""
        while not self._left:
            async with self._finding:
                if not self._left:
                    await self._find_relay()
            with suppress(KeeperGoneError):
                while True:
                    await self._look()
                    await trio.sleep(_SOON_S)

    async def _find_relay(self) -> None:
        """The relay of an earlier driver, told to forget what it published, or a new one."""
        self._watched.clear()
        for name in self._relays():
            self._relay = name
            with suppress(KeeperGoneError):
                for address, port in (await self._ask({"op": "published"}))["published"]:
                    uid = next((pod.uid for pod in self._keepers.pods.values() if pod.ip == address), "")
                    watched = self._watched.setdefault(uid, _Watched(trio.current_time()))
                    watched.ports.add(port)
                    self._addresses[uid] = address
                return
        self._relay, _, _ = await self._zygote.fork("relay")

    async def _look(self) -> None:
        """Look at the pods whose time has come. Raises KeeperGoneError when the relay is gone."""
        now = trio.current_time()
        for uid in [uid for uid in self._watched if uid not in self._keepers.pods]:
            await self._publish(uid, self._watched[uid], set())
            del self._watched[uid]
        for uid, pod in list(self._keepers.pods.items()):
            watched = self._watched.setdefault(uid, _Watched(now))
            if watched.again_at <= now:
                self._addresses[uid] = pod.ip
                listening = _listening(pod)
                watched.wait_s = _SOON_S if listening != watched.ports else min(watched.wait_s * 1.3, _LATEST_S)
                watched.again_at = now + watched.wait_s
                await self._publish(uid, watched, listening)

    async def _publish(self, uid: str, watched: _Watched, listening: set[int]) -> None:
        address = self._addresses[uid]
        for port in watched.ports - listening:
            await self._ask({"op": "retract", "address": address, "port": port})
        for port in listening - watched.ports - self._refused:
            if (listener := self._listener(address, port)) is not None:
                with listener:
                    request = {"op": "publish", "address": address, "port": port}
                    await self._ask(request, listener.fileno())
        watched.ports = listening

    def _listener(self, address: str, port: int) -> socket.socket | None:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address, port))
            listener.listen(_BACKLOG)
        except OSError as error:
            listener.close()
            if isinstance(error, PermissionError):
                self._refused.add(port)
            log.warning("port %d of a task cannot be reached from this machine: %s", port, error.strerror)
            return None
        return listener

    async def _ask(self, request: dict[str, Any], *descriptors: int) -> dict[str, Any]:
        async with keeper_client.connect(self._layout.ear(self._relay)) as connection:
            return await connection.ask(request, descriptors)

    async def leave(self) -> None:
        """End the relay, when nothing is left to publish."""
        self._left = True
        async with self._finding:
            for name in self._relays():
                self._relay = name
                with suppress(KeeperGoneError):
                    await self._ask({"op": "leave"})
                state.unlink_keeper(self._layout, name)

    def _relays(self) -> list[str]:
        """The relays that live: one, or none yet."""
        keepers = state.keepers(self._layout).items()
        return [name for name, (pid, ticks) in keepers if name.startswith("relay-") and state.lives(pid, ticks)]


def _listening(pod: Pod) -> set[int]:
    """The ports on which a pod's processes listen, but not those on its loopback."""
    for container in pod.containers.values():
        if container.phase is Phase.RUNNING:
            found: set[int] = set()
            for name in ("tcp", "tcp6"):
                with suppress(OSError):
                    found |= _ports(Path(f"/proc/{container.pid}/net/{name}").read_text())
            return found
    return set()


def _ports(table: str) -> set[int]:
    found = set()
    for line in table.splitlines()[1:]:
        _, local, _, status, *_ = line.split()
        address, _, port = local.partition(":")
        if status == _LISTEN and address not in _LOOPBACK:
            found.add(int(port, 16))
    return found
