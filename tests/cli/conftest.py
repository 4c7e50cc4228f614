"""Every test has a KECS_HOME of its own, and nothing of an instance outlives its test."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.components import PROCESSES
from cli.instances import all_instances
from cli.processes import wait_until


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fresh KECS_HOME, and no variables that would lead elsewhere."""
    folder = tmp_path / "home"
    monkeypatch.setenv("KECS_HOME", str(folder))
    monkeypatch.delenv("KECS_INSTANCE", raising=False)
    yield folder
    for instance in all_instances():
        for name in PROCESSES:
            instance.pid_file(name).signal(signal.SIGKILL)
    for pid in _children():
        reap(pid)


def _children() -> list[int]:
    text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return [int(pid) for pid in text.split()]


def reap(pid: int) -> None:
    """Take a killed child's exit code, so that it is no zombie."""

    def gone() -> bool:
        try:
            return os.waitpid(pid, os.WNOHANG)[0] != 0
        except ChildProcessError:
            return True

    wait_until(gone, 0)
