"""Runs where the kernel allows no namespaces at all, and says what it found as a line of JSON: see `test_user`."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import trio

from k8s.embedded.driver import ContainerSpec, Mount, PodSpec
from k8s.embedded.process.driver import ProcessDriver


def left() -> list[str]:
    """The commands of the container that still run."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            found += [process.name] if (process / "cmdline").read_bytes() == b"sleep\x00998\x00" else []
    return found


async def main() -> None:
    driver = ProcessDriver(Path(sys.argv[1]))
    said: dict[str, Any] = {}
    async with trio.open_nursery() as nursery:
        info = await nursery.start(driver.run)
        said["notes"] = info.notes
        command = ("sh", "-c", "echo up; sleep 998 & exec sleep 998")
        pod = PodSpec("pod-1", "default", "pod-1", "pod-1")
        started = await driver.start_pod(pod, [ContainerSpec("main", command=command)])
        said["ip is the host's"] = started.ip == info.host_ip
        said["phase"] = str(started.containers[0].phase) + started.containers[0].message
        said["probe"] = (await driver.probe("pod-1", "main", ["sh", "-c", "exit 5"], 10)).exit_code
        await driver.stop_container("pod-1", "main", 10)
        with trio.fail_after(10):
            ended = await driver.exits.receive()
        said["ended"] = [ended.exit_code, ended.signal]
        said["log"] = driver.log_path("pod-1", "main").read_text().split()[1:]
        said["left"] = left()
        mounted = ContainerSpec("other", command=("true",), mounts=(Mount("data", "/mnt"),))
        said["a volume"] = (await driver.start_container("pod-1", mounted)).message
        await driver.stop_all(0)
        nursery.cancel_scope.cancel()
    print(json.dumps(said))


trio.run(main)
