"""An instance of KECS started as a user starts it: by the `kecs` command, on free ports, in a home of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import boto3
from attrs import frozen
from botocore.config import Config

BIN = Path(sys.executable).parent
DEADLINE_S = 90.0


def free_port() -> int:
    """A TCP port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S, every_s: float = 0.1) -> Any:
    """The first true answer of `condition`; fails with `what` once the deadline has passed."""
    give_up_at = time.monotonic() + deadline_s
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > give_up_at:
            raise AssertionError(f"not within {deadline_s} s: {what}")
        time.sleep(every_s)  # between two looks at the condition, never instead of one


@frozen
class Instance:
    """A started instance and the ways to reach it."""

    home: Path
    name: str
    port: int
    admin_port: int
    start_arguments: tuple[str, ...] = ()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "KECS_HOME": str(self.home),
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_PAGER": "",
        }

    @property
    def process_driver(self) -> bool:
        """Whether tasks are real processes."""
        return "simulated" not in self.start_arguments

    def kecs(self, *arguments: str, check: bool = True, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """Run `kecs ARGUMENTS --instance NAME`."""
        done = subprocess.run(
            [str(BIN / "kecs"), *arguments, "--instance", self.name],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"kecs {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def start(self) -> None:
        ports = ("--port", str(self.port), "--admin-port", str(self.admin_port))
        self.kecs("start", "--detach", *ports, *self.start_arguments)

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.kecs("status", "--json", check=False).stdout)
        return answer

    def pid(self, process: str) -> int:
        """The id of the `control` or `node` process; waits while it is being started again."""
        pid: int = wait_until(lambda: self.status()["processes"][process]["pid"], f"the {process} process runs")
        return pid

    def aws(self, *arguments: str, check: bool = True, timeout_s: float = 300) -> Any:
        """Run `aws ecs ARGUMENTS`; its JSON answer, or the completed process where `check` is false."""
        done = subprocess.run(
            [str(BIN / "aws"), "ecs", *arguments, "--output", "json"],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if not check:
            return done
        if done.returncode != 0:
            raise AssertionError(f"aws ecs {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return json.loads(done.stdout) if done.stdout.strip() else None

    def ecs(self, region: str = "us-east-1") -> Any:
        """A boto3 client that never retries, so that a test sees what the server answered."""
        session = boto3.session.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=region)
        config = Config(retries={"total_max_attempts": 1}, read_timeout=60)
        return session.client("ecs", endpoint_url=self.endpoint, config=config)

    def admin(self, path: str) -> Any:
        with urlopen(f"http://127.0.0.1:{self.admin_port}{path}", timeout=10) as answer:
            return json.loads(answer.read())


@contextmanager
def started(home: Path, *start_arguments: str, name: str = "e2e") -> Iterator[Instance]:
    """A started instance; destroyed at the end, whatever happened."""
    instance = Instance(home, name, free_port(), free_port(), start_arguments)
    try:
        instance.start()
        yield instance
    finally:
        instance.kecs("stop", check=False)
        instance.kecs("destroy", "--yes", check=False)
