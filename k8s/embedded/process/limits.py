"""Control groups of this machine, version 1 or 2, and what limits mean in their files.

Everything of an instance lies below one group named for it, at the root of each hierarchy, as Docker does it. Where
nothing can be written, there are no limits, and `missing` says so.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import field, frozen

from k8s.embedded.driver import Resources

CPU_PERIOD_US = 100_000
_CONTROLLERS = ("memory", "cpu", "pids")
_SWAP = "memory.memsw.limit_in_bytes"  # only where the kernel accounts swap
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
        for controller, writes in (("memory", _memory_v1(resources)), ("cpu", _cpu_v1(resources))):
            if writes:
                groups += self._group_v1(controller, path, writes)
        return groups

    def limited(self, resources: Resources) -> tuple[str, ...]:
        """The controllers in which groups hold something to `resources`."""
        wanted = {"memory": _memory_v1(resources), "cpu": _cpu_v1(resources)}
        return tuple(name for name, writes in wanted.items() if writes and name in self.parents)

    def of_container(self, uid: str, name: str, resources: Resources, limited: Sequence[str]) -> list[dict[str, Any]]:
        """The groups of a container; those of the pod, in the controllers by which the pod as a whole is limited.

        Version 2 lets no process be in a group that has groups below: there, it has one of its own in any case.
        """
        if self.unified:
            path = f"{uid}/{name}" if limited else f"{uid}_{name}"
            return self._unified_groups(path, resources, False, bool(limited))
        groups = []
        for controller, writes in (("memory", _memory_v1(resources)), ("cpu", _cpu_v1(resources))):
            if writes:
                path = f"{uid}/{name}" if controller in limited else f"{uid}_{name}"
                groups += self._group_v1(controller, path, writes)
            elif controller in limited:
                groups += [group | {"shared": True} for group in self._group_v1(controller, uid, [])]
        return groups

    def _group_v1(self, controller: str, path: str, writes: list[tuple[str, str]]) -> list[dict[str, Any]]:
        if (base := self.parents.get(controller)) is None:
            return []
        present = [(name, value) for name, value in writes if name != _SWAP or (base / name).exists()]
        oom = "memory.oom_control" if controller == "memory" else ""
        return [{"path": str(base / path), "write": present, "oom": oom}]

    def _unified_groups(
        self, path: str, resources: Resources, parent: bool, always: bool = False
    ) -> list[dict[str, Any]]:
        writes = []
        if "memory" in self.parents:
            writes += _memory_v2(resources)
        if "cpu" in self.parents:
            writes += _cpu_v2(resources)
        if not (writes or (always and self.parents)):
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
    return [("memory.limit_in_bytes", limit), (_SWAP, limit)]


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
