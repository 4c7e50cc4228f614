"""kr8s, unmodified, against the server on a port: it is the client of the control plane."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kr8s.asyncio
import pytest
from kr8s.asyncio.objects import ConfigMap, Pod

from k8s.client import MERGE_PATCH
from k8s.embedded.apiserver.in_process import InProcessClient
from tests.k8s.embedded.apiserver.objects import PODS, config_map, pod

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # kr8s leaves its generators to the collector


async def _names(api: Any, **selection: Any) -> list[str]:
    return [found.name async for found in api.get("pods", **selection)]


async def test_kr8s_objects_live_and_die(config_file: Path, client: InProcessClient) -> None:
    api = await kr8s.asyncio.api(kubeconfig=str(config_file))
    created = await Pod(pod(), api=api)
    await created.create()
    assert await _names(api, namespace="default") == ["web"]
    await created.label({"team": "a"})
    assert await _names(api, label_selector={"team": "a"}) == ["web"]
    assert [line async for line in created.logs()] == ["line 0 of main", "line 1 of main", "line 2 of main"]
    status = {
        "phase": "Running",
        "conditions": [{"type": kind, "status": "True"} for kind in ("Ready", "ContainersReady")],
    }
    await client.request("PATCH", f"{PODS}/web/status", body={"status": status}, content_type=MERGE_PATCH)
    done = await created.exec(["echo", "hello"])
    assert done.stdout == b"hello\n"
    await created.delete()
    assert (await Pod.get("web", api=api)).metadata["deletionTimestamp"]
    settings = await ConfigMap(config_map(), api=api)
    await settings.create()
    await settings.patch({"data": {"b": "2"}})
    assert settings.data == {"a": "1", "b": "2"}
    await settings.delete()
    assert not await settings.exists()
