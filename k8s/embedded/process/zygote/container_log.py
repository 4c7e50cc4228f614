"""A container's output as the log files of Kubernetes' container runtime interface (CRI), rotated by size.

`2026-11-22T22:00:00.000000000Z stdout F line`; F ends a line, P says that it goes on in the next entry of the stream.
Source: Kubernetes' design proposal "CRI: Log management".
"""

from __future__ import annotations

import os
import time

LONGEST_ENTRY = 16 * 1024


class ContainerLog:
    """One attempt's log. Rotated files are `<path>.<time>`; at most `max_files` are kept, with the present one.

    A failed write (a full disk) loses output, never the container.
    """

    def __init__(self, path: str, max_bytes: int, max_files: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._pending = {"stdout": b"", "stderr": b""}
        self._open()

    def _open(self) -> None:
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self._size = os.fstat(self._descriptor).st_size

    def write(self, stream: str, data: bytes) -> None:
        """Take what a stream gave, in pieces of any size."""
        *lines, rest = (self._pending[stream] + data).split(b"\n")
        prefix = f"{_now()} {stream} ".encode()
        entries = bytearray()
        for line in lines:
            _append_entries(entries, prefix, line)
        while len(rest) >= LONGEST_ENTRY:
            entries += prefix + b"P " + rest[:LONGEST_ENTRY] + b"\n"
            rest = rest[LONGEST_ENTRY:]
        self._pending[stream] = rest
        if entries:
            self._append(entries)

    def finish(self, stream: str) -> None:
        """The stream has ended: what lacks a newline is a line all the same."""
        if self._pending[stream]:
            self.write(stream, b"\n")

    def close(self) -> None:
        """Close the file. Nothing may be written afterwards."""
        os.close(self._descriptor)

    def _append(self, entries: bytes | bytearray) -> None:
        try:
            if self._size and self._size + len(entries) > self._max_bytes:
                self._rotate()
            self._size += os.write(self._descriptor, entries)
        except OSError:
            return

    def _rotate(self) -> None:
        os.rename(self._path, f"{self._path}.{time.time_ns()}")
        os.close(self._descriptor)
        self._open()
        directory, _, name = self._path.rpartition("/")
        rotated = sorted(entry for entry in os.listdir(directory) if entry.startswith(name + "."))
        for entry in rotated[: max(0, len(rotated) - self._max_files + 1)]:
            os.unlink(f"{directory}/{entry}")


def _append_entries(entries: bytearray, prefix: bytes, line: bytes) -> None:
    while len(line) > LONGEST_ENTRY:
        entries += prefix + b"P " + line[:LONGEST_ENTRY] + b"\n"
        line = line[LONGEST_ENTRY:]
    entries += prefix + b"F " + line + b"\n"


def _now() -> str:
    nanoseconds = time.time_ns()
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{fraction:09}Z"
