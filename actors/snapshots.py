"""The snapshot store on DuckDB: one writer thread, group commit.

Everything that waits goes into one transaction; what was submitted is acknowledged after the commit, in the order of
submission. After a commit the writer rests as long as it computed, so that committing never takes more than half a
core, and then until trio's thread has nothing left to do: whoever was just answered asks again, and their writes
belong into the same transaction. So under load transactions grow instead of multiplying. What nobody awaits does not
begin a transaction for a tenth of a second: the smallest costs 7 ms of CPU, a hundred times what one record adds.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import trio
from attrs import frozen

from actors.database import Database
from actors.migrations import MIGRATIONS, Migration
from actors.ports import Snapshot, StoreFailedError
from engine.arn import Scope
from engine.decision import Record

T = TypeVar("T")
BATCH_RECORDS = 5_000
QUEUE_RECORDS = 20_000
LONGEST_REST_S = 0.05
LONGEST_KEPT_S = 0.1  # what nobody awaits
KEPT_BACKUPS = 10


@frozen
class _Write:
    records: Sequence[Record]
    committed: Callable[[], None]


@frozen
class _Job:
    run: Callable[[], Any]
    settle: Callable[[Any, Exception | None], None]


@frozen
class _Close:
    """The last thing in the queue."""


class _Quiet(trio.abc.Instrument):
    """Lets another thread wait until trio's thread has nothing to do."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._idle = False
        self._awaited = False

    def before_io_wait(self, timeout: float) -> None:
        """Part of trio.abc.Instrument."""
        if timeout > 0:
            self._idle = True
            if self._awaited:
                self._event.set()

    def after_io_wait(self, timeout: float) -> None:  # noqa: ARG002  trio gives it
        """Part of trio.abc.Instrument."""
        self._idle = False

    def wait(self, longest_s: float) -> None:
        """Block this thread until then, and for no longer than that."""
        self._event.clear()
        self._awaited = True
        if not self._idle:
            self._event.wait(longest_s)
        self._awaited = False


class DuckDbStore:
    """A SnapshotStore in a file. See the port for the contract of each method."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue: SimpleQueue[_Write | _Job | _Close] = SimpleQueue()
        self._pending_records = 0  # submitted and not acknowledged
        self._pending_writes = 0
        self._room = trio.Event()
        self._done: deque[Callable[[], None]] = deque()  # what the writer's thread has to say, in order
        self._arrival = trio.Event()
        self._stopped = trio.Event()
        self._quiet = _Quiet()
        self._awaited = threading.Event()  # somebody waits for something in the queue
        self._failure: StoreFailedError | None = None
        self._token: trio.lowlevel.TrioToken | None = None

    @classmethod
    def open(
        cls,
        path: Path,
        backups: Path,
        restore_command: str = "kecs restore",
        migrations: Sequence[Migration] = MIGRATIONS,
    ) -> DuckDbStore:
        """Open a file, or make it, and bring its schema up to date. Blocks for 0.1 s and more.

        Raises UnreadableStoreError for a damaged file or one from a newer version (its message names the newest
        backup and `restore_command` with it), StoreInUseError when another process has it open.
        """
        return cls(Database(path, backups, restore_command, migrations))

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See SnapshotStore."""
        self._token = trio.lowlevel.current_trio_token()
        trio.lowlevel.add_instrument(self._quiet)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run_thread)
            nursery.start_soon(self._deliver)
            task_status.started()
            try:
                await self._stopped.wait()
            finally:
                trio.lowlevel.remove_instrument(self._quiet)
                self._put(_Close())
        if self._failure is not None:
            raise self._failure

    async def _run_thread(self) -> None:
        with trio.CancelScope(shield=True):  # `run` tells it when to end
            try:
                await trio.to_thread.run_sync(self._write_until_closed, limiter=trio.CapacityLimiter(1))
            except StoreFailedError as error:
                self._failure = error
        self._stopped.set()
        self._arrival.set()

    async def _deliver(self) -> None:
        """Call back what the writer's thread has done. Goes on until that thread has ended, also when cancelled."""
        with trio.CancelScope(shield=True):
            while True:
                self._arrival = trio.Event()
                while self._done:
                    self._done.popleft()()
                if self._stopped.is_set():
                    break
                await self._arrival.wait()
        for job in self._left_over():
            job.settle(None, StoreFailedError(f"{self._database.path} is closed"))

    def _left_over(self) -> Iterator[_Job]:
        while (item := self._next()) is not None:
            if isinstance(item, _Job):
                yield item

    def submit(self, records: Sequence[Record], committed: Callable[[], None], awaited: bool = True) -> None:
        """See SnapshotStore."""
        if not records and not self._pending_writes:
            committed()
            return
        self._pending_writes += 1
        self._pending_records += len(records)
        self._put(_Write(records, committed), awaited)

    def _put(self, item: _Write | _Job | _Close, awaited: bool = True) -> None:
        self._queue.put(item)
        if awaited and not self._awaited.is_set():
            self._awaited.set()

    async def room(self) -> None:
        """See SnapshotStore."""
        while self._pending_records >= QUEUE_RECORDS:
            await self._room.wait()

    async def load(self) -> Snapshot:
        """See SnapshotStore."""
        return await self._in_turn(self._database.load)

    async def load_cluster(self, cluster_arn: str) -> Snapshot:
        """See SnapshotStore."""
        return await self._in_turn(lambda: self._database.load_cluster(cluster_arn))

    async def load_service(self, service_arn: str) -> Snapshot:
        """See SnapshotStore."""
        return await self._in_turn(lambda: self._database.load_service(service_arn))

    async def load_task_definitions(self, scope: Scope) -> Snapshot:
        """See SnapshotStore."""
        return await self._in_turn(lambda: self._database.load_task_definitions(scope))

    async def clear(self) -> None:
        """See SnapshotStore."""
        await self._in_turn(self._database.clear)

    async def backup(self, now: datetime) -> Path:
        """See SnapshotStore. The newest KEPT_BACKUPS are kept."""
        return await self._in_turn(lambda: self._database.backup_and_prune(now, KEPT_BACKUPS))

    async def _in_turn(self, run: Callable[[], T]) -> T:
        """Run something in the writer's thread, after all that was submitted before."""
        done = trio.Event()
        outcome: list[tuple[T, Exception | None]] = []

        def settle(value: T, error: Exception | None) -> None:
            outcome.append((value, error))
            done.set()

        if self._stopped.is_set():
            raise StoreFailedError(f"{self._database.path} is closed")
        self._put(_Job(run, settle))
        await done.wait()
        value, error = outcome[0]
        if error is not None:
            raise error
        return value

    # the writer's thread

    def _write_until_closed(self) -> None:
        try:
            rested = 0.0
            while True:
                first = self._queue.get()
                time.sleep(max(0.0, rested - time.monotonic()))
                self._awaited.wait(LONGEST_KEPT_S)
                self._quiet.wait(LONGEST_REST_S)
                self._awaited.clear()  # before the queue is emptied: what comes later is seen later
                began = time.thread_time()
                if not self._take(first):
                    return
                rested = time.monotonic() + min(time.thread_time() - began, LONGEST_REST_S)
        finally:
            self._database.close()

    def _take(self, first: _Write | _Job | _Close) -> bool:
        """Carry out everything that waits, `first` being the first of it. Returns whether to go on."""
        batch: list[_Write] = []
        item: _Write | _Job | _Close | None = first
        records = 0
        while isinstance(item, _Write):
            batch.append(item)
            records += len(item.records)
            item = self._next() if records < BATCH_RECORDS else None
        if batch:
            self._commit(batch)
        if isinstance(item, _Job):
            self._run_job(item)
        return not isinstance(item, _Close)

    def _next(self) -> _Write | _Job | _Close | None:
        try:
            return self._queue.get_nowait()
        except Empty:
            return None

    def _commit(self, batch: Sequence[_Write]) -> None:
        try:
            self._database.write(record for write in batch for record in write.records)
        except Exception as error:
            # DuckDB's text may quote the values it was given
            raise StoreFailedError(f"{self._database.path}: a transaction failed ({type(error).__name__})") from None
        self._in_trio(lambda: self._acknowledge(batch))

    def _run_job(self, job: _Job) -> None:
        try:
            value, failure = job.run(), None
        except Exception as error:
            value, failure = None, error
        self._in_trio(lambda: job.settle(value, failure))

    def _in_trio(self, call: Callable[[], None]) -> None:
        assert self._token is not None  # set before the thread starts
        self._done.append(call)
        self._token.run_sync_soon(self._announce, idempotent=True)

    # trio's thread again

    def _announce(self) -> None:
        self._arrival.set()

    def _acknowledge(self, batch: Sequence[_Write]) -> None:
        for write in batch:
            self._pending_writes -= 1
            self._pending_records -= len(write.records)
            write.committed()
        if self._pending_records < QUEUE_RECORDS:
            self._room.set()
            self._room = trio.Event()
