"""`kecs backup`, `restore`, `reset`. Imports only typer; the rest inside the functions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli import options


def backup(
    file: Annotated[Path | None, typer.Argument(help="Where to. [the instance's data/backups/]")] = None,
    instance: options.InstanceName = "default",
    as_json: options.AsJson = False,
) -> None:
    """Write a complete copy of an instance's state into a file, while it runs or not.

    Exit codes: 0 it is written, 1 it could not be, 4 there is no such instance.
    """
    from cli import control, output, state_files

    written = state_files.write(control.known(instance), file)
    if as_json:
        output.emit_json({"instance": instance, "file": str(written)})
    else:
        output.say(f"The state of `{instance}` is in {written}")


def restore(
    file: Annotated[Path | None, typer.Argument(help="Which backup. [the newest in data/backups/]")] = None,
    instance: options.InstanceName = "default",
    as_json: options.AsJson = False,
) -> None:
    """Put a backup in the place of a stopped instance's state. What was there is kept beside the backups.

    Exit codes: 0 it is restored, 1 it could not be, 2 there is no such file.
    """
    from cli import output, state_files
    from cli.instances import Instance

    restored = state_files.restore(Instance.named(instance), file)
    if as_json:
        output.emit_json({"instance": instance, "file": str(restored)})
    else:
        output.say(f"`{instance}` has the state of {restored}; `kecs start` brings it up.")


def reset(instance: options.InstanceName = "default", as_json: options.AsJson = False) -> None:
    """Make a running instance forget everything, in less than a second: tasks are killed, its processes stay up.

    Exit codes: 0 it is empty, 1 it could not be emptied, 3 it is not running, 4 there is no such instance.
    """
    from cli import control, output
    from cli.admin_client import post

    post(control.running(instance), "/reset")
    if as_json:
        output.emit_json({"instance": instance, "state": "empty"})
    else:
        output.say(f"KECS instance `{instance}` has forgotten everything.")
