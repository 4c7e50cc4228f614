"""What an instance of real processes has on this machine, told by its own tag: others may run beside it."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from k8s.embedded.process import state
from k8s.embedded.process.instance_network import InstanceNetwork
from tests.e2e.instance import Instance


def node_folder(instance: Instance) -> Path:
    """Where the instance's node keeps the state of its containers."""
    return instance.home / "instances" / instance.name / "node"


def pids(instance: Instance, kind: str) -> list[int]:
    """The living processes of a kind: supervisor, control, node, zygote or keepers."""
    if kind in ("supervisor", "control", "node"):
        pid = instance.status()["processes"].get(kind, {}).get("pid")
        return [pid] if pid else []
    kept = state.keepers(state.Layout(node_folder(instance)))
    keepers = [pid for pid, ticks in kept.values() if state.lives(pid, ticks)]
    return keepers if kind == "keepers" else sorted(set(_over_folder(instance)) - set(keepers))


def _over_folder(instance: Instance) -> list[int]:
    """Zygotes, keepers and relays: they have the folder as an argument."""
    folder = str(node_folder(instance))
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        words = process.info["cmdline"] or []
        if any("zygote.main" in word for word in words) and any(word.startswith(folder) for word in words):
            found.append(process.info["pid"])
    return found


def remains(instance: Instance) -> dict[str, list[str]]:
    """Processes (but for the tasks' own), links, control groups and mounts of the instance; {} when there are none."""
    tag = InstanceNetwork.of(node_folder(instance)).tag
    folder = str(node_folder(instance).parent)
    commands = {process.pid: process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])}
    found = {
        "processes": [
            f"{pid} {words}"
            for pid, words in commands.items()
            if any(f"{word}/".startswith(f"{folder}/") for word in words)
        ],
        "links": [name for name in os.listdir("/sys/class/net") if name.startswith(f"k{tag}-")],  # noqa: PTH208 - no files
        "cgroups": [str(p) for p in Path("/sys/fs/cgroup").rglob(f"kecs-{tag}*") if p.is_dir()],
        "mounts": [line for line in Path("/proc/self/mounts").read_text().splitlines() if f"{folder}/" in line],
    }
    return {kind: each for kind, each in found.items() if each}
