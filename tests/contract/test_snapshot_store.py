"""What every SnapshotStore does: the one in memory, which other tests use, and the one on DuckDB."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from attrs import evolve

from actors.ports import Snapshot, SnapshotStore
from actors.snapshots import DuckDbStore
from engine.arn import Scope
from engine.decision import Forget, Record
from tests.actors.records import NOW, SCOPE, a_cluster, a_definition, a_family, a_service, a_task
from tests.fakes import Disk, InMemoryStore

Opener = Callable[[], AbstractAsyncContextManager[SnapshotStore]]


@asynccontextmanager
async def running(store: SnapshotStore) -> AsyncIterator[SnapshotStore]:
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        yield store
        nursery.cancel_scope.cancel()


@pytest.fixture(params=["memory", "duckdb"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """Opens the same store, again and again."""
    disk = Disk()
    if request.param == "memory":
        return lambda: running(InMemoryStore(disk, commit_s=0))
    return lambda: running(DuckDbStore.open(tmp_path / "kecs.duckdb", tmp_path / "backups"))


async def write(store: SnapshotStore, *records: Record) -> None:
    durable = trio.Event()
    store.submit(records, durable.set)
    with trio.fail_after(20):
        await durable.wait()


def arns(snapshot: Snapshot) -> set[str]:
    every = (snapshot.clusters, snapshot.families, snapshot.task_definitions, snapshot.services, snapshot.tasks)
    return {record.arn for records in every for record in records}


async def test_records_come_back_as_they_were_after_reopening(opened: Opener) -> None:
    cluster, family, definition, service, task = a_cluster(), a_family(), a_definition(), a_service(), a_task()
    async with opened() as store:
        await write(store, cluster, family, definition, service, task)
    async with opened() as store:
        assert await store.load() == Snapshot((cluster,), (family,), (definition,), (service,), (task,))


async def test_the_last_of_several_records_with_one_arn_counts(opened: Opener) -> None:
    async with opened() as store:
        await write(store, a_family(latest_revision=1), a_family(latest_revision=2))
        await write(store, a_family(latest_revision=3))
        assert [family.latest_revision for family in (await store.load()).families] == [3]


async def test_a_forgotten_record_is_gone(opened: Opener) -> None:
    async with opened() as store:
        await write(store, a_cluster(), a_family(), a_definition(), a_service(), a_task())
        forgotten = (a_cluster().arn, a_family().arn, a_definition().arn, a_service().arn, a_task().arn)
        await write(store, *(Forget(arn) for arn in forgotten))
        assert arns(await store.load()) == set()


async def test_forgetting_and_writing_again_in_one_transaction_keeps_the_record(opened: Opener) -> None:
    async with opened() as store:
        await write(store, a_task(), Forget(a_task().arn), a_task())
        assert arns(await store.load()) == {a_task().arn}


async def test_acknowledges_in_the_order_of_submission(opened: Opener) -> None:
    acknowledged: list[int] = []
    async with opened() as store:
        for number in range(200):
            store.submit([a_task(number)] if number % 3 else [], partial(acknowledged.append, number))
        await write(store, a_cluster())
    assert acknowledged == list(range(200))


async def test_never_acknowledges_records_before_submit_returns(opened: Opener) -> None:
    async with opened() as store:
        durable = trio.Event()
        store.submit([a_cluster()], durable.set)
        assert not durable.is_set()
        await durable.wait()


async def test_nothing_submitted_while_nothing_waits_is_acknowledged_at_once(opened: Opener) -> None:
    async with opened() as store:
        durable = trio.Event()
        store.submit([], durable.set)
        assert durable.is_set()


async def test_nothing_submitted_behind_something_waits_for_it(opened: Opener) -> None:
    order: list[str] = []
    async with opened() as store:
        store.submit([a_cluster()], lambda: order.append("records"))
        store.submit([], lambda: order.append("nothing"))
        await write(store, a_task())
    assert order == ["records", "nothing"]


async def test_what_was_submitted_is_durable_and_acknowledged_when_run_is_cancelled(opened: Opener) -> None:
    acknowledged: list[int] = []
    async with opened() as store:
        for number in range(50):
            store.submit([a_task(number)], partial(acknowledged.append, number))
    assert acknowledged == list(range(50))
    async with opened() as store:
        assert len((await store.load()).tasks) == 50


async def test_a_load_sees_what_was_submitted_before_it(opened: Opener) -> None:
    async with opened() as store:
        store.submit([a_cluster()], lambda: None)
        assert arns(await store.load()) == {a_cluster().arn}


async def test_a_cluster_is_loaded_with_the_tasks_of_no_service_only(opened: Opener) -> None:
    async with opened() as store:
        await write(store, a_cluster(), a_cluster("other"), a_task(1), a_task(2, service="web"), a_task(3, "other"))
        assert arns(await store.load_cluster(a_cluster().arn)) == {a_cluster().arn, a_task(1).arn}


async def test_a_service_is_loaded_with_its_tasks_only(opened: Opener) -> None:
    async with opened() as store:
        await write(store, a_service(), a_service("api"), a_task(1), a_task(2, service="web"), a_task(3, service="api"))
        assert arns(await store.load_service(a_service().arn)) == {a_service().arn, a_task(2).arn}


async def test_task_definitions_are_loaded_by_scope(opened: Opener) -> None:
    elsewhere = Scope("111111111111", "eu-west-1")
    async with opened() as store:
        await write(
            store, a_family(), a_definition(), a_family(scope=elsewhere), a_definition(scope=elsewhere), a_task()
        )
        assert arns(await store.load_task_definitions(SCOPE)) == {a_family().arn, a_definition().arn}


async def test_names_that_hold_quotes_and_other_scripts_come_back(opened: Opener) -> None:
    task = evolve(a_task(), group='family:o\'brien "x" \\ \u0000 日本 😀', started_by="'; DROP TABLE tasks; --")
    async with opened() as store:
        await write(store, task)
        assert list((await store.load()).tasks) == [task]


async def test_a_full_queue_makes_whoever_asks_for_room_wait_until_there_is_some(opened: Opener) -> None:
    async with opened() as store:
        for number in range(25):
            store.submit([a_task(each) for each in range(number * 1_000, (number + 1) * 1_000)], lambda: None)
        with trio.fail_after(60):
            await store.room()
        assert len((await store.load()).tasks) == 25_000


async def test_a_backup_is_made_of_everything_submitted_before_it(opened: Opener) -> None:
    async with opened() as store:
        store.submit([a_cluster()], lambda: None)
        first = await store.backup(NOW)
        assert first != await store.backup(NOW.replace(second=59))


async def test_a_cleared_store_has_forgotten_everything_submitted_before(opened: Opener) -> None:
    async with opened() as store:
        store.submit([a_cluster(), a_family(), a_definition(), a_service(), a_task()], lambda: None)
        await store.clear()
        await write(store, a_cluster("new"))
    async with opened() as store:
        assert arns(await store.load()) == {a_cluster("new").arn}
