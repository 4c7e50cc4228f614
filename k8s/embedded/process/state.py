"""What lies in a driver's state directory, and what the shims' records say.

driver.sock, driver.lock, network.json      the driver's own
pods/<uid>/state.json, shim.sock            the shim's record and its ear
pods/<uid>/hosts, hostname, volumes/        what the pod's containers see
logs/<uid>/<container>.<attempt>.log        survive the pod until they are removed
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import frozen

from k8s.embedded.driver import ContainerState, DriverError, Failure, Phase, PodState
from k8s.embedded.process.zygote import wire


@frozen
class Layout:
    """Paths below the state directory."""

    root: Path

    @property
    def pods(self) -> Path:
        """One directory a pod."""
        return self.root / "pods"

    @property
    def driver_socket(self) -> Path:
        """Where shims tell what changed."""
        return self.root / "driver.sock"

    def pod(self, uid: str) -> Path:
        """A pod's own directory."""
        return self.pods / uid

    def logs(self, uid: str) -> Path:
        """A pod's logs."""
        return self.root / "logs" / uid

    def log(self, uid: str, name: str, attempt: int) -> Path:
        """An attempt's log."""
        return self.logs(uid) / f"{name}.{attempt}.log"

    def make(self) -> None:
        """Make the directories; nobody else may look into them."""
        for directory in (self.root, self.pods, self.root / "logs"):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only driver over this directory. Raises DriverError when there is one."""
        with (self.root / "driver.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DriverError(f"another node is running over {self.root}") from None
            yield

    @contextmanager
    def reachable(self) -> Iterator[int]:
        """A descriptor of the state directory, through which sockets have short paths."""
        descriptor = os.open(self.root, os.O_PATH | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def read_record(directory: Path) -> dict[str, Any] | None:
    """A shim's record; None when it has not written one."""
    try:
        record: dict[str, Any] = json.loads((directory / "state.json").read_bytes())
    except (OSError, ValueError):
        return None
    return record


def container_states(record: dict[str, Any]) -> tuple[ContainerState, ...]:
    """The containers of a shim's record."""
    return tuple(_container_state(record["uid"], container) for container in record["containers"])


def pod_state(record: dict[str, Any]) -> PodState:
    """A shim's record as the node sees it."""
    return PodState(record["uid"], record["ip"], container_states(record), record["namespace"], record["name"])


def _container_state(uid: str, container: dict[str, Any]) -> ContainerState:
    return ContainerState(
        pod_uid=uid,
        name=container["name"],
        phase=Phase(container["phase"]),
        attempt=container["attempt"],
        container_id=f"process://{container['id']}",
        started_at=_time(container["started_at"]),
        finished_at=_time(container["finished_at"]),
        exit_code=container["exit_code"],
        signal=container["signal"],
        oom_killed=container["oom_killed"],
        failure=Failure(container["failure"]) if container["failure"] else None,
        message=container["message"],
        pid=container["pid"] or None,
    )


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def empty_record(uid: str) -> dict[str, Any]:
    """The record of a pod whose shim never wrote one."""
    return {"uid": uid, "namespace": "", "name": "", "ip": "", "error": "", "pid": 0, "ticks": 0, "containers": []}


def end(directory: Path, record: dict[str, Any]) -> None:
    """Correct the record of a shim that is dead: what ran in it is killed, and has ended by SIGKILL, now."""
    running = [container for container in record["containers"] if container["phase"] == Phase.RUNNING]
    for container in running:
        if wire.start_ticks(container["pid"]) == container["ticks"]:
            with suppress(ProcessLookupError):
                os.kill(container["pid"], signal.SIGKILL)
        container |= {
            "phase": str(Phase.EXITED),
            "exit_code": 128 + signal.SIGKILL,
            "signal": int(signal.SIGKILL),
            "finished_at": time.time(),
        }
    if running:
        with suppress(OSError):  # the pod is being removed, or the disk is full: it is told all the same
            wire.replace_file(str(directory / "state.json"), wire.json_text(record))
