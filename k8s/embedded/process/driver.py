"""The process driver: the `Driver` port over shims. What it knows, it can read again from the shims' records."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import trio
from attrs import frozen

from k8s.embedded.driver import (
    ContainerSpec,
    ContainerState,
    DriverError,
    DriverInfo,
    Failure,
    NotRunningError,
    Phase,
    PodSpec,
    PodState,
    ProbeResult,
    SandboxError,
)
from k8s.embedded.gateway import ExecSession
from k8s.embedded.process import cleanup, describe, execution, limits, machine, shim_client, state
from k8s.embedded.process.addresses import AddressRange
from k8s.embedded.process.describe import RefusedError, Surroundings
from k8s.embedded.process.instance_network import InstanceNetwork
from k8s.embedded.process.shim_client import ShimGoneError
from k8s.embedded.process.shims import NO_SHIM, Pod, Shims
from k8s.embedded.process.zygote import syscalls
from k8s.embedded.process.zygote_process import Zygote, ZygoteDiedError, run_zygote

_START_WITHIN_S = 60.0
_END_WITHIN_S = 10.0
_ZYGOTE_LIVES_S = 1.0


@frozen
class LogLimits:
    """How much of a container's output is kept: the kubelet's file size, and three files."""

    file_bytes: int = 10 * 1024 * 1024
    files: int = 3


class ProcessDriver:
    """Runs containers as processes of this machine, from its own file system. See `k8s.embedded.driver.Driver`.

    One driver a state directory at a time. What ran when an earlier one ended, however it ended, is adopted.
    """

    def __init__(self, state_directory: Path, *, log_limits: LogLimits = LogLimits()) -> None:
        self._layout = state.Layout(state_directory.resolve())
        self._log_limits = log_limits
        self._network = InstanceNetwork.of(self._layout.root)
        self._shims = Shims(self._layout)
        self._adopted: tuple[PodState, ...] = ()
        self._range: AddressRange | None = None
        self._zygote: Zygote | None = None
        self._zygote_up = trio.Event()

    @property
    def exits(self) -> trio.MemoryReceiveChannel[ContainerState]:
        """See `Driver`."""
        return self._shims.exits

    def adopted(self) -> Sequence[PodState]:
        """See `Driver`."""
        return self._adopted

    def log_path(self, pod_uid: str, name: str, attempt: int = 0) -> Path:
        """See `Driver`."""
        return self._layout.log(pod_uid, name, attempt)

    async def run(self, task_status: trio.TaskStatus[DriverInfo] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Driver`. Raises DriverError where it cannot run, or when another driver has the directory."""
        if reason := machine.unsupported():
            raise DriverError(reason)
        self._layout.make()
        with self._layout.locked(), self._shims.ear() as ear:
            self._cgroups = limits.detect(f"kecs-{self._network.tag}")
            async with trio.open_nursery() as nursery:
                abilities: dict[str, str] = await nursery.start(self._keep_zygote)
                self._machine = machine.machine(abilities)
                if self._machine.own_network:
                    self._range = self._network.bring_up(self._layout.root)
                self._adopt()
                nursery.start_soon(self._shims.listen, ear)
                nursery.start_soon(self._shims.watch_deaths)
                notes = tuple(machine.notes(abilities, self._cgroups))
                task_status.started(DriverInfo("process", version("kecs"), self._host_ip, False, notes=notes))

    @property
    def _host_ip(self) -> str:
        return self._range.gateway if self._range else machine.host_address()

    def _adopt(self) -> None:
        self._shims.adopt()
        for pod in self._shims.pods.values():
            if self._range:
                self._range.claim(pod.ip)
        self._adopted = tuple(state.pod_state(pod.record) for pod in self._shims.pods.values())

    async def _keep_zygote(self, task_status: trio.TaskStatus[dict[str, str]]) -> None:
        """Have a zygote for as long as the driver runs. Raises DriverError when each dies as soon as it starts."""
        while True:
            started = trio.current_time()
            async with run_zygote(self._layout.root) as zygote:
                self._zygote = zygote
                self._zygote_up.set()
                task_status.started(zygote.abilities)
                task_status = trio.TASK_STATUS_IGNORED
                await self._follow_zygote(zygote)
            self._zygote, self._zygote_up = None, trio.Event()
            self._shims.no_zygote()
            if trio.current_time() - started < _ZYGOTE_LIVES_S:
                raise DriverError("the zygote dies as soon as it has started")

    async def _follow_zygote(self, zygote: Zygote) -> None:
        """Watch the shims that it forks, until it dies."""
        with suppress(ZygoteDiedError):
            while True:
                uid, shim = await zygote.forked()
                self._shims.watch(self._shims.pods[uid], shim)

    # -- starting

    async def start_pod(self, pod: PodSpec, containers: Sequence[ContainerSpec]) -> PodState:
        """See `Driver`."""
        known = self._shims.pods.setdefault(pod.uid, Pod(pod.uid))
        async with known.busy:
            if not known.record:
                return await self._start_new(known, pod, containers)
            if known.dead.is_set():
                raise SandboxError(f"pod {pod.name} has ended")
            states = dict(known.containers)
            for spec in containers:
                if spec.name not in states:
                    states[spec.name] = await self._start_container(known, spec)
            return PodState(pod.uid, known.ip, tuple(states.values()), pod.namespace, pod.name)

    async def _start_new(self, known: Pod, pod: PodSpec, specs: Sequence[ContainerSpec]) -> PodState:
        surroundings, messages, refused = self._described(pod, specs)
        if refused and not messages:
            self._shims.pods.pop(pod.uid, None)
            return PodState(pod.uid, "", (refused,), pod.namespace, pod.name)
        message = self._pod_message(known, pod, surroundings)
        await self._fork(known, message, messages)
        if known.record.get("error") or not known.record:
            reason = known.record.get("error") or "its shim was killed"
            await self._forget(known, keep_logs=False)
            raise SandboxError(f"pod {pod.name}: {reason}")
        states = tuple(known.containers.values())
        if refused and all(container.phase is not Phase.FAILED for container in states):
            states += (refused,)
        return PodState(pod.uid, known.ip, states, pod.namespace, pod.name)

    def _described(
        self, pod: PodSpec, specs: Sequence[ContainerSpec]
    ) -> tuple[Surroundings, list[dict[str, Any]], ContainerState | None]:
        """What to tell the shim, up to the first container that is refused, and the state of that one."""
        volumes = self._layout.pod(pod.uid) / "volumes"
        surroundings = Surroundings.of(pod, self._cgroups, volumes)
        messages: list[dict[str, Any]] = []
        name = specs[0].name if specs else ""
        try:
            for volume in pod.volumes:
                describe.make_volume(volume, volumes)
            for spec in specs:
                name = spec.name
                messages.append(self._container_message(surroundings, spec))
        except RefusedError as error:
            return surroundings, messages, _failed(pod.uid, name, error.failure, error.message)
        except OSError as error:
            return surroundings, messages, _failed(pod.uid, name, Failure.CONFIG, str(error))
        return surroundings, messages, None

    def _container_message(self, surroundings: Surroundings, spec: ContainerSpec) -> dict[str, Any]:
        log = self._layout.log(surroundings.uid, spec.name, spec.attempt)
        return describe.container_message(surroundings, spec, self._machine, self._cgroups, secrets.token_hex(16), log)

    def _pod_message(self, known: Pod, pod: PodSpec, surroundings: Surroundings) -> dict[str, Any]:
        """Lend the pod an address and make its directories."""
        directory = self._layout.pod(pod.uid)
        directory.mkdir(exist_ok=True)
        self._layout.logs(pod.uid).mkdir(exist_ok=True)
        linked = self._range is not None and not pod.host_network
        known.ip = self._range.lend() if self._range and linked else self._host_ip
        return {
            "uid": pod.uid,
            "namespace": pod.namespace,
            "name": pod.name,
            "hostname": pod.hostname,
            "directory": str(directory),
            "ip": known.ip,
            "link": self._network.link(self._range.number(known.ip)) if self._range and linked else "",
            "group": self._network.group,
            "gateway": self._host_ip,
            "unshare": self._namespaces(pod, linked),
            "own_processes": self._machine.own_processes and not pod.host_pid,
            "own_mounts": self._machine.own_mounts,
            "files": describe.files(pod, known.ip, linked) if self._machine.own_mounts else {},
            "tmpfs": describe.in_memory_volumes(pod, directory / "volumes") if self._machine.own_mounts else [],
            "cgroups": self._cgroups.groups(pod.uid, pod.resources, parent=True),
            "log_bytes": self._log_limits.file_bytes,
            "log_files": self._log_limits.files,
            "surroundings": describe.as_message(surroundings),
        }

    def _namespaces(self, pod: PodSpec, linked: bool) -> int:
        flags = syscalls.CLONE_NEWNET | syscalls.CLONE_NEWUTS if linked else 0
        return flags | (syscalls.CLONE_NEWIPC if self._machine.own_network and not pod.host_ipc else 0)

    async def _fork(self, known: Pod, pod: dict[str, Any], containers: list[dict[str, Any]]) -> None:
        """Have the zygote make the pod and await what its shim says. Raises SandboxError."""
        with trio.move_on_after(_START_WITHIN_S):
            await self._zygote_up.wait()
            assert self._zygote is not None
            try:
                known.asked = True
                await self._zygote.fork_shim(pod, containers)
            except ZygoteDiedError:
                known.dead.set()
                return
            await known.spoke.wait()

    async def start_container(self, pod_uid: str, container: ContainerSpec) -> ContainerState:
        """See `Driver`."""
        known = self._shims.pods.get(pod_uid)
        if known is None:
            raise SandboxError(f"pod {pod_uid} is not there")
        async with known.busy:
            return await self._start_container(known, container)

    async def _start_container(self, known: Pod, spec: ContainerSpec) -> ContainerState:
        if not known.alive:
            raise SandboxError(f"pod {known.uid} has ended")
        surroundings = describe.from_message(known.record["surroundings"])
        try:
            message = self._container_message(surroundings, spec)
        except RefusedError as error:
            return _failed(known.uid, spec.name, error.failure, error.message, spec.attempt)
        except OSError as error:
            return _failed(known.uid, spec.name, Failure.CONFIG, str(error), spec.attempt)
        try:
            record = await shim_client.command(self._layout.pod(known.uid), {"op": "start", "container": message})
        except ShimGoneError as error:
            raise SandboxError(f"pod {known.uid} has ended") from error
        self._shims.take(known, record)
        return known.containers[spec.name]

    # -- ending

    async def stop_container(self, pod_uid: str, name: str, grace_s: float) -> None:
        """See `Driver`."""
        with suppress(ShimGoneError):
            await shim_client.command(self._layout.pod(pod_uid), {"op": "stop", "name": name, "grace": grace_s})

    async def remove_pod(self, pod_uid: str, *, keep_logs: bool = False) -> None:
        """See `Driver`."""
        known = self._shims.pods.get(pod_uid)
        if known is None:
            if not keep_logs:
                await _remove_tree(self._layout.logs(pod_uid))
            return
        async with known.busy:
            await self._end(known)
            await self._forget(known, keep_logs=keep_logs)

    async def _end(self, known: Pod) -> None:
        """Have the shim end its pod; kill it when it does not."""
        if known.asked:
            with trio.move_on_after(_START_WITHIN_S):
                await known.spoke.wait()
        if known.shim == NO_SHIM:
            return
        with suppress(ShimGoneError):
            await shim_client.command(self._layout.pod(known.uid), {"op": "end"})
        with trio.move_on_after(_END_WITHIN_S):
            await known.dead.wait()
            return
        cleanup.kill(known.shim, known.record.get("ticks", 0))
        await known.dead.wait()

    async def _forget(self, known: Pod, *, keep_logs: bool) -> None:
        directory = self._layout.pod(known.uid)
        cleanup.remove_groups(self._cgroups, known.uid)
        await _remove_tree(directory)
        if not keep_logs:
            await _remove_tree(self._layout.logs(known.uid))
        if self._range:
            self._range.give_back(known.ip)
        self._shims.pods.pop(known.uid, None)

    async def stop_all(self, grace_s: float) -> None:
        """See `Driver`."""
        pods = list(self._shims.pods.values())
        async with trio.open_nursery() as nursery:
            for pod in pods:
                nursery.start_soon(self._stop_pod, pod, grace_s)
        if self._range:
            self._network.take_down()
            self._range = None
        self._cgroups.remove()

    async def _stop_pod(self, pod: Pod, grace_s: float) -> None:
        running = [name for name, container in pod.containers.items() if container.phase is Phase.RUNNING]
        for name in running:
            await self.stop_container(pod.uid, name, grace_s)
        with trio.move_on_after(grace_s + _END_WITHIN_S):
            await self._shims.all_ended(pod)
        await self.remove_pod(pod.uid, keep_logs=True)

    # -- commands inside

    async def probe(self, pod_uid: str, name: str, argv: Sequence[str], timeout_s: float) -> ProbeResult:
        """See `Driver`."""
        self._require_running(pod_uid, name)
        return await execution.probe(self._layout.pod(pod_uid), name, argv, timeout_s)

    @asynccontextmanager
    async def exec(
        self,
        pod_uid: str,
        name: str,
        argv: Sequence[str],
        *,
        stdin: bool = False,
        stdout: bool = True,
        stderr: bool = True,
        tty: bool = False,
    ) -> AsyncIterator[ExecSession]:
        """See `Driver`."""
        self._require_running(pod_uid, name)
        directory = self._layout.pod(pod_uid)
        async with execution.session(
            directory, name, argv, stdin=stdin, stdout=stdout, stderr=stderr, tty=tty
        ) as session:
            yield session

    def _require_running(self, pod_uid: str, name: str) -> None:
        pod = self._shims.pods.get(pod_uid)
        container = pod.containers.get(name) if pod else None
        if container is None or container.phase is not Phase.RUNNING:
            raise NotRunningError(f"container {name} is not running")


def _failed(uid: str, name: str, failure: Failure, message: str, attempt: int = 0) -> ContainerState:
    return ContainerState(uid, name, Phase.FAILED, attempt, failure=failure, message=message)


async def _remove_tree(directory: Path) -> None:
    """Remove a directory, in a thread where it may be a large one."""
    if (directory / "volumes").exists():
        await trio.to_thread.run_sync(shutil.rmtree, directory, True)
    else:
        shutil.rmtree(directory, ignore_errors=True)
