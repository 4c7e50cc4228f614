"""Exports of environment variables in the words of each shell."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from cli.instances import InstanceError

SHELLS = ("sh", "bash", "zsh", "fish", "powershell", "pwsh")


def exports(variables: Mapping[str, str], shell: str | None = None) -> str:
    """Lines to evaluate. The shell is told, or $SHELL's, or sh. Raises InstanceError for one that is not known."""
    name = shell or Path(os.environ.get("SHELL") or "sh").name
    if name not in SHELLS:
        if shell is not None:
            raise InstanceError(f"There is no shell `{shell}` here: choose one of {', '.join(SHELLS)}.", 2)
        name = "sh"
    return "\n".join(_export(name, variable, value) for variable, value in variables.items())


def _export(shell: str, variable: str, value: str) -> str:
    if shell == "fish":
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"set -gx {variable} '{escaped}';"
    if shell in ("powershell", "pwsh"):
        escaped = value.replace("'", "''")
        return f"$Env:{variable} = '{escaped}'"
    return f"export {variable}={shlex.quote(value)}"
