"""Commands to a pod's shim, over its socket."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from struct import pack
from typing import Any

import trio

from k8s.embedded.process.zygote import wire


class ShimGoneError(Exception):
    """Nobody listens: the pod has ended, or its shim was killed."""


class ShimConnection:
    """A connection to a shim. Closing it hangs up a command that it started."""

    def __init__(self, channel: trio.socket.SocketType) -> None:
        self._channel = channel

    async def ask(self, message: dict[str, Any], descriptors: Sequence[int] = ()) -> dict[str, Any]:
        """Send a command and await its answer. Raises ShimGoneError."""
        rights = pack(f"{len(descriptors)}i", *descriptors)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if descriptors else []
        try:
            await self._channel.sendmsg([wire.encode(message)], ancillary)
        except OSError as error:
            raise ShimGoneError(str(error)) from error
        return await self.receive()

    async def receive(self) -> dict[str, Any]:
        """The next message. Raises ShimGoneError."""
        try:
            packet = await self._channel.recv(wire.MAX_MESSAGE)
        except OSError as error:
            raise ShimGoneError(str(error)) from error
        if not packet:
            raise ShimGoneError("the shim has closed the connection")
        return wire.decode(packet)


@asynccontextmanager
async def connect(pod_directory: Path) -> AsyncIterator[ShimConnection]:
    """A connection to the shim of the pod in that directory. Raises ShimGoneError."""
    channel = trio.socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        try:
            directory = os.open(pod_directory, os.O_PATH | os.O_CLOEXEC)
            try:
                await channel.connect(wire.socket_path(directory, "shim.sock"))
            finally:
                os.close(directory)
        except OSError as error:
            raise ShimGoneError(str(error)) from error
        yield ShimConnection(channel)
    finally:
        channel.close()


async def command(pod_directory: Path, message: dict[str, Any]) -> dict[str, Any]:
    """Send one command on a connection of its own; its answer. Raises ShimGoneError."""
    async with connect(pod_directory) as connection:
        return await connection.ask(message)
