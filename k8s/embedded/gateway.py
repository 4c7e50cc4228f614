"""The seam between the embedded API server and the node: the calls a real API server makes to a kubelet.

The API server knows objects; only the node knows containers. Logs and exec are asked of the node through
`NodeGateway`, in the same process and without a socket. Both calls are context managers, so that a client that goes
away ends what it started.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Literal, Protocol

import attrs


class GatewayError(Exception):
    """The node refuses a call: a Kubernetes `Status` with this HTTP status, reason (`BadRequest` ...) and message."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message


@attrs.frozen
class LogRequest:
    """One read of a container's log. The pod exists and names the container; only the node knows whether it started.

    `tail_lines` counts from the end, `since` leaves out older lines, `timestamps` prefixes each line with its RFC 3339
    time and a space, `previous` asks for the run before the last restart, `limit_bytes` cuts the answer.
    """

    namespace: str
    pod: str
    pod_uid: str
    container: str
    follow: bool = False
    tail_lines: int | None = None
    since: datetime | None = None
    timestamps: bool = False
    previous: bool = False
    limit_bytes: int | None = None


@attrs.frozen
class ExecRequest:
    """One command to run inside a running container.

    Streams not asked for are not connected; with `tty`, stderr comes as stdout.
    """

    namespace: str
    pod: str
    pod_uid: str
    container: str
    command: tuple[str, ...]
    stdin: bool = False
    stdout: bool = True
    stderr: bool = False
    tty: bool = False


@attrs.frozen
class ExecOutput:
    """Some bytes that the command wrote."""

    stream: Literal["stdout", "stderr"]
    data: bytes


class ExecSession(Protocol):
    """A command that is running in a container. Leaving the context manager that gave it hangs the command up."""

    async def receive(self) -> ExecOutput | None:
        """The next output in order of arrival; None once the command has ended and its output is read."""
        ...

    async def send_stdin(self, data: bytes) -> None:
        """Give the command input; dropped when the command has ended or closed its stdin."""
        ...

    async def close_stdin(self) -> None:
        """End the command's input (end of file)."""
        ...

    async def resize(self, columns: int, rows: int) -> None:
        """Set the terminal's size; without a terminal it does nothing."""
        ...

    def exit_code(self) -> int:
        """The command's exit code (128 + signal when a signal ended it); only after `receive` gave None."""
        ...


class NodeGateway(Protocol):
    """What the API server asks of the node. Both calls raise GatewayError on entry when they cannot be done."""

    def read_log(self, request: LogRequest) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The log's bytes in chunks of any size; with `follow` until the container ends or the reader leaves."""
        ...

    def exec(self, request: ExecRequest) -> AbstractAsyncContextManager[ExecSession]:
        """Start a command in a running container; GatewayError 400 when the container does not run."""
        ...
