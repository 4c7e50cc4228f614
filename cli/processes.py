"""Which process is it, and is it still that one.

A pid alone may have been given to somebody else since, so a pid file holds the process's birth as well, and nothing
here ever signals a process whose birth differs. Knows nothing of instances; imports nothing that is slow.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

POLL_S = 0.02


def birth(pid: int) -> str | None:
    """What tells this process from every other one that had or will have its pid; None when there is none (or only a
    zombie). On Linux the boot and the ticks since (proc(5), field 22), elsewhere the time of creation.
    """
    stat = Path(f"/proc/{pid}/stat")
    if not Path("/proc/self/stat").exists():
        return _birth_by_psutil(pid)
    try:
        fields = stat.read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else f"{_boot_id()}:{fields[19]}"


def _boot_id() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return "this-boot"


def _birth_by_psutil(pid: int) -> str | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.3f}"
    except psutil.Error:
        return None


class PidFile:
    """The record of one process, written by that process itself as the first thing it does."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def claim(self) -> None:
        """Record the calling process, atomically."""
        replace_text(self.path, json.dumps({"pid": os.getpid(), "birth": birth(os.getpid())}))

    def pid(self) -> int | None:
        """The recorded process, if it is still that one. Anything else, a damaged file included, is None."""
        try:
            recorded = json.loads(self.path.read_text())
            pid, born = int(recorded["pid"]), recorded["birth"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return pid if born is not None and birth(pid) == born else None

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal to the recorded process; False when it is gone."""
        pid = self.pid()
        if pid is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            return True
        return False

    def release(self) -> None:
        """Remove the file if it records the calling process or nobody."""
        if self.pid() in (None, os.getpid()):
            self.path.unlink(missing_ok=True)

    def wait_gone(self, deadline_s: float, on_poll: Callable[[], object] = lambda: None) -> bool:
        """Wait until the recorded process is no more; False at the deadline."""
        return wait_until(lambda: self.pid() is None, deadline_s, on_poll)

    def terminate(self, grace_s: float) -> bool:
        """SIGTERM, and SIGKILL when it is still there after `grace_s`. True if it left by itself."""
        if not self.signal(signal.SIGTERM) or self.wait_gone(grace_s):
            return True
        self.signal(signal.SIGKILL)
        self.wait_gone(10)
        return False


def wait_until(condition: Callable[[], bool], deadline_s: float, on_poll: Callable[[], object] = lambda: None) -> bool:
    """Poll until true, or False at the deadline."""
    deadline = time.monotonic() + deadline_s
    while not condition():
        on_poll()
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def replace_text(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file so that a reader sees the old text or the new one, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.touch(mode)
    scratch.write_text(text)
    scratch.replace(path)


@contextlib.contextmanager
def locked(path: Path, wait_s: float, on_wait: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Hold an advisory lock that the kernel drops with its holder. Raises TimeoutError."""
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + wait_s
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(str(path)) from None
                on_wait()
                time.sleep(POLL_S)
        yield
