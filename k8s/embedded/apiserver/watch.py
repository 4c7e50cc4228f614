"""Watches: what happened to one kind since a version, and what happens from now on, to one reader.

The reader's place in the history is all there is of it, so a reader that is slow, or gone, holds nothing up.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Final

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

    async def batches(self) -> AsyncGenerator[Sequence[tuple[str, Event | Stored | JsonObject]], None]:
        """The events, as many as there are at once: each a type and the event or object to show."""
        if self.initial:
            yield [("ADDED", stored) for stored in self.initial]
        if self.marks_initial_end:
            yield [("BOOKMARK", self._bookmark(_INITIAL_EVENTS_END))]
        deadline, position, history = trio.current_time() + self.timeout_s, self.position, self.collection.history
        while True:
            try:
                events = history.read(position)
            except StatusError as error:
                yield [("ERROR", error.as_object())]
                return
            position += len(events)
            if batch := [(type_, event) for event in events if (type_ := self.filter.event_type(event))]:
                yield batch
            if events:
                continue
            remaining = deadline - trio.current_time()
            if remaining > 0:
                with trio.move_on_after(min(remaining, BOOKMARK_PERIOD_S)):
                    await history.more(position)
                if position < history.end:
                    continue
            if self.bookmarks:
                yield [("BOOKMARK", self._bookmark({}))]
            if trio.current_time() >= deadline:
                return

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
        async with aclosing(self.batches()) as batches:
            async for batch in batches:
                await send(b"".join(self._line(type_, subject) for type_, subject in batch))

    def _line(self, type_: str, subject: Event | Stored | JsonObject) -> bytes:
        if isinstance(subject, dict):
            return orjson.dumps({"type": type_, "object": subject}) + b"\n"
        if isinstance(subject, Event):
            if type_ == subject.type and self.representation.is_plain:
                return subject.line()
            subject = _seen(type_, subject)
        return b'{"type":"%s","object":%s}\n' % (type_.encode(), self.representation.encoded(subject))

    def parsed(self, type_: str, subject: Event | Stored | JsonObject) -> JsonObject:
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
