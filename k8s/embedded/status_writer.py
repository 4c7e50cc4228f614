"""Brings pods' statuses to the API server: levels, so a status that is overtaken by the next one is never sent.

At most one write of a pod is under way, and a bounded number in all. What the server cannot take now is tried again;
what it refuses for good is logged, and the pod is told: nobody waits for what will never be known.
"""

from __future__ import annotations

import logging
import math
from typing import Final, Protocol

import trio
from attrs import define, field

from k8s.client import MERGE_PATCH, JsonObject, KubeClient, KubeError
from k8s.embedded.timers import Timers

log = logging.getLogger(__name__)

_RETRY_S: Final = 0.5
_RETRY_CAP_S: Final = 10.0
_WORTH_TRYING: Final = frozenset({401, 403, 408, 409, 410, 429})
"""Refusals that pass: rights and credentials are renewed, the server is busy, or another pod has the name by now (409:
the watch will say so)."""


class Reporting(Protocol):
    """A pod whose status is to be written."""

    @property
    def uid(self) -> str:
        """The pod's identity."""
        ...

    @property
    def path(self) -> str:
        """The pod's path at the API server."""
        ...

    def report(self) -> JsonObject | None:
        """The status as it is now; None when it is what the API server has."""
        ...

    def reported(self, status: JsonObject) -> None:
        """Told once the API server has this status."""
        ...

    def refused(self, status: JsonObject, why: str) -> None:
        """Told when the API server will never take this status."""
        ...

    def gone(self) -> None:
        """Told when the API server has no such pod."""
        ...


@define
class StatusWriter:
    """Writes the statuses of pods for which `want` was called."""

    client: KubeClient
    timers: Timers
    writers: int = 32
    _waiting: dict[str, Reporting] = field(factory=dict, init=False)
    _writing: set[str] = field(factory=set, init=False)
    _failures: dict[str, int] = field(factory=dict, init=False)
    _send: trio.MemorySendChannel[None] = field(init=False)
    _receive: trio.MemoryReceiveChannel[None] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel(math.inf)

    def want(self, pod: Reporting) -> None:
        """The pod's status may have changed."""
        if pod.uid in self._waiting:
            return
        self._waiting[pod.uid] = pod
        if pod.uid not in self._writing:
            self._send.send_nowait(None)

    def forget(self, uid: str) -> None:
        """The pod is gone."""
        self._waiting.pop(uid, None)
        self._failures.pop(uid, None)
        self.timers.cancel(("status", uid))

    async def run(self) -> None:
        """Write until cancelled."""
        async with trio.open_nursery() as nursery:
            for _ in range(self.writers):
                nursery.start_soon(self._write_all)

    async def _write_all(self) -> None:
        async for _ in self._receive:
            uid = next((u for u in self._waiting if u not in self._writing), None)
            if uid is None:
                continue
            pod = self._waiting.pop(uid)
            self._writing.add(uid)
            try:
                await self._write(pod)
            finally:
                self._writing.discard(uid)
                if uid in self._waiting:
                    self._send.send_nowait(None)

    async def _write(self, pod: Reporting) -> None:
        status = pod.report()
        if status is None:
            return
        body = {"metadata": {"uid": pod.uid}, "status": status}
        try:
            await self.client.request("PATCH", f"{pod.path}/status", body=body, content_type=MERGE_PATCH)
        except KubeError as error:
            self._failed(pod, status, error)
        else:
            self._failures.pop(pod.uid, None)
            pod.reported(status)

    def _failed(self, pod: Reporting, status: JsonObject, error: KubeError) -> None:
        if error.status == 404:
            pod.gone()
            return
        if 400 <= error.status < 500 and error.status not in _WORTH_TRYING:
            log.error("the API server refuses the status of %s: %s", pod.path, error)
            self._failures.pop(pod.uid, None)
            pod.refused(status, str(error))
            return
        failures = self._failures.get(pod.uid, 0) + 1
        self._failures[pod.uid] = failures
        if failures == 1:
            log.warning("the status of %s will be written again: %s", pod.path, error)
        delay_s = min(_RETRY_S * 2.0 ** min(failures - 1, 10), _RETRY_CAP_S)
        self.timers.set(("status", pod.uid), delay_s, lambda: self.want(pod))
