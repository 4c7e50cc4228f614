"""`kecs start`, `stop`, `restart`, `destroy`. Imports only typer; the rest inside the functions."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import options


def start(
    instance: options.InstanceName = "default",
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Come back once it serves, and leave it running.")] = (
        False
    ),
    port: options.Port = None,
    admin_port: options.AdminPort = None,
    kubernetes_port: options.KubernetesPort = None,
    host: options.Host = None,
    runtime: options.Runtime = None,
    driver: options.Driver = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
    grace: options.Grace = None,
    as_json: options.AsJson = False,
) -> None:
    """Start an instance and wait until it serves. Options are remembered for the next start.

    In the foreground it shows the log, and Ctrl-C stops the instance. Exit codes: 0 it serves (also when it already
    did), 1 it could not be started, 2 the options make no sense, 5 a port is taken.
    """
    from pathlib import Path

    from cli import control, output

    choices = {
        "port": port,
        "admin_port": admin_port,
        "kubernetes_port": kubernetes_port,
        "host": host,
        "runtime": runtime,
        "driver": driver,
        "kubeconfig": str(Path(kubeconfig).expanduser().absolute()) if kubeconfig else None,
        "context": context,
        "grace_s": grace,
    }
    with output.progress(quiet=as_json) as progress, interruptible(instance):
        started = control.start(instance, choices, progress)
    described = control.describe(control.known(instance))
    if as_json:
        output.emit_json(described)
    else:
        output.say(
            f"KECS instance `{instance}` {'is already running' if started.was_running else 'is ready'}: "
            f"AWS endpoint {described['endpoint']}, admin {described['admin_endpoint']}\n"
            f'In this shell:  eval "$(kecs env{"" if instance == "default" else f" --instance {instance}"})"'
        )
        for facts in described["processes"].values():
            for note in facts["notes"]:
                output.complain(f"Note: {note}")
    if not detach:
        attend(instance)


class interruptible:  # noqa: N801 - used like a function
    """Ctrl-C while starting in the foreground or detached stops what was started so far."""

    def __init__(self, instance: str) -> None:
        self.instance = instance

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Stop the instance when interrupted."""
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            from cli import control, output

            with output.progress() as progress:
                control.stop(self.instance, progress)
            raise SystemExit(130)


def attend(instance: str) -> None:
    """Show the control plane's log until Ctrl-C or SIGTERM, then stop the instance. A closed terminal leaves it be."""
    import signal

    from cli import control, output
    from cli.components import CONTROL, SUPERVISOR
    from cli.inspection import follow

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    one = control.known(instance)
    try:
        output.complain(f"The control plane's log follows ({one.log_file(CONTROL)}); Ctrl-C stops the instance.")
        follow(one.log_file(CONTROL), lines=0, until=lambda: one.running(SUPERVISOR) is None)
    except KeyboardInterrupt:
        with output.progress() as progress:
            control.stop(instance, progress)
        output.complain(f"KECS instance `{instance}` is stopped.")
        return
    output.complain(f"KECS instance `{instance}` was stopped by another command, or its supervisor ended.")


def stop(
    instance: options.InstanceName = "default", grace: options.Grace = None, as_json: options.AsJson = False
) -> None:
    """Stop an instance and its tasks; its state is kept and its services come back at the next start.

    Exit codes: 0 it is stopped (also when it already was), 1 it could not be stopped, 4 there is no such instance.
    """
    from cli import control, output

    with output.progress(quiet=as_json) as progress:
        was_running = control.stop(instance, progress, grace)
    if as_json:
        output.emit_json({"instance": instance, "state": "stopped", "was_running": was_running})
    else:
        output.say(f"KECS instance `{instance}` {'is stopped' if was_running else 'was not running'}.")


def restart(
    instance: options.InstanceName = "default",
    everything: Annotated[bool, typer.Option("--all", help="Tasks and node too, not only the control plane.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Start the control plane afresh while tasks go on; with --all, stop and start everything.

    Exit codes: 0 it serves again, 1 it could not be restarted, 3 it was not running, 4 there is no such instance.
    """
    from cli import control, output

    with output.progress(quiet=as_json) as progress:
        if everything:
            control.stop(instance, progress)
            control.start(instance, {}, progress)
        else:
            control.restart_control(instance, progress)
    if as_json:
        output.emit_json(control.describe(control.known(instance)))
    else:
        output.say(f"KECS instance `{instance}` serves again.")


def destroy(
    instance: options.InstanceName = "default",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also when its pods in a foreign cluster stay there.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Stop an instance and remove everything it keeps: state, backups, logs.

    Exit codes: 0 it is gone, 1 refused or failed, 4 there is no such instance.
    """
    import sys

    from cli import control, output

    one = control.known(instance)
    if not yes and sys.stdin.isatty():
        typer.confirm(f"Remove the instance `{instance}` and all it keeps in {one.path}?", abort=True)
    elif not yes:
        from cli.instances import InstanceError

        raise InstanceError("`kecs destroy` removes state and backups: say --yes where nobody can be asked.", 1)
    with output.progress(quiet=as_json) as progress:
        control.destroy(instance, progress, leave_pods=force)
    if as_json:
        output.emit_json({"instance": instance, "state": "destroyed"})
    else:
        output.say(f"KECS instance `{instance}` is gone.")
