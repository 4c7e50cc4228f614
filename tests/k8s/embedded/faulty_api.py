"""A Kubernetes API in memory for tests of the node: as much of it as a node uses, and as unreliable as asked for.

It is deterministic and knows no threads, so the node runs on trio's autojump clock against it. The real things (the
embedded API server, a real one) are used in other tests; this one can lose answers, break watches and forget history.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import trio

from k8s.client import JSON, JsonObject, KubeError, UnreachableError

Faults = Callable[[str, str], str]
"""What goes wrong with a call, by method and path: "" nothing, "before" or "after" it was done, or an HTTP status."""


def no_faults(_method: str, _path: str) -> str:
    return ""


class FaultyApi:
    """Implements `KubeClient`."""

    def __init__(self, faults: Faults = no_faults, now: Callable[[], datetime] | None = None) -> None:
        self.objects: dict[str, JsonObject] = {}
        self.calls: list[tuple[str, str]] = []
        self.patches: list[tuple[str, Mapping[str, Any]]] = []
        self.faults = faults
        self._now = now or (lambda: datetime.now(UTC))
        self._version = 0
        self._watchers: list[trio.MemorySendChannel[Sequence[JsonObject]]] = []

    @property
    def pods(self) -> dict[str, JsonObject]:
        """The pods by name."""
        return {o["metadata"]["name"]: o for o in self.objects.values() if o["kind"] == "Pod"}

    def pod(self, name: str) -> JsonObject | None:
        return self.pods.get(name)

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: object | None = None,
        content_type: str = JSON,
        timeout_s: float = 30,
    ) -> JsonObject:
        self.calls.append((method, path))
        await trio.sleep(0.001)
        fault = self.faults(method, path)
        if fault == "before":
            raise UnreachableError("the request was lost")
        if fault.isdigit():
            raise KubeError(int(fault), "InternalError", "out of order")
        answer = copy.deepcopy(self._do(method, path, dict(params or {}), copy.deepcopy(body)))
        if fault == "after":
            raise UnreachableError("the answer was lost")
        return answer

    def _do(self, method: str, path: str, params: dict[str, str], body: Any) -> JsonObject:
        match method:
            case "GET" if path == "/api/v1/pods":
                items = [p for p in self.pods.values() if _selected(p, params)]
                return {"kind": "PodList", "metadata": {"resourceVersion": str(self._version)}, "items": items}
            case "GET":
                return self._existing(path)
            case "POST" if path.endswith("/binding"):
                target = self._existing(path.removesuffix("/binding"))
                target["spec"]["nodeName"] = body["target"]["name"]
                return self._changed("MODIFIED", target)
            case "POST":
                return self.create(path, body)
            case "PATCH":
                return self._patch(path, body)
            case "DELETE":
                grace = (body or {}).get("gracePeriodSeconds")
                return self.delete(path, grace, ((body or {}).get("preconditions") or {}).get("uid"))
        raise KubeError(405, "MethodNotAllowed", method)

    def create(self, path: str, body: JsonObject) -> JsonObject:
        full = f"{path}/{body['metadata']['name']}"
        if full in self.objects:
            raise KubeError(409, "AlreadyExists", full)
        self.objects[full] = body
        return self._changed("ADDED", body)

    def create_pod(self, pod: JsonObject) -> JsonObject:
        return self.create("/api/v1/namespaces/default/pods", copy.deepcopy(pod))

    def delete_pod(self, name: str, grace_s: int | None = None) -> None:
        self.delete(f"/api/v1/namespaces/default/pods/{name}", grace_s, None)

    def release_pod(self, name: str) -> None:
        """Remove the pod's finalizers."""
        self._patch(f"/api/v1/namespaces/default/pods/{name}", {"metadata": {"finalizers": None}})

    def delete(self, path: str, grace: float | None, uid: str | None) -> JsonObject:
        found = self._existing(path)
        metadata = found["metadata"]
        if uid is not None and metadata.get("uid") != uid:
            raise KubeError(409, "Conflict", "another uid")
        if grace is None:
            grace = found["spec"].get("terminationGracePeriodSeconds", 30)
        if (found.get("status") or {}).get("phase") in ("Succeeded", "Failed") or not found["spec"].get("nodeName"):
            grace = 0
        grace = min(grace, metadata.get("deletionGracePeriodSeconds", grace))
        if grace == 0 and not metadata.get("finalizers"):
            return self._remove(path)
        when = self._now() + timedelta(seconds=grace)
        metadata["deletionTimestamp"] = when.strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata["deletionGracePeriodSeconds"] = grace
        return self._changed("MODIFIED", found)

    def _patch(self, path: str, body: JsonObject) -> JsonObject:
        is_status = path.endswith("/status")
        found = self._existing(path.removesuffix("/status"))
        uid = (body.get("metadata") or {}).get("uid")
        if uid is not None and uid != found["metadata"].get("uid"):
            raise KubeError(409, "Conflict", "another uid")
        if is_status:
            self.patches.append((path, body["status"]))
        _merge(found, {"status": body["status"]} if is_status else body)
        metadata = found["metadata"]
        if metadata.get("deletionGracePeriodSeconds") == 0 and not metadata.get("finalizers"):
            return self._remove(path)
        return self._changed("MODIFIED", found)

    def _existing(self, path: str) -> JsonObject:
        if path not in self.objects:
            raise KubeError(404, "NotFound", path)
        return self.objects[path]

    def _remove(self, path: str) -> JsonObject:
        return self._changed("DELETED", self.objects.pop(path))

    def _changed(self, kind: str, subject: JsonObject) -> JsonObject:
        self._version += 1
        subject["metadata"]["resourceVersion"] = str(self._version)
        if subject.get("kind") == "Pod":
            event = {"type": kind, "object": copy.deepcopy(subject)}
            for watcher in list(self._watchers):
                watcher.send_nowait([event])
        return subject

    @asynccontextmanager
    async def stream(
        self, path: str, *, params: Mapping[str, str] | None = None, read_timeout_s: float = 90
    ) -> AsyncIterator[AsyncIterator[Sequence[JsonObject]]]:
        await trio.sleep(0.001)
        selectors = dict(params or {})
        if int(selectors.get("resourceVersion") or 0) < self._version:
            raise KubeError(410, "Expired", "too old resource version")
        send, receive = trio.open_memory_channel[Sequence[JsonObject]](100_000)
        self._watchers.append(send)
        try:
            yield _selected_events(receive, selectors)
        finally:
            if send in self._watchers:
                self._watchers.remove(send)

    def break_watches(self) -> None:
        """Close every watch, as a server that restarts."""
        for watcher in self._watchers:
            watcher.close()
        self._watchers = []


async def _selected_events(
    receive: trio.MemoryReceiveChannel[Sequence[JsonObject]], params: Mapping[str, str]
) -> AsyncIterator[Sequence[JsonObject]]:
    seen: set[str] = set()
    async for batch in receive:
        for event in batch:
            uid = event["object"]["metadata"]["uid"]
            if _selected(event["object"], params):
                seen.add(uid)
                yield [event]
            elif uid in seen:
                seen.discard(uid)
                yield [{**event, "type": "DELETED"}]
            else:
                yield [{"type": "BOOKMARK", "object": {"metadata": event["object"]["metadata"]}}]


def _selected(pod: JsonObject, params: Mapping[str, str]) -> bool:
    selector = params.get("fieldSelector", "")
    return not selector or pod["spec"].get("nodeName", "") == selector.removeprefix("spec.nodeName=")


def _merge(target: JsonObject, patch: JsonObject) -> None:
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        else:
            target[key] = value
