"""The real kubectl, unmodified, against the server on a port."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
import termios
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import orjson
import pytest
import trio

from k8s.client import MERGE_PATCH
from k8s.embedded.apiserver.in_process import InProcessClient
from tests.k8s.embedded.apiserver.fake_node import FakeNode
from tests.k8s.embedded.apiserver.objects import PODS, config_map, pod

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed on this machine")

Kubectl: TypeAlias = Callable[..., Awaitable[str]]


class KubectlError(Exception):
    """kubectl ended with a failure; `output` is what it printed."""

    def __init__(self, code: int, output: str) -> None:
        super().__init__(f"exit code {code}: {output}")
        self.code = code
        self.output = output


@pytest.fixture
def kubectl(config_file: Path, tmp_path: Path) -> Kubectl:
    async def run(*arguments: str, stdin: str = "") -> str:
        command = ["kubectl", "--kubeconfig", str(config_file), "--cache-dir", str(tmp_path / "cache"), *arguments]
        with trio.fail_after(60):
            done = await trio.run_process(
                command, stdin=stdin.encode(), capture_stdout=True, stderr=subprocess.STDOUT, check=False
            )
        output = done.stdout.decode()
        if done.returncode:
            raise KubectlError(done.returncode, output)
        return output

    return run


def _json(*objects: object) -> str:
    return "\n---\n".join(orjson.dumps(one).decode() for one in objects)


async def test_the_server_introduces_itself(kubectl: Kubectl) -> None:
    assert "Server Version: v1.33.0+kecs" in await kubectl("version")
    assert "is running at" in await kubectl("cluster-info")
    resources = await kubectl("api-resources")
    assert "configmaps" in resources
    assert "ingresses" in resources
    assert "deployments" not in resources
    assert "discovery.k8s.io/v1" in await kubectl("api-versions")
    assert "default" in await kubectl("get", "namespaces")
    assert (await kubectl("auth", "can-i", "create", "pods")).strip() == "yes"
    assert "system:masters" in await kubectl("auth", "whoami")


async def test_apply_get_describe_label_delete(kubectl: Kubectl) -> None:
    manifest = _json(pod(), config_map())
    assert "pod/web created" in await kubectl("apply", "-f", "-", stdin=manifest)
    assert "pod/web unchanged" in await kubectl("apply", "-f", "-", stdin=manifest)
    changed = config_map()
    changed["data"] = {"b": "2"}
    assert "configmap/settings configured" in await kubectl("apply", "-f", "-", stdin=_json(changed))
    assert await kubectl("get", "cm", "settings", "-o", "jsonpath={.data}") == '{"b":"2"}'
    assert "node-1" in await kubectl("get", "pods", "-o", "wide")
    assert "pod/web" in await kubectl("get", "all")
    described = await kubectl("describe", "pod", "web")
    assert "Node:         node-1/" in described
    assert "pod/web labeled" in await kubectl("label", "pod", "web", "team=a")
    assert "web" in await kubectl("get", "pods", "-l", "team in (a,b)", "--no-headers")
    assert "pod/web patched" in await kubectl("patch", "pod", "web", "-p", '{"metadata":{"labels":{"team":null}}}')
    assert "No resources found" in await kubectl("get", "pods", "-l", "team")
    assert 'configmap "settings" deleted' in await kubectl("delete", "cm", "settings")
    assert "force deleted" in await kubectl("delete", "pod", "web", "--grace-period=0", "--force")
    with pytest.raises(KubectlError, match=r'pods "web" not found'):
        await kubectl("get", "pod", "web")


async def test_a_diff_is_empty_after_an_apply(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", stdin=_json(pod(), config_map()))
    assert await kubectl("diff", "-f", "-", stdin=_json(pod(), config_map())) == ""


async def test_server_side_apply(kubectl: Kubectl) -> None:
    assert "serverside-applied" in await kubectl("apply", "--server-side", "-f", "-", stdin=_json(config_map()))
    changed = config_map()
    changed["data"] = {"a": "2"}
    with pytest.raises(KubectlError, match="conflict with"):
        await kubectl("apply", "--server-side", "--field-manager=other", "-f", "-", stdin=_json(changed))
    forced = ("apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", "-")
    assert "serverside-applied" in await kubectl(*forced, stdin=_json(changed))


async def test_errors_are_told_in_kubernetes_words(kubectl: Kubectl) -> None:
    wrong = pod()
    wrong["spec"]["containers"][0]["imag"] = "x"
    with pytest.raises(KubectlError, match=r'strict decoding error: unknown field "spec.containers\[0\].imag"'):
        await kubectl("create", "-f", "-", stdin=_json(wrong))
    with pytest.raises(KubectlError, match=r'The Pod "Bad_Name" is invalid: metadata.name: Invalid value'):
        await kubectl("create", "-f", "-", stdin=_json(pod("Bad_Name")))
    await kubectl("create", "-f", "-", stdin=_json(pod()))
    with pytest.raises(KubectlError, match=r'\(AlreadyExists\).* pods "web" already exists'):
        await kubectl("create", "-f", "-", stdin=_json(pod()))
    with pytest.raises(KubectlError, match="the server doesn't have a resource type"):
        await kubectl("get", "deployments")


async def test_commands_that_send_protobuf(kubectl: Kubectl) -> None:
    assert "namespace/team created" in await kubectl("create", "namespace", "team")
    assert "configmap/c created" in await kubectl("create", "configmap", "c", "--from-literal=a=b", "-n", "team")
    assert await kubectl("get", "cm", "c", "-n", "team", "-o", "jsonpath={.data}") == '{"a":"b"}'
    assert "secret/s created" in await kubectl("create", "secret", "generic", "s", "--from-literal=p=q", "-n", "team")
    assert await kubectl("get", "secret", "s", "-n", "team", "-o", "jsonpath={.data.p}") == "cQ=="
    assert "serviceaccount/r created" in await kubectl("create", "serviceaccount", "r", "-n", "team")
    service = ("create", "service", "clusterip", "web", "--tcp=80:8080", "-n", "team")
    assert "service/web created" in await kubectl(*service)
    port = await kubectl("get", "svc", "web", "-n", "team", "-o", "jsonpath={.spec.ports[0]}")
    assert orjson.loads(port) == {"name": "80-8080", "port": 80, "protocol": "TCP", "targetPort": 8080}
    ingress = ("create", "ingress", "web", "--rule=example.com/a*=web:80", "--class=traefik", "-n", "team")
    assert "ingress.networking.k8s.io/web created" in await kubectl(*ingress)
    assert "example.com" in await kubectl("get", "ingress", "-n", "team")
    assert 'namespace "team" deleted' in await kubectl("delete", "namespace", "team")


async def test_logs_and_exec(kubectl: Kubectl, node: FakeNode) -> None:
    await kubectl("create", "-f", "-", stdin=_json(pod()))
    assert await kubectl("logs", "web") == "line 0 of main\nline 1 of main\nline 2 of main\n"
    await kubectl("logs", "-f", "web", "--tail=2", "--timestamps", "--since=1h")
    assert (node.logs_asked[-1].follow, node.logs_asked[-1].tail_lines) == (True, 2)
    assert await kubectl("exec", "web", "--", "echo", "a b", "c") == "a b c\n"
    assert node.commands_asked[-1].command == ("echo", "a b", "c")
    assert await kubectl("exec", "-i", "web", "--", "cat", stdin="hello\n" * 1000) == "HELLO\n" * 1000
    with pytest.raises(KubectlError) as failed:
        await kubectl("exec", "web", "--", "fail")
    assert failed.value.code == 3
    assert "oops" in failed.value.output
    with pytest.raises(KubectlError, match="container nope is not valid for pod web"):
        await kubectl("logs", "web", "-c", "nope")
    with pytest.raises(KubectlError, match="nope"):
        await kubectl("exec", "web", "-c", "nope", "--", "ls")
    with pytest.raises(KubectlError, match="does not implement pods/attach"):
        await kubectl("attach", "web")


async def test_wait_and_watch_see_changes(kubectl: Kubectl, client: InProcessClient) -> None:
    await kubectl("create", "-f", "-", stdin=_json(pod()))
    seen: list[str] = []

    async def run(*arguments: str) -> None:
        seen.append(await kubectl(*arguments))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, "wait", "--for=condition=Ready", "pod/web", "--timeout=30s")
        nursery.start_soon(run, "wait", "--for=jsonpath={.status.phase}=Running", "pod/web", "--timeout=30s")
        nursery.start_soon(run, "wait", "--for=delete", "pod/web", "--timeout=40s")
        status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        await client.request("PATCH", f"{PODS}/web/status", body={"status": status}, content_type=MERGE_PATCH)
        with trio.fail_after(40):
            while len(seen) < 2:  # noqa: ASYNC110  # processes end when they end
                await trio.sleep(0.05)
        await client.request("DELETE", f"{PODS}/web", body={"gracePeriodSeconds": 0})
    assert all("condition met" in output for output in seen)
    await kubectl("create", "-f", "-", stdin=_json(pod()))
    watched = await kubectl("get", "pods", "-w", "--request-timeout=1s")
    assert "web" in watched


async def test_events_are_shown_with_their_object(kubectl: Kubectl, client: InProcessClient) -> None:
    created = await client.request("POST", PODS, body=pod())
    about = {
        "kind": "Pod",
        "name": "web",
        "namespace": "default",
        "uid": created["metadata"]["uid"],
        "apiVersion": "v1",
    }
    event = {
        "metadata": {"name": "web.1"},
        "involvedObject": about,
        "reason": "Started",
        "message": "Started container main",
        "type": "Normal",
        "source": {"component": "kubelet"},
        "firstTimestamp": "2026-11-22T00:00:00Z",
        "lastTimestamp": "2026-11-22T00:00:00Z",
        "count": 1,
    }
    await client.request("POST", "/api/v1/namespaces/default/events", body=event)
    assert "Started container main" in await kubectl("describe", "pod", "web")
    assert "pod/web" in await kubectl("get", "events")
    assert "Started" in await kubectl("events", "--for", "pod/web")


async def test_exec_with_a_terminal_has_its_size(kubectl: Kubectl, config_file: Path) -> None:
    await kubectl("create", "-f", "-", stdin=_json(pod()))
    command = ["kubectl", "--kubeconfig", str(config_file), "exec", "-it", "web", "--", "size"]
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
    try:
        with trio.fail_after(30):
            await trio.run_process(command, stdin=theirs, stdout=theirs, stderr=theirs)
        assert b"77x33" in await trio.to_thread.run_sync(os.read, ours, 4096)
    finally:
        os.close(ours)
        os.close(theirs)
