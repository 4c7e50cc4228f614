"""Watches in the same process: from any version, with selectors, bookmarks and ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from k8s.client import MERGE_PATCH, JsonObject, KubeError
from k8s.embedded.apiserver import ApiServer
from k8s.embedded.apiserver.in_process import InProcessClient
from k8s.embedded.apiserver.resources import PODS as POD_TYPE
from tests.k8s.embedded.apiserver.objects import CONFIG_MAPS, PODS, config_map, pod

Client = InProcessClient


class _Reader:
    """Reads a watch event by event."""

    def __init__(self, batches: AsyncIterator[Sequence[JsonObject]]) -> None:
        self._batches = batches
        self._events: list[JsonObject] = []

    async def next(self) -> tuple[str, JsonObject]:
        with trio.fail_after(60):
            while not self._events:
                self._events += await anext(self._batches)
        event = self._events.pop(0)
        return event["type"], event["object"]

    async def brief(self) -> tuple[str, str]:
        type_, subject = await self.next()
        return type_, subject["metadata"].get("name", "")


@asynccontextmanager
async def _watch(client: Client, path: str, **params: str) -> AsyncIterator[_Reader]:
    async with client.stream(path, params={"watch": "true", **params}) as batches:
        yield _Reader(batches)


async def _version(client: Client, path: str) -> str:
    version: str = (await client.request("GET", path))["metadata"]["resourceVersion"]
    return version


async def _patch(client: Client, path: str, body: Any) -> None:
    await client.request("PATCH", path, body=body, content_type=MERGE_PATCH)


async def test_a_watch_begins_with_what_there_is_and_goes_on(client: Client) -> None:
    await client.request("POST", CONFIG_MAPS, body=config_map("a"))
    async with _watch(client, CONFIG_MAPS) as reader:
        assert await reader.brief() == ("ADDED", "a")
        await client.request("POST", CONFIG_MAPS, body=config_map("b"))
        await _patch(client, f"{CONFIG_MAPS}/a", {"data": {"x": "y"}})
        await client.request("DELETE", f"{CONFIG_MAPS}/b")
        assert await reader.brief() == ("ADDED", "b")
        assert (await reader.next())[1]["data"] == {"a": "1", "x": "y"}
        type_, gone = await reader.next()
        assert (type_, gone["metadata"]["name"], gone["data"]) == ("DELETED", "b", {"a": "1"})
        assert int(gone["metadata"]["resourceVersion"]) == int(await _version(client, CONFIG_MAPS))


async def test_a_watch_resumes_after_a_version(client: Client) -> None:
    for name in ("a", "b", "c"):
        await client.request("POST", CONFIG_MAPS, body=config_map(name))
    seen = (await client.request("GET", f"{CONFIG_MAPS}/b"))["metadata"]["resourceVersion"]
    async with _watch(client, CONFIG_MAPS, resourceVersion=seen) as reader:
        assert await reader.brief() == ("ADDED", "c")


async def test_an_object_enters_and_leaves_a_selection(client: Client) -> None:
    version = await _version(client, PODS)
    async with _watch(client, PODS, labelSelector="team=a", resourceVersion=version) as reader:
        await client.request("POST", PODS, body=pod(labels={"team": "b"}))
        await _patch(client, f"{PODS}/web", {"metadata": {"labels": {"team": "a"}}})
        await _patch(client, f"{PODS}/web", {"metadata": {"labels": {"x": "y"}}})
        await _patch(client, f"{PODS}/web", {"metadata": {"labels": {"team": "c"}}})
        assert (await reader.brief())[0] == "ADDED"
        assert (await reader.brief())[0] == "MODIFIED"
        type_, left = await reader.next()
        assert (type_, left["metadata"]["labels"]) == ("DELETED", {"team": "a", "x": "y"})
        assert left["metadata"]["resourceVersion"] == await _version(client, PODS)


async def test_a_watch_of_one_object_and_of_fields(client: Client) -> None:
    version = await _version(client, PODS)
    async with (
        _watch(client, PODS, fieldSelector="status.phase=Running", resourceVersion=version) as running,
        _watch(client, f"{PODS}/b", resourceVersion=version) as one,
    ):
        for name in ("a", "b"):
            await client.request("POST", PODS, body=pod(name))
        await _patch(client, f"{PODS}/b/status", {"status": {"phase": "Running"}})
        assert await running.brief() == ("ADDED", "b")
        assert await one.brief() == ("ADDED", "b")
        assert await one.brief() == ("MODIFIED", "b")


async def test_a_version_that_is_forgotten_is_told_in_the_stream(server: ApiServer, client: Client) -> None:
    server._store.collection(POD_TYPE).history.events_limit = 4
    version = await _version(client, PODS)
    for number in range(10):
        await client.request("POST", PODS, body=pod(f"p{number}"))
    async with _watch(client, PODS, resourceVersion=version) as reader:
        type_, error = await reader.next()
        assert (type_, error["code"], error["reason"]) == ("ERROR", 410, "Expired")
        with pytest.raises(StopAsyncIteration):
            await reader.next()


async def test_a_slow_reader_is_told_that_it_fell_behind(server: ApiServer, client: Client) -> None:
    server._store.collection(POD_TYPE).history.events_limit = 4
    async with _watch(client, PODS, resourceVersion=await _version(client, PODS)) as reader:
        await client.request("POST", PODS, body=pod("first"))
        assert await reader.brief() == ("ADDED", "first")
        for number in range(10):
            await client.request("POST", PODS, body=pod(f"p{number}"))
        type_, error = await reader.next()
        assert (type_, error["code"]) == ("ERROR", 410)


async def test_a_continue_token_older_than_the_history_is_expired(server: ApiServer, client: Client) -> None:
    server._store.collection(POD_TYPE).history.events_limit = 4
    for number in range(3):
        await client.request("POST", PODS, body=pod(f"p{number}"))
    token = (await client.request("GET", PODS, params={"limit": "1"}))["metadata"]["continue"]
    for number in range(10):
        await client.request("POST", PODS, body=pod(f"q{number}"))
    with pytest.raises(KubeError) as expired:
        await client.request("GET", PODS, params={"continue": token})
    assert expired.value.status == 410


async def test_a_watch_ends_in_time_with_a_bookmark(client: Client, autojump_clock: trio.testing.MockClock) -> None:
    await client.request("POST", CONFIG_MAPS, body=config_map("a"))
    version = await _version(client, PODS)
    began = trio.current_time()
    async with _watch(client, PODS, resourceVersion=version, allowWatchBookmarks="true", timeoutSeconds="50") as reader:
        bookmarks = [await reader.next() for _ in range(3)]
        with pytest.raises(StopAsyncIteration):
            await reader.next()
    assert [type_ for type_, _ in bookmarks] == ["BOOKMARK"] * 3
    assert bookmarks[-1][1]["kind"] == "Pod"
    assert bookmarks[-1][1]["metadata"]["resourceVersion"] == await _version(client, CONFIG_MAPS)
    assert trio.current_time() - began == pytest.approx(50)


async def test_a_watch_list_says_where_the_beginning_ends(client: Client) -> None:
    await client.request("POST", PODS, body=pod("a"))
    params = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    async with _watch(client, PODS, **params) as reader:
        assert await reader.brief() == ("ADDED", "a")
        type_, bookmark = await reader.next()
        assert type_ == "BOOKMARK"
        assert bookmark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        await client.request("POST", PODS, body=pod("b"))
        assert await reader.brief() == ("ADDED", "b")


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"resourceVersion": "x"}, 400),
        ({"labelSelector": "("}, 400),
        ({"timeoutSeconds": "soon"}, 400),
        ({"sendInitialEvents": "true"}, 422),
        ({"resourceVersionMatch": "Exact"}, 422),
    ],
)
async def test_a_watch_that_makes_no_sense_is_refused(client: Client, params: dict[str, str], status: int) -> None:
    with pytest.raises(KubeError) as refused:
        async with _watch(client, PODS, **params):
            raise AssertionError
    assert refused.value.status == status


async def test_two_watchers_see_the_same_thousand_events(client: Client) -> None:
    seen: list[list[str]] = [[], []]
    version = await _version(client, CONFIG_MAPS)

    async def read(into: list[str]) -> None:
        async with _watch(client, CONFIG_MAPS, resourceVersion=version) as reader:
            while len(into) < 1000:
                into.append((await reader.next())[1]["metadata"]["resourceVersion"])

    async with trio.open_nursery() as nursery:
        for into in seen:
            nursery.start_soon(read, into)
        for number in range(1000):
            await client.request("POST", CONFIG_MAPS, body=config_map(f"m{number}"))
    assert seen[0] == seen[1]
    assert [int(one) for one in seen[0]] == sorted(int(one) for one in seen[0])
