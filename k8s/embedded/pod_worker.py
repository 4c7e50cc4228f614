"""Carries out what `pod_lifecycle` plans for one pod, and keeps what is known of it.

A worker is an object, not a task: it has a task only while there is something to do, so ten thousand idle pods cost no
tasks. Whatever is learned goes into the progress and calls `poke`; the task plans, acts, and plans again until there is
nothing to do.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final, assert_never

import trio
from attrs import evolve, field, frozen

from k8s.client import JsonObject, KubeClient, KubeError
from k8s.embedded import pod_report
from k8s.embedded.driver import (
    ContainerSpec,
    ContainerState,
    Driver,
    DriverError,
    DriverInfo,
    Failure,
    Phase,
    PodState,
    SandboxError,
)
from k8s.embedded.host_ports import HostPorts, PortTakenError
from k8s.embedded.node_events import EventRecorder, Kind
from k8s.embedded.pod_inputs import InputError, PodFacts, PodInputs
from k8s.embedded.pod_lifecycle import (
    Action,
    Condemn,
    DeleteObject,
    RemoveSandbox,
    StartContainer,
    StartPod,
    StopContainer,
    is_over,
    plan,
)
from k8s.embedded.pod_progress import (
    Progress,
    Sandbox,
    Verdict,
    with_container,
    with_pod_state,
    with_sandbox_error,
    with_state,
)
from k8s.embedded.pod_spec import Deletion, Pod, parse_deletion
from k8s.embedded.prober import ProbeKind, Prober
from k8s.embedded.probes import Outcome
from k8s.embedded.status_writer import StatusWriter
from k8s.embedded.timers import Timers

log = logging.getLogger(__name__)

_START_AFTER_DELETION_S: Final = 2.0  # a start that is under way when the pod is deleted may still finish
_SLOW_START_S: Final = 1.0  # after this the API server is told that containers are being created
_TRY_AGAIN_S: Final = 2.0
_FINAL: Final = ("Succeeded", "Failed")  # phases


@frozen
class Surroundings:
    """What all workers of a node share."""

    node_name: str
    info: DriverInfo
    client: KubeClient
    driver: Driver
    nursery: trio.Nursery
    timers: Timers
    statuses: StatusWriter
    events: EventRecorder
    prober: Prober
    host_ports: HostPorts
    starts: trio.CapacityLimiter
    now: Callable[[], datetime]
    told: Callable[[], None] = field(repr=False)  # told whenever the API server knows another pod's end
    forgotten: Callable[[PodWorker], None] = field(repr=False)  # told once nothing of a gone pod is left


class PodWorker:
    """One pod of this node. Its methods are called by the node; none blocks."""

    def __init__(self, around: Surroundings, pod: Pod, source: JsonObject, progress: Progress) -> None:
        self.pod = pod
        self.progress = progress
        self.path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}"
        self.deletion: Deletion | None = parse_deletion(source)
        self.is_gone = False
        self._around = around
        self._source = source
        self._status: JsonObject = source.get("status") or {}
        self._refusal = ""  # why the API server does not take the pod's final status
        self._busy = False
        self._again = False
        self._start: trio.CancelScope | None = None

    @property
    def uid(self) -> str:
        """The pod's identity."""
        return self.pod.uid

    def observed(self, source: JsonObject) -> None:
        """The API server shows the pod like this now. Only a deletion matters: the spec cannot change."""
        self._source = source
        deletion = parse_deletion(source)
        if deletion == self.deletion:
            return
        self.deletion = deletion
        self._let_start_end()
        self.poke()

    def gone(self) -> None:
        """The API server has no such pod any more."""
        self.is_gone = True
        self._let_start_end()
        self.poke()

    def condemn(self, verdict: Verdict) -> None:
        """End the pod for this reason, unless it has ended."""
        if not is_over(self.pod, self.progress, self.deletion, self._around.now()):
            self.progress = evolve(self.progress, verdict=self.progress.verdict or verdict)
            self._let_start_end()
            self.poke()

    def exited(self, state: ContainerState) -> None:
        """The driver tells that a container has ended."""
        self._learn_state(state)
        self.poke()

    def probed(self, container: str, kind: ProbeKind, verdict: bool) -> None:
        """A probe has passed or failed as often in a row as it takes."""
        known = self.progress.of(container)
        no_readiness = self.pod.container(container).readiness is None
        match kind:
            case ProbeKind.READINESS:
                known = evolve(known, ready=verdict, unhealthy=not verdict)
            case ProbeKind.STARTUP if verdict:
                known = evolve(known, started=True, ready=known.ready or no_readiness)
            case ProbeKind.LIVENESS | ProbeKind.STARTUP:
                known = evolve(known, condemned=known.condemned or not verdict)
            case _:
                assert_never(kind)
        self.progress = with_container(self.progress, container, known)
        self.poke()

    def probe_failed(self, container: str, kind: ProbeKind, outcome: Outcome) -> None:
        """A probe has failed once."""
        self._tell(container, "Warning", "Unhealthy", f"{kind} probe failed: {outcome.message}")

    @property
    def has_begun(self) -> bool:
        """Whether anything of the pod was ever started, or is being started."""
        return self.progress.starting or self.progress.sandbox is not Sandbox.NONE or bool(self.progress.containers)

    @property
    def is_told(self) -> bool:
        """Whether the pod has ended and the API server knows how."""
        return self.progress.reported_end

    def report(self) -> JsonObject | None:
        """The pod's status as it is now, unless the API server has it."""
        if self.is_gone:
            return None
        if self._refusal and not self.progress.settled:
            bare = pod_report.rejection(Verdict("StatusRefused", self._refusal), self._around.now())
            return bare | {"containerStatuses": None, "initContainerStatuses": None}
        status = pod_report.status(
            self.pod,
            self.progress,
            self.deletion,
            self._around.now(),
            host_ip=self._around.info.host_ip,
            before=self._status,
        )
        if status == self._status:
            self.reported(status)
            return None
        return status

    def reported(self, status: JsonObject) -> None:
        """The API server has this status."""
        self._status = {key: value for key, value in status.items() if value is not None}
        if status.get("phase") in _FINAL:
            self._end_is_told()

    def refused(self, status: JsonObject, why: str) -> None:
        """The API server will never take this status. An end is told in fewer words then, and if need be not at all."""
        if status.get("phase") not in _FINAL:
            return
        if self._refusal:
            self._end_is_told()
        else:
            self._refusal = why
            self._around.statuses.want(self)

    def _end_is_told(self) -> None:
        if not self.progress.reported_end:
            self.progress = evolve(self.progress, reported_end=True, settled=bool(self._refusal))
            self._around.told()
            self.poke()

    def poke(self) -> None:
        """Plan again, soon."""
        if self._busy:
            self._again = True
            return
        self._busy = True
        self._around.nursery.start_soon(self._work)

    async def _work(self) -> None:
        try:
            while not self.is_gone:
                self._again = False
                if not await self._step() and not self._again:
                    return
            await self._forget()
        except KubeError as error:
            log.warning("%s: %s", self.path, error)
            self._look_again_in(_TRY_AGAIN_S)
        except DriverError as error:
            log.warning("%s: %s", self.path, error.message)
            self._look_again_in(_TRY_AGAIN_S)
        except Exception:  # a fault that one pod meets must not end all others
            log.exception("%s: the node met a fault with this pod and tries again", self.path)
            self._look_again_in(_TRY_AGAIN_S)
        finally:
            self._busy = False

    async def _step(self) -> bool:
        """Plan once and act; whether there was anything to do."""
        around = self._around
        await self._reopen_host_ports()
        now = around.now()
        planned = plan(self.pod, self.progress, self.deletion, now)
        if planned.wake_at is not None:
            self._look_again_in((planned.wake_at - now).total_seconds())
        if not planned.actions or not isinstance(planned.actions[0], StartPod | StartContainer):
            around.statuses.want(self)
        for action in planned.actions:
            await self._carry_out(action)
        around.prober.watch(self)
        return bool(planned.actions)

    async def _reopen_host_ports(self) -> None:
        """A pod that an earlier run of the node started gets its ports back."""
        if self.pod.host_ports and self.progress.any_running:
            await self._open_host_ports()

    async def _open_host_ports(self) -> bool:
        """Whether the pod has its host ports; without them it is condemned."""
        try:
            await self._around.host_ports.open(self.pod, lambda: self.progress.ip)
        except PortTakenError as error:
            self.progress = evolve(self.progress, verdict=self.progress.verdict or Verdict("NodePorts", str(error)))
            return False
        return True

    def _look_again_in(self, delay_s: float) -> None:
        self._around.timers.set(("pod", self.uid), delay_s, self.poke)

    async def _carry_out(self, action: Action) -> None:
        match action:
            case StartPod():
                await self._start_pod(action)
            case StartContainer():
                await self._start_container(action)
            case StopContainer():
                await self._stop_container(action)
            case RemoveSandbox():
                await self._remove_sandbox()
            case Condemn():
                self.progress = evolve(self.progress, verdict=action.verdict)
            case DeleteObject():
                await self._delete_object()
            case _:
                assert_never(action)

    async def _start_pod(self, action: StartPod) -> None:
        around = self._around
        if not await self._open_host_ports():
            return
        try:
            sandbox = await self._inputs().sandbox()
        except InputError as error:
            self._sandbox_failed("FailedMount", str(error))
            return
        specs = await self._specs(action.containers)
        if action.containers and not specs:
            return
        state = await self._starting(lambda: around.driver.start_pod(sandbox, specs))
        if state is None:
            return
        self.progress = with_pod_state(self.pod, self.progress, _stamped(state, around.now()))
        for container in state.containers:
            self._tell_start(container)

    async def _specs(self, starts: Sequence[StartContainer]) -> list[ContainerSpec]:
        """The containers whose inputs are there; the others are marked as failed."""
        specs = []
        inputs = self._inputs()
        for start in starts:
            try:
                specs.append(await inputs.container(self.pod.container(start.name), start.attempt))
            except InputError as error:
                self._learn_state(self._failed(start, Failure.CONFIG, str(error)))
        return specs

    def _inputs(self) -> PodInputs:
        around = self._around
        facts = PodFacts(self.progress.ip, around.info.host_ip, around.node_name)
        return PodInputs(around.client, self.pod, self._source, facts)

    def _failed(self, start: StartContainer, failure: Failure, message: str) -> ContainerState:
        now = self._around.now()
        return ContainerState(
            self.uid, start.name, Phase.FAILED, start.attempt, finished_at=now, failure=failure, message=message
        )

    async def _starting(self, start: Callable[[], Awaitable[PodState]]) -> PodState | None:
        """Call the driver to start something. None when it could not, or the pod's end came first."""
        around = self._around
        self.progress = evolve(self.progress, starting=True)
        try:
            with trio.CancelScope() as self._start:
                async with around.starts:
                    if self._must_not_start:
                        return None
                    around.timers.set(("slow", self.uid), _SLOW_START_S, lambda: around.statuses.want(self))
                    return await start()
            await around.driver.remove_pod(self.uid, keep_logs=True)
            self.progress = evolve(self.progress, sandbox=Sandbox.NONE)
        except SandboxError as error:
            self.progress = evolve(self.progress, sandbox=Sandbox.NONE)
            self._sandbox_failed("FailedCreatePodSandBox", error.message)
        finally:
            self._start = None
            around.timers.cancel(("slow", self.uid))
            self.progress = evolve(self.progress, starting=False)
        return None

    @property
    def _must_not_start(self) -> bool:
        return self.is_gone or self.deletion is not None or self.progress.is_condemned

    def _let_start_end(self) -> None:
        """The pod's end was asked for: a start that is under way does not have for ever."""
        if self._start is not None:
            self._start.deadline = min(self._start.deadline, trio.current_time() + _START_AFTER_DELETION_S)

    def _sandbox_failed(self, reason: str, message: str) -> None:
        self.progress = with_sandbox_error(self.progress, message, self._around.now())
        self._tell("", "Warning", reason, message)

    async def _start_container(self, action: StartContainer) -> None:
        driver = self._around.driver
        specs = await self._specs([action])
        if not specs:
            return

        async def start() -> PodState:
            state = await driver.start_container(self.uid, specs[0])
            return PodState(self.uid, self.progress.ip, (state,))

        state = await self._starting(start)
        if state is None:
            return
        for container in _stamped(state, self._around.now()).containers:
            self._learn_state(container)
            self._tell_start(container)

    def _learn_state(self, state: ContainerState) -> None:
        self.progress = with_state(self.pod, self.progress, state)

    async def _stop_container(self, action: StopContainer) -> None:
        known = self.progress.of(action.name)
        self.progress = with_container(self.progress, action.name, evolve(known, stop_grace_s=action.grace_s))
        self._tell(action.name, "Normal", "Killing", f"Stopping container {action.name}")
        await self._around.driver.stop_container(self.uid, action.name, action.grace_s)

    async def _remove_sandbox(self) -> None:
        self._around.host_ports.close(self.uid)
        await self._around.driver.remove_pod(self.uid, keep_logs=True)
        self.progress = evolve(self.progress, sandbox=Sandbox.REMOVED)

    async def _delete_object(self) -> None:
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "gracePeriodSeconds": 0,
            "preconditions": {"uid": self.uid},
        }
        try:
            await self._around.client.request("DELETE", self.path, body=options)
        except KubeError as error:
            if error.status not in (404, 409):
                raise
        self.progress = evolve(self.progress, deleted=True)

    async def _forget(self) -> None:
        """Leave nothing of a pod that the API server has no more."""
        around = self._around
        around.host_ports.close(self.uid)
        around.prober.forget(self.pod)
        around.statuses.forget(self.uid)
        around.timers.cancel(("pod", self.uid))
        await around.driver.remove_pod(self.uid)
        around.forgotten(self)

    def _tell(self, container: str, kind: Kind, reason: str, message: str) -> None:
        self._around.events.record(self.pod, container, kind, reason, message)

    def _tell_start(self, state: ContainerState) -> None:
        if state.phase is not Phase.FAILED:
            self._tell(state.name, "Normal", "Started", f"Started container {state.name}")
        elif state.failure is Failure.IMAGE_PULL:
            image = self.pod.container(state.name).spec.image
            self._tell(state.name, "Warning", "Failed", f'Failed to pull image "{image}": {state.message}')
        else:
            self._tell(state.name, "Warning", "Failed", f"Error: {state.message}")


def _stamped(state: PodState, now: datetime) -> PodState:
    """With the time of the failure in the states of containers that could not be started."""
    containers = tuple(
        evolve(c, finished_at=now) if c.phase is Phase.FAILED and c.finished_at is None else c for c in state.containers
    )
    return evolve(state, containers=containers)
