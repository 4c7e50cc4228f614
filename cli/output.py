"""What a person sees: plain sentences, a table, a spinner on a terminal; JSON for machines."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any


def say(message: str) -> None:
    """A sentence on standard output."""
    print(message, flush=True)


def complain(message: str) -> None:
    """A sentence on standard error."""
    print(message, file=sys.stderr, flush=True)


def emit_json(value: object) -> None:
    """One JSON document on standard output."""
    print(json.dumps(value, indent=2, default=str), flush=True)


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Aligned columns; in colour on a terminal."""
    if sys.stdout.isatty():
        _rich_table(headings, rows)
        return
    cells = [list(headings), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(headings))]
    for line in cells:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _rich_table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    from rich.console import Console
    from rich.table import Table

    drawn = Table(*headings, box=None, pad_edge=False)
    for row in rows:
        drawn.add_row(*(str(cell) for cell in row))
    Console().print(drawn)


class Progress:
    """The steps of something slow: a spinner on a terminal, one line a step elsewhere. Writes to standard error."""

    def __init__(self, status: Any = None, quiet: bool = False) -> None:
        self._status = status
        self._quiet = quiet
        self._began = time.monotonic()
        self._said: set[str] = set()

    def step(self, text: str) -> None:
        """What is being done now; saying the same again says nothing."""
        if text in self._said or self._quiet:
            return
        self._said.add(text)
        if self._status is not None:
            self._status.update(text)
        else:
            complain(f"[{time.monotonic() - self._began:5.1f} s] {text}")


@contextlib.contextmanager
def progress(quiet: bool = False) -> Iterator[Progress]:
    """Show the steps of what happens inside."""
    if quiet or not sys.stderr.isatty():
        yield Progress(quiet=quiet)
        return
    from rich.console import Console

    with Console(stderr=True).status("") as status:
        yield Progress(status)
