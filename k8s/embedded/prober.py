"""Runs the probes of all pods of a node: one timer a probe, a bounded number of checks at once, no task that waits."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

import trio
from attrs import define, field

from k8s.embedded.driver import Driver
from k8s.embedded.pod_progress import Progress
from k8s.embedded.pod_spec import Container, Pod, Probe
from k8s.embedded.probes import Outcome, ProbeCount, check
from k8s.embedded.timers import Timers


class ProbeKind(StrEnum):
    """What a probe decides: traffic, life, or that start-up is over."""

    READINESS = "Readiness"
    LIVENESS = "Liveness"
    STARTUP = "Startup"


class Probed(Protocol):
    """A pod with probes."""

    @property
    def pod(self) -> Pod:
        """What it asks for."""
        ...

    @property
    def progress(self) -> Progress:
        """What has become of it."""
        ...

    def probed(self, container: str, kind: ProbeKind, verdict: bool) -> None:
        """Told whenever a probe has passed, or failed, as often in a row as it takes, and it was not so before."""
        ...

    def probe_failed(self, container: str, kind: ProbeKind, outcome: Outcome) -> None:
        """Told of each failure."""
        ...


@define(eq=False)
class _Watch:
    """One probe of one attempt of a container."""

    target: Probed
    container: Container
    attempt: int
    kind: ProbeKind
    probe: Probe
    count: ProbeCount = ProbeCount()

    @property
    def name(self) -> tuple[str, str, str, ProbeKind]:
        return ("probe", self.target.pod.uid, self.container.name, self.kind)

    @property
    def is_current(self) -> bool:
        known = self.target.progress.of(self.container.name)
        return known.running and known.state is not None and known.state.attempt == self.attempt

    @property
    def is_held(self) -> bool:
        """Whether it must wait for the startup probe, or is the startup probe and has done its work."""
        started = self.target.progress.of(self.container.name).started
        return started if self.kind is ProbeKind.STARTUP else not started


@define
class Prober:
    """Follows pods for which `watch` was called."""

    driver: Driver
    timers: Timers
    nursery: trio.Nursery
    limit: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(32))
    _watched: dict[tuple[str, str, str, ProbeKind], _Watch] = field(factory=dict, init=False)

    def watch(self, target: Probed) -> None:
        """Probe the containers that run now and are not probed yet. Cheap for a pod without probes."""
        for container in target.pod.containers:
            if container.readiness is None and container.liveness is None and container.startup is None:
                continue
            known = target.progress.of(container.name)
            if known.running and known.state is not None:
                self._watch_container(target, container, known.state.attempt)

    def forget(self, pod: Pod) -> None:
        """The pod is gone."""
        for container in pod.containers:
            for kind in ProbeKind:
                self._drop(("probe", pod.uid, container.name, kind))

    def _watch_container(self, target: Probed, container: Container, attempt: int) -> None:
        probes = {
            ProbeKind.READINESS: container.readiness,
            ProbeKind.LIVENESS: container.liveness,
            ProbeKind.STARTUP: container.startup,
        }
        for kind, probe in probes.items():
            if probe is None:
                continue
            watch = _Watch(target, container, attempt, kind, probe)
            known = self._watched.get(watch.name)
            if known is not None and known.attempt == attempt and known.target is target:
                continue
            self._watched[watch.name] = watch
            self.timers.set(watch.name, probe.initial_delay_s, lambda w=watch: self._due(w))  # type: ignore[misc]  # mypy cannot infer a lambda with a default

    def _drop(self, name: tuple[str, str, str, ProbeKind]) -> None:
        self._watched.pop(name, None)
        self.timers.cancel(name)

    def _due(self, watch: _Watch) -> None:
        if self._watched.get(watch.name) is not watch:
            return
        if not watch.is_current:
            self._drop(watch.name)
        elif watch.is_held:
            if watch.kind is ProbeKind.STARTUP:
                self._drop(watch.name)
            else:
                self.timers.set(watch.name, min(watch.probe.period_s, 1), lambda: self._due(watch))
        else:
            self.nursery.start_soon(self._check, watch)

    async def _check(self, watch: _Watch) -> None:
        began = trio.current_time()
        target = watch.target
        async with self.limit:
            outcome = await check(self.driver, target.pod.uid, watch.container.name, target.progress.ip, watch.probe)
        if self._watched.get(watch.name) is not watch:
            return
        if outcome is not None and watch.is_current:
            self._learn(watch, outcome)
        delay_s = watch.probe.period_s - (trio.current_time() - began)
        self.timers.set(watch.name, delay_s, lambda: self._due(watch))

    def _learn(self, watch: _Watch, outcome: Outcome) -> None:
        before = watch.count.verdict
        watch.count = watch.count.after(watch.probe, outcome.ok)
        if not outcome.ok:
            watch.target.probe_failed(watch.container.name, watch.kind, outcome)
        if watch.count.verdict is not None and watch.count.verdict != before:
            watch.target.probed(watch.container.name, watch.kind, watch.count.verdict)
