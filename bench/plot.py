"""One picture of a run: CPU a request, KECS beside moto, and the thousand tasks beside the bare loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot


def draw(results: dict[str, Any], path: Path) -> Path:
    """Write a PNG and return its path."""
    calls = {**results["api"]["reads"]["moto"], **results["api"]["writes"]["moto"]}
    ours = {**results["api"]["reads"]["kecs"], **results["api"]["writes"]["kecs"]}
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(13, 7), width_ratios=(3, 1))
    names = list(calls)[::-1]
    rows = range(len(names))
    left.barh(
        [row + 0.2 for row in rows], [calls[name]["cpu_ms"] for name in names], 0.4, label="moto", color="#c9a26d"
    )
    left.barh([row - 0.2 for row in rows], [ours[name]["cpu_ms"] for name in names], 0.4, label="kecs", color="#2f6f9f")
    left.set_yticks(rows, names)
    left.set_xscale("log")
    left.set_xlabel("server CPU a request, ms (log)")
    left.legend()
    thousand = results["thousand"]
    bars = {
        "bare loop": thousand["bare_loop_s"] or 0.0,
        "processes": thousand["process"]["seconds"],
        "simulated": thousand["simulated"]["seconds"],
    }
    right.bar(list(bars), list(bars.values()), color=["#999999", "#2f6f9f", "#7fb2d6"])
    right.set_ylabel("seconds until 1,000 tasks are RUNNING")
    figure.suptitle(results["machine"])
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    return path
