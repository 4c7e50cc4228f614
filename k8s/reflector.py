"""One kind of object, followed for ever: list, watch, resume, and list again when that is what it takes.

Whatever the server drops, delays or forgets, what the two callbacks were told becomes equal to what the server has.
It keeps nothing but a resourceVersion and knows no kind of object.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import trio
from attrs import define, field, frozen

from k8s.client import JsonObject, KubeClient, KubeError, UnreachableError

log = logging.getLogger(__name__)

EventsSink = Callable[[Sequence[JsonObject]], None]
"""Takes events (`{"type": "ADDED" | "MODIFIED" | "DELETED", "object": ...}`) in order, as many as arrived at once."""

ListSink = Callable[[Sequence[JsonObject], datetime], None]
"""Takes all objects there are, and when they were asked for. Whatever is not among them is gone."""

PAGE_SIZE: Final = 500


@frozen
class Backoff:
    """How long to wait after the n-th failure in a row: doubling from `first_s` to `cap_s`, less up to half of it."""

    first_s: float = 0.1
    cap_s: float = 2.0
    jitter: Callable[[], float] = random.random  # 0 to 1

    def delay_s(self, failures: int) -> float:
        """The wait after this many failures in a row, at least one."""
        full = min(self.cap_s, self.first_s * 2.0 ** min(failures - 1, 30))
        return full * (1 - self.jitter() / 2)


class _ExpiredError(Exception):
    """The server no longer knows what changed since our resourceVersion."""


@define
class Reflector:
    """Follows `path` (with `params`, say a labelSelector) through `client`. The callbacks must not block or raise."""

    client: KubeClient
    path: str
    on_list: ListSink
    on_events: EventsSink
    params: Mapping[str, str] = field(factory=dict)
    backoff: Backoff = Backoff()
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    watch_s: int = 50  # how long one watch lasts; then the next goes on from where it ended
    silence_s: float = 75  # a watch that says nothing for so long, not even goodbye, has a dead peer
    resource_version: str | None = field(default=None, init=False)
    failures: int = field(default=0, init=False)  # in a row, until the server answered again
    last_error: str | None = field(default=None, init=False)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow until cancelled; `started` once the first complete list has been delivered."""
        listed_once = False
        while True:
            try:
                if self.resource_version is None:
                    await self._list()
                    if not listed_once:
                        listed_once = True
                        task_status.started()
                await self._watch(self.resource_version or "")
            except _ExpiredError as expired:
                self.resource_version = None
                await self._pause(str(expired), quiet=True)
            except KubeError as error:
                # What the server refuses, it would refuse again: only a fresh list is a way out of that. And when it
                # was away, another one may have come back, whose versions mean nothing to us: it would be silent.
                if not isinstance(error, UnreachableError) or self.failures >= 1:
                    self.resource_version = None
                await self._pause(str(error))

    async def _list(self) -> None:
        asked_at = self.now()
        page = await self._page(None)
        version, items = _version(page), list(page.get("items") or ())
        while token := page["metadata"].get("continue"):
            page = await self._page(token)
            items += page.get("items") or ()
        if not version:
            raise KubeError(500, "InternalError", f"the list of {self.path} has no resourceVersion")
        self.resource_version = version
        self.on_list(items, asked_at)

    async def _page(self, token: str | None) -> JsonObject:
        params = {**self.params, "limit": str(PAGE_SIZE)}
        if token is not None:
            params["continue"] = token
        try:
            page = await self.client.request("GET", self.path, params=params)
        except KubeError as error:
            if error.status == 410:  # the list took longer than the server remembers: begin again
                raise _ExpiredError(error.message) from error
            raise
        if not isinstance(page.get("metadata"), dict):
            raise KubeError(500, "InternalError", f"the answer to a list of {self.path} is no list")
        return page

    async def _watch(self, version: str) -> None:
        params = {
            **self.params,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(self.watch_s),
        }
        began, heard = trio.current_time(), False
        try:
            async with self.client.stream(self.path, params=params, read_timeout_s=self.silence_s) as batches:
                async for batch in batches:
                    self._recovered()
                    heard = True
                    self._deliver(batch)
        except KubeError as error:
            if error.status == 410:
                raise _ExpiredError(error.message) from error
            raise
        if heard or trio.current_time() - began >= 1:
            self._recovered()
        else:
            await self._pause("the server ends each watch at once")

    def _deliver(self, batch: Sequence[JsonObject]) -> None:
        """Pass on what happened, and remember how far that brought us; an `ERROR` ends the watch after that."""
        events, error = [], None
        for event in batch:
            kind, subject = event.get("type"), event.get("object") or {}
            if kind == "ERROR":
                error = KubeError.of_status(subject)
                break
            self.resource_version = _version(subject) or self.resource_version
            if kind != "BOOKMARK":
                events.append(event)
        if events:
            self.on_events(events)
        if error is not None:
            raise error

    async def _pause(self, why: str, quiet: bool = False) -> None:
        self.failures += 1
        self.last_error = why
        if self.failures == 1 and not quiet:
            log.warning("watching %s: %s", self.path, why)
        await trio.sleep(self.backoff.delay_s(self.failures))

    def _recovered(self) -> None:
        if self.failures > 1:
            log.info("watching %s again after %d failures", self.path, self.failures)
        self.failures = 0


def _version(subject: JsonObject) -> str | None:
    version = (subject.get("metadata") or {}).get("resourceVersion")
    return str(version) if version else None
