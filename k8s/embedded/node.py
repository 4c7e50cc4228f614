"""A node: runs the pods that the API server gives it, through a container driver, as a kubelet does.

It follows the pods bound to it (with `schedule`, it also binds KECS's own pods that have no node yet), keeps a worker
for each, and hands every exit to the worker it concerns. The API server is the truth about what shall run, the driver
about what does run; a node that starts again asks both and goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import trio
from attrs import define, field

from k8s.client import MERGE_PATCH, JsonObject, KubeClient, KubeError
from k8s.embedded import pod_report
from k8s.embedded.driver import Driver, DriverInfo, Phase, PodState
from k8s.embedded.host_ports import HostPorts
from k8s.embedded.node_events import EventRecorder
from k8s.embedded.node_gateway import PodLogsAndExec
from k8s.embedded.node_status import NodeObject
from k8s.embedded.pod_progress import Progress, Verdict, with_lost, with_pod_state
from k8s.embedded.pod_spec import Pod, PodSpecError, parse_pod
from k8s.embedded.pod_worker import PodWorker, Surroundings
from k8s.embedded.prober import Prober
from k8s.embedded.scheduler import MANAGED_BY_KECS, Scheduler
from k8s.embedded.status_writer import StatusWriter
from k8s.embedded.timers import Timers
from k8s.reflector import Reflector

log = logging.getLogger(__name__)

SHUTDOWN_REASON: Final = "NodeShutdown"
SHUTDOWN_MESSAGE: Final = "the instance was stopped"
REJECTED_REASON: Final = "UnexpectedAdmissionError"
_REGISTER_AGAIN_S: Final = 1.0


@define(eq=False)
class Node:
    """One node called `name`. Run it once; `gateway` answers for its containers' logs and exec.

    With `schedule` it also binds pods to itself: those that the label selector `schedules` selects.
    """

    client: KubeClient
    driver: Driver
    name: str
    schedule: bool = False
    schedules: str = MANAGED_BY_KECS
    host_port_address: str = "127.0.0.1"
    kubelet_port: int | None = None
    labels: Mapping[str, str] = field(factory=dict)
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    gateway: PodLogsAndExec = field(init=False)
    info: DriverInfo | None = field(default=None, init=False)
    _workers: dict[str, PodWorker] = field(factory=dict, init=False)
    _rejected: set[str] = field(factory=set, init=False)
    _around: Surroundings | None = field(default=None, init=False)
    _told: trio.Event = field(factory=trio.Event, init=False)
    _found: dict[str, PodState] = field(factory=dict, init=False)
    _is_closing: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.gateway = PodLogsAndExec(self.driver, self._workers)

    @property
    def pods(self) -> Mapping[str, PodWorker]:
        """The pods of this node by uid."""
        return self._workers

    async def run(self, task_status: trio.TaskStatus[DriverInfo] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled, which leaves containers running; `started` once the first list of pods is taken up."""
        async with trio.open_nursery() as nursery:
            info = self.info = await nursery.start(self.driver.run)
            timers = Timers()
            around = self._around = self._surroundings(info, nursery, timers)
            for task in (timers.run, around.statuses.run, around.events.run):
                nursery.start_soon(task)
            self._found = {state.uid: state for state in self.driver.adopted()}
            node = NodeObject(
                self.client, self.name, info, self.now, labels=self.labels, kubelet_port=self.kubelet_port
            )
            await _register(node)
            nursery.start_soon(node.beat)
            await nursery.start(self._follow)
            nursery.start_soon(self._take_exits)  # not before there are workers to take them
            task_status.started(info)

    async def shut_down(self, grace_s: float) -> None:
        """End every pod in order, tell the API server (`status.reason` NodeShutdown), and leave nothing behind.

        Stop timeouts are cut to `grace_s`. Call it while `run` runs; afterwards cancel `run`.
        """
        self._is_closing = True
        verdict = Verdict(SHUTDOWN_REASON, SHUTDOWN_MESSAGE, grace_s)
        for worker in self._workers.values():
            if worker.has_begun:
                worker.condemn(verdict)
        with trio.move_on_after(grace_s + 5):
            await self._all_told()
        await self.driver.stop_all(0)
        with trio.move_on_after(5):
            await self._all_told()
        if self.info is not None:
            await NodeObject(self.client, self.name, self.info, self.now, labels=self.labels).retire()

    async def _all_told(self) -> None:
        while any(w.has_begun and not w.is_told for w in self._workers.values()):
            self._told = trio.Event()
            await self._told.wait()

    def _surroundings(self, info: DriverInfo, nursery: trio.Nursery, timers: Timers) -> Surroundings:
        return Surroundings(
            node_name=self.name,
            info=info,
            client=self.client,
            driver=self.driver,
            nursery=nursery,
            timers=timers,
            statuses=StatusWriter(self.client, timers),
            events=EventRecorder(self.client, self.name, self.now),
            prober=Prober(self.driver, timers, nursery),
            host_ports=HostPorts(nursery, self.host_port_address),
            starts=trio.CapacityLimiter(info.parallel_starts),
            now=self.now,
            told=lambda: self._told.set(),
            forgotten=self._forgotten,
        )

    async def _take_exits(self) -> None:
        async for state in self.driver.exits:
            worker = self._workers.get(state.pod_uid)
            if worker is not None:
                worker.exited(state)

    async def _follow(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        mine = {"fieldSelector": f"spec.nodeName={self.name}"}
        reflector = Reflector(self.client, "/api/v1/pods", self._listed, self._changed, mine)
        async with trio.open_nursery() as nursery:
            if self.schedule:
                scheduler = Scheduler(self.client, self.name, lambda: not self._is_closing, self.schedules)
                nursery.start_soon(scheduler.run)
            await nursery.start(reflector.run)
            task_status.started()

    def _listed(self, pods: Sequence[JsonObject], _asked_at: datetime) -> None:
        there = set()
        for pod in pods:
            there.add(pod["metadata"]["uid"])
            self._observe(pod)
        for uid, worker in list(self._workers.items()):
            if uid not in there:
                worker.gone()
        self._rejected &= there
        for uid in list(self._found):
            log.info("pod %s has left containers behind and is gone: they are ended", uid)
            self._running.nursery.start_soon(self.driver.remove_pod, uid)
            del self._found[uid]

    def _changed(self, events: Sequence[JsonObject]) -> None:
        for event in events:
            pod = event["object"]
            if event["type"] != "DELETED":
                self._observe(pod)
                continue
            uid = pod["metadata"]["uid"]
            self._rejected.discard(uid)
            if (worker := self._workers.get(uid)) is not None:
                worker.gone()

    def _observe(self, source: JsonObject) -> None:
        uid = source["metadata"]["uid"]
        worker = self._workers.get(uid)
        if worker is not None:
            worker.observed(source)
        elif uid not in self._rejected and not self._is_closing:
            self._admit(uid, source)

    def _admit(self, uid: str, source: JsonObject) -> None:
        try:
            pod = parse_pod(source)
        except PodSpecError as error:
            self._rejected.add(uid)
            self._running.nursery.start_soon(self._reject, source, Verdict(REJECTED_REASON, str(error)))
            return
        worker = PodWorker(self._running, pod, source, self._taken_up(pod, source))
        self._workers[uid] = worker
        worker.poke()

    def _taken_up(self, pod: Pod, source: JsonObject) -> Progress:
        """What is known of a pod that is new to this run: what was reported before, and what the driver has."""
        now = self.now()
        try:
            progress = pod_report.recalled(pod, source.get("status") or {}, now)
        except (KeyError, TypeError, ValueError, AttributeError):
            log.exception("the status of pod %s/%s cannot be read and is written anew", pod.namespace, pod.name)
            progress = Progress(now)
        found = self._found.pop(pod.uid, None)
        if found is not None:
            progress = with_pod_state(pod, progress, found)
        alive = {c.name for c in found.containers if c.phase is Phase.RUNNING} if found is not None else set()
        return with_lost(progress, [n for n in progress.containers if n not in alive], now)

    async def _reject(self, source: JsonObject, verdict: Verdict) -> None:
        """Say that the pod cannot run here; delete it if that was asked for."""
        metadata = source["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        body = {"metadata": {"uid": metadata["uid"]}, "status": pod_report.rejection(verdict, self.now())}
        try:
            await self.client.request("PATCH", f"{path}/status", body=body, content_type=MERGE_PATCH)
            if metadata.get("deletionTimestamp"):
                options = {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}}
                await self.client.request("DELETE", path, body=options)
        except KubeError as error:
            log.warning("pod %s cannot be rejected now: %s", path, error)
            self._rejected.discard(metadata["uid"])

    @property
    def _running(self) -> Surroundings:
        assert self._around is not None, "the node does not run"
        return self._around

    def _forgotten(self, worker: PodWorker) -> None:
        if self._workers.get(worker.uid) is worker:
            del self._workers[worker.uid]
        self._told.set()


async def _register(node: NodeObject) -> None:
    """Register, however long the API server takes to come."""
    warned = False
    while True:
        try:
            return await node.register()
        except KubeError as error:
            if not warned:
                log.warning("node %s cannot be registered yet: %s", node.name, error)
            warned = True
        await trio.sleep(_REGISTER_AGAIN_S)
