"""Instances on disk: where each keeps its things, its settings, its ports.

    ~/.kecs/instances/<name>/           KECS_HOME replaces ~/.kecs
        instance.json                   settings, and the ports in use
        data/kecs.duckdb, data/backups/ the control plane's state
        kubernetes/                     the embedded Kubernetes' state, and a kubeconfig
        node/                           containers' state and logs
        run/                            pid files, the supervisor's report
        logs/                           one file a process

Knows nothing of what the processes do.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zlib import crc32

from attrs import asdict, evolve, field, fields, frozen

from cli import ports
from cli.processes import PidFile, locked, replace_text

DEFAULT_NAME = "default"
DEFAULT_PORT, DEFAULT_ADMIN_PORT, DEFAULT_KUBERNETES_PORT = 5373, 8081, 6373
RUNTIMES = ("embedded", "kubernetes")
DRIVERS = ("process", "simulated", "none")
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


class InstanceError(Exception):
    """A sentence for the user, saying what is wrong and what to do next; and the exit code it deserves."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code


def home() -> Path:
    """The folder of all instances' folders."""
    return Path(os.environ.get("KECS_HOME") or Path.home() / ".kecs").expanduser().absolute()


@frozen
class Settings:
    """What a user may choose for an instance. None: chosen for them at each start."""

    port: int | None = None
    admin_port: int | None = None
    kubernetes_port: int | None = None
    host: str = "127.0.0.1"
    runtime: str = "embedded"
    driver: str | None = None
    kubeconfig: str | None = None
    context: str | None = None
    grace_s: float = 2.0
    log_level: str = "INFO"

    def changed(self, choices: dict[str, Any]) -> Settings:
        """With these choices; None leaves a setting as it is. Raises InstanceError."""
        known = {attribute.name for attribute in fields(Settings)}
        for name in choices:
            if name not in known:
                raise InstanceError(f"There is no setting `{name}`. The settings are: {', '.join(sorted(known))}.", 2)
        settings = evolve(self, **{name: value for name, value in choices.items() if value is not None})
        settings.check()
        return settings

    def check(self) -> None:
        """Raises InstanceError when something does not make sense."""
        if self.runtime not in RUNTIMES:
            raise InstanceError(f"There is no runtime `{self.runtime}`: choose one of {', '.join(RUNTIMES)}.", 2)
        if self.driver is not None and self.driver not in DRIVERS:
            raise InstanceError(f"There is no driver `{self.driver}`: choose one of {', '.join(DRIVERS)}.", 2)
        if self.runtime == "embedded" and self.driver == "none":
            raise InstanceError("The embedded runtime needs a driver: process or simulated.", 2)
        for name in ("port", "admin_port", "kubernetes_port"):
            port = getattr(self, name)
            if port is not None and not 0 < port < 65536:
                raise InstanceError(f"{name} is {port}: a port is a number from 1 to 65535.", 2)

    @property
    def effective_driver(self) -> str:
        """What runs the tasks: process, simulated, or none (somebody else's kubelets)."""
        return self.driver or ("process" if self.runtime == "embedded" else "none")


@frozen
class Ports:
    """The ports that an instance uses, or used last."""

    aws: int = 0
    admin: int = 0
    kubernetes: int = 0


@frozen
class Instance:
    """One instance's folder. Nothing is read before it is asked for."""

    name: str
    path: Path

    @classmethod
    def named(cls, name: str) -> Instance:
        """The instance of this name, whether it exists or not. Raises InstanceError for an impossible name."""
        if not _NAME.fullmatch(name):
            raise InstanceError(
                f"`{name}` cannot name an instance: use up to 40 lower-case letters, digits and inner hyphens.", 2
            )
        return cls(name, home() / "instances" / name)

    @classmethod
    def at(cls, path: Path) -> Instance:
        """The instance in this folder."""
        return cls(path.name, path)

    @property
    def exists(self) -> bool:
        """Whether it was ever started."""
        return self.settings_file.exists()

    @property
    def node_name(self) -> str:
        """What its node is called in Kubernetes."""
        return f"kecs-{self.name}"

    @property
    def settings_file(self) -> Path:
        """instance.json."""
        return self.path / "instance.json"

    @property
    def database(self) -> Path:
        """The control plane's DuckDB file."""
        return self.path / "data" / "kecs.duckdb"

    @property
    def backups(self) -> Path:
        """Where backups are written unless told otherwise."""
        return self.path / "data" / "backups"

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of the embedded Kubernetes."""
        return self.path / "kubernetes" / "kubeconfig"

    @property
    def report_file(self) -> Path:
        """The supervisor's report on the processes."""
        return self.path / "run" / "processes.json"

    def log_file(self, process: str) -> Path:
        """Where a process writes."""
        return self.path / "logs" / f"{process}.log"

    def pid_file(self, process: str) -> PidFile:
        """The record of a process."""
        return PidFile(self.path / "run" / f"{process}.pid")

    def claimed(self, process: str) -> AbstractContextManager[None]:
        """Held by a process as long as it lives: there is one of each. Raises TimeoutError."""
        return locked(self.path / "run" / f"{process}.lock", wait_s=10)

    def locked(self, wait_s: float = 120, on_wait: Callable[[], object] = lambda: None) -> AbstractContextManager[None]:
        """Held by a command that starts, stops or changes the instance. Raises TimeoutError."""
        return locked(self.path.parent / f".{self.name}.lock", wait_s, on_wait)

    def load(self) -> tuple[Settings, Ports]:
        """Settings and ports, defaults where nothing is recorded. Raises InstanceError when the file is damaged."""
        try:
            recorded = json.loads(self.settings_file.read_text())
            known = {attribute.name for attribute in fields(Settings)}
            settings = {name: value for name, value in recorded["settings"].items() if name in known}
            return Settings(**settings), Ports(**recorded["ports"])
        except FileNotFoundError:
            return Settings(), Ports()
        except (ValueError, KeyError, TypeError, AttributeError) as damage:
            raise InstanceError(
                f"{self.settings_file} cannot be read ({damage}): correct it, or remove it to get the defaults back."
            ) from damage

    def save(self, settings: Settings, in_use: Ports) -> None:
        """Record settings and ports, atomically."""
        record = {
            "name": self.name,
            "saved_at": datetime.now(UTC).isoformat(),
            "settings": asdict(settings),
            "ports": asdict(in_use),
        }
        replace_text(self.settings_file, json.dumps(record, indent=2) + "\n")

    def grace_s(self, settings: Settings) -> float:
        """Seconds that tasks get at this stop: what `kecs stop --grace` said, else the setting."""
        try:
            return float((self.path / "run" / "grace").read_text())
        except (OSError, ValueError):
            return settings.grace_s

    def running(self, process: str = "supervisor") -> int | None:
        """The pid of one of its processes, if it lives."""
        return self.pid_file(process).pid()

    def report(self) -> dict[str, Any]:
        """What the supervisor last reported: {process: {pid, state, step, restarts, ...}}; empty when nothing."""
        try:
            report: dict[str, Any] = json.loads(self.report_file.read_text())
        except (OSError, ValueError):
            return {}
        return report


def all_instances() -> Iterator[Instance]:
    """Every instance there is, by name."""
    folder = home() / "instances"
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            instance = Instance(path.name, path)
            if _NAME.fullmatch(path.name) and instance.exists:
                yield instance


@frozen
class PortPlan:
    """Finds an instance its ports: those asked for, else those it had last, else the usual or the next free ones."""

    instance: Instance
    settings: Settings
    last: Ports
    others: frozenset[int] = field(factory=frozenset)

    @classmethod
    def of(cls, instance: Instance) -> PortPlan:
        """The plan for an instance, leaving alone what other instances have."""
        others: set[int] = set()
        for other in all_instances():
            if other.name != instance.name:
                others.update(asdict(other.load()[1]).values())
        return cls(instance, *instance.load(), frozenset(others))

    def choose(self, busy_is_ours: bool = False) -> Ports:
        """The ports. With `busy_is_ours`, ports in use last are taken as held by the instance's own processes.

        Raises InstanceError for a port that was asked for and is taken.
        """
        if busy_is_ours and self.last.aws:
            return self.last
        aws = self._one("port", self.settings.port, self.last.aws, DEFAULT_PORT, frozenset())
        admin = self._one("admin-port", self.settings.admin_port, self.last.admin, DEFAULT_ADMIN_PORT, {aws})
        kubernetes = 0
        if self.settings.runtime == "embedded":
            chosen = {aws, admin}
            kubernetes = self.settings.kubernetes_port or self._automatic(
                self.last.kubernetes, self._first_kubernetes_port(), chosen
            )
        return Ports(aws, admin, kubernetes)

    def _one(self, option: str, wanted: int | None, last: int, usual: int, chosen: frozenset[int] | set[int]) -> int:
        if wanted is None and self.instance.name != DEFAULT_NAME:
            return self._automatic(last, usual + 1, chosen)
        port = wanted or usual
        if port in chosen:
            raise InstanceError(f"Port {port} cannot be both the AWS endpoint's and the admin server's.", 2)
        if not ports.is_free(self.settings.host, port):
            raise InstanceError(self._taken(port, option), 5)
        return port

    def _automatic(self, last: int, start: int, chosen: frozenset[int] | set[int]) -> int:
        host = self.settings.host
        if last and last not in chosen and ports.is_free(host, last):
            return last
        return ports.first_free(host, start, self.others | chosen)

    def _first_kubernetes_port(self) -> int:
        """Nobody types this port, so instances look for theirs in different places: two that start at once in
        different homes do not find the same one free.
        """
        return DEFAULT_KUBERNETES_PORT + crc32(str(self.instance.path).encode()) % 5000

    def _taken(self, port: int, option: str) -> str:
        for other in all_instances():
            if other.name != self.instance.name and port in asdict(other.load()[1]).values() and other.running():
                who = f"the KECS instance `{other.name}`"
                return f"Port {port} is taken by {who}: stop it, or choose another with --{option}."
        who = ports.holder(port) or "another process"
        return f"Port {port} is taken by {who}: end that process, or choose another port with --{option}."
