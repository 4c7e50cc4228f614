"""Pod objects for tests of the node."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

JsonObject = dict[str, Any]


def container_object(name: str = "main", *command: str, **fields: Any) -> JsonObject:
    return {"name": name, "image": "busybox", "command": list(command), **fields}


def pod_object(
    name: str = "pod",
    *,
    containers: Sequence[JsonObject] | None = None,
    depends_on: Mapping[str, Mapping[str, str]] | None = None,
    stop_timeouts: Mapping[str, int] | None = None,
    annotations: Mapping[str, str] | None = None,
    finalizers: Sequence[str] = (),
    node: str = "node",
    **spec: Any,
) -> JsonObject:
    notes = dict(annotations or {})
    if depends_on:
        as_lists = {c: [{"container": d, "condition": k} for d, k in on.items()] for c, on in depends_on.items()}
        notes["kecs.dev/depends-on"] = json.dumps(as_lists)
    if stop_timeouts:
        notes["kecs.dev/stop-timeouts"] = json.dumps(stop_timeouts)
    metadata: JsonObject = {"name": name, "namespace": "default", "uid": str(uuid4()), "annotations": notes}
    metadata["labels"] = {"app.kubernetes.io/managed-by": "kecs"}
    if finalizers:
        metadata["finalizers"] = list(finalizers)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 30,
            "nodeName": node,
            "containers": list(containers or [container_object()]),
            **spec,
        },
        "status": {"phase": "Pending"},
    }
