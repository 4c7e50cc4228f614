"""Kubernetes Events about pods: what `kubectl describe` shows. They are for people: dropped rather than waited for.

Repeated events are counted, not repeated; ordinary ones are limited to a trickle, so that a thousand starts do not
become thousands of API calls.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, Literal
from uuid import uuid4

import trio
from attrs import define, field, frozen

from k8s.client import MERGE_PATCH, KubeClient, KubeError
from k8s.embedded.pod_report import stamp
from k8s.embedded.pod_spec import Pod

log = logging.getLogger(__name__)

Kind = Literal["Normal", "Warning"]

_QUEUE: Final = 256
_REMEMBERED: Final = 512


@frozen
class _Happening:
    pod: Pod
    container: str
    kind: Kind
    reason: str
    message: str
    at: datetime


@define
class _Bucket:
    """At most `size` at once, then `per_s` a second."""

    size: float
    per_s: float
    _level: float = field(init=False)
    _at: float | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._level = self.size

    def take(self, now_s: float) -> bool:
        """Whether one more is allowed."""
        if self._at is not None:
            self._level = min(self.size, self._level + (now_s - self._at) * self.per_s)
        self._at = now_s
        if self._level < 1:
            return False
        self._level -= 1
        return True


@define
class EventRecorder:
    """Writes events about pods. `record` never blocks and never fails."""

    client: KubeClient
    node_name: str
    now: Callable[[], datetime]
    dropped: int = field(default=0, init=False)
    _buckets: dict[Kind, _Bucket] = field(init=False)
    _send: trio.MemorySendChannel[_Happening] = field(init=False)
    _receive: trio.MemoryReceiveChannel[_Happening] = field(init=False)
    _written: OrderedDict[tuple[str, str, str, str], tuple[str, int]] = field(factory=OrderedDict, init=False)

    def __attrs_post_init__(self) -> None:
        self._buckets = {"Normal": _Bucket(50, 5), "Warning": _Bucket(200, 20)}
        self._send, self._receive = trio.open_memory_channel(_QUEUE)

    def record(self, pod: Pod, container: str, kind: Kind, reason: str, message: str) -> None:
        """Tell that something happened to a pod, or with `container` to one of its containers."""
        if not self._buckets[kind].take(trio.current_time()):
            self.dropped += 1
            return
        try:
            self._send.send_nowait(_Happening(pod, container, kind, reason, message[:1024], self.now()))
        except trio.WouldBlock:
            self.dropped += 1

    async def run(self) -> None:
        """Write events until cancelled."""
        async for happening in self._receive:
            try:
                await self._write(happening)
            except KubeError as error:
                self.dropped += 1
                log.debug("event %s of %s was not written: %s", happening.reason, happening.pod.name, error)

    async def _write(self, happening: _Happening) -> None:
        key = (happening.pod.uid, happening.container, happening.reason, happening.message)
        path = f"/api/v1/namespaces/{happening.pod.namespace}/events"
        if (known := self._written.pop(key, None)) is not None:
            name, count = known[0], known[1] + 1
            body = {"count": count, "lastTimestamp": stamp(happening.at)}
            try:
                await self.client.request("PATCH", f"{path}/{name}", body=body, content_type=MERGE_PATCH)
            except KubeError as error:
                if error.status != 404:
                    raise
            else:
                self._written[key] = (name, count)
                return
        name = f"{happening.pod.name[:200]}.{uuid4().hex[:16]}"
        await self.client.request("POST", path, body=self._object(happening, name))
        self._written[key] = (name, 1)
        while len(self._written) > _REMEMBERED:
            self._written.popitem(last=False)

    def _object(self, happening: _Happening, name: str) -> dict[str, Any]:
        pod, at = happening.pod, stamp(happening.at)
        involved = {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": pod.namespace,
            "name": pod.name,
            "uid": pod.uid,
        }
        if happening.container:
            involved["fieldPath"] = f"spec.containers{{{happening.container}}}"
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": pod.namespace},
            "involvedObject": involved,
            "type": happening.kind,
            "reason": happening.reason,
            "message": happening.message,
            "source": {"component": "kubelet", "host": self.node_name},
            "reportingComponent": "kubelet",
            "reportingInstance": self.node_name,
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
        }
