"""The process driver: the `Driver` port over keepers. What it knows, it can read again from the pods' records."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
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
from k8s.embedded.process import cleanup, describe, execution, keeper_client, limits, machine, state
from k8s.embedded.process.addresses import AddressRange
from k8s.embedded.process.describe import RefusedError, Surroundings
from k8s.embedded.process.instance_network import InstanceNetwork
from k8s.embedded.process.keeper_client import KeeperGoneError
from k8s.embedded.process.keepers import Keepers, Pod
from k8s.embedded.process.publishing import Publisher
from k8s.embedded.process.zygote import syscalls
from k8s.embedded.process.zygote_process import Zygote

_START_WITHIN_S = 60.0
_END_WITHIN_S = 10.0


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
        self._zygote = Zygote(self._layout)
        self._keepers = Keepers(self._layout, self._zygote)
        self._publisher = Publisher(self._layout, self._keepers, self._zygote)
        self._adopted: tuple[PodState, ...] = ()
        self._range: AddressRange | None = None
        self._stopped = False

    @property
    def exits(self) -> trio.MemoryReceiveChannel[ContainerState]:
        """See `Driver`."""
        return self._keepers.exits

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
        with self._layout.locked(), self._keepers.ear() as ear:
            self._cgroups = limits.detect(f"kecs-{self._network.tag}")
            try:
                await self._zygote.start()
                self._machine = machine.machine(self._zygote.abilities)
                rootless = self._zygote.abilities["user_namespace"]
                if rootless:
                    self._range = await self._network.bring_up_for_user(self._zygote)
                elif self._machine.own_network:
                    self._range = self._network.bring_up(self._layout.root)
                self._adopt()
                async with trio.open_nursery() as nursery:
                    if rootless:
                        nursery.start_soon(self._publisher.run)
                    nursery.start_soon(self._keepers.listen, ear)
                    nursery.start_soon(self._keepers.watch_deaths)
                    task_status.started(self._info())
            finally:
                with trio.CancelScope(shield=True):
                    await self._keepers.dismiss_idle()
                    await self._zygote.close()

    def _info(self) -> DriverInfo:
        notes = tuple(machine.notes(self._zygote.abilities, self._cgroups))
        return DriverInfo("process", version("kecs"), self._host_ip, runs_images=False, notes=notes)

    @property
    def _host_ip(self) -> str:
        return self._range.gateway if self._range else machine.host_address()

    def _adopt(self) -> None:
        self._keepers.adopt()
        for pod in self._keepers.pods.values():
            if self._range:
                self._range.claim(pod.ip)
        self._adopted = tuple(state.pod_state(pod.record) for pod in self._keepers.pods.values())

    # -- starting

    async def start_pod(self, pod: PodSpec, containers: Sequence[ContainerSpec]) -> PodState:
        """See `Driver`."""
        if self._stopped:
            raise SandboxError("the node has been stopped")
        known = self._keepers.pods.setdefault(pod.uid, Pod(pod.uid))
        async with known.busy:
            if not known.record:
                return await self._start_new(known, pod, containers)
            if not known.alive:
                raise SandboxError(f"pod {pod.name} has ended")
            states = dict(known.containers)
            for spec in containers:
                if spec.name not in states:
                    states[spec.name] = await self._start_container(known, spec)
            return PodState(pod.uid, known.ip, tuple(states.values()), pod.namespace, pod.name)

    async def _start_new(self, known: Pod, pod: PodSpec, specs: Sequence[ContainerSpec]) -> PodState:
        surroundings, messages, refused = self._described(pod, specs)
        if refused and not messages:
            self._keepers.pods.pop(pod.uid, None)
            return PodState(pod.uid, "", (refused,), pod.namespace, pod.name)
        await self._make(known, self._pod_message(known, pod, surroundings), messages)
        if error := known.record["error"]:
            await self._forget(known, keep_logs=False)
            raise SandboxError(f"pod {pod.name}: {error}")
        states = tuple(known.containers.values())
        if refused and all(container.phase is not Phase.FAILED for container in states):
            states += (refused,)
        return PodState(pod.uid, known.ip, states, pod.namespace, pod.name)

    def _described(
        self, pod: PodSpec, specs: Sequence[ContainerSpec]
    ) -> tuple[Surroundings, list[dict[str, Any]], ContainerState | None]:
        """What to tell the keeper, up to the first container that is refused, and the state of that one."""
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
        linked = self._range is not None and not pod.host_network
        known.ip = self._range.lend() if self._range and linked else self._host_ip
        return {
            "uid": pod.uid,
            "namespace": pod.namespace,
            "name": pod.name,
            "hostname": pod.hostname,
            "directory": str(directory),
            "private": str(self._layout.private),
            "ip": known.ip,
            "link": self._network.link(self._range.number(known.ip)) if self._range and linked else "",
            "group": self._network.group,
            "gateway": self._host_ip,
            "sysctls": list(pod.sysctls),
            "unshare": self._namespaces(pod, linked),
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

    async def _make(self, known: Pod, pod: dict[str, Any], containers: list[dict[str, Any]]) -> None:
        """Have a keeper make the pod. Raises SandboxError. Not cancelled halfway: the keeper would go on."""
        with trio.CancelScope(shield=True):
            try:
                keeper = await self._keepers.assign(known)
                with trio.fail_after(_START_WITHIN_S):
                    request = {"op": "start_pod", "pod": pod, "containers": containers}
                    record = await keeper_client.command(self._layout.ear(keeper.number), request)
            except (KeeperGoneError, trio.TooSlowError) as error:
                await self._forget(known, keep_logs=False)
                raise SandboxError(f"pod {pod['name']}: its keeper did not start it ({error})") from error
            self._keepers.take(known, record)

    async def start_container(self, pod_uid: str, container: ContainerSpec) -> ContainerState:
        """See `Driver`."""
        known = self._keepers.pods.get(pod_uid)
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
            record = await self._command(known, {"op": "start", "container": message})
        except KeeperGoneError as error:
            raise SandboxError(f"pod {known.uid} has ended") from error
        self._keepers.take(known, record)
        return known.containers[spec.name]

    # -- ending

    async def stop_container(self, pod_uid: str, name: str, grace_s: float) -> None:
        """See `Driver`."""
        if (pod := self._keepers.pods.get(pod_uid)) is not None:
            with suppress(KeeperGoneError):
                await self._command(pod, {"op": "stop", "name": name, "grace": grace_s})

    async def _command(self, pod: Pod, request: dict[str, Any]) -> dict[str, Any]:
        """Ask a pod's keeper. Raises KeeperGoneError."""
        if pod.keeper is None or not pod.alive:
            raise KeeperGoneError(f"pod {pod.uid} has no keeper")
        return await keeper_client.command(self._layout.ear(pod.keeper.number), request | {"uid": pod.uid})

    async def remove_pod(self, pod_uid: str, *, keep_logs: bool = False) -> None:
        """See `Driver`."""
        known = self._keepers.pods.get(pod_uid)
        if known is None:
            if not keep_logs:
                state.forget(self._layout.pod(pod_uid), keep_logs=False)
            return
        async with known.busy:
            await self._end(known)
            await self._forget(known, keep_logs=keep_logs)

    async def _end(self, known: Pod) -> None:
        """Have the keeper end its pod. A keeper that does not is killed, which ends all its pods."""
        with suppress(KeeperGoneError), trio.move_on_after(_END_WITHIN_S):
            record = await self._command(known, {"op": "end_pod"})
            if "uid" in record:  # else the keeper had forgotten it
                self._keepers.take(known, record)
            return
        if known.keeper is not None and known.alive:
            cleanup.kill(known.keeper.pid, known.keeper.ticks)
            await known.keeper.dead.wait()

    async def _forget(self, known: Pod, *, keep_logs: bool) -> None:
        directory = self._layout.pod(known.uid)
        if not known.alive:
            cleanup.remove_groups(self._cgroups, known.uid)
        if (directory / "volumes").exists():
            await trio.to_thread.run_sync(partial(state.forget, directory, keep_logs=keep_logs))
        else:
            state.forget(directory, keep_logs=keep_logs)
        if self._range:
            self._range.give_back(known.ip)
        await self._keepers.forget(known)

    async def stop_all(self, grace_s: float) -> None:
        """See `Driver`."""
        self._stopped = True
        pods = list(self._keepers.pods.values())
        async with trio.open_nursery() as nursery:
            for pod in pods:
                nursery.start_soon(self._stop_pod, pod, grace_s)
        await self._keepers.dismiss_idle()
        if self._zygote.abilities.get("user_namespace"):
            await self._publisher.leave()
        elif self._range:
            self._network.take_down()
        await self._zygote.close()
        self._cgroups.remove()

    async def _stop_pod(self, pod: Pod, grace_s: float) -> None:
        running = [name for name, container in pod.containers.items() if container.phase is Phase.RUNNING]
        for name in running:
            await self.stop_container(pod.uid, name, grace_s)
        with trio.move_on_after(grace_s + _END_WITHIN_S):
            await self._keepers.all_ended(pod)
        await self.remove_pod(pod.uid, keep_logs=True)

    # -- commands inside

    async def probe(self, pod_uid: str, name: str, argv: Sequence[str], timeout_s: float) -> ProbeResult:
        """See `Driver`."""
        return await execution.probe(self._ear(pod_uid, name), pod_uid, name, argv, timeout_s)

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
        async with execution.session(
            self._ear(pod_uid, name), pod_uid, name, argv, stdin=stdin, stdout=stdout, stderr=stderr, tty=tty
        ) as session:
            yield session

    def _ear(self, pod_uid: str, name: str) -> Path:
        """The ear of a running container's keeper. Raises NotRunningError."""
        pod = self._keepers.pods.get(pod_uid)
        container = pod.containers.get(name) if pod else None
        if pod is None or pod.keeper is None or container is None or container.phase is not Phase.RUNNING:
            raise NotRunningError(f"container {name} is not running")
        return self._layout.ear(pod.keeper.number)


def _failed(uid: str, name: str, failure: Failure, message: str, attempt: int = 0) -> ContainerState:
    return ContainerState(uid, name, Phase.FAILED, attempt, failure=failure, message=message)
