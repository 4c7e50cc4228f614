"""Starting and stopping instances: what the commands do, without what they say on the command line.

Everything here holds the instance's lock while it changes something, so two commands at once take turns.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from attrs import frozen

from cli.components import CONTROL, NODE, PROCESSES, SUPERVISOR, components, module_argv
from cli.instances import Instance, InstanceError, PortPlan, Ports, Settings
from cli.output import Progress
from cli.processes import replace_text, wait_until

START_DEADLINE_S = 90.0
LOG_LINES_SHOWN = 15
NOT_RUNNING, UNKNOWN_INSTANCE = 3, 4


@frozen
class Started:
    """How a start went."""

    settings: Settings
    ports: Ports
    was_running: bool


def known(name: str) -> Instance:
    """The instance of this name. Raises InstanceError when it was never started."""
    instance = Instance.named(name)
    if not instance.exists:
        raise InstanceError(
            f"There is no instance `{name}`: `kecs list` shows those there are, `{start_command(instance)}` makes it.",
            UNKNOWN_INSTANCE,
        )
    return instance


def running(name: str) -> Instance:
    """The instance of this name. Raises InstanceError when it does not exist or does not run."""
    instance = known(name)
    if not alive(instance):
        raise InstanceError(
            f"The instance `{name}` is not running: `{start_command(instance)}` starts it.", NOT_RUNNING
        )
    return instance


def start_command(instance: Instance) -> str:
    """What to type to start it."""
    return "kecs start" if instance.name == "default" else f"kecs start --instance {instance.name}"


def alive(instance: Instance) -> list[str]:
    """The names of its processes that live."""
    return [name for name in PROCESSES if instance.running(name)]


def state(instance: Instance) -> str:
    """`running`, `starting`, `stopping`, `degraded` (something is missing or was given up) or `stopped`."""
    living = alive(instance)
    if not living:
        return "stopped"
    report = instance.report()
    states = {report.get(c.name, {}).get("state", "lost") for c in components(instance, instance.load()[0])}
    if SUPERVISOR not in living or states & {"failed", "lost"}:
        return "degraded" if report or SUPERVISOR not in living else "starting"
    if "stopping" in states or "stopped" in states:
        return "stopping"
    return "starting" if "starting" in states else "running"


@contextmanager
def changing(instance: Instance, progress: Progress | None = None) -> Iterator[None]:
    """Hold the instance's lock. Raises InstanceError when another command keeps it too long."""
    say = progress.step if progress else str
    try:
        with instance.locked(on_wait=lambda: say("waiting for another kecs command to finish")):
            yield
    except TimeoutError as busy:
        raise InstanceError(
            f"Another kecs command has been busy with `{instance.name}` for two minutes: end it, then try again."
        ) from busy


def start(name: str, choices: dict[str, Any], progress: Progress, deadline_s: float = START_DEADLINE_S) -> Started:
    """Start an instance and wait until it serves. The choices are remembered. Raises InstanceError."""
    instance = Instance.named(name)
    with changing(instance, progress):
        recorded, last = instance.load()
        settings = recorded.changed(choices)
        if instance.running(SUPERVISOR) and state(instance) != "degraded":
            _refuse_other_settings(instance, recorded, settings, last)
            _wait_ready(instance, progress, deadline_s)
            return Started(recorded, last, was_running=True)
        if instance.running(SUPERVISOR):
            raise InstanceError(
                f"The instance `{name}` runs, but not all of it: `kecs restart --all` starts it afresh, "
                f"`kecs logs` tells why."
            )
        survivors = bool(alive(instance))
        chosen = _plan(instance, settings, survivors)
        instance.save(settings, chosen)
        _spawn_supervisor(instance)
        _wait_ready(instance, progress, deadline_s)
    return Started(settings, chosen, was_running=False)


def _plan(instance: Instance, settings: Settings, survivors: bool) -> Ports:
    plan = PortPlan.of(instance)
    return PortPlan(instance, settings, plan.last, plan.others).choose(busy_is_ours=survivors)


def _refuse_other_settings(instance: Instance, recorded: Settings, wanted: Settings, ports: Ports) -> None:
    same_ports = wanted.port in (None, ports.aws) and wanted.admin_port in (None, ports.admin)
    rest = wanted.changed({"port": recorded.port, "admin_port": recorded.admin_port})
    if not same_ports or (rest.runtime, rest.effective_driver, rest.host, rest.kubeconfig, rest.context) != (
        recorded.runtime,
        recorded.effective_driver,
        recorded.host,
        recorded.kubeconfig,
        recorded.context,
    ):
        raise InstanceError(
            f"The instance `{instance.name}` is already running with other options: `kecs stop` it first, "
            "then start it with these."
        )


def _spawn_supervisor(instance: Instance) -> None:
    log = instance.log_file(SUPERVISOR)
    log.parent.mkdir(parents=True, exist_ok=True)
    instance.report_file.unlink(missing_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            module_argv("cli.supervise", instance),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=instance.path,
            start_new_session=True,
        )
    if not wait_until(lambda: instance.running(SUPERVISOR) is not None or process.poll() is not None, 30) or (
        process.poll() is not None
    ):
        raise InstanceError(f"The supervisor did not start.\n{log_tail(instance, SUPERVISOR)}")
    process.returncode = 0  # it goes on without us: Popen must not warn that it still runs


def _wait_ready(instance: Instance, progress: Progress, deadline_s: float) -> None:
    """Wait until every process is ready. Raises InstanceError, after stopping all, when one was given up."""
    expected = {component.name for component in components(instance, instance.load()[0])}

    def settled() -> bool:
        report = instance.report()
        for process, facts in report.items():
            if facts["state"] == "starting" and facts["step"]:
                progress.step(f"{process}: {facts['step']}")
        states = {process: facts["state"] for process, facts in report.items()}
        ready = expected <= states.keys() and all(one == "ready" for one in states.values())
        return ready or "failed" in states.values() or not instance.running(SUPERVISOR)

    progress.step("starting the processes")
    in_time = wait_until(settled, deadline_s)
    report = instance.report()
    if in_time and report and all(facts["state"] == "ready" for facts in report.values()):
        return
    culprit = _culprit(report)
    tail = log_tail(instance, culprit)
    _stop_processes(instance, progress)
    why = "could not be started" if in_time else f"was not ready after {deadline_s:g} s"
    raise InstanceError(
        f"The {culprit} process {why}; everything was stopped again. The end of {instance.log_file(culprit)}:\n{tail}"
    )


def _culprit(report: dict[str, Any]) -> str:
    """The process to blame: one that was given up, else one that is not ready, else the supervisor."""
    states = {name: facts["state"] for name, facts in report.items()}
    failed = [name for name, one in states.items() if one == "failed"]
    late = [name for name, one in states.items() if one != "ready"]
    return (*failed, *late, SUPERVISOR)[0]


def log_tail(instance: Instance, process: str, lines: int = LOG_LINES_SHOWN) -> str:
    """The last lines a process wrote."""
    try:
        written = instance.log_file(process).read_text(errors="replace").splitlines()
    except OSError:
        return "  (it wrote nothing)"
    return "\n".join(f"  {line}" for line in written[-lines:]) or "  (it wrote nothing)"


def stop(name: str, progress: Progress, grace_s: float | None = None) -> bool:
    """Stop an instance: nothing of it is left running. False when it was not running. Raises InstanceError."""
    instance = known(name)
    with changing(instance, progress):
        if not alive(instance):
            _sweep(instance)
            return False
        if grace_s is not None:
            replace_text(instance.path / "run" / "grace", str(grace_s))
        _stop_processes(instance, progress)
    return True


def _stop_processes(instance: Instance, progress: Progress) -> None:
    supervisor = instance.pid_file(SUPERVISOR)
    if supervisor.signal(signal.SIGTERM):

        def show() -> None:
            for process, facts in instance.report().items():
                if facts["state"] == "stopping":
                    progress.step(f"stopping {process}")

        if not supervisor.wait_gone(120, show):
            supervisor.signal(signal.SIGKILL)
    for component in components(instance, instance.load()[0]):
        survivor = instance.pid_file(component.name)
        if survivor.pid() is not None:
            progress.step(f"stopping {component.name}, which had lost its supervisor")
            survivor.terminate(component.stop_deadline_s)
    _sweep(instance)


def _sweep(instance: Instance) -> None:
    """Remove what a killed node may have left on this machine: processes, namespaces, addresses, mounts."""
    (instance.path / "run" / "grace").unlink(missing_ok=True)
    node_state = instance.path / "node"
    if instance.load()[0].effective_driver == "process" and node_state.exists() and not instance.running(NODE):
        from k8s.embedded.process.cleanup import sweep

        sweep(node_state)


def restart_control(name: str, progress: Progress, deadline_s: float = START_DEADLINE_S) -> None:
    """Start the control plane afresh; tasks go on. Raises InstanceError."""
    instance = running(name)
    with changing(instance, progress):
        before = instance.report().get(CONTROL, {})
        if not instance.pid_file(SUPERVISOR).signal(signal.SIGUSR1):
            raise InstanceError(f"The supervisor of `{name}` is gone: `{start_command(instance)}` brings it back.")

        def restarted() -> bool:
            return bool(instance.report().get(CONTROL, {}).get("restarts", 0) > before.get("restarts", 0))

        progress.step("stopping control")
        wait_until(restarted, deadline_s)
        _wait_ready(instance, progress, deadline_s)


def destroy(name: str, progress: Progress, leave_pods: bool = False) -> None:
    """Stop an instance, remove what it has in a cluster that is not its own, and its folder. Raises InstanceError."""
    instance = known(name)
    stop(name, progress, grace_s=0)
    with changing(instance, progress):
        settings, _ = instance.load()
        if settings.runtime == "kubernetes" and not leave_pods:
            from cli.foreign_cluster import clear

            progress.step("removing its pods from the cluster")
            clear(instance, settings)
        progress.step("removing its folder")
        shutil.rmtree(instance.path)


def describe(instance: Instance) -> dict[str, Any]:
    """An instance for machines."""
    settings, ports = instance.load()
    report = instance.report()
    processes = {}
    for name in (SUPERVISOR, *(component.name for component in components(instance, settings))):
        pid = instance.running(name)
        facts = report.get(name, {})
        processes[name] = {
            "pid": pid,
            "state": "stopped" if pid is None else facts.get("state", "ready"),
            "restarts": facts.get("restarts", 0),
            "last_exit": facts.get("last_exit", ""),
            "notes": facts.get("notes", []),
            "log": str(instance.log_file(name)),
        }
    return {
        "instance": instance.name,
        "state": state(instance),
        "endpoint": endpoint(settings, ports.aws),
        "admin_endpoint": endpoint(settings, ports.admin),
        "port": ports.aws,
        "admin_port": ports.admin,
        "kubernetes_port": ports.kubernetes or None,
        "kubeconfig": kubeconfig(instance, settings),
        "runtime": settings.runtime,
        "driver": settings.effective_driver,
        "folder": str(instance.path),
        "processes": processes,
    }


def endpoint(settings: Settings, port: int) -> str:
    """The URL at which this machine reaches a port of the instance."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def kubeconfig(instance: Instance, settings: Settings) -> str | None:
    """The kubeconfig with which to look at the instance's pods."""
    if settings.runtime == "embedded":
        return str(instance.kubeconfig)
    return settings.kubeconfig or os.environ.get("KUBECONFIG")
