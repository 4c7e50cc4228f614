"""What lies in a driver's state directory, and what the pods' records say.

- `driver.sock`, `driver.lock`, `network.json`: the driver's own
- `keepers/<id>`, `<id>.sock`: a keeper's pid and start, and its ear
- `pods/<uid>/state.jsonl`, `volumes/`: the pod's record, written by its keeper; what its containers share
- `pods/<uid>/<container>.<attempt>.log`: survive the pod until they are removed
- `private/`: where each container mounts what only it sees
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
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

_RECORD = "state.jsonl"


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
        """Where keepers tell what changed."""
        return self.root / "driver.sock"

    def pod(self, uid: str) -> Path:
        """A pod's own directory."""
        return self.pods / uid

    @property
    def keepers(self) -> Path:
        """One file and one socket a keeper."""
        return self.root / "keepers"

    @property
    def keepers_log(self) -> Path:
        """Where the zygote and the keepers write how they failed."""
        return self.root / "keepers.log"

    @property
    def private(self) -> Path:
        """An empty directory."""
        return self.root / "private"

    def ear(self, keeper: str) -> Path:
        """Where a keeper takes commands."""
        return self.keepers / f"{keeper}.sock"

    def log(self, uid: str, name: str, attempt: int) -> Path:
        """An attempt's log."""
        return self.pod(uid) / f"{name}.{attempt}.log"

    def make(self) -> None:
        """Make the directories; nobody else may look into them."""
        for directory in (self.root, self.pods, self.keepers, self.private):
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
    """A pod's record: the last complete line of its file. None where there is none."""
    try:
        written = (directory / _RECORD).read_bytes()
    except OSError:
        return None
    lines = written[: written.rfind(b"\n") + 1].splitlines()
    record: dict[str, Any] | None = json.loads(lines[-1]) if lines else None
    return record


def lives(pid: int, ticks: int) -> bool:
    """Whether the process that started then is there, and no zombie."""
    return pid > 0 and wire.start_ticks(pid) == ticks != 0 and not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def keepers(layout: Layout) -> dict[str, tuple[int, int]]:
    """Every keeper and relay that was forked over this directory: name → pid and start, whether or not it lives."""
    found: dict[str, tuple[int, int]] = {}
    if not layout.keepers.exists():
        return found
    for path in layout.keepers.iterdir():
        if not path.suffix and len(words := path.read_text().split()) == 2:
            found[path.name] = (int(words[0]), int(words[1]))
    return found


def unlink_keeper(layout: Layout, name: str) -> None:
    """Remove the files of a keeper or relay that is gone."""
    (layout.keepers / name).unlink(missing_ok=True)
    layout.ear(name).unlink(missing_ok=True)


def container_states(record: dict[str, Any]) -> tuple[ContainerState, ...]:
    """The containers of a pod's record."""
    return tuple(_container_state(record["uid"], container) for container in record["containers"])


def pod_state(record: dict[str, Any]) -> PodState:
    """A pod's record as the node sees it."""
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


def end(directory: Path, record: dict[str, Any]) -> None:
    """Correct the record of a pod whose keeper is dead: what ran in it is killed, and has ended by SIGKILL, now."""
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
            wire.append_line(str(directory / _RECORD), wire.json_text(record))


def forget(directory: Path, *, keep_logs: bool) -> None:
    """Remove a pod's directory, or all in it but the logs."""
    (directory / _RECORD).unlink(missing_ok=True)
    if not keep_logs:
        shutil.rmtree(directory, ignore_errors=True)
    elif (directory / "volumes").exists():
        shutil.rmtree(directory / "volumes", ignore_errors=True)
