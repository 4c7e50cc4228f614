"""The node's own API, as a real API server calls it for `kubectl logs`."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from trio.testing import MockClock

from k8s.embedded.kubelet_api import Application, create_kubelet_app
from k8s.embedded.kubelet_certificate import kubelet_certificate
from tests.k8s.embedded.pod_objects import pod_object
from tests.k8s.embedded.test_node import Machine, machine, now, phase

__all__ = ["machine"]


async def get(app: Application, path: str, query: str = "") -> tuple[int, str]:
    status, body = 0, b""

    async def receive() -> Mapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status, body
        status = message.get("status", status)
        body += message.get("body", b"")

    await app({"type": "http", "method": "GET", "path": path, "query_string": query.encode()}, receive, send)
    return status, body.decode()


async def test_logs_health_and_what_it_cannot_do(
    machine: Machine,
    autojump_clock: MockClock,
) -> None:
    async with machine.node() as node:
        app = create_kubelet_app(node.gateway, now)
        machine.api.create_pod(pod_object(annotations={"simulated.kecs.dev/log": "one\ntwo"}))
        await machine.until("pod", phase("Running"))
        log = "/containerLogs/default/pod/main"
        assert await get(app, "/healthz") == (200, "ok")
        assert await get(app, log) == (200, "one\ntwo\n")
        assert await get(app, log, "tailLines=1") == (200, "two\n")
        assert await get(app, log, "sinceSeconds=3600&limitBytes=2") == (200, "on")
        assert (await get(app, log, "tailLines=many"))[0] == 400
        assert (await get(app, "/containerLogs/default/other/main"))[0] == 404
        assert (await get(app, "/containerLogs/default/pod/other"))[0] == 400
        assert (await get(app, "/exec/default/pod/main"))[0] == 501
        assert (await get(app, "/elsewhere"))[0] == 404


def test_the_certificate_is_made_once_and_serves(tmp_path: Path) -> None:
    paths = kubelet_certificate(tmp_path, "node", "127.0.0.1")
    before = paths.certificate.read_bytes()
    assert kubelet_certificate(tmp_path, "node", "127.0.0.1").certificate.read_bytes() == before
    assert kubelet_certificate(tmp_path, "node", "10.0.0.1").certificate.read_bytes() != before
    assert paths.key.stat().st_mode & 0o077 == 0
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(paths.certificate, paths.key)


@pytest.mark.parametrize("damage", ["", "nonsense"])
def test_a_damaged_certificate_is_replaced(tmp_path: Path, damage: str) -> None:
    paths = kubelet_certificate(tmp_path, "node", "127.0.0.1")
    paths.certificate.write_text(damage)
    kubelet_certificate(tmp_path, "node", "127.0.0.1")
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(paths.certificate, paths.key)
