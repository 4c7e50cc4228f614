"""RunTask × 1,000 until all are RUNNING: real processes and simulated, beside a bare loop that starts as many processes
in such namespaces with `unshare`, in the same run.

The bare loop is the yardstick: it gives no addresses, captures no output, keeps no state, answers no API.
"""

from __future__ import annotations

import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench import servers
from bench.api_calls import CONTAINERS

COUNT = 1000


def bare_loop(count: int = COUNT) -> float:
    """Seconds until `count` processes run in network, pid, mount, ipc and uts namespaces of their own. Needs root."""
    began = time.monotonic()
    command = ["unshare", "--net", "--pid", "--mount", "--ipc", "--uts", "--fork", "--kill-child", "sleep", "3600"]
    started = [subprocess.Popen(command) for _ in range(count)]
    try:
        waiting = {process.pid for process in started}
        while waiting:
            waiting = {pid for pid in waiting if not runs_sleep(pid)}
            time.sleep(0.005 if waiting else 0)
        return time.monotonic() - began
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait()


def runs_sleep(parent: int) -> bool:
    """Whether this `unshare` has started its command."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return bool(children) and Path(f"/proc/{children[0]}/comm").read_text() == "sleep\n"


def run_thousand(server: servers.Server, count: int = COUNT) -> dict[str, Any]:
    """Seconds until `count` tasks of RunTask are all RUNNING, and the CPU that took."""
    ecs = server.ecs()
    ecs.create_cluster(clusterName="thousand")
    ecs.register_task_definition(family="sleeper", containerDefinitions=CONTAINERS)
    cpu_before, began = server.cpu_s(), time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        batches = pool.map(
            lambda _: ecs.run_task(cluster="thousand", taskDefinition="sleeper", count=10)["failures"],
            range(count // 10),
        )
        assert not any(batches)
    accepted_s = time.monotonic() - began
    wait_until_running(ecs, "thousand", count)
    return {
        "seconds": time.monotonic() - began,
        "accepted_s": accepted_s,
        "cpu_s": server.cpu_s() - cpu_before,
        "rss_mb": server.rss_mb(),
    }


def wait_until_running(ecs: Any, cluster: str, count: int, deadline_s: float = 300) -> None:
    """Return once `count` tasks of the cluster are RUNNING; TimeoutError after `deadline_s`."""
    give_up_at = time.monotonic() + deadline_s
    while (now := ecs.describe_clusters(clusters=[cluster])["clusters"][0]["runningTasksCount"]) < count:
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"{now} of {count} tasks run after {deadline_s} s")
        time.sleep(0.02)


def measure() -> dict[str, Any]:
    """The yardstick, then both drivers."""
    results: dict[str, Any] = {"bare_loop_s": bare_loop() if os.geteuid() == 0 else None}
    for driver in ("process", "simulated"):
        with servers.kecs("--driver", driver) as server:
            results[driver] = run_thousand(server)
    return results


def table(results: dict[str, Any]) -> list[str]:
    """Rows for people."""
    bare = results["bare_loop_s"]
    rows = [f"bare loop: {bare:.2f} s" if bare else "bare loop: needs root, not measured"]
    for driver in ("process", "simulated"):
        result = results[driver]
        ratio = f", {result['seconds'] / bare:.1f} × the bare loop (bound 7, goal 3.5)" if bare else ""
        rss = " + ".join(f"{value:.0f}" for value in result["rss_mb"].values())
        rows.append(
            f"{driver:10} {result['seconds']:6.2f} s{ratio}; accepted after {result['accepted_s']:.2f} s; "
            f"CPU {result['cpu_s']:.2f} s; RSS of control, node, supervisor {rss} MB"
        )
    return rows


if __name__ == "__main__":
    print("\n".join(table(measure())))
