"""The disk under the store: every object in one SQLite file, written before a write is answered.

It survives a kill -9 of the process at any instant (WAL, `synchronous=OFF`: the pages are the kernel's), not a loss
of power. It knows rows and bytes, no kinds. Source: https://www.sqlite.org/wal.html
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

SCHEMA_VERSION: Final = 1
RESERVED_VERSIONS: Final = 100_000
"""Resource versions are promised in blocks of this many, so that after a crash none is given out twice."""


class JournalError(Exception):
    """The file cannot be used; the message says why and what to do."""


class Journal:
    """An open file. One process at a time, for which the next waits `wait_s`; not for several threads."""

    def __init__(self, path: Path, wait_s: float = 5) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=wait_s)
        self._batch: list[tuple[str, tuple[int | str | bytes, ...]]] | None = None
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._connection.close()
            raise JournalError(_advice(path, error)) from error
        except JournalError:
            self._connection.close()
            raise
        path.chmod(0o600)

    def _prepare(self) -> None:
        execute = self._connection.execute
        execute("PRAGMA locking_mode=EXCLUSIVE")
        execute("PRAGMA journal_mode=WAL")
        execute("PRAGMA synchronous=OFF")
        execute("BEGIN IMMEDIATE")
        found = execute("PRAGMA user_version").fetchone()[0]
        if found > SCHEMA_VERSION:
            raise JournalError(
                f"{self.path} was written by a newer KECS (format {found}, this one reads {SCHEMA_VERSION}): use that"
            )
        execute(
            "CREATE TABLE IF NOT EXISTS objects (id INTEGER PRIMARY KEY, resource TEXT NOT NULL, body BLOB NOT NULL)"
        )
        execute(
            "CREATE TABLE IF NOT EXISTS versions (one INTEGER PRIMARY KEY CHECK (one = 1), reserved INTEGER NOT NULL)"
        )
        execute("INSERT OR IGNORE INTO versions VALUES (1, 1)")
        execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        execute("COMMIT")

    def load(self) -> Iterator[tuple[int, str, bytes]]:
        """Every object: row number, resource, JSON."""
        yield from self._connection.execute("SELECT id, resource, body FROM objects ORDER BY id")

    def reserve(self) -> tuple[int, int]:
        """A fresh block of resource versions, above any given out before: first and last."""
        first = int(self._connection.execute("SELECT reserved FROM versions").fetchone()[0])
        self._connection.execute("UPDATE versions SET reserved = ?", (first + RESERVED_VERSIONS,))
        return first, first + RESERVED_VERSIONS - 1

    def put(self, row: int, resource: str, body: bytes) -> None:
        """Write an object, new or old; done when this returns (inside a batch: when the batch ends)."""
        self._write("INSERT OR REPLACE INTO objects VALUES (?, ?, ?)", (row, resource, body))

    def remove(self, row: int) -> None:
        """Forget an object."""
        self._write("DELETE FROM objects WHERE id = ?", (row,))

    def _write(self, statement: str, values: tuple[int | str | bytes, ...]) -> None:
        if self._batch is None:
            self._connection.execute(statement, values)
        else:
            self._batch.append((statement, values))

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Several writes, one transaction, at the end of the block; also if that raises: memory has them too."""
        if self._batch is not None:
            yield
            return
        self._batch = []
        try:
            yield
        finally:
            writes, self._batch = self._batch, None
            self._write_all(writes)

    def _write_all(self, writes: Sequence[tuple[str, tuple[int | str | bytes, ...]]]) -> None:
        execute = self._connection.execute
        if len(writes) > 1:
            execute("BEGIN")
        for statement, values in writes:
            execute(statement, values)
        if len(writes) > 1:
            execute("COMMIT")

    def close(self) -> None:
        """Close the file; everything is in it already."""
        self._connection.close()


def _advice(path: Path, error: sqlite3.Error) -> str:
    if "locked" in str(error):
        return f"{path} is in use by another process: is this instance already running?"
    return (
        f"{path} cannot be read ({error}): it holds the objects of the embedded Kubernetes, which the control plane "
        "writes again; move it away and start again"
    )
