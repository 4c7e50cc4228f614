"""Starting one of an instance's processes. Light, so that the first ones start before the supervisor has loaded."""

from __future__ import annotations

import os
import subprocess

from attrs import frozen

from cli.components import REPORT_FD, Component
from cli.instances import Instance


@frozen
class Spawned:
    """A process just started, and the end of the pipe on which it reports its steps. The receiver closes it."""

    process: subprocess.Popen[bytes]
    reports: int


def spawn(instance: Instance, component: Component) -> Spawned:
    """Start a process in a session of its own, so that it survives us; it writes to its log file."""
    path = instance.log_file(component.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    reader, writer = os.pipe()
    try:
        with path.open("ab") as output:
            process = subprocess.Popen(
                component.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(writer,),
                env=os.environ | {REPORT_FD: str(writer)},
                cwd=instance.path,
                start_new_session=True,
            )
    except BaseException:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    return Spawned(process, reader)
