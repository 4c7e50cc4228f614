"""The supervisor's process: `python -m cli.supervise FOLDER`.

It starts the instance's processes first and loads what it needs to supervise them while they load what they need.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from cli.components import SUPERVISOR, components
from cli.instances import Instance
from cli.spawning import spawn


def log(message: str) -> None:
    """A line in the supervisor's own log, which is its standard error."""
    print(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "supervisor", message, file=sys.stderr, flush=True)


def main() -> None:
    """Supervise the instance in the folder named on the command line."""
    instance = Instance.at(Path(sys.argv[1]))
    wanted = components(instance, instance.load()[0])
    with instance.claimed(SUPERVISOR):
        instance.pid_file(SUPERVISOR).claim()
        instance.report_file.unlink(missing_ok=True)
        log(f"started (pid {os.getpid()})")
        try:
            first = {each.name: spawn(instance, each) for each in wanted if instance.running(each.name) is None}
            import trio

            from cli.supervision import Supervisor

            trio.run(Supervisor(instance, wanted, first).run)
        finally:
            instance.report_file.unlink(missing_ok=True)
            instance.pid_file(SUPERVISOR).release()
            log("ended")


if __name__ == "__main__":
    main()
