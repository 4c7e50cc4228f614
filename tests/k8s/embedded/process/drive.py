"""Runs a process driver over a directory, starts one pod, says what it has as a line of JSON, and stays."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import trio

from k8s.embedded.driver import ContainerSpec, PodSpec
from k8s.embedded.process.driver import ProcessDriver


async def main() -> None:
    directory, uid, *argv = sys.argv[1:]
    driver = ProcessDriver(Path(directory))
    async with trio.open_nursery() as nursery:
        info = await nursery.start(driver.run)
        started = await driver.start_pod(
            PodSpec(uid, "default", uid, uid), [ContainerSpec("main", command=tuple(argv))]
        )
        container = started.containers[0]
        said = {"ip": started.ip, "pid": container.pid, "id": container.container_id, "notes": info.notes}
        print(json.dumps(said), flush=True)
        await trio.sleep_forever()


trio.run(main)
