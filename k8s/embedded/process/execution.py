"""Commands run inside a running container: with streams for a person, or briefly for a probe."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import trio
from attrs import define, field

from k8s.embedded.driver import DriverError, NotRunningError, ProbeResult
from k8s.embedded.gateway import ExecOutput
from k8s.embedded.process import keeper_client
from k8s.embedded.process.keeper_client import KeeperConnection, KeeperGoneError

_PIECE = 65536
_LAST_OUTPUT_WITHIN_S = 0.25
_PROBE_OUTPUT = 4096
_KILLED = 137


async def _begin(
    connection: KeeperConnection, uid: str, name: str, argv: Sequence[str], descriptors: Sequence[int]
) -> None:
    """Start a command on three descriptors. Raises NotRunningError, DriverError."""
    try:
        answer = await connection.ask(
            {"op": "exec", "uid": uid, "name": name, "argv": list(argv), "env": {}}, descriptors
        )
    except KeeperGoneError as error:
        raise NotRunningError(f"container {name} is not running") from error
    if "pid" not in answer:
        kind = NotRunningError if answer["failure"] == "NotRunning" else DriverError
        raise kind(answer["message"])


async def _end(connection: KeeperConnection) -> int:
    """The command's exit code; 137 when its container's keeper was killed."""
    try:
        return int((await connection.receive())["exit_code"])
    except KeeperGoneError:
        return _KILLED


async def probe(ear: Path, uid: str, name: str, argv: Sequence[str], timeout_s: float) -> ProbeResult:
    """Run a probe's command. Raises NotRunningError. One that cannot be executed has failed with 126."""
    output = bytearray()
    with trio.move_on_after(timeout_s):
        try:
            async with keeper_client.connect(ear) as connection:
                code = await _run_probe(connection, uid, name, argv, output)
        except KeeperGoneError as error:
            raise NotRunningError(f"container {name} is not running") from error
        return ProbeResult(code, bytes(output))
    return ProbeResult(None, bytes(output))


async def _run_probe(connection: KeeperConnection, uid: str, name: str, argv: Sequence[str], output: bytearray) -> int:
    ours, theirs = os.pipe()
    async with trio.lowlevel.FdStream(ours) as stream:
        null = os.open(os.devnull, os.O_RDWR)
        try:
            await _begin(connection, uid, name, argv, (null, theirs, theirs))
        except NotRunningError:
            raise
        except DriverError as error:
            output += error.message.encode()
            return 126
        finally:
            os.close(null)
            os.close(theirs)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_collect, stream, output)
            code = await _end(connection)
            nursery.cancel_scope.deadline = trio.current_time() + _LAST_OUTPUT_WITHIN_S
    return code


async def _collect(stream: trio.lowlevel.FdStream, output: bytearray) -> None:
    """Read to the end, keeping the first 4 KiB."""
    while data := await stream.receive_some(_PIECE):
        output += data[: max(0, _PROBE_OUTPUT - len(output))]


@define(eq=False)
class Session:
    """A command with streams: `gateway.ExecSession`."""

    _output: trio.MemoryReceiveChannel[ExecOutput]
    _stdin: trio.lowlevel.FdStream | None
    _terminal: int | None = None
    _code: int | None = field(default=None, init=False)

    async def receive(self) -> ExecOutput | None:
        """The next output; None at the end."""
        try:
            return await self._output.receive()
        except trio.EndOfChannel:
            return None

    async def send_stdin(self, data: bytes) -> None:
        """Give the command input; dropped when nobody reads it any more."""
        if self._stdin is None:
            return
        try:
            await self._stdin.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async def close_stdin(self) -> None:
        """End of the command's input; a terminal is told so as a person would, with ^D."""
        if self._stdin is None:
            return
        if self._terminal is not None:
            await self.send_stdin(b"\x04")
        else:
            await self._stdin.aclose()

    async def resize(self, columns: int, rows: int) -> None:
        """Set the terminal's size."""
        if self._terminal is not None:
            fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
        await trio.lowlevel.checkpoint()

    def exit_code(self) -> int:
        """The command's exit code, once `receive` gave None."""
        if self._code is None:
            raise RuntimeError("the command has not ended")
        return self._code

    async def _follow(
        self,
        connection: KeeperConnection,
        streams: Sequence[tuple[trio.lowlevel.FdStream, str]],
        sender: trio.MemorySendChannel[ExecOutput],
    ) -> None:
        """Pass output on until the command has ended and its output is read, then end the channel."""
        async with sender, trio.open_nursery() as nursery:
            for stream, name in streams:
                nursery.start_soon(_pass_on, stream, name, sender)
            self._code = await _end(connection)
            nursery.cancel_scope.deadline = trio.current_time() + _LAST_OUTPUT_WITHIN_S


async def _pass_on(stream: trio.lowlevel.FdStream, name: str, sender: trio.MemorySendChannel[ExecOutput]) -> None:
    try:
        while data := await stream.receive_some(_PIECE):
            await sender.send(ExecOutput(name, data))  # type: ignore[arg-type]  # a Literal of the two names
    except trio.BrokenResourceError:  # EIO: nobody has the terminal open any more
        return


@asynccontextmanager
async def session(
    ear: Path, uid: str, name: str, argv: Sequence[str], *, stdin: bool, stdout: bool, stderr: bool, tty: bool
) -> AsyncIterator[Session]:
    """Run a command with streams connected; leaving hangs it up. Raises NotRunningError, DriverError."""
    with ExitStack() as given:
        ends = _Ends(given, stdin, stdout, stderr, tty)
        raised: Exception | None = None
        try:
            async with keeper_client.connect(ear) as connection:
                await _begin(connection, uid, name, argv, ends.theirs)
                given.close()
                sender, receiver = trio.open_memory_channel[ExecOutput](0)
                running = Session(receiver, ends.stdin, ends.terminal)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(running._follow, connection, ends.outputs, sender)
                    try:
                        yield running
                    except Exception as error:
                        raised = error
                    nursery.cancel_scope.cancel()
            if raised is not None:
                raise raised  # itself, not in the nursery's group
        except KeeperGoneError as error:
            raise NotRunningError(f"container {name} is not running") from error
        finally:
            await ends.close()


class _Ends:
    """Both ends of a command's streams. `theirs` are closed with `given`, once the keeper has them."""

    def __init__(self, given: ExitStack, stdin: bool, stdout: bool, stderr: bool, tty: bool) -> None:
        self.stdin: trio.lowlevel.FdStream | None = None
        self.outputs: list[tuple[trio.lowlevel.FdStream, str]] = []
        self.terminal: int | None = None
        self._given = given
        if tty:
            ours, theirs = os.openpty()
            given.callback(os.close, theirs)
            self.terminal = ours
            self.theirs = [theirs] * 3
            self.stdin = trio.lowlevel.FdStream(os.dup(ours))
            self.outputs = [(trio.lowlevel.FdStream(ours), "stdout")]
            return
        self.theirs = [self._input() if stdin else self._null()]
        for wanted, stream in ((stdout, "stdout"), (stderr, "stderr")):
            self.theirs.append(self._receive(stream) if wanted else self._null())

    def _null(self) -> int:
        descriptor = os.open(os.devnull, os.O_RDWR)
        self._given.callback(os.close, descriptor)
        return descriptor

    def _input(self) -> int:
        theirs, ours = os.pipe()
        self._given.callback(os.close, theirs)
        self.stdin = trio.lowlevel.FdStream(ours)
        return theirs

    def _receive(self, stream: str) -> int:
        ours, theirs = os.pipe()
        self._given.callback(os.close, theirs)
        self.outputs.append((trio.lowlevel.FdStream(ours), stream))
        return theirs

    async def close(self) -> None:
        """Close our ends."""
        with trio.CancelScope(shield=True):
            for stream, _ in self.outputs:
                await stream.aclose()
            if self.stdin is not None:
                await self.stdin.aclose()
