"""The node's own objects: its Node and its Lease, written at start and kept fresh, as a kubelet does.

Source: https://kubernetes.io/docs/reference/node/node-status/
"""

from __future__ import annotations

import logging
import os
import platform
import shutil
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psutil
import trio
from attrs import define, field

from k8s.client import MERGE_PATCH, KubeClient, KubeError
from k8s.embedded.driver import DriverInfo
from k8s.embedded.pod_report import stamp

log = logging.getLogger(__name__)

LEASE_NAMESPACE: Final = "kube-node-lease"
LEASE_S: Final = 40
HEARTBEAT_S: Final = 10.0
_STATUS_EVERY: Final = 30  # heartbeats: the status every five minutes, as a kubelet does when nothing changes


@define
class NodeObject:
    """This machine as a Node called `name`."""

    client: KubeClient
    name: str
    info: DriverInfo
    now: Callable[[], datetime]
    labels: Mapping[str, str] = field(factory=dict)
    kubelet_port: int | None = None
    _ready_since: str = field(default="", init=False)

    @property
    def path(self) -> str:
        """Where the Node is."""
        return f"/api/v1/nodes/{self.name}"

    async def register(self) -> None:
        """Create the Node, or take over the one that is there, and say that it is ready. Raises KubeError."""
        self._ready_since = stamp(self.now())
        body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.name, "labels": self._labels()}}
        try:
            await self.client.request("POST", "/api/v1/nodes", body=body)
        except KubeError as error:
            if error.status != 409:
                raise
            patch = {"metadata": {"labels": self._labels()}}
            await self.client.request("PATCH", self.path, body=patch, content_type=MERGE_PATCH)
        await self._write_status(ready=True)
        await self._renew()

    async def beat(self) -> None:
        """Renew the lease and the status, until cancelled. What fails is tried at the next beat."""
        beats = 0
        while True:
            await trio.sleep(HEARTBEAT_S)
            beats += 1
            try:
                await self._renew()
                if beats % _STATUS_EVERY == 0:
                    await self._write_status(ready=True)
            except KubeError as error:
                if error.status == 404:  # somebody deleted the Node, or the server began anew
                    await self._register_again()
                else:
                    log.warning("the heartbeat of node %s failed: %s", self.name, error)

    async def _register_again(self) -> None:
        try:
            await self.register()
        except KubeError as error:
            log.warning("node %s cannot be registered: %s", self.name, error)

    async def retire(self) -> None:
        """Say that the node is not ready any more. What fails is only logged."""
        try:
            await self._write_status(ready=False)
        except KubeError as error:
            log.debug("node %s could not be marked as not ready: %s", self.name, error)

    async def _write_status(self, *, ready: bool) -> None:
        status = {"status": self.status(ready=ready)}
        await self.client.request("PATCH", f"{self.path}/status", body=status, content_type=MERGE_PATCH)

    async def _renew(self) -> None:
        path = f"/apis/coordination.k8s.io/v1/namespaces/{LEASE_NAMESPACE}/leases"
        spec = {
            "holderIdentity": self.name,
            "leaseDurationSeconds": LEASE_S,
            "renewTime": self.now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        try:
            await self.client.request("PATCH", f"{path}/{self.name}", body={"spec": spec}, content_type=MERGE_PATCH)
        except KubeError as error:
            if error.status != 404:
                raise
            await self._create_lease(path, spec)

    async def _create_lease(self, path: str, spec: Mapping[str, Any]) -> None:
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self.name, "namespace": LEASE_NAMESPACE},
            "spec": spec,
        }
        try:
            await self.client.request("POST", path, body=lease)
        except KubeError as error:
            if error.status != 404:
                raise
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": LEASE_NAMESPACE}}
            await self.client.request("POST", "/api/v1/namespaces", body=namespace)
            await self.client.request("POST", path, body=lease)

    def _labels(self) -> dict[str, str]:
        own = {"kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux", "kubernetes.io/arch": _architecture()}
        return {**own, **self.labels}

    def status(self, *, ready: bool) -> dict[str, Any]:
        """The Node's status now."""
        capacity = self._capacity()
        report: dict[str, Any] = {
            "capacity": capacity,
            "allocatable": capacity,
            "addresses": [
                {"type": "InternalIP", "address": self.info.host_ip},
                {"type": "Hostname", "address": socket.gethostname()},
            ],
            "conditions": [*self._pressures(), self._ready(ready)],
            "nodeInfo": self._node_info(),
        }
        if self.kubelet_port is not None:
            report["daemonEndpoints"] = {"kubeletEndpoint": {"Port": self.kubelet_port}}
        return report

    def _capacity(self) -> dict[str, str]:
        return {
            "cpu": str(os.cpu_count() or 1),
            "memory": f"{psutil.virtual_memory().total // 1024}Ki",
            "pods": str(self.info.pod_capacity),
            "ephemeral-storage": f"{shutil.disk_usage('/').total // 1024}Ki",
        }

    def _ready(self, ready: bool) -> dict[str, str]:
        reason, message = ("KubeletReady", f"the {self.info.name} driver runs") if ready else ("Stopped", "stopped")
        return self._condition("Ready", ready, reason, message)

    def _pressures(self) -> list[dict[str, str]]:
        kinds = {
            "MemoryPressure": "KubeletHasSufficientMemory",
            "DiskPressure": "KubeletHasNoDiskPressure",
            "PIDPressure": "KubeletHasSufficientPID",
        }
        return [self._condition(kind, False, reason, "this node does not evict") for kind, reason in kinds.items()]

    def _condition(self, kind: str, holds: bool, reason: str, message: str) -> dict[str, str]:
        return {
            "type": kind,
            "status": "True" if holds else "False",
            "reason": reason,
            "message": message,
            "lastHeartbeatTime": stamp(self.now()),
            "lastTransitionTime": self._ready_since,
        }

    def _node_info(self) -> dict[str, str]:
        return {
            "architecture": _architecture(),
            "operatingSystem": "linux",
            "kernelVersion": platform.release(),
            "osImage": _os_image(),
            "containerRuntimeVersion": f"{self.info.name}://{self.info.version}",
            "kubeletVersion": f"v{self.info.version}-kecs",
            "kubeProxyVersion": f"v{self.info.version}-kecs",
            "machineID": _line("/etc/machine-id"),
            "systemUUID": _line("/etc/machine-id"),
            "bootID": _line("/proc/sys/kernel/random/boot_id"),
        }


async def remove_node(client: KubeClient, name: str) -> None:
    """Delete a node that does not run any more, and its lease. Raises KubeError; one that is not there is fine."""
    lease = f"/apis/coordination.k8s.io/v1/namespaces/{LEASE_NAMESPACE}/leases/{name}"
    for path in (lease, f"/api/v1/nodes/{name}"):
        try:
            await client.request("DELETE", path)
        except KubeError as error:
            if error.status != 404:
                raise


def _architecture() -> str:
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _os_image() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return platform.system()


def _line(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
