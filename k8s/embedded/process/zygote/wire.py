"""How the driver, the zygote and the keepers talk, and what they write to disk.

Messages are dictionaries, marshalled, one per packet on Unix sockets, with file descriptors beside them. States are
lines of JSON, of which the last complete one counts. Paths of sockets may be longer than the 108 bytes that the kernel
takes; they are reached through a descriptor of their directory.
"""

from __future__ import annotations

import _socket
import marshal
import os
from _json import encode_basestring_ascii
from struct import pack, unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, TypeAlias

    Message: TypeAlias = dict[str, Any]

MARSHAL_VERSION = 4  # readable by every Python since 3.4: a keeper may be older than the driver that adopts it
MAX_MESSAGE = 1 << 18
MAX_DESCRIPTORS = 8
_ANCILLARY = _socket.CMSG_SPACE(4 * MAX_DESCRIPTORS)


def encode(message: Message) -> bytes:
    """A message as one packet."""
    return marshal.dumps(message, MARSHAL_VERSION)


def decode(packet: bytes) -> Message:
    """The message in a packet."""
    message: Message = marshal.loads(packet)
    return message


def send(sock: _socket.socket, message: Message, descriptors: Sequence[int] = ()) -> None:
    """Send a message with descriptors. Raises OSError."""
    ancillary = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, pack(f"{len(descriptors)}i", *descriptors))]
    sock.sendmsg([encode(message)], ancillary if descriptors else [])


def receive(sock: _socket.socket) -> tuple[Message, list[int]] | None:
    """The next message and the descriptors beside it; None when the other side is gone. Raises OSError."""
    packet, ancillary, _, _ = sock.recvmsg(MAX_MESSAGE, _ANCILLARY, _socket.MSG_CMSG_CLOEXEC)
    descriptors: list[int] = []
    for level, kind, data in ancillary:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            descriptors += unpack(f"{len(data) // 4}i", data[: len(data) // 4 * 4])
    return (decode(packet), descriptors) if packet else None


def socket_path(directory: int, name: str) -> str:
    """A short path of a socket in the directory of that descriptor."""
    return f"/proc/self/fd/{directory}/{name}"


def json_text(value: Any) -> str:
    """JSON of dictionaries, lists, strings, numbers, booleans and None."""
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{encode_basestring_ascii(k)}: {json_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(json_text, value)) + "]"
    if value is None or isinstance(value, bool):
        return "null" if value is None else "true" if value else "false"
    return repr(value)


def append_line(path: str, text: str) -> None:
    """Add a line to a file. A reader may see a part of it, but then no newline."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, text.encode() + b"\n")
    finally:
        os.close(descriptor)


def start_ticks(pid: int) -> int:
    """When a process started, in clock ticks since boot: with its pid, its identity. 0: there is no such process."""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        return int(os.read(descriptor, 4096).rpartition(b")")[2].split()[19])
    except (OSError, IndexError):
        return 0
    finally:
        os.close(descriptor)
