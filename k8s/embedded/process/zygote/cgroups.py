"""Control groups as a keeper uses them: directories to make, files to write, a count of out-of-memory kills to read.

Which hierarchies there are, and what to write, is the driver's knowledge; it comes as data: a list of
`{"path", "write": [(file, value)], "oom": file or "", "shared": whether somebody else removes it}`.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from k8s.embedded.process.zygote.loop import Loop
    from k8s.embedded.process.zygote.wire import Message

_RETRY_S = 0.02


def make(groups: list[Message]) -> None:
    """Make the groups and set their limits. Raises OSError that names the file."""
    for group in groups:
        os.makedirs(group["path"], exist_ok=True)
        for name, value in group["write"]:
            _write(f"{group['path']}/{name}", value)


def remove(groups: list[Message], loop: Loop, attempts: int = 100) -> None:
    """Remove the groups; their processes have ended, though the kernel may need a moment to notice."""
    for group in reversed(groups):
        if group.get("shared"):  # the pod's
            continue
        try:
            os.rmdir(group["path"])
        except FileNotFoundError:
            continue
        except OSError:
            if attempts:
                key = ("remove", group["path"])
                loop.call_at(key, time.monotonic() + _RETRY_S, _removal(group, loop, attempts - 1))


def _removal(group: Message, loop: Loop, attempts: int) -> Callable[[], None]:
    return lambda: remove([group], loop, attempts)


def out_of_memory(groups: list[Message]) -> bool:
    """Whether the kernel killed a process of these groups for want of memory."""
    return any(_oom_kills(f"{group['path']}/{group['oom']}") for group in groups if group["oom"])


def _oom_kills(path: str) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    text = os.read(descriptor, 4096).decode()
    os.close(descriptor)
    counts = dict(line.split() for line in text.splitlines())
    return int(counts.get("oom_kill", 0))


def _write(path: str, value: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, value.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} (writing {value})", path) from error
