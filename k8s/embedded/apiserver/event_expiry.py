"""Events go an hour after they were last written, as in Kubernetes; and the oldest when there are too many.

Looked after whenever an event is written, so that no task has to run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from k8s.embedded.apiserver.resources import EVENTS
from k8s.embedded.apiserver.store import Key, Store
from k8s.embedded.apiserver.stored import Stored

TTL: Final = timedelta(hours=1)
LIMIT: Final = 5_000


class EventExpiry:
    """Remembers when the events of one store were written."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now
        self._written: deque[tuple[datetime, Key, int]] = deque()
        for stored in store.collection(EVENTS).scan(None):
            self.note(stored)

    def note(self, stored: Stored) -> None:
        """An event was written: let go of those whose time is up."""
        now, events = self._now(), self._store.collection(EVENTS)
        self._written.append((now, (stored.namespace, stored.name), stored.version))
        while self._written and (now - self._written[0][0] > TTL or len(self._written) > LIMIT):
            _, (namespace, name), version = self._written.popleft()
            found = events.get(namespace, name)
            if found is not None and found.version == version:  # else it was written again since, or is gone
                self._store.remove(found)
