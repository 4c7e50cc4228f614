"""`kecs status`, `list`, `logs`, `env`, `config`. Imports only typer; the rest inside the functions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from cli import options


def status(instance: options.InstanceName = "default", as_json: options.AsJson = False) -> None:
    """Show how an instance is. Exit codes: 0 it runs, 1 not all of it, 3 it is stopped, 4 there is no such instance."""
    from cli import control, output

    described = control.describe(control.known(instance))
    if as_json:
        output.emit_json(described)
    else:
        output.say(f"{instance}: {described['state']}")
        for label, key in (("AWS endpoint", "endpoint"), ("Admin", "admin_endpoint"), ("Folder", "folder")):
            output.say(f"  {label:<13}{described[key]}")
        output.say(f"  {'Runtime':<13}{described['runtime']}, driver {described['driver']}")
        output.say("")
        rows = [
            (name, facts["state"], facts["pid"] or "-", facts["restarts"], facts["last_exit"] or "-")
            for name, facts in described["processes"].items()
        ]
        output.table(("PROCESS", "STATE", "PID", "RESTARTS", "LAST END"), rows)
        for facts in described["processes"].values():
            for note in facts["notes"]:
                output.say(f"Note: {note}")
    if described["state"] == "stopped":
        raise typer.Exit(control.NOT_RUNNING)
    if described["state"] == "degraded":
        raise typer.Exit(1)


def list_instances(as_json: options.AsJson = False) -> None:
    """List the instances."""
    from cli import control, output
    from cli.instances import all_instances

    found = [control.describe(instance) for instance in all_instances()]
    if as_json:
        output.emit_json({"instances": found})
    elif not found:
        output.say("There are no instances yet: `kecs start` makes one.")
    else:
        rows = [
            (one["instance"], one["state"], one["endpoint"], one["admin_endpoint"], f"{one['runtime']}/{one['driver']}")
            for one in found
        ]
        output.table(("INSTANCE", "STATE", "AWS ENDPOINT", "ADMIN", "RUNTIME"), rows)


def logs(
    process: Annotated[str, typer.Argument(help="control, node or supervisor.")] = "control",
    instance: options.InstanceName = "default",
    followed: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written from now on.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many lines of the past.")] = 100,
) -> None:
    """Show the log of one of the instance's processes. Tasks' logs: `kubectl logs`.

    Exit codes: 0, 2 there is no such process, 4 there is no such instance.
    """
    from cli import control
    from cli.components import PROCESSES
    from cli.instances import InstanceError

    one = control.known(instance)
    if process not in PROCESSES:
        raise InstanceError(f"There is no process `{process}`: choose one of {', '.join(PROCESSES)}.", 2)
    path = one.log_file(process)
    if not path.exists():
        raise InstanceError(f"The {process} process of `{instance}` has written no log yet.")
    try:
        follow(path, lines, until=None if followed else lambda: True)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def follow(path: Path, lines: int, until: Callable[[], bool] | None) -> None:
    """Print the last lines of a log and what is appended, until told. A log that was cut is read from its start."""
    import sys
    import time

    with path.open("rb") as file:
        past = file.read().splitlines(keepends=True)
        sys.stdout.buffer.writelines(past[-lines:] if lines else [])
        sys.stdout.flush()
        while True:
            ending = until is not None and until()
            if path.stat().st_size < file.tell():
                file.seek(0)
            if new := file.read():
                sys.stdout.buffer.write(new)
                sys.stdout.flush()
            if ending:
                return
            time.sleep(0.1)


def env(
    instance: options.InstanceName = "default",
    shell: Annotated[str | None, typer.Option(help="sh, bash, zsh, fish or powershell. [by $SHELL]")] = None,
    region: Annotated[str, typer.Option(help="AWS_DEFAULT_REGION.")] = "us-east-1",
    as_json: options.AsJson = False,
) -> None:
    """Print what points a shell's aws CLI, SDKs and kubectl at the instance: `eval "$(kecs env)"`.

    Exit codes: 0, 2 the shell is not known, 4 there is no such instance.
    """
    from cli import control, output
    from cli.shells import exports

    described = control.describe(control.known(instance))
    variables = {
        "AWS_ENDPOINT_URL": described["endpoint"],
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": region,
    }
    if described["kubeconfig"]:
        variables["KUBECONFIG"] = described["kubeconfig"]
    if as_json:
        output.emit_json(variables)
    else:
        output.say(exports(variables, shell))


def config(
    changes: Annotated[list[str] | None, typer.Argument(help="NAME=VALUE ...; `NAME=` gives the default back.")] = None,
    instance: options.InstanceName = "default",
    as_json: options.AsJson = False,
) -> None:
    """Show an instance's settings, or change what its next start will use.

    Exit codes: 0, 2 there is no such setting or value.
    """
    from attrs import asdict

    from cli import output
    from cli.instances import Instance
    from cli.settings_text import with_changes

    one = Instance.named(instance)
    settings, ports = one.load()
    if changes:
        settings = with_changes(settings, changes)
        one.save(settings, ports)
    if as_json:
        output.emit_json({"instance": instance, "settings": asdict(settings)})
        return
    for name, value in asdict(settings).items():
        output.say(f"{name}={'' if value is None else value}")
    if changes and one.running("supervisor"):
        output.complain("The instance is running: `kecs restart --all` applies the change.")
