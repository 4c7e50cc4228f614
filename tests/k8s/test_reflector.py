"""The reflector against a server that follows a script, and against one that loses whatever it can."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
import trio
import trio.testing
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from k8s.client import JsonObject, KubeError, UnreachableError
from k8s.reflector import Backoff, Reflector

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
GONE = KubeError(410, "Expired", "too old resource version")
REFUSED = KubeError(500, "InternalError", "etcd is away")
AWAY = UnreachableError("connection refused")


def _thing(name: str, version: int) -> JsonObject:
    return {"metadata": {"name": name, "resourceVersion": str(version)}}


def _event(kind: str, name: str, version: int) -> JsonObject:
    return {"type": kind, "object": _thing(name, version)}


def _page(version: int, *names: str, following: str | None = None) -> JsonObject:
    metadata = {"resourceVersion": str(version)} | ({"continue": following} if following else {})
    return {"metadata": metadata, "items": [_thing(name, version) for name in names]}


EXPIRED_IN_BAND = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "old"}}
BROKEN_IN_BAND = {"type": "ERROR", "object": {"kind": "Status", "code": 500, "reason": "InternalError", "message": "?"}}


@define
class Script:
    """Answers each list and each watch with the next thing written down; then is silent for ever."""

    lists: Iterator[JsonObject | KubeError]
    watches: Iterator[Sequence[Sequence[JsonObject] | KubeError] | KubeError]
    asked: list[str] = field(factory=list)

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] = {},
        body: object | None = None,
        content_type: str = "",
        timeout_s: float = 30,
    ) -> JsonObject:
        self.asked.append(f"list {params.get('continue', '')}".strip())
        answer = next(self.lists, None)
        if answer is None:
            await trio.sleep_forever()
        if isinstance(answer, KubeError):
            raise answer
        assert answer is not None
        return answer

    @asynccontextmanager
    async def stream(
        self,
        path: str,
        *,
        params: Mapping[str, str] = {},
        read_timeout_s: float = 90,
    ) -> AsyncIterator[AsyncIterator[Sequence[JsonObject]]]:
        assert params["allowWatchBookmarks"] == "true"
        assert int(params["timeoutSeconds"]) < read_timeout_s
        self.asked.append(f"watch {params['resourceVersion']}")
        items = next(self.watches, None)
        if items is None:
            await trio.sleep_forever()
        if isinstance(items, KubeError):
            raise items
        assert items is not None

        async def batches() -> AsyncGenerator[Sequence[JsonObject], None]:
            for item in items:
                if isinstance(item, KubeError):
                    raise item
                yield item

        async with aclosing(batches()) as following:
            yield following


@define
class View:
    """What the callbacks were told, put together."""

    things: dict[str, str] = field(factory=dict)
    lists: int = 0
    batches: list[int] = field(factory=list)

    def on_list(self, items: Sequence[JsonObject], asked_at: datetime) -> None:
        assert asked_at == _NOW
        self.lists += 1
        self.things = {one["metadata"]["name"]: one["metadata"]["resourceVersion"] for one in items}

    def on_events(self, events: Sequence[JsonObject]) -> None:
        self.batches.append(len(events))
        for event in events:
            metadata = event["object"]["metadata"]
            if event["type"] == "DELETED":
                self.things.pop(metadata["name"], None)
            else:
                self.things[metadata["name"]] = metadata["resourceVersion"]


def _reflector(client: Any, view: View) -> Reflector:
    return Reflector(
        client, "/api/v1/pods", view.on_list, view.on_events, backoff=Backoff(jitter=lambda: 0.0), now=lambda: _NOW
    )


async def _follow(
    lists: Sequence[JsonObject | KubeError], watches: Sequence[Sequence[Sequence[JsonObject] | KubeError] | KubeError]
) -> tuple[Script, View, Reflector]:
    """Run until the script is at its end and nothing more happens."""
    script, view = Script(iter(lists), iter(watches)), View()
    reflector = _reflector(script, view)
    with trio.move_on_after(300):
        await reflector.run()
    return script, view, reflector


@pytest.fixture
def mock_clock() -> trio.testing.MockClock:
    return trio.testing.MockClock(autojump_threshold=0)


async def test_it_lists_then_watches_from_there(mock_clock: trio.testing.MockClock) -> None:
    script, view, _ = await _follow([_page(5, "a", "b")], [[[_event("DELETED", "a", 6), _event("ADDED", "c", 7)]]])
    assert view.things == {"b": "5", "c": "7"}
    assert script.asked == ["list", "watch 5", "watch 7"]


async def test_what_arrived_at_once_is_told_at_once(mock_clock: trio.testing.MockClock) -> None:
    events = [_event("ADDED", f"p{n}", n + 6) for n in range(100)]
    _, view, _ = await _follow([_page(5)], [[events]])
    assert view.batches == [100]


async def test_it_has_started_once_the_first_list_was_told(mock_clock: trio.testing.MockClock) -> None:
    view = View()
    reflector = _reflector(Script(iter([AWAY, _page(5, "a")]), iter([])), view)
    async with trio.open_nursery() as nursery:
        await nursery.start(reflector.run)
        assert view.things == {"a": "5"}
        nursery.cancel_scope.cancel()


async def test_pages_are_put_together(mock_clock: trio.testing.MockClock) -> None:
    script, view, _ = await _follow([_page(5, "a", following="2"), _page(5, "b")], [])
    assert set(view.things) == {"a", "b"}
    assert view.lists == 1
    assert script.asked == ["list", "list 2", "watch 5"]


async def test_a_list_that_expires_between_pages_begins_again(mock_clock: trio.testing.MockClock) -> None:
    script, view, _ = await _follow([_page(5, "a", following="2"), GONE, _page(9, "b")], [])
    assert view.things == {"b": "9"}
    assert script.asked == ["list", "list 2", "list", "watch 9"]


async def test_bookmarks_move_the_version_and_are_told_to_nobody(mock_clock: trio.testing.MockClock) -> None:
    script, view, _ = await _follow([_page(5, "a")], [[[_event("BOOKMARK", "", 90)]]])
    assert script.asked[-1] == "watch 90"
    assert view.batches == []


@pytest.mark.parametrize("expiry", [GONE, [[EXPIRED_IN_BAND]]])
async def test_both_kinds_of_410_list_again(mock_clock: trio.testing.MockClock, expiry: Any) -> None:
    script, view, _ = await _follow([_page(5, "a"), _page(50, "b")], [expiry])
    assert view.things == {"b": "50"}
    assert script.asked == ["list", "watch 5", "list", "watch 50"]


async def test_what_came_before_an_error_in_the_same_read_counts(mock_clock: trio.testing.MockClock) -> None:
    _, view, _ = await _follow([_page(5), AWAY], [[[_event("ADDED", "a", 6), EXPIRED_IN_BAND]]])
    assert view.things == {"a": "6"}


async def test_another_error_in_band_lists_again(mock_clock: trio.testing.MockClock) -> None:
    script, _, _ = await _follow([_page(5), _page(8)], [[[_event("ADDED", "a", 6), BROKEN_IN_BAND]]])
    assert script.asked == ["list", "watch 5", "list", "watch 8"]


async def test_a_broken_watch_goes_on_from_where_it_was(mock_clock: trio.testing.MockClock) -> None:
    script, view, _ = await _follow([_page(5)], [[[_event("ADDED", "a", 6)], AWAY]])
    assert script.asked == ["list", "watch 5", "watch 6"]
    assert view.lists == 1


async def test_a_refused_watch_lists_again(mock_clock: trio.testing.MockClock) -> None:
    script, _, _ = await _follow([_page(5), _page(6)], [REFUSED])
    assert script.asked == ["list", "watch 5", "list", "watch 6"]


async def test_a_server_that_was_away_is_listed_again(mock_clock: trio.testing.MockClock) -> None:
    script, _, _ = await _follow([_page(5), _page(1, "another")], [AWAY, AWAY])
    assert script.asked == ["list", "watch 5", "watch 5", "list", "watch 1"]


async def test_it_waits_longer_and_longer_up_to_a_cap(mock_clock: trio.testing.MockClock) -> None:
    script, view = Script(iter([AWAY] * 1000), iter([])), View()
    with trio.move_on_after(60):
        await _reflector(script, view).run()
    assert len(script.asked) == pytest.approx(5 + 60 / 2, abs=2)


async def test_a_server_that_ends_each_watch_at_once_is_not_asked_in_a_hot_loop(
    mock_clock: trio.testing.MockClock,
) -> None:
    script, view = Script(iter([_page(5)]), iter([[]] * 10_000)), View()
    with trio.move_on_after(60):
        await _reflector(script, view).run()
    assert len(script.asked) < 40


async def test_an_expired_version_is_not_asked_for_in_a_hot_loop(mock_clock: trio.testing.MockClock) -> None:
    script, view = Script(iter([_page(5)] * 10_000), iter([GONE] * 10_000)), View()
    with trio.move_on_after(60):
        await _reflector(script, view).run()
    assert len(script.asked) < 80


async def test_a_watch_that_ends_in_its_time_goes_on_at_once(mock_clock: trio.testing.MockClock) -> None:
    script, _, reflector = await _follow([_page(5)], [[[_event("ADDED", "a", 6)]]] * 50)
    assert len(script.asked) == 52
    assert reflector.failures == 0


async def test_what_is_no_list_is_an_error_and_not_an_empty_world(mock_clock: trio.testing.MockClock) -> None:
    _, view, _ = await _follow([{"kind": "Hello"}, {"metadata": {}}, _page(5, "a")], [])
    assert view.lists == 1


def test_back_off_doubles_to_its_cap_less_the_jitter() -> None:
    plain, jittered = Backoff(0.1, 5, lambda: 0.0), Backoff(0.1, 5, lambda: 1.0)
    assert [plain.delay_s(n) for n in (1, 2, 3, 7, 1000)] == [0.1, 0.2, 0.4, 5, 5]
    assert jittered.delay_s(3) == 0.2


@define
class LossyServer:
    """A server that changes while it is followed, remembers little, and fails whenever its next choice says so."""

    choices: Iterator[int]
    history: list[JsonObject] = field(factory=list)  # event n made version n + 1
    remembered: int = 0  # versions before this one have expired
    changed: trio.Event = field(factory=trio.Event)

    @property
    def version(self) -> int:
        return len(self.history) + 1

    @property
    def things(self) -> dict[str, str]:
        return self.things_at(self.version)

    def things_at(self, version: int) -> dict[str, str]:
        things: dict[str, str] = {}
        for event in self.history[: version - 1]:
            metadata = event["object"]["metadata"]
            if event["type"] == "DELETED":
                things.pop(metadata["name"])
            else:
                things[metadata["name"]] = metadata["resourceVersion"]
        return things

    def change(self, name: str, delete: bool) -> None:
        there = name in self.things
        if delete and not there:
            return
        kind = "DELETED" if delete else "MODIFIED" if there else "ADDED"
        self.history.append(_event(kind, name, self.version + 1))
        changed, self.changed = self.changed, trio.Event()
        changed.set()

    def _choice(self) -> int:
        return next(self.choices, 0)

    async def request(self, method: str, path: str, *, params: Mapping[str, str], **more: Any) -> JsonObject:
        await trio.sleep(0.01)
        match self._choice():
            case 1:
                raise AWAY
            case 2:
                raise REFUSED
            case 3:
                raise GONE
        version, _, start = params.get("continue", f"{self.version}/").partition("/")
        at = self.things_at(int(version))
        names = sorted(name for name in at if name > start)
        page, rest = names[:2], names[2:]
        listed = {"resourceVersion": version} | ({"continue": f"{version}/{page[-1]}"} if rest else {})
        return {"metadata": listed, "items": [_thing(name, int(at[name])) for name in page]}

    @asynccontextmanager
    async def stream(
        self, path: str, *, params: Mapping[str, str], read_timeout_s: float
    ) -> AsyncIterator[AsyncIterator[Sequence[JsonObject]]]:
        version = int(params["resourceVersion"])
        match self._choice():
            case 1:
                raise AWAY
            case 2:
                raise REFUSED
            case 3:
                self.remembered = self.version
        if version < self.remembered:
            raise GONE
        async with aclosing(self._events(version)) as events:
            yield events

    async def _events(self, version: int) -> AsyncGenerator[Sequence[JsonObject], None]:
        while True:
            while version >= self.version:
                with trio.move_on_after(1) as idle:
                    await self.changed.wait()
                if idle.cancelled_caught:
                    return
            match self._choice():
                case 1:
                    raise AWAY
                case 2:
                    return
                case 3:
                    yield [EXPIRED_IN_BAND]
                    return
                case 4:
                    yield [_event("BOOKMARK", "", version)]
            batch = self.history[version - 1 :]
            version = self.version
            yield batch


_CHANGES = st.lists(st.tuples(st.sampled_from("abcde"), st.booleans(), st.sampled_from([0.0, 0.005, 0.3])), max_size=30)


@settings(max_examples=80, deadline=None)
@given(_CHANGES, st.lists(st.integers(0, 5), max_size=40))
def test_whatever_the_server_drops_the_view_becomes_equal_to_it(
    changes: list[tuple[str, bool, float]], choices: list[int]
) -> None:
    async def main() -> None:
        server, view = LossyServer(iter(choices)), View()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_reflector(server, view).run)
            for name, delete, pause_s in changes:
                server.change(name, delete)
                await trio.sleep(pause_s)
            await trio.sleep(600)  # of the mock clock: every back-off and every choice has had its turn
            nursery.cancel_scope.cancel()
        assert view.things == server.things
        assert view.lists >= 1

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
