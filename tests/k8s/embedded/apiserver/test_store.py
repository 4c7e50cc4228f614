"""The store: what was written is there after a restart, and a watch from any version is the rest of the story."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from k8s.client import JsonObject
from k8s.embedded.apiserver import JournalError
from k8s.embedded.apiserver.errors import StatusError
from k8s.embedded.apiserver.event_expiry import EventExpiry
from k8s.embedded.apiserver.history import Event, History
from k8s.embedded.apiserver.journal import Journal
from k8s.embedded.apiserver.resources import BUILT_IN, EVENTS, ResourceType
from k8s.embedded.apiserver.store import Store
from k8s.embedded.apiserver.stored import Stored

CONFIG_MAPS = next(type_ for type_ in BUILT_IN if type_.plural == "configmaps")
SECRETS = next(type_ for type_ in BUILT_IN if type_.plural == "secrets")


def _body(name: str, value: str) -> JsonObject:
    return {"metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}"}, "data": {"value": value}}


def _write(store: Store, resource: ResourceType, name: str, value: str | None) -> None:
    """Create, change or (with None) remove."""
    previous = store.collection(resource).get("default", name)
    if value is not None:
        store.put(resource, _body(name, value), previous)
    elif previous is not None:
        store.remove(previous)


def _shown(store: Store, resource: ResourceType) -> dict[str, JsonObject]:
    return {stored.name: stored.body() for stored in store.collection(resource).scan(None)}


def _opened(path: Path) -> Store:
    store = Store(path)
    for resource in (CONFIG_MAPS, SECRETS):
        store.register(resource)
    return store


writes = st.lists(
    st.tuples(
        st.sampled_from([CONFIG_MAPS, SECRETS]), st.sampled_from("abc"), st.none() | st.sampled_from(["1", "2", "3"])
    ),
    max_size=25,
)


@settings(deadline=None, max_examples=40)
@given(writes)
def test_a_watch_from_any_version_replays_the_rest(steps: list[tuple[ResourceType, str, str | None]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = _opened(Path(folder) / "objects.db")
        states = {store.version: _shown(store, CONFIG_MAPS)}
        for resource, name, value in steps:
            _write(store, resource, name, value)
            states[store.version] = _shown(store, CONFIG_MAPS)
        history = store.collection(CONFIG_MAPS).history
        for version, state in states.items():
            replayed = dict(state)
            for event in history.read(history.position_after(version, store.version)):
                if event.type == "DELETED":
                    del replayed[event.stored.name]
                else:
                    assert (event.type == "ADDED") == (event.stored.name not in replayed)
                    replayed[event.stored.name] = event.stored.body()
            assert replayed == states[store.version]
        store.close()


@settings(deadline=None, max_examples=30)
@given(writes, writes)
def test_what_was_written_is_there_after_a_restart_and_versions_go_on(
    before: list[tuple[ResourceType, str, str | None]], after: list[tuple[ResourceType, str, str | None]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "objects.db"
        store = _opened(path)
        for step in before:
            _write(store, *step)
        shown, version = (_shown(store, CONFIG_MAPS), _shown(store, SECRETS)), store.version
        store.close()
        store = _opened(path)
        assert (_shown(store, CONFIG_MAPS), _shown(store, SECRETS)) == shown
        assert store.version > version
        with pytest.raises(StatusError) as expired:
            store.collection(CONFIG_MAPS).history.position_after(version, store.version)
        assert expired.value.status == 410
        for step in after:
            _write(store, *step)
        store.close()


_WRITER = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tests.k8s.embedded.apiserver.test_store import CONFIG_MAPS, _opened, _write
store = _opened(Path(sys.argv[1]))
for number in range(1_000_000):
    _write(store, CONFIG_MAPS, f"m{number % 50}", None if number % 7 == 6 else str(number))
    print(number, store.version, flush=True)
"""


def _value_after(number: int) -> int | None:
    """What the writer's write with this number leaves."""
    return None if number % 7 == 6 else number


@pytest.mark.parametrize("acknowledged_writes", [1, 40, 400])
def test_every_acknowledged_write_survives_a_kill(tmp_path: Path, acknowledged_writes: int) -> None:
    path = tmp_path / "objects.db"
    command = [sys.executable, "-c", _WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[4]) as writer:
        assert writer.stdout is not None
        for _ in range(acknowledged_writes):
            writer.stdout.readline()
        os.kill(writer.pid, signal.SIGKILL)
        rest = writer.stdout.read().split("\n")
    told = [line.split() for line in rest if len(line.split()) == 2]
    last, version = (int(told[-1][0]), int(told[-1][1])) if told else (acknowledged_writes - 1, 0)
    store = _opened(path)
    found = {name: int(body["data"]["value"]) for name, body in _shown(store, CONFIG_MAPS).items()}
    for number in range(max(0, last - 49), last + 1):
        allowed = [_value_after(number)]
        if number + 50 == last + 1:  # the next write may have been done, though nobody was told
            allowed.append(_value_after(last + 1))
        assert found.get(f"m{number % 50}") in allowed
    assert store.version > version
    store.close()


def test_a_batch_is_one_transaction_and_keeps_what_was_written_before_an_error(tmp_path: Path) -> None:
    store = _opened(tmp_path / "objects.db")

    def write_and_fail() -> None:
        with store.batch():
            _write(store, CONFIG_MAPS, "a", "1")
            with store.batch():
                _write(store, CONFIG_MAPS, "b", "1")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_and_fail()
    store.close()
    assert set(_shown(_opened(tmp_path / "objects.db"), CONFIG_MAPS)) == {"a", "b"}


def test_a_file_in_use_is_refused_with_a_sentence(tmp_path: Path) -> None:
    store = Store(tmp_path / "objects.db")
    command = [
        sys.executable,
        "-c",
        "import sys; from pathlib import Path; from k8s.embedded.apiserver.journal import ",
    ]
    command[-1] += "Journal; Journal(Path(sys.argv[1]), wait_s=0)"
    second = subprocess.run(
        [*command, str(tmp_path / "objects.db")],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[4],
        check=False,
    )
    assert "is in use by another process" in second.stderr
    store.close()


def test_a_damaged_file_is_refused_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "objects.db"
    path.write_bytes(b"this is no database, whatever its name says " * 100)
    with pytest.raises(JournalError, match=r"cannot be read .* move it away"):
        Journal(path)


def test_a_file_of_a_newer_version_is_refused_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "objects.db"
    journal = Journal(path)
    journal._connection.execute("PRAGMA user_version=99")
    journal.close()
    with pytest.raises(JournalError, match="written by a newer KECS"):
        Journal(path)


def _event(version: int) -> Event:
    body = _body("a", str(version))
    return Event(version, "MODIFIED", Stored.of(CONFIG_MAPS, body, version, 1, b"x" * 100), None)


def test_a_history_forgets_the_oldest_and_says_so() -> None:
    history = History(floor=0, events_limit=10)
    for version in range(1, 31):
        history.append(_event(version))
    assert 15 <= history.floor < 30
    with pytest.raises(StatusError) as expired:
        history.position_after(history.floor - 1, 30)
    assert expired.value.status == 410
    with pytest.raises(StatusError):
        history.read(0)
    kept = history.read(history.position_after(history.floor, 30))
    assert [event.version for event in kept] == list(range(history.floor + 1, 31))


def test_a_history_is_bounded_in_bytes_too() -> None:
    history = History(floor=0, bytes_limit=1000)
    for version in range(1, 101):
        history.append(_event(version))
    assert len(history.read(history.position_after(history.floor, 100))) <= 11


def test_a_version_from_the_future_is_expired_as_after_a_reset() -> None:
    history = History(floor=5)
    with pytest.raises(StatusError) as expired:
        history.position_after(99, current=10)
    assert expired.value.status == 410


async def test_a_reader_waits_for_the_next_event() -> None:
    history, seen = History(floor=0), trio.Event()

    async def read() -> None:
        await history.more(0)
        seen.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        assert not seen.is_set()
        history.append(_event(1))
        with trio.fail_after(5):
            await seen.wait()


def test_events_go_after_an_hour_unless_they_were_written_again(tmp_path: Path) -> None:
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    store = Store(tmp_path / "objects.db")
    store.register(EVENTS)
    expiry = EventExpiry(store, lambda: now[0])

    def write(name: str) -> None:
        previous = store.collection(EVENTS).get("default", name)
        expiry.note(store.put(EVENTS, _body(name, str(now[0])), previous))

    for name, minutes in (("old", 0), ("kept", 10), ("kept", 30), ("new", 25)):
        now[0] += timedelta(minutes=minutes)
        write(name)
    assert set(_shown(store, EVENTS)) == {"kept", "new"}
    store.close()
