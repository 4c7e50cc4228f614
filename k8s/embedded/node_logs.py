"""Reads container logs: CRI log files and those rotated away from them, as `kubectl logs` asks for them.

A line of a log file is `<RFC 3339 time> <stdout|stderr> <F|P> <text>`; P says that the line goes on in the next one.
Files are read in threads, a bounded piece at a time; a reader that follows looks for more every quarter of a second,
while it is connected.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

import trio
from attrs import define, field, frozen

_PIECE: Final = 256 * 1024
_FOLLOW_EVERY_S: Final = 0.25


@frozen
class LogQuery:
    """What of a log is wanted; see `LogRequest`."""

    tail_lines: int | None = None
    since: datetime | None = None
    timestamps: bool = False
    limit_bytes: int | None = None
    follow: bool = False


def log_files(path: Path) -> list[Path]:
    """The files of a log that there are, oldest first."""
    if not path.parent.is_dir():
        return []
    rotated = sorted(path.parent.glob(f"{path.name}.*"))
    return [p for p in (*rotated, path) if p.is_file() and not p.name.endswith(".gz")]


async def read_log(path: Path, query: LogQuery, is_over: Callable[[], bool]) -> AsyncGenerator[bytes, None]:
    """The log's text in pieces. With `follow`, goes on until `is_over` was true before all was read."""
    reader = _Reader(path, query)
    budget = query.limit_bytes
    try:
        await trio.to_thread.run_sync(reader.open)
        while True:
            over = is_over()
            while piece := await trio.to_thread.run_sync(reader.read):
                if budget is not None:
                    piece, budget = piece[:budget], budget - len(piece[:budget])
                yield piece
                if budget == 0:
                    return
            if over or not query.follow:
                return
            await trio.sleep(_FOLLOW_EVERY_S)
    finally:
        reader.close()


@define
class _Reader:
    """Where one reader is in the files of a log. Its methods block."""

    path: Path
    query: LogQuery
    _file: BinaryIO | None = field(default=None, init=False)
    _later: list[Path] = field(factory=list, init=False)
    _rest: bytes = field(default=b"", init=False)  # the start of a line that is not complete yet

    def open(self) -> None:
        """Go to where the reading begins."""
        files = log_files(self.path)
        if self.query.tail_lines is not None and files:
            index, offset = _tail_start(files, self.query.tail_lines)
            self._later = files[index + 1 :]
            self._file = files[index].open("rb")
            self._file.seek(offset)
        elif files:
            self._later = files[1:]
            self._file = files[0].open("rb")

    def close(self) -> None:
        """Close what is open."""
        if self._file is not None:
            self._file.close()

    def read(self) -> bytes:
        """The next piece of text; nothing when there is no more now."""
        while True:
            if self._file is None and not self._open_first():
                return b""
            assert self._file is not None
            data = self._file.read(_PIECE)
            if not data:
                if not self._next_file():
                    return b""
                continue
            lines = (self._rest + data).split(b"\n")
            self._rest = lines.pop()
            text = b"".join(_rendered(lines, self.query))
            if text:
                return text

    def _open_first(self) -> bool:
        """Open the log once it is there: a follower may come before the first line."""
        files = log_files(self.path)
        if not files:
            return False
        self._file, self._later = files[0].open("rb"), files[1:]
        return True

    def _next_file(self) -> bool:
        """Go on to the file after the one that is read to its end, if there is one."""
        assert self._file is not None
        if not self._later:
            self._later = self._rotated_since()
        if not self._later:
            return False
        more = self._file.read(_PIECE)  # what was written between the end of the file and its rotation
        if more:
            self._file.seek(-len(more), os.SEEK_CUR)
            return True
        self._file.close()
        try:
            self._file = self._later.pop(0).open("rb")
        except FileNotFoundError:  # rotated away in this moment: found again under its new name
            self._file = None
        return True

    def _rotated_since(self) -> list[Path]:
        """The files that came after the open one, which was rotated away; none while it is still the log."""
        assert self._file is not None
        mine = os.fstat(self._file.fileno()).st_ino
        files = log_files(self.path)
        inodes = [_inode(p) for p in files]
        if mine in inodes:
            return files[inodes.index(mine) + 1 :]
        return files  # the open one was deleted: all there are came later


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return -1


def _rendered(lines: Sequence[bytes], query: LogQuery) -> Iterator[bytes]:
    since = query.since.strftime("%Y-%m-%dT%H:%M:%S.%f").encode() if query.since is not None else None
    for line in lines:
        stamp, _, rest = line.partition(b" ")
        _, _, tagged = rest.partition(b" ")
        tag, _, text = tagged.partition(b" ")
        if since is not None and stamp < since:
            continue
        if query.timestamps:
            yield stamp + b" "
        yield text
        if not tag.startswith(b"P"):
            yield b"\n"


def _tail_start(files: Sequence[Path], count: int) -> tuple[int, int]:
    """The file and the offset in it where the last `count` lines of the log begin."""
    for index in range(len(files) - 1, -1, -1):
        offset, found = _tail_offset(files[index], count)
        if found >= count or index == 0:
            return index, offset
        count -= found
    return 0, 0


def _tail_offset(path: Path, count: int) -> tuple[int, int]:
    """Where the last `count` lines of a file begin (or its start), and how many lines that are. Reads backwards."""
    with path.open("rb") as file:
        position = end = file.seek(0, os.SEEK_END)
        if count == 0:
            return end, 0
        found = 0
        while position > 0:
            size = min(_PIECE, position)
            position -= size
            file.seek(position)
            block = file.read(size)
            cut = len(block)
            if position + cut == end and block.endswith(b"\n"):
                cut -= 1
            while (cut := block.rfind(b"\n", 0, cut)) >= 0:
                found += 1
                if found == count:
                    return position + cut + 1, found
        return 0, found + (1 if end else 0)
