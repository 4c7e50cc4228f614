"""Figures of the requests answered: by operation and code, and how long they took.

Kept in plain dicts, because they are touched by every request; Prometheus's classes are filled when it asks
(`api.admin.metrics`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Final

from attrs import define, field

BUCKETS_S: Final = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)
"""Upper bounds of the latency histogram, in seconds; one more bucket has none."""

_MOST_SERIES = 1000


@define
class Latency:
    """The requests of one operation and code: how many, how long together, how many in each bucket."""

    count: int = 0
    total_s: float = 0.0
    buckets: list[int] = field(factory=lambda: [0] * (len(BUCKETS_S) + 1))


class RequestFigures:
    """What was answered since the process started."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str], Latency] = {}

    def observe(self, operation: str, code: str, seconds: float) -> None:
        """Count one answer. `code` is the error's name, empty for a success."""
        latency = self._series.get((operation, code))
        if latency is None:
            latency = self._new(operation, code)
        latency.count += 1
        latency.total_s += seconds
        latency.buckets[bisect_left(BUCKETS_S, seconds)] += 1

    def series(self) -> Mapping[tuple[str, str], Latency]:
        """The figures by operation and code."""
        return dict(self._series)

    def _new(self, operation: str, code: str) -> Latency:
        """A new series; names that callers invent are counted together."""
        if code == "UnknownOperationException":
            operation = "Unknown"
        if len(self._series) >= _MOST_SERIES:
            operation, code = "Other", "Other"
        return self._series.setdefault((operation, code), Latency())
