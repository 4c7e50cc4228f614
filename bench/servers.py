"""The servers that are measured side by side in one run: KECS, started by its own command, and `moto_server`."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import boto3
import psutil
from attrs import field, frozen
from botocore.config import Config

BIN = Path(sys.executable).parent


def free_port() -> int:
    """A TCP port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@frozen
class Server:
    """A server under measurement. `pids` are the processes whose CPU and memory count as the server's."""

    name: str
    port: int
    pids: tuple[int, ...]
    ready_s: float
    run_task_options: Mapping[str, Any] = field(factory=dict)
    environment: Mapping[str, str] = field(factory=dict)

    def ecs(self) -> Any:
        """A boto3 client: for preparation only, never inside a measurement."""
        session = boto3.session.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
        config = Config(max_pool_connections=32, read_timeout=120, retries={"total_max_attempts": 1})
        return session.client("ecs", endpoint_url=f"http://127.0.0.1:{self.port}", config=config)

    def cpu_s(self) -> float:
        """CPU seconds, user and system, that the server's processes have used."""
        return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in self.pids)

    def rss_mb(self) -> dict[int, float]:
        """Resident memory of each process, in MB."""
        return {pid: psutil.Process(pid).memory_info().rss / 1e6 for pid in self.pids}

    def load(self, target: str, body: str, *, connections: int = 16, requests: int, seconds: float) -> dict[str, Any]:
        """Run the load generator in a process of its own; its report, and `cpu_ms`: the server's CPU a request."""
        before = self.cpu_s()
        options = ("--connections", str(connections), "--requests", str(requests), "--seconds", str(seconds))
        command = [sys.executable, str(Path(__file__).with_name("load.py")), "--port", str(self.port)]
        done = subprocess.run(
            [*command, "--target", target, "--body", "-", *options],
            input=body,
            text=True,
            capture_output=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{self.name} {target}: {done.stderr.strip().splitlines()[-1]}")
        report: dict[str, Any] = json.loads(done.stdout)
        report["cpu_ms"] = (self.cpu_s() - before) / report["requests"] * 1000
        return report


def answers(port: int) -> bool:
    """Whether ListClusters is answered with 200."""
    request = Request(
        f"http://127.0.0.1:{port}/",
        data=b"{}",
        headers={
            "X-Amz-Target": "AmazonEC2ContainerServiceV20141113.ListClusters",
            "Content-Type": "application/x-amz-json-1.1",
            "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/ecs/aws4_request, "
            "SignedHeaders=host, Signature=0",
        },
    )
    try:
        with urlopen(request, timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, ConnectionError, TimeoutError):
        return False


def seconds_until_it_answers(port: int, began: float) -> float:
    """Seconds from `began` to the first answer; gives up after a minute."""
    while not answers(port):
        if time.monotonic() - began > 60:
            raise TimeoutError(f"nothing answers on port {port}")
        time.sleep(0.01)
    return time.monotonic() - began


@contextmanager
def kecs(*start_arguments: str) -> Iterator[Server]:
    """An instance in a home of its own; `ready_s` is from `kecs start --detach` to ready."""
    home = Path(tempfile.mkdtemp(prefix="kecs-bench-"))
    port, admin_port = free_port(), free_port()
    environment = os.environ | {"KECS_HOME": str(home)}
    command = str(BIN / "kecs")
    try:
        began = time.monotonic()
        ports = ("--port", str(port), "--admin-port", str(admin_port))
        subprocess.run([command, "start", "--detach", *ports, *start_arguments], env=environment, check=True)
        ready_s = seconds_until_it_answers(port, began)
        status = subprocess.run([command, "status", "--json"], env=environment, capture_output=True, check=True)
        processes = json.loads(status.stdout)["processes"]
        pids = tuple(processes[name]["pid"] for name in ("control", "node", "supervisor") if name in processes)
        yield Server("kecs", port, pids, ready_s, environment={"KECS_HOME": str(home)})
    finally:
        subprocess.run([command, "stop"], env=environment, check=False, capture_output=True)
        subprocess.run([command, "destroy", "--yes"], env=environment, check=False, capture_output=True)
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def moto() -> Iterator[Server]:
    """`moto_server` on a free port; `ready_s` is from its start to its first answer."""
    port = free_port()
    began = time.monotonic()
    process = subprocess.Popen(
        [str(BIN / "moto_server"), "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        ready_s = seconds_until_it_answers(port, began)
        yield Server("moto", port, (process.pid,), ready_s, run_task_options={"launchType": "FARGATE"})
    finally:
        process.terminate()
        process.wait(timeout=10)
