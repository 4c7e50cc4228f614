"""The `kecs` command.

Start-up time is a feature: at module level this and the command modules import typer and nothing else that is slow.
"""

from __future__ import annotations

import sys

import typer

from cli import inspection, lifecycle, options, storage

app = typer.Typer(
    name="kecs",
    help="A local Amazon ECS. Several instances can run side by side: --instance NAME, or KECS_INSTANCE.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def version(as_json: options.AsJson = False) -> None:
    """Print the version."""
    import platform
    from importlib.metadata import version as installed

    from cli import output

    if as_json:
        output.emit_json({"kecs": installed("kecs"), "python": platform.python_version()})
    else:
        output.say(f"kecs {installed('kecs')} (Python {platform.python_version()})")


for _command, _name in (
    (lifecycle.start, "start"),
    (lifecycle.stop, "stop"),
    (lifecycle.restart, "restart"),
    (inspection.status, "status"),
    (inspection.list_instances, "list"),
    (lifecycle.destroy, "destroy"),
    (inspection.logs, "logs"),
    (storage.backup, "backup"),
    (storage.restore, "restore"),
    (storage.reset, "reset"),
    (inspection.config, "config"),
    (inspection.env, "env"),
):
    app.command(_name)(_command)


def main() -> None:
    """Run the command; a problem that has a sentence of its own is told with it, without a traceback."""
    try:
        app()
    except Exception as problem:
        from cli.instances import InstanceError
        from cli.output import complain

        if isinstance(problem, InstanceError):
            complain(problem.message)
            sys.exit(problem.exit_code)
        if isinstance(problem, OSError) and problem.filename is not None:
            complain(f"{problem.filename}: {problem.strerror}. KECS_HOME names the folder where instances are kept.")
            sys.exit(1)
        raise


if __name__ == "__main__":
    main()
