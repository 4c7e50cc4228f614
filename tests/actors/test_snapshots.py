"""What the store on DuckDB does beyond the contract: crashes, damage, versions, backups, columns, secrets."""

from __future__ import annotations

import random
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest
import trio
from attrs import evolve

from actors.database import StoreInUseError, UnreadableStoreError, restore
from actors.migrations import MIGRATIONS, Migration
from actors.ports import StoreFailedError
from actors.snapshots import KEPT_BACKUPS, DuckDbStore
from actors.tables import TABLES
from engine.decision import Record
from engine.lifecycle import StopCode, TaskStatus
from tests.actors.records import NOW, SECRET, a_cluster, a_definition, a_family, a_service, a_task

NEXT = Migration(
    MIGRATIONS[-1].version + 1,
    ("ALTER TABLE tasks ADD COLUMN cpu VARCHAR", "UPDATE tasks SET cpu = snapshot->>'$.cpu'"),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "kecs.duckdb"


def open_store(file: Path, *more: Migration) -> DuckDbStore:
    return DuckDbStore.open(file, file.parent / "backups", "kecs restore --instance ci", (*MIGRATIONS, *more))


@asynccontextmanager
async def running(file: Path, *more: Migration) -> AsyncIterator[DuckDbStore]:
    store = open_store(file, *more)
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        yield store
        nursery.cancel_scope.cancel()


async def write(store: DuckDbStore, *records: Record) -> None:
    durable = trio.Event()
    store.submit(records, durable.set)
    with trio.fail_after(20):
        await durable.wait()


def rows(file: Path, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(file)) as connection:
        return connection.execute(query).fetchall()


def everything() -> tuple[Record, ...]:
    return a_cluster(), a_family(), a_definition(), a_service(), a_task()


def writer(folder: Path, writers: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.actors.write_forever", str(folder), str(writers)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


def killed_while_writing(folder: Path, after_lines: int) -> set[str]:
    """Names of the clusters that a writer had said were durable when it was killed."""
    acknowledged: set[str] = set()
    with writer(folder, 16) as process:
        assert process.stdout is not None
        for line in process.stdout:
            acknowledged.add(line.strip())
            if len(acknowledged) == after_lines:
                process.send_signal(signal.SIGKILL)
    return acknowledged


@pytest.mark.parametrize("after_lines", [1, 40, 333])
async def test_everything_acknowledged_survives_kill_9(tmp_path: Path, after_lines: int) -> None:
    acknowledged = await trio.to_thread.run_sync(killed_while_writing, tmp_path, after_lines)
    assert len(acknowledged) >= after_lines
    async with running(tmp_path / "kecs.duckdb") as store:
        assert {cluster.cluster_name for cluster in (await store.load()).clusters} >= acknowledged


async def test_columns_can_be_queried(file: Path) -> None:
    stopped = evolve(
        a_task(service="web", last_status=TaskStatus.STOPPED),
        stop_code=StopCode.ESSENTIAL_CONTAINER_EXITED,
        stopped_at=NOW + timedelta(minutes=1),
        containers=(evolve(a_task().containers[0], exit_code=3, last_status="STOPPED"),),
    )
    async with running(file) as store:
        await write(store, a_service(desired_count=7), stopped)
    assert rows(file, "SELECT service_name, status, desired_count FROM services") == [("web", "ACTIVE", 7)]
    query = "SELECT last_status, stop_code, containers[1].exit_code, stopped_at - created_at FROM tasks"
    assert rows(file, query) == [("STOPPED", "EssentialContainerExited", 3, timedelta(minutes=1))]


async def test_every_column_exists_that_the_writer_fills(file: Path) -> None:
    async with running(file):
        pass
    for table in TABLES:
        query = f"SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = '{table.name}'"
        found = {str(name): str(kind) for name, kind in rows(file, query)}
        assert found.pop("snapshot") == "JSON"
        assert {name: kind.replace('"', "") for name, kind in found.items()} == dict(table.columns)


async def test_a_file_of_an_older_version_is_migrated_and_backed_up_first(file: Path) -> None:
    async with running(file) as store:
        await write(store, evolve(a_task(), cpu="256"))
    async with running(file, NEXT) as store:
        assert [task.cpu for task in (await store.load()).tasks] == ["256"]
    assert rows(file, "SELECT cpu FROM tasks") == [("256",)]
    assert rows(file, "SELECT max(version) FROM schema_version") == [(NEXT.version,)]
    assert rows(
        file.parent / "backups" / f"before-schema-{NEXT.version}.duckdb", "SELECT version FROM schema_version"
    ) == [(MIGRATIONS[-1].version,)]


async def test_a_file_of_a_newer_version_is_refused_with_the_backup_that_helps(file: Path) -> None:
    async with running(file) as store:
        backup = await store.backup(NOW)
    async with running(file, NEXT) as store:
        await store.backup(NOW + timedelta(days=1))  # newer, but no help
    with pytest.raises(UnreadableStoreError) as caught:
        open_store(file)
    assert f"kecs restore --instance ci {backup}" in str(caught.value)
    assert "newer" in str(caught.value)


def test_a_refused_file_without_backups_says_what_to_do(file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(b"this is no database" * 1000)
    with pytest.raises(UnreadableStoreError, match=r"no backup .*; move the file away"):
        open_store(file)


def flip(path: Path, seed: int, one_in: int) -> None:
    content = bytearray(path.read_bytes())
    for position in random.Random(seed).sample(range(len(content)), max(1, len(content) // one_in)):
        content[position] ^= 0xFF
    path.write_bytes(content)


def flip_in(path: Path, word: bytes) -> None:
    """Damage content. (A log whose length fields are hit looks torn, as after a crash, and is cut there.)"""
    content = bytearray(path.read_bytes())
    content[content.index(word)] ^= 0x01
    path.write_bytes(content)


async def refusal(file: Path) -> str:
    """What opening or loading a file is refused with."""
    try:
        store = open_store(file)
    except UnreadableStoreError as error:
        return str(error)
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        with pytest.raises(UnreadableStoreError) as caught:
            await store.load()
        nursery.cancel_scope.cancel()
    return str(caught.value)


@pytest.mark.parametrize("seed", range(4))
async def test_a_damaged_file_is_refused_with_the_newest_backup(file: Path, seed: int) -> None:
    async with running(file) as store:
        await write(store, *everything(), *(a_task(number) for number in range(2_000)))
        await store.backup(NOW)
        backup = await store.backup(NOW + timedelta(seconds=1))
    flip(file, seed, one_in=200)
    error = await refusal(file)
    assert f"kecs restore --instance ci {backup}" in error
    assert SECRET not in error
    restore(backup, file)
    async with running(file) as store:
        assert len((await store.load()).tasks) == 2_000


async def test_a_damaged_log_is_refused_with_the_newest_backup(tmp_path: Path) -> None:
    file = tmp_path / "kecs.duckdb"
    async with running(file) as store:
        await write(store, a_cluster("old"))
        backup = await store.backup(NOW)
    await trio.to_thread.run_sync(killed_while_writing, tmp_path, 20)
    flip_in(Path(f"{file}.wal"), b"cluster_name")
    with pytest.raises(UnreadableStoreError) as caught:
        DuckDbStore.open(file, tmp_path / "backups")
    assert str(backup) in str(caught.value)
    restore(backup, file)
    async with running(file) as store:
        assert [cluster.cluster_name for cluster in (await store.load()).clusters] == ["old"]


async def test_a_backup_that_cannot_be_read_is_not_restored(file: Path, tmp_path: Path) -> None:
    async with running(file) as store:
        await write(store, a_cluster())
    (tmp_path / "nonsense").write_bytes(b"nonsense")
    with pytest.raises(UnreadableStoreError, match="nonsense is no backup"):
        restore(tmp_path / "nonsense", file)
    async with running(file) as store:
        assert len((await store.load()).clusters) == 1


async def test_only_the_newest_backups_are_kept(file: Path) -> None:
    async with running(file) as store:
        made = [await store.backup(NOW + timedelta(seconds=second)) for second in range(KEPT_BACKUPS + 2)]
    assert sorted((file.parent / "backups").iterdir()) == made[2:]


async def test_nobody_else_may_read_the_file_or_its_backups(file: Path) -> None:
    async with running(file) as store:
        backup = await store.backup(NOW)
    for path in (file, backup):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700, "anybody might read the log"


def test_a_file_in_use_by_another_process_is_refused(tmp_path: Path) -> None:
    with writer(tmp_path, 1) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(StoreInUseError, match="in use by another process"):
            open_store(tmp_path / "kecs.duckdb")
        process.kill()


async def test_a_transaction_that_fails_stops_the_store_and_names_no_values(file: Path) -> None:
    acknowledged = trio.Event()
    unstorable = evolve(a_definition(), registered_by=object())  # type: ignore[arg-type]  # what a bug would do
    store = open_store(file)
    store.submit([unstorable], acknowledged.set)
    with pytest.raises(StoreFailedError) as caught, trio.fail_after(20):
        await store.run()
    assert SECRET not in str(caught.value)
    assert not acknowledged.is_set()


async def test_a_closed_store_says_so(file: Path) -> None:
    async with running(file) as store:
        pass
    with pytest.raises(StoreFailedError, match="is closed"):
        await store.load()
