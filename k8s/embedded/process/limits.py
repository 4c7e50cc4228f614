"""Control groups of this machine, version 1 or 2, and what limits mean in their files.

Everything of an instance lies below one group named for it, at the root of each hierarchy, as Docker does it. Where
nothing can be written, there are no limits, and `missing` says so.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import field, frozen

from k8s.embedded.driver import Resources

CPU_PERIOD_US = 100_000
_CONTROLLERS = ("memory", "cpu", "pids")
_UNIFIED = Path("/sys/fs/cgroup")


@frozen
class Cgroups:
    """Where an instance's groups lie: the directory of each controller. In version 2 it is one for all of them."""

    unified: bool = False
    parents: Mapping[str, Path] = field(factory=dict)

    @property
    def missing(self) -> tuple[str, ...]:
        """Controllers whose limits cannot be enforced."""
        return tuple(name for name in ("memory", "cpu") if name not in self.parents)

    def groups(self, path: str, resources: Resources, *, parent: bool = False) -> list[dict[str, Any]]:
        """The groups that hold something to `resources`, as a keeper takes them; none where nothing is limited.

        `path` is relative to the instance's group. With `parent`, groups of containers will lie below.
        """
        if self.unified:
            return self._unified_groups(path, resources, parent)
        groups = []
        if (writes := _memory_v1(resources)) and (base := self.parents.get("memory")):
            writes = [(name, value) for name, value in writes if (base / name).exists()]
            groups.append({"path": str(base / path), "write": writes, "oom": "memory.oom_control"})
        if (writes := _cpu_v1(resources)) and (base := self.parents.get("cpu")):
            groups.append({"path": str(base / path), "write": writes, "oom": ""})
        return groups

    def _unified_groups(self, path: str, resources: Resources, parent: bool) -> list[dict[str, Any]]:
        writes = []
        if "memory" in self.parents:
            writes += _memory_v2(resources)
        if "cpu" in self.parents:
            writes += _cpu_v2(resources)
        if not writes:
            return []
        if parent:
            writes.append(("cgroup.subtree_control", " ".join(f"+{name}" for name in self.parents)))
        base = next(iter(self.parents.values()))
        return [{"path": str(base / path), "write": writes, "oom": "memory.events" if "memory" in self.parents else ""}]

    def remove(self) -> None:
        """Remove the instance's groups and all that is left below them."""
        for base in set(self.parents.values()):
            remove_tree(base)


def remove_tree(base: Path) -> None:
    """Remove a group and those below it, as far as no process is in them."""
    for directory, _, _ in os.walk(base, topdown=False):
        with suppress(OSError):
            Path(directory).rmdir()


def detect(name: str) -> Cgroups:
    """Make the group `name` in every hierarchy where this process may."""
    if (_UNIFIED / "cgroup.controllers").exists():
        return _detect_unified(name)
    parents = {}
    for controller, root in _hierarchies().items():
        try:
            (root / name).mkdir(exist_ok=True)
        except OSError:
            continue
        parents[controller] = root / name
    return Cgroups(False, parents)


def _hierarchies() -> dict[str, Path]:
    """Where version 1's controllers are mounted."""
    found = {}
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, path, kind, options, *_ = line.split()
        if kind == "cgroup":
            found.update({option: Path(path) for option in options.split(",") if option in _CONTROLLERS})
    return found


def _detect_unified(name: str) -> Cgroups:
    for root in (_UNIFIED, _own_group()):
        base = root / name
        try:
            available = set((root / "cgroup.controllers").read_text().split()) & set(_CONTROLLERS)
            wanted = " ".join(f"+{controller}" for controller in sorted(available))
            (root / "cgroup.subtree_control").write_text(wanted)
            base.mkdir(exist_ok=True)
            (base / "cgroup.subtree_control").write_text(wanted)
        except OSError:
            continue
        return Cgroups(True, dict.fromkeys(sorted(available), base))
    return Cgroups(True)


def _own_group() -> Path:
    """The group that this process is in, where a service manager may have delegated it."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        if line.startswith("0::"):
            return _UNIFIED / line[3:].lstrip("/")
    return _UNIFIED


def _memory_v1(resources: Resources) -> list[tuple[str, str]]:
    if resources.memory_bytes is None:
        return []
    limit = str(resources.memory_bytes)
    return [("memory.limit_in_bytes", limit), ("memory.memsw.limit_in_bytes", limit)]


def _memory_v2(resources: Resources) -> list[tuple[str, str]]:
    if resources.memory_bytes is None:
        return []
    return [("memory.max", str(resources.memory_bytes))]


def _shares(milli: int) -> int:
    """Docker's and ECS's CPU shares: 1024 a core, from 2 to 262144."""
    return min(262_144, max(2, milli * 1024 // 1000))


def _quota(milli: int) -> int:
    return max(1_000, milli * CPU_PERIOD_US // 1000)


def _cpu_v1(resources: Resources) -> list[tuple[str, str]]:
    writes = []
    if resources.cpu_shares_milli is not None:
        writes.append(("cpu.shares", str(_shares(resources.cpu_shares_milli))))
    if resources.cpu_limit_milli is not None:
        writes.append(("cpu.cfs_period_us", str(CPU_PERIOD_US)))
        writes.append(("cpu.cfs_quota_us", str(_quota(resources.cpu_limit_milli))))
    return writes


def _cpu_v2(resources: Resources) -> list[tuple[str, str]]:
    """Weights run from 1 to 10000; the conversion is the one of Kubernetes (KEP-2254)."""
    writes = []
    if resources.cpu_shares_milli is not None:
        weight = 1 + (_shares(resources.cpu_shares_milli) - 2) * 9999 // 262_142
        writes.append(("cpu.weight", str(weight)))
    if resources.cpu_limit_milli is not None:
        writes.append(("cpu.max", f"{_quota(resources.cpu_limit_milli)} {CPU_PERIOD_US}"))
    return writes
