"""Binds pods of KECS to this node, where no scheduler does: joined to a bare API server."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import trio
from attrs import define, field

from k8s.client import JsonObject, KubeClient, KubeError
from k8s.reflector import Reflector

log = logging.getLogger(__name__)

MANAGED_BY_KECS: Final = "app.kubernetes.io/managed-by=kecs"
_BINDERS: Final = 16
_TRY_AGAIN_S: Final = 1.0


@define
class Scheduler:
    """Binds every pod that `selector` selects and that has no node to the node `name`, while `is_open` says so."""

    client: KubeClient
    name: str
    is_open: Callable[[], bool] = lambda: True
    selector: str = MANAGED_BY_KECS
    _pending: dict[str, JsonObject] = field(factory=dict, init=False)
    _send: trio.MemorySendChannel[str] = field(init=False)
    _receive: trio.MemoryReceiveChannel[str] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel(math.inf)

    async def run(self) -> None:
        """Follow pods without a node until cancelled."""
        params = {"fieldSelector": "spec.nodeName=", "labelSelector": self.selector}
        reflector = Reflector(self.client, "/api/v1/pods", self._listed, self._changed, params)
        async with trio.open_nursery() as nursery:
            for _ in range(_BINDERS):
                nursery.start_soon(self._bind_all)
            nursery.start_soon(reflector.run)

    def _listed(self, pods: Sequence[JsonObject], _asked_at: datetime) -> None:
        there = {pod["metadata"]["uid"] for pod in pods}
        self._pending = {uid: pod for uid, pod in self._pending.items() if uid in there}
        for pod in pods:
            self._add(pod)

    def _changed(self, events: Sequence[JsonObject]) -> None:
        for event in events:
            if event["type"] == "DELETED":  # gone, or bound and thus no longer selected
                self._pending.pop(event["object"]["metadata"]["uid"], None)
            else:
                self._add(event["object"])

    def _add(self, pod: JsonObject) -> None:
        uid = pod["metadata"]["uid"]
        if uid not in self._pending and not pod["metadata"].get("deletionTimestamp"):
            self._pending[uid] = pod
            self._send.send_nowait(uid)

    async def _bind_all(self) -> None:
        async for uid in self._receive:
            pod = self._pending.get(uid)
            if pod is None or not self.is_open():
                continue
            try:
                await self._bind(pod)
            except KubeError as error:
                if error.status in (404, 409):  # gone, or bound already
                    self._pending.pop(uid, None)
                    continue
                log.warning("pod %s cannot be bound now: %s", pod["metadata"]["name"], error)
                await trio.sleep(_TRY_AGAIN_S)
                self._send.send_nowait(uid)

    async def _bind(self, pod: JsonObject) -> None:
        metadata = pod["metadata"]
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": self.name},
        }
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/binding"
        await self.client.request("POST", path, body=binding)
