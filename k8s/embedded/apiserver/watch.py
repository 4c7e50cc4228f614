"""Watches: what happened to one kind since a version, and what happens from now on, to one reader.

The reader's place in the history is all there is of it, so a reader that is slow, or gone, holds nothing up.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Final, TypeAlias, TypeVar

import orjson
import trio
from attrs import frozen

from k8s.client import JsonObject
from k8s.embedded.apiserver.errors import StatusError
from k8s.embedded.apiserver.history import Event
from k8s.embedded.apiserver.messages import SendBytes
from k8s.embedded.apiserver.representation import Representation
from k8s.embedded.apiserver.selectors import Selector
from k8s.embedded.apiserver.store import Collection
from k8s.embedded.apiserver.stored import Stored

BOOKMARK_PERIOD_S: Final = 20.0
COALESCE_S: Final = 0.002
"""Events so close to the ones before wait this long for more: in a burst it is the waking of readers that costs."""
Subject: TypeAlias = Event | Stored | JsonObject
"""What an event is about: something that happened, an object at the beginning, a bookmark or an error."""
Shown = TypeVar("Shown")

_INITIAL_EVENTS_END: Final = {"k8s.io/initial-events-end": "true"}


@frozen
class Filter:
    """Which objects a list or a watch is about."""

    namespace: str | None
    labels: Selector
    fields: Selector

    def matches(self, stored: Stored) -> bool:
        """Whether an object is among them."""
        if self.namespace is not None and stored.namespace != self.namespace:
            return False
        return self.labels.matches(stored.labels) and self.fields.matches(stored.fields)

    def event_type(self, event: Event) -> str | None:
        """What an event is to this reader: an object that begins to match is ADDED, one that ceases to is DELETED."""
        if event.type == "ADDED":
            return "ADDED" if self.matches(event.stored) else None
        before = event.previous is not None and self.matches(event.previous)
        if event.type == "DELETED":
            return "DELETED" if before else None
        if self.matches(event.stored):
            return "MODIFIED" if before else "ADDED"
        return "DELETED" if before else None


@frozen
class Watch:
    """One reader's watch. `initial` are the objects to begin with, before the events after `position`."""

    collection: Collection
    filter: Filter
    representation: Representation
    newest_version: Callable[[], int]
    position: int
    timeout_s: float
    initial: Sequence[Stored] = ()
    marks_initial_end: bool = False
    bookmarks: bool = False

    async def batches(self, show: Callable[[str, Subject], Shown]) -> AsyncGenerator[Sequence[Shown], None]:
        """The events, as many as there are at once, each as `show` makes it of its type and its event or object."""
        if self.initial:
            yield [show("ADDED", stored) for stored in self.initial]
        if self.marks_initial_end:
            yield [show("BOOKMARK", self._bookmark(_INITIAL_EVENTS_END))]
        deadline, position, history = trio.current_time() + self.timeout_s, self.position, self.collection.history
        delivered_at = 0.0
        while True:
            try:
                events = history.read(position)
            except StatusError as error:
                yield [show("ERROR", error.as_object())]
                return
            position += len(events)
            if batch := [show(type_, event) for event in events if (type_ := self.filter.event_type(event))]:
                yield batch
            if events:
                delivered_at = trio.current_time()
                continue
            if await self._more(position, deadline):
                if trio.current_time() - delivered_at < COALESCE_S:
                    await trio.sleep(COALESCE_S)
                continue
            if self.bookmarks:
                yield [show("BOOKMARK", self._bookmark({}))]
            if trio.current_time() >= deadline:
                return

    async def _more(self, position: int, deadline: float) -> bool:
        """Wait for an event until it is time for a bookmark, or for the end; whether there is one."""
        history, remaining = self.collection.history, deadline - trio.current_time()
        if remaining > 0:
            with trio.move_on_after(min(remaining, BOOKMARK_PERIOD_S)):
                await history.more(position)
        return position < history.end

    def _bookmark(self, annotations: JsonObject) -> JsonObject:
        """How far the reader has come: everything up to the newest version that is about this kind has been sent."""
        metadata: JsonObject = {"resourceVersion": str(self.newest_version()), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        resource = self.representation.resource
        return {"kind": resource.kind, "apiVersion": resource.group_version, "metadata": metadata}

    async def produce(self, send: SendBytes) -> None:
        """Write the watch as lines of JSON."""
        await send(b"")
        async with aclosing(self.batches(self._line)) as batches:
            async for batch in batches:
                await send(b"".join(batch))

    def _line(self, type_: str, subject: Subject) -> bytes:
        if isinstance(subject, dict):
            return orjson.dumps({"type": type_, "object": subject}) + b"\n"
        if isinstance(subject, Event):
            if type_ == subject.type and self.representation.is_plain:
                return subject.line()
            subject = _seen(type_, subject)
        return b'{"type":"%s","object":%s}\n' % (type_.encode(), self.representation.encoded(subject))

    def parsed(self, type_: str, subject: Subject) -> JsonObject:
        """An event as a dict, for a reader in this process."""
        if isinstance(subject, dict):
            return {"type": type_, "object": subject}
        if isinstance(subject, Event):
            if type_ == subject.type and self.representation.is_plain:
                return subject.parsed()
            subject = _seen(type_, subject)
        return {"type": type_, "object": self.representation.shown(subject)}


def _seen(type_: str, event: Event) -> Stored:
    """The object to show: one that ceased to match is shown as it last matched, at the version of the change."""
    if type_ != "DELETED" or event.type == "DELETED" or event.previous is None:
        return event.stored
    body = event.previous.body()
    body["metadata"]["resourceVersion"] = str(event.version)
    return Stored.of(event.previous.resource, body, event.version, event.previous.row, orjson.dumps(body))
