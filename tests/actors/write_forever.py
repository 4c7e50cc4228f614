"""Writes clusters until killed, and says on standard output what was acknowledged. Run as a program by a test."""

from __future__ import annotations

import os
import sys
from functools import partial
from itertools import count
from pathlib import Path

import trio

from actors.snapshots import DuckDbStore
from tests.actors.records import a_cluster


async def main(folder: Path, writers: int) -> None:
    store = DuckDbStore.open(folder / "kecs.duckdb", folder / "backups")
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        for writer in range(writers):
            nursery.start_soon(write, store, writer)


async def write(store: DuckDbStore, writer: int) -> None:
    for number in count():
        name = f"w{writer}-{number}"
        durable = trio.Event()
        store.submit([a_cluster(name)], durable.set)
        await durable.wait()
        os.write(1, f"{name}\n".encode())


if __name__ == "__main__":
    trio.run(partial(main, Path(sys.argv[1]), int(sys.argv[2])))
