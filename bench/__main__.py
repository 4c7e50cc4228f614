"""`python -m bench`: every figure of KECS beside its yardstick, in one run; prints tables, writes bench/out/.

python -m bench            # everything: about six minutes on two cores
python -m bench --quick    # a tenth of the load: to see that it works, not to quote
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path
from typing import Any

from bench import api_calls, plot, servers, thousand

OUT = Path(__file__).with_name("out")


def api_costs(seconds: float) -> dict[str, Any]:
    """Each call on both servers, and ListTasks again among 10,000 tasks."""
    results: dict[str, Any] = {"reads": {}, "writes": {}, "ready_s": {}}
    for start in (servers.moto, lambda: servers.kecs("--driver", "simulated")):
        with start() as server:
            results["ready_s"][server.name] = server.ready_s
            arns = api_calls.prepare(server)
            results["reads"][server.name] = api_calls.measure(server, api_calls.reads(arns), seconds=seconds)
            results["writes"][server.name] = api_calls.measure(server, api_calls.WRITES, seconds=seconds)
            if server.name == "kecs":
                results["list_tasks"] = list_tasks_at_scale(server, seconds)
                results["rss_mb"] = server.rss_mb()
    return results


def list_tasks_at_scale(server: servers.Server, seconds: float) -> dict[str, float]:
    """CPU ms of one page of ListTasks among 100 tasks and among 10,000, in clusters of the same server."""
    ecs = server.ecs()
    costs = {}
    for size in (100, 10_000):
        cluster = f"of-{size}"
        ecs.create_cluster(clusterName=cluster)
        for _ in range(size // 10):
            ecs.run_task(cluster=cluster, taskDefinition="family-1", count=10)
        thousand.wait_until_running(ecs, cluster, size)
        body = json.dumps({"cluster": cluster})
        costs[str(size)] = server.load("ListTasks", body, requests=api_calls.REQUESTS, seconds=seconds)["cpu_ms"]
    return costs


def report(results: dict[str, Any]) -> list[str]:
    """Everything, for people."""
    api, arns = results["api"], ["arn:aws:ecs:us-east-1:000000000000:task/bench/0"]
    ready, scale = api["ready_s"], api["list_tasks"]
    reads, writes = api["reads"], api["writes"]
    durable = writes["kecs"]["CreateCluster, 128 connections"]["per_second"]
    volatile = writes["moto"]["CreateCluster, 128 connections"]["per_second"]
    return [
        f"machine: {results['machine']}",
        "",
        f"start to ready: kecs {ready['kecs']:.2f} s, moto {ready['moto']:.2f} s: "
        f"{ready['kecs'] / ready['moto']:.2f} × (bound 2)",
        "",
        *api_calls.table(api_calls.reads(arns), reads["kecs"], reads["moto"]),
        *api_calls.table(api_calls.WRITES, writes["kecs"], writes["moto"]),
        "",
        f"ListTasks among 10,000 tasks: {scale['10000']:.3f} ms, among 100: {scale['100']:.3f} ms: "
        f"{scale['10000'] / scale['100']:.2f} × (bound 1.2)",
        f"durable writes a second at 128 connections: {durable:.0f}, {durable / volatile:.1f} × moto's (bound 8)",
        f"RSS of control, node, supervisor: {' + '.join(f'{mb:.0f}' for mb in api['rss_mb'].values())} MB",
        "",
        f"RunTask × {thousand.COUNT}",
        *thousand.table(results["thousand"]),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    seconds = 0.4 if parser.parse_args().quick else api_calls.CALL_SECONDS
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    results = {"machine": machine, "api": api_costs(seconds), "thousand": thousand.measure()}
    OUT.mkdir(exist_ok=True)
    text = "\n".join(report(results))
    (OUT / "results.json").write_text(json.dumps(results, indent=1))
    (OUT / "report.txt").write_text(text + "\n")
    print(text)
    print(f"\nplot: {plot.draw(results, OUT / 'bench.png')}")


if __name__ == "__main__":
    main()
