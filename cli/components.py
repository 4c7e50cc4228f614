"""The processes of an instance: what each is called, how it is started, how long it may take to stop."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from attrs import frozen

from cli.instances import Instance, Settings

CONTROL, NODE, SUPERVISOR = "control", "node", "supervisor"
PROCESSES = (SUPERVISOR, NODE, CONTROL)
EXIT_HOPELESS = 78
"""A process that leaves with this code (sysexits' EX_CONFIG) would fail the same way again: it is not restarted."""

NOTE = "note: "
"""How a reported line begins that is no step but something to tell the user."""

REPORT_FD = "KECS_REPORT_FD"
"""The environment variable that tells a process where to report its start-up steps."""


@frozen
class Component:
    """One process, as the supervisor sees it. They stop in the order of the sequence they come in."""

    name: str
    argv: Sequence[str]
    stop_deadline_s: float = 30


def module_argv(module: str, instance: Instance) -> Sequence[str]:
    """A command line for one of our modules. `-P` keeps folders that lie where the user stands out of sys.path."""
    return (sys.executable, "-P", "-m", module, str(instance.path))


def components(instance: Instance, settings: Settings) -> Sequence[Component]:
    """The processes that these settings ask for, the control plane first: it stops before the tasks do."""
    control = Component(CONTROL, module_argv("cli.serve_control", instance))
    if settings.effective_driver == "none":
        return (control,)
    return (control, Component(NODE, module_argv("cli.serve_node", instance), stop_deadline_s=60))
