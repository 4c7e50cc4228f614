"""The options that several commands share. Imports nothing but typer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


def complete_instance(incomplete: str) -> list[str]:
    """Names of instances for the shell's completion; a listing of folders, so that completing is quick."""
    folder = Path(os.environ.get("KECS_HOME") or Path.home() / ".kecs").expanduser() / "instances"
    names = (path.name for path in folder.glob("*/instance.json") for path in [path.parent])
    return sorted(name for name in names if name.startswith(incomplete))


InstanceName = Annotated[
    str,
    typer.Option(
        "--instance",
        "-i",
        envvar="KECS_INSTANCE",
        help="Which instance.",
        autocompletion=complete_instance,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON, for machines.")]
Port = Annotated[int | None, typer.Option(help="Port of the AWS endpoint. [5373; other instances: a free one]")]
AdminPort = Annotated[int | None, typer.Option(help="Port of the admin server. [8081; other instances: a free one]")]
KubernetesPort = Annotated[int | None, typer.Option(help="Port of the embedded Kubernetes. [a free one]")]
Host = Annotated[str | None, typer.Option(help="Address to listen on. [127.0.0.1]")]
Runtime = Annotated[str | None, typer.Option(help="embedded, or kubernetes: a cluster that exists. [embedded]")]
Driver = Annotated[
    str | None,
    typer.Option(
        help="What runs tasks: process, simulated, or none (the cluster's own nodes). [embedded: process, else none]"
    ),
]
Kubeconfig = Annotated[str | None, typer.Option(help="With --runtime kubernetes: its kubeconfig. [$KUBECONFIG]")]
Context = Annotated[str | None, typer.Option(help="With --runtime kubernetes: the context. [the current one]")]
Grace = Annotated[float | None, typer.Option(help="Seconds from SIGTERM to SIGKILL for the tasks. [2]")]
