"""Commands to a keeper, over its socket."""

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


class KeeperGoneError(Exception):
    """Nobody listens: the keeper has ended or was killed."""


class KeeperConnection:
    """A connection to a keeper. Closing it hangs up a command that it started."""

    def __init__(self, channel: trio.socket.SocketType) -> None:
        self._channel = channel

    async def ask(self, message: dict[str, Any], descriptors: Sequence[int] = ()) -> dict[str, Any]:
        """Send a command and await its answer. Raises KeeperGoneError."""
        rights = pack(f"{len(descriptors)}i", *descriptors)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if descriptors else []
        try:
            await self._channel.sendmsg([wire.encode(message)], ancillary)
        except OSError as error:
            raise KeeperGoneError(str(error)) from error
        return await self.receive()

    async def receive(self) -> dict[str, Any]:
        """The next message. Raises KeeperGoneError."""
        try:
            packet = await self._channel.recv(wire.MAX_MESSAGE)
        except OSError as error:
            raise KeeperGoneError(str(error)) from error
        if not packet:
            raise KeeperGoneError("the keeper has closed the connection")
        return wire.decode(packet)


@asynccontextmanager
async def connect(ear: Path) -> AsyncIterator[KeeperConnection]:
    """A connection to the keeper that listens at that path. Raises KeeperGoneError."""
    channel = trio.socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        try:
            directory = os.open(ear.parent, os.O_PATH | os.O_CLOEXEC)
            try:
                await channel.connect(wire.socket_path(directory, ear.name))
            finally:
                os.close(directory)
        except OSError as error:
            raise KeeperGoneError(str(error)) from error
        yield KeeperConnection(channel)
    finally:
        channel.close()


async def command(ear: Path, message: dict[str, Any]) -> dict[str, Any]:
    """Send one command on a connection of its own; its answer. Raises KeeperGoneError."""
    async with connect(ear) as connection:
        return await connection.ask(message)
