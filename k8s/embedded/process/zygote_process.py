"""The zygote as the driver sees it: a child that forks keepers, started whenever it is needed and not there."""

from __future__ import annotations

import secrets
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

from k8s.embedded.driver import SandboxError
from k8s.embedded.process import state
from k8s.embedded.process.zygote import wire

_ROOT = Path(__file__).parents[3]
_PROGRAM = "import sys; sys.path.append(sys.argv.pop(1)); from k8s.embedded.process.zygote.main import main; main()"
_ATTEMPTS = 3


class Zygote:
    """A zygote over a state directory. `abilities` is what it found it may do: see `zygote.modes.settle`."""

    def __init__(self, layout: state.Layout) -> None:
        self._layout = layout
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: trio.socket.SocketType | None = None
        self._busy = trio.Lock()
        self.abilities: dict[str, Any] = {}

    async def start(self) -> None:
        """Start it. Raises SandboxError when it does not come up."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel = trio.socket.from_stdlib_socket(ours)
        # keepers outlive the node: what it writes to must not stay open with them
        with theirs, self._layout.keepers_log.open("ab") as said:
            keeper = next((pid for pid, ticks in state.keepers(self._layout).values() if state.lives(pid, ticks)), 0)
            arguments = [str(_ROOT), str(theirs.fileno()), str(self._layout.root), str(keeper)]
            self._process = subprocess.Popen(  # noqa: ASYNC220 - it returns in a millisecond, and is awaited in `close`
                [sys.executable, "-I", "-S", "-c", _PROGRAM, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                pass_fds=[theirs.fileno()],
                env={},
                cwd="/",
            )
        self.abilities = await self._receive()

    async def fork(self, kind: str) -> tuple[str, int, int]:
        """The name, pid and start of a new keeper or relay. Raises SandboxError when no zygote lives long enough."""
        answer = await self._ask(lambda: {"op": kind, "name": f"{kind}-{secrets.token_hex(4)}"})
        return answer["name"], answer["pid"], answer["ticks"]

    async def make_gateway(self, link: str, group: int, address: str) -> None:
        """Have the host's own link made among the pods'. Raises SandboxError."""
        await self._ask(lambda: {"op": "gateway", "link": link, "group": group, "address": address})

    async def _ask(self, request: Callable[[], dict[str, Any]]) -> Any:
        """An answer, of another zygote if the first dies over it. `request` makes a fresh one for each."""
        async with self._busy:
            for _ in range(_ATTEMPTS):
                try:
                    if self._channel is None:
                        await self.start()
                    assert self._channel is not None
                    await self._channel.send(wire.encode(request()))
                    return await self._receive()
                except (OSError, SandboxError):
                    await self._end()
        raise SandboxError("the zygote dies whenever it is started")

    async def _receive(self) -> Any:
        assert self._channel is not None
        packet = await self._channel.recv(wire.MAX_MESSAGE)
        if not packet:
            raise SandboxError("the zygote has ended")
        return wire.decode(packet)

    async def close(self) -> None:
        """End it, and no keeper of it, once it has answered what it was asked."""
        with trio.CancelScope(shield=True):
            async with self._busy:
                await self._end()

    async def _end(self) -> None:
        channel, process, self._channel, self._process = self._channel, self._process, None, None
        if channel is not None:
            channel.close()
        if process is not None:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(process.wait)
