"""What limits mean in control groups' files."""

from __future__ import annotations

from pathlib import Path

from k8s.embedded.driver import Resources
from k8s.embedded.process.limits import Cgroups

FULL = Resources(memory_bytes=1 << 20, cpu_shares_milli=250, cpu_limit_milli=500)


def test_version_1_has_a_group_for_each_controller(tmp_path: Path) -> None:
    for name in ("memory", "cpu"):
        (tmp_path / name).mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").touch()
    memory, cpu = Cgroups(False, {"memory": tmp_path / "memory", "cpu": tmp_path / "cpu"}).groups("pod", FULL)
    assert memory == {
        "path": str(tmp_path / "memory" / "pod"),
        "write": [("memory.limit_in_bytes", "1048576")],
        "oom": "memory.oom_control",
    }
    assert cpu["write"] == [("cpu.shares", "256"), ("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "50000")]


def test_version_2_has_one_group(tmp_path: Path) -> None:
    groups = Cgroups(True, {"memory": tmp_path, "cpu": tmp_path})
    (group,) = groups.groups("pod", FULL)
    assert group == {
        "path": str(tmp_path / "pod"),
        "write": [("memory.max", "1048576"), ("cpu.weight", "10"), ("cpu.max", "50000 100000")],
        "oom": "memory.events",
    }
    (parent,) = groups.groups("pod", FULL, parent=True)
    assert parent["write"][-1] == ("cgroup.subtree_control", "+memory +cpu")


def test_without_limits_or_controllers_there_is_no_group(tmp_path: Path) -> None:
    assert Cgroups(True, {"memory": tmp_path, "cpu": tmp_path}).groups("pod", Resources()) == []
    assert Cgroups(False, {}).groups("pod", FULL) == []
    assert Cgroups(False, {}).missing == ("memory", "cpu")


def test_the_least_share_is_two() -> None:
    cgroups = Cgroups(False, {"cpu": Path("/nowhere")})
    (group,) = cgroups.groups("pod", Resources(cpu_shares_milli=0))
    assert group["write"] == [("cpu.shares", "2")]
