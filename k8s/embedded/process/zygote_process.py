"""The zygote as the driver sees it: a child that forks shims, started again when it dies."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from k8s.embedded.process.zygote import wire

_ROOT = Path(__file__).parents[3]
_PROGRAM = "import sys; sys.path.append(sys.argv.pop(1)); from k8s.embedded.process.zygote.main import main; main()"
_SEND_BUFFER = 1 << 20


class ZygoteDiedError(Exception):
    """The zygote has ended; what was asked of it may or may not have happened."""


class Zygote:
    """One running zygote. `abilities` is what it found it may do: for each kind of namespace, "" or why not."""

    def __init__(self, process: subprocess.Popen[bytes], channel: trio.socket.SocketType, abilities: Any) -> None:
        self._process = process
        self._channel = channel
        self._sending = trio.Lock()
        self.abilities: dict[str, str] = abilities

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    async def fork_shim(self, pod: dict[str, Any], containers: Sequence[dict[str, Any]]) -> None:
        """Ask for a pod. Raises ZygoteDiedError."""
        packet = wire.encode({"pod": pod, "containers": list(containers)})
        try:
            async with self._sending:
                await self._channel.send(packet)
        except OSError as error:
            raise ZygoteDiedError(str(error)) from error

    async def forked(self) -> tuple[str, int]:
        """The next shim that it has forked: its pod's uid, and its pid. Raises ZygoteDiedError."""
        try:
            packet = await self._channel.recv(wire.MAX_MESSAGE)
        except OSError as error:
            raise ZygoteDiedError(str(error)) from error
        if not packet:
            raise ZygoteDiedError("the zygote has ended")
        message = wire.decode(packet)
        return message["uid"], message["pid"]


@asynccontextmanager
async def run_zygote(state_directory: Path) -> AsyncIterator[Zygote]:
    """Start a zygote; leaving ends it, and no shim of it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    with theirs:
        process = subprocess.Popen(  # noqa: ASYNC220  # takes a millisecond; its end is awaited below
            [sys.executable, "-I", "-S", "-c", _PROGRAM, str(_ROOT), str(theirs.fileno()), str(state_directory)],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env={},
            cwd="/",
        )
    channel = trio.socket.from_stdlib_socket(ours)
    try:
        first = await channel.recv(wire.MAX_MESSAGE)
        if not first:
            raise ZygoteDiedError("the zygote did not start")
        yield Zygote(process, channel, wire.decode(first))
    finally:
        channel.close()
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(process.wait)
