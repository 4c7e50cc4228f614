"""A node without containers: its log is three lines, and its commands are understood here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from k8s.embedded.gateway import ExecOutput, ExecRequest, GatewayError, LogRequest


class FakeSession:
    """`echo WORDS` prints, `fail` ends with 3, `cat` gives its input back in capitals, `size` the terminal's size."""

    def __init__(self, request: ExecRequest) -> None:
        self._send, self._receive = trio.open_memory_channel[ExecOutput](1000)
        self._code = 0
        self.request = request

    async def begin(self) -> None:
        match self.request.command:
            case ("fail", *_):
                self._code = 3
                await self._send.send(ExecOutput("stderr", b"oops\n"))
                self._send.close()
            case ("echo", *words):
                await self._send.send(ExecOutput("stdout", " ".join(words).encode() + b"\n"))
                self._send.close()

    async def receive(self) -> ExecOutput | None:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            return None

    async def send_stdin(self, data: bytes) -> None:
        await self._send.send(ExecOutput("stdout", data.upper()))

    async def close_stdin(self) -> None:
        self._send.close()

    async def resize(self, columns: int, rows: int) -> None:
        if self.request.command == ("size",):
            await self._send.send(ExecOutput("stdout", f"{columns}x{rows}\n".encode()))
            self._send.close()

    def exit_code(self) -> int:
        return self._code


class FakeNode:
    """Implements NodeGateway."""

    def __init__(self) -> None:
        self.logs_asked: list[LogRequest] = []
        self.commands_asked: list[ExecRequest] = []
        self.followers = 0

    @asynccontextmanager
    async def read_log(self, request: LogRequest) -> AsyncIterator[AsyncIterator[bytes]]:
        self.logs_asked.append(request)
        if request.previous:
            raise GatewayError(400, "BadRequest", f'previous terminated container "{request.container}" not found')
        self.followers += 1
        try:
            yield self._lines(request)
        finally:
            self.followers -= 1

    async def _lines(self, request: LogRequest) -> AsyncIterator[bytes]:
        for number in range(3):
            yield f"line {number} of {request.container}\n".encode()
        if request.follow and request.container == "endless":
            await trio.sleep_forever()

    @asynccontextmanager
    async def exec(self, request: ExecRequest) -> AsyncIterator[FakeSession]:
        self.commands_asked.append(request)
        session = FakeSession(request)
        await session.begin()
        yield session
