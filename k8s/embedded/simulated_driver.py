"""A driver that runs nothing: containers become running and end as their pod's annotations say. For tests of scale.

Settings are annotations of the pod, `simulated.kecs.dev/<setting>` for all containers or
`simulated.kecs.dev/<setting>.<container>` for one (`dockerLabels` of that prefix become such annotations):

    run-seconds            ends by itself after so long (default: runs until stopped; 0 when `exit-code` is given)
    exit-code              how it ends by itself (default 0)
    oom-killed             `true`: ends by itself as if memory had run out (give exit-code 137 too)
    start-seconds          how long starting takes (default 0)
    start-error            cannot start: a message, or `ErrImagePull: message` with any of the kubelet's reasons
    stop-seconds           from the stop signal to the end (default 0); `never`: only SIGKILL ends it
    stop-exit-code         how it ends after the stop signal (default 143)
    healthy-after-seconds  exec probes pass from then on (default 0); `never`
    log                    a text that it writes when it starts

Without annotations, `true`, `false`, `exit N`, `sleep N`, `echo ...` (also in `sh -c`, also in a row) do as they say.
Nothing survives the process; a `SimulatedWorld` given to two drivers in turn stands for what survives in tests.
"""

from __future__ import annotations

import itertools
import math
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

import trio
from attrs import define, evolve, field

from k8s.embedded.driver import (
    ContainerSpec,
    ContainerState,
    DriverInfo,
    Failure,
    NotRunningError,
    Phase,
    PodSpec,
    PodState,
    ProbeResult,
    SandboxError,
)
from k8s.embedded.gateway import ExecOutput, ExecSession
from k8s.embedded.simulated_script import Behaviour, behaviour, scripted
from k8s.embedded.timers import Timers

HOST_IP: Final = "127.0.0.1"
_FIRST_ADDRESS: Final = int(IPv4Address("100.64.0.2"))
_ADDRESSES: Final = 2**22 - 4  # 100.64.0.0/10, set aside for carriers: nobody's real network


@define(eq=False)
class _Container:
    spec: ContainerSpec
    state: ContainerState
    behaviour: Behaviour
    began_s: float
    kill_at_s: float = math.inf
    ended: trio.Event = field(factory=trio.Event)


@define(eq=False)
class _Pod:
    spec: PodSpec
    ip: str
    containers: dict[str, _Container] = field(factory=dict)
    is_up: bool = True


@define(eq=False)
class SimulatedWorld:
    """The pods that there are. Outlives the driver that looks after them."""

    pods: dict[str, _Pod] = field(factory=dict)
    addresses_in_use: set[str] = field(factory=set)
    with_logs: set[str] = field(factory=set)
    _next: Iterator[int] = field(factory=lambda: itertools.cycle(range(_ADDRESSES)))

    def address(self) -> str:
        """An address that no pod has."""
        for n in itertools.islice(self._next, _ADDRESSES):
            ip = str(IPv4Address(_FIRST_ADDRESS + n))
            if ip not in self.addresses_in_use:
                self.addresses_in_use.add(ip)
                return ip
        raise SandboxError("every address is in use")


class SimulatedDriver:
    """Implements `Driver` without running anything."""

    def __init__(
        self,
        log_directory: Path,
        *,
        world: SimulatedWorld | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.world = world or SimulatedWorld()
        self._logs = log_directory
        self._now = now
        self._timers = Timers()
        self._ids = itertools.count(1)
        self._send, self._exits = trio.open_memory_channel[ContainerState](math.inf)
        self._adopted: tuple[PodState, ...] = ()

    @property
    def exits(self) -> trio.MemoryReceiveChannel[ContainerState]:
        """See `Driver`."""
        return self._exits

    async def run(self, task_status: trio.TaskStatus[DriverInfo] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Driver`."""
        self._adopted = tuple(
            PodState(uid, pod.ip, tuple(c.state for c in pod.containers.values()), pod.spec.namespace, pod.spec.name)
            for uid, pod in self.world.pods.items()
        )
        for uid, pod in self.world.pods.items():
            for container in pod.containers.values():
                if container.state.phase is Phase.RUNNING:
                    self._schedule_end(uid, container)
        task_status.started(
            DriverInfo("simulated", "0.1.0", HOST_IP, runs_images=True, pod_capacity=20_000, parallel_starts=10_000)
        )
        await self._timers.run()

    def adopted(self) -> Sequence[PodState]:
        """See `Driver`."""
        return self._adopted

    async def start_pod(self, pod: PodSpec, containers: Sequence[ContainerSpec]) -> PodState:
        """See `Driver`."""
        await trio.lowlevel.checkpoint()
        known = self.world.pods.get(pod.uid)
        if known is None or not known.is_up:
            known = self.world.pods[pod.uid] = _Pod(pod, HOST_IP if pod.host_network else self.world.address())
        states = []
        for spec in containers:
            existing = known.containers.get(spec.name)
            if existing is not None and existing.state.attempt >= spec.attempt:
                states.append(existing.state)
                continue
            states.append(await self._start(known, spec))
            if states[-1].phase is Phase.FAILED:
                break
        return PodState(pod.uid, known.ip, tuple(states), pod.namespace, pod.name)

    async def start_container(self, pod_uid: str, container: ContainerSpec) -> ContainerState:
        """See `Driver`."""
        await trio.lowlevel.checkpoint()
        pod = self.world.pods.get(pod_uid)
        if pod is None or not pod.is_up:
            raise SandboxError("the pod's sandbox is not there")
        existing = pod.containers.get(container.name)
        if existing is not None and existing.state.attempt >= container.attempt:
            return existing.state
        return await self._start(pod, container)

    async def _start(self, pod: _Pod, spec: ContainerSpec) -> ContainerState:
        uid = pod.spec.uid
        try:
            how = behaviour(pod.spec.annotations, spec.name, spec.argv)
        except ValueError as error:
            return self._failed(uid, spec, Failure.CONFIG, f"simulated.kecs.dev annotations: {error}")
        if how.start_s:
            await trio.sleep(how.start_s)
        if how.start_error is not None:
            return self._failed(uid, spec, *how.start_error)
        if self.world.pods.get(uid) is not pod or not pod.is_up:
            raise SandboxError("the pod was removed while it was starting")
        state = ContainerState(
            uid,
            spec.name,
            Phase.RUNNING,
            spec.attempt,
            container_id=f"simulated://{next(self._ids):032x}",
            image_id=spec.image,
            started_at=self._now(),
        )
        container = pod.containers[spec.name] = _Container(spec, state, how, trio.current_time())
        if how.log:
            self._write_log(uid, spec, how.log)
        self._schedule_end(uid, container)
        return container.state

    def _failed(self, uid: str, spec: ContainerSpec, failure: Failure, message: str) -> ContainerState:
        now = self._now()
        return ContainerState(
            uid, spec.name, Phase.FAILED, spec.attempt, finished_at=now, failure=failure, message=message
        )

    def _schedule_end(self, uid: str, container: _Container) -> None:
        how = container.behaviour
        if how.run_s is not None:
            delay_s = container.began_s + how.run_s - trio.current_time()
            end = (how.exit_code, None, how.oom_killed)
            self._timers.set((uid, container.spec.name, "end"), delay_s, lambda: self._end(uid, container, *end))
        if container.kill_at_s < math.inf:
            self._schedule_kill(uid, container)

    def _schedule_kill(self, uid: str, container: _Container) -> None:
        delay_s = container.kill_at_s - trio.current_time()
        self._timers.set((uid, container.spec.name, "kill"), delay_s, lambda: self._end(uid, container, 137, 9))

    def _end(
        self, uid: str, container: _Container, exit_code: int, signal: int | None = None, oom_killed: bool = False
    ) -> None:
        if container.state.phase is not Phase.RUNNING:
            return
        container.state = evolve(
            container.state,
            phase=Phase.EXITED,
            finished_at=self._now(),
            exit_code=exit_code,
            signal=signal,
            oom_killed=oom_killed,
        )
        container.ended.set()
        for kind in ("end", "stop", "kill"):
            self._timers.cancel((uid, container.spec.name, kind))
        self._send.send_nowait(container.state)

    async def stop_container(self, pod_uid: str, name: str, grace_s: float) -> None:
        """See `Driver`."""
        await trio.lowlevel.checkpoint()
        pod = self.world.pods.get(pod_uid)
        container = pod.containers.get(name) if pod is not None else None
        if container is None or container.state.phase is not Phase.RUNNING:
            return
        is_first = container.kill_at_s == math.inf
        container.kill_at_s = min(container.kill_at_s, trio.current_time() + grace_s)
        if grace_s <= 0:
            self._end(pod_uid, container, 137, 9)
            return
        self._schedule_kill(pod_uid, container)
        how = container.behaviour
        if is_first and how.stop_s is not None:
            signal = how.stop_exit_code - 128 if how.stop_exit_code > 128 else None
            end = (how.stop_exit_code, signal)
            self._timers.set((pod_uid, name, "stop"), how.stop_s, lambda: self._end(pod_uid, container, *end))

    async def remove_pod(self, pod_uid: str, *, keep_logs: bool = False) -> None:
        """See `Driver`."""
        await trio.lowlevel.checkpoint()
        pod = self.world.pods.get(pod_uid)
        if pod is not None:
            for container in pod.containers.values():
                self._end(pod_uid, container, 137, 9)
            self.world.addresses_in_use.discard(pod.ip)
            pod.is_up = False
            del self.world.pods[pod_uid]
        if not keep_logs and pod_uid in self.world.with_logs:
            self.world.with_logs.discard(pod_uid)
            shutil.rmtree(self._logs / pod_uid, ignore_errors=True)

    async def stop_all(self, grace_s: float) -> None:
        """See `Driver`."""
        for uid, pod in list(self.world.pods.items()):
            for name in list(pod.containers):
                await self.stop_container(uid, name, grace_s)
        with trio.move_on_after(grace_s):
            for container in [c for p in self.world.pods.values() for c in p.containers.values()]:
                await container.ended.wait()
        for uid in list(self.world.pods):
            await self.remove_pod(uid, keep_logs=True)

    async def probe(self, pod_uid: str, name: str, argv: Sequence[str], timeout_s: float) -> ProbeResult:
        """See `Driver`. Passes from `healthy-after-seconds` on, unless the command says how it ends."""
        await trio.lowlevel.checkpoint()
        container = self._running(pod_uid, name)
        script = scripted(argv)
        if script is not None:
            if script[0] is None or script[0] > timeout_s:
                await trio.sleep(timeout_s)
                return ProbeResult(None)
            await trio.sleep(script[0])
            if script[1]:
                return ProbeResult(script[1])
        after_s = container.behaviour.healthy_after_s
        is_healthy = after_s is not None and trio.current_time() - container.began_s >= after_s
        return ProbeResult(0) if is_healthy else ProbeResult(1, b"simulated: unhealthy")

    def exec(
        self,
        pod_uid: str,
        name: str,
        argv: Sequence[str],
        *,
        stdin: bool = False,
        stdout: bool = True,
        stderr: bool = True,  # noqa: ARG002 - the port's; nothing is written there
        tty: bool = False,  # noqa: ARG002 - the port's; there is no terminal
    ) -> AbstractAsyncContextManager[ExecSession]:
        """See `Driver`. `echo` and `cat` do as they say, other simple commands end as they say."""
        return self._exec(pod_uid, name, tuple(argv), stdin and stdout)

    @asynccontextmanager
    async def _exec(self, pod_uid: str, name: str, argv: Sequence[str], stdin: bool) -> AsyncIterator[ExecSession]:
        await trio.lowlevel.checkpoint()
        self._running(pod_uid, name)
        yield _SimulatedExec(argv, stdin)

    def _running(self, pod_uid: str, name: str) -> _Container:
        pod = self.world.pods.get(pod_uid)
        container = pod.containers.get(name) if pod is not None else None
        if container is None or container.state.phase is not Phase.RUNNING:
            raise NotRunningError(f"container {name} is not running")
        return container

    def log_path(self, pod_uid: str, name: str, attempt: int = 0) -> Path:
        """See `Driver`."""
        return self._logs / pod_uid / name / f"{attempt}.log"

    def _write_log(self, uid: str, spec: ContainerSpec, text: str) -> None:
        stamp = self._now().strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
        path = self.log_path(uid, spec.name, spec.attempt)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.world.with_logs.add(uid)
        with path.open("a") as log:
            log.writelines(f"{stamp} stdout F {line}\n" for line in text.splitlines())


class _SimulatedExec:
    """A command that runs nowhere."""

    def __init__(self, argv: Sequence[str], stdin: bool) -> None:
        self._argv = argv
        self._send, self._output = trio.open_memory_channel[bytes](math.inf)
        self._code = 0
        script = scripted(argv)
        if argv and argv[0] == "cat" and stdin:
            return
        if argv and argv[0] == "echo":
            self._send.send_nowait(" ".join(argv[1:]).encode() + b"\n")
        elif script is not None:
            self._code = script[1]
        else:
            self._send.send_nowait(b"simulated: nothing runs here\n")
        self._send.close()

    async def receive(self) -> ExecOutput | None:
        """See `ExecSession`."""
        try:
            return ExecOutput("stdout", await self._output.receive())
        except trio.EndOfChannel:
            return None

    async def send_stdin(self, data: bytes) -> None:
        """See `ExecSession`."""
        await trio.lowlevel.checkpoint()
        try:
            self._send.send_nowait(data)
        except trio.ClosedResourceError:
            return

    async def close_stdin(self) -> None:
        """See `ExecSession`."""
        await trio.lowlevel.checkpoint()
        self._send.close()

    async def resize(self, columns: int, rows: int) -> None:  # noqa: ARG002 - the port's; there is no terminal
        """See `ExecSession`."""
        await trio.lowlevel.checkpoint()

    def exit_code(self) -> int:
        """See `ExecSession`."""
        return self._code
