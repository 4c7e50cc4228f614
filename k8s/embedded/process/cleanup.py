"""Ends everything of an instance from what lies in its state directory, when nobody is there who knows more.

`python -m k8s.embedded.process.cleanup STATE_DIRECTORY`, after a crash of everything. It may be run again at any time.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from k8s.embedded.process import limits, state
from k8s.embedded.process.instance_network import InstanceNetwork
from k8s.embedded.process.zygote import wire

_GONE_WITHIN_S = 10.0


def kill(pid: int, ticks: int) -> None:
    """SIGKILL a process, if that pid is still the process that started at `ticks`."""
    if pid and wire.start_ticks(pid) == ticks:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def remove_groups(cgroups: limits.Cgroups, uid: str) -> None:
    """Remove what control groups of a pod its keeper did not live to remove."""
    for base in set(cgroups.parents.values()):
        for left in base.glob(f"{uid}*"):
            limits.remove_tree(left)


def sweep(state_directory: Path) -> None:
    """Kill every keeper and container, remove every link, control group and pod directory. Logs stay.

    Raises DriverError when a node is running over the directory.
    """
    layout = state.Layout(state_directory.resolve())
    if not layout.pods.exists():
        return
    with layout.locked():
        records = [record for directory in layout.pods.iterdir() if (record := state.read_record(directory))]
        processes = list(state.keepers(layout).values())
        processes += [(each["pid"], each["ticks"]) for record in records for each in record["containers"]]
        for pid, ticks in processes:
            kill(pid, ticks)
        _await_ends(processes)
        network = InstanceNetwork.of(layout.root)
        if os.geteuid() == 0:
            network.take_down()
        limits.detect(f"kecs-{network.tag}").remove()
        shutil.rmtree(layout.keepers, ignore_errors=True)
        for directory in layout.pods.iterdir():
            state.forget(directory, keep_logs=True)


def _await_ends(processes: list[tuple[int, int]]) -> None:
    deadline = time.monotonic() + _GONE_WITHIN_S
    for pid, ticks in processes:
        while state.lives(pid, ticks) and time.monotonic() < deadline:
            time.sleep(0.002)


if __name__ == "__main__":
    sweep(Path(sys.argv[1]))
