"""Prometheus's view of the process, gathered when it asks.

Nothing is counted here: requests come from `api.metrics`, actors from their reports, tasks from the read model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

import psutil
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from api.metrics import BUCKETS_S, Latency, RequestFigures

if TYPE_CHECKING:
    from actors.instance import ControlPlane


CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
Collect: TypeAlias = Callable[[], Iterable[Metric]]


def collector(control_plane: ControlPlane, figures: RequestFigures) -> Collect:
    """What gathers every metric of the process."""
    process = psutil.Process()

    def collect() -> Iterator[Metric]:
        yield from _requests(figures)
        yield from _actors(control_plane)
        yield _tasks(control_plane)
        yield from _process(process)

    return collect


def exposition(collect: Collect) -> bytes:
    """The metrics in Prometheus's text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(collect))
    return generate_latest(registry)


class _Collected(Collector):
    def __init__(self, collect: Collect) -> None:
        self._collect = collect

    def collect(self) -> Iterable[Metric]:
        return self._collect()

    def describe(self) -> Iterable[Metric]:
        return ()


def _requests(figures: RequestFigures) -> Iterator[Metric]:
    answered = CounterMetricFamily("kecs_requests", "AWS requests answered.", labels=["operation", "code"])
    latency = HistogramMetricFamily("kecs_request_seconds", "Time from request to answer.", labels=["operation"])
    by_operation: dict[str, Latency] = {}
    for (operation, code), series in sorted(figures.series().items()):
        answered.add_metric([operation, code or "OK"], series.count)
        total = by_operation.setdefault(operation, Latency())
        total.total_s += series.total_s
        total.buckets = [a + b for a, b in zip(total.buckets, series.buckets, strict=True)]
    for operation, series in by_operation.items():
        latency.add_metric([operation], _cumulative(series), series.total_s)
    yield answered
    yield latency


def _cumulative(series: Latency) -> list[tuple[str, float]]:
    buckets, seen = [], 0
    for bound, count in zip([*(str(bound) for bound in BUCKETS_S), "+Inf"], series.buckets, strict=True):
        seen += count
        buckets.append((bound, float(seen)))
    return buckets


def _actors(control_plane: ControlPlane) -> Iterator[Metric]:
    alive = GaugeMetricFamily("kecs_actors", "Living actors.", labels=["kind"])
    depth = GaugeMetricFamily("kecs_mailbox_messages", "Messages waiting in mailboxes.", labels=["kind"])
    deepest = GaugeMetricFamily("kecs_mailbox_messages_max", "Messages in the fullest mailbox.", labels=["kind"])
    turns = CounterMetricFamily("kecs_actor_turns", "Turns taken by the living actors.", labels=["kind"])
    restarts = CounterMetricFamily("kecs_actor_restarts", "Restarts of the living actors.", labels=["kind"])
    reports = control_plane.inspect()
    for kind in sorted({report.kind for report in reports}):
        members = [report for report in reports if report.kind == kind]
        alive.add_metric([kind], len(members))
        depth.add_metric([kind], sum(report.mailbox_depth for report in members))
        deepest.add_metric([kind], max(report.mailbox_depth for report in members))
        turns.add_metric([kind], sum(report.turns for report in members))
        restarts.add_metric([kind], sum(report.restarts for report in members))
    return iter((alive, depth, deepest, turns, restarts))


def _tasks(control_plane: ControlPlane) -> Metric:
    tasks = GaugeMetricFamily("kecs_tasks", "Tasks remembered, by lastStatus.", labels=["status"])
    for status, count in sorted(Counter(str(task.last_status) for task in control_plane.views.tasks()).items()):
        tasks.add_metric([status], count)
    return tasks


def _process(process: psutil.Process) -> Iterator[Metric]:
    with process.oneshot():
        times, memory = process.cpu_times(), process.memory_info()
        yield CounterMetricFamily("process_cpu_seconds", "CPU time used.", value=times.user + times.system)
        yield GaugeMetricFamily("process_resident_memory_bytes", "Resident memory.", value=memory.rss)
        yield GaugeMetricFamily("process_start_time_seconds", "Start, since 1970.", value=process.create_time())
        yield GaugeMetricFamily("process_threads", "Threads.", value=process.num_threads())
