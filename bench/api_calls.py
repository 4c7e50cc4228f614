"""What a call costs: the server's CPU a request and requests a second, KECS beside moto, in the same run.

CPU is that of every process of the instance (control plane, node, supervisor), so nothing is hidden by moving it.
Writes answer only when durable at KECS; at moto they are durable nowhere. Ratios are moto's figure over KECS's: how
many times less CPU a call costs.
"""

from __future__ import annotations

import json
from typing import Any

from attrs import frozen

from bench.servers import Server

CONTAINERS = [{"name": "main", "image": "busybox", "command": ["sleep", "3600"], "memory": 16, "cpu": 1}]
CALL_SECONDS = 4.0
REQUESTS = 100_000


@frozen
class Call:
    """One measured call: `at_most` is the ratio to moto's CPU that it must not exceed (None: only shown)."""

    name: str
    target: str
    body: str
    connections: int = 16
    at_most: float | None = None


def prepare(server: Server, tasks: int = 100) -> list[str]:
    """One cluster of `tasks` tasks, ten services, twenty families; the ARNs of the tasks."""
    ecs = server.ecs()
    ecs.create_cluster(clusterName="bench")
    for number in range(20):
        ecs.register_task_definition(family=f"family-{number}", containerDefinitions=CONTAINERS)
    for number in range(10):
        ecs.create_service(cluster="bench", serviceName=f"service-{number}", taskDefinition="family-0", desiredCount=0)
    arns: list[str] = []
    for _ in range(tasks // 10):
        answer = ecs.run_task(cluster="bench", taskDefinition="family-1", count=10, **server.run_task_options)
        assert not answer["failures"], answer["failures"]
        arns += [task["taskArn"] for task in answer["tasks"]]
    return arns


def reads(arns: list[str]) -> list[Call]:
    """Every Describe and List."""
    cluster = {"cluster": "bench"}
    services = [f"service-{number}" for number in range(10)]
    eighth, fifteenth = 1 / 8, 1 / 15

    def call(target: str, body: dict[str, Any], *, at_most: float = eighth, name: str | None = None) -> Call:
        return Call(name or target, target, json.dumps(body), at_most=at_most)

    return [
        call("DescribeClusters", {"clusters": ["bench"]}),
        call("ListClusters", {}),
        call("DescribeTaskDefinition", {"taskDefinition": "family-1"}),
        call("ListTaskDefinitions", {}),
        call("ListTaskDefinitionFamilies", {}),
        call("DescribeServices", {**cluster, "services": services[:1]}, name="DescribeServices of 1"),
        call("DescribeServices", {**cluster, "services": services}, name="DescribeServices of 10"),
        call("ListServices", cluster),
        call("DescribeTasks", {**cluster, "tasks": arns[:1]}, name="DescribeTasks of 1"),
        call("DescribeTasks", {**cluster, "tasks": arns[:100]}, at_most=fifteenth, name="DescribeTasks of 100"),
        call("ListTasks", cluster),
        call("ListTagsForResource", {"resourceArn": arns[0].split(":task/")[0] + ":cluster/bench"}),
    ]


WRITES = [
    Call("CreateCluster", "CreateCluster", '{"clusterName":"c{n}"}'),
    Call("CreateCluster, 128 connections", "CreateCluster", '{"clusterName":"d{n}"}', connections=128),
    Call(
        "RegisterTaskDefinition",
        "RegisterTaskDefinition",
        json.dumps({"family": "w", "containerDefinitions": CONTAINERS}),
    ),
    Call(
        "CreateService",
        "CreateService",
        '{"cluster":"bench","serviceName":"s{n}","taskDefinition":"family-0","desiredCount":0}',
    ),
    Call("UpdateService", "UpdateService", '{"cluster":"bench","service":"service-0","desiredCount":0}'),
    Call(
        "TagResource",
        "TagResource",
        '{"resourceArn":"arn:aws:ecs:us-east-1:{account}:cluster/bench","tags":[{"key":"k","value":"{n}"}]}',
    ),
]


def measure(
    server: Server, calls: list[Call], requests: int = REQUESTS, seconds: float = CALL_SECONDS
) -> dict[str, Any]:
    """Every call in turn, after a short warm-up of each."""
    account = server.ecs().describe_clusters(clusters=["bench"])["clusters"][0]["clusterArn"].split(":")[4]
    results = {}
    for number, call in enumerate(calls):
        body = call.body.replace("{account}", account)
        server.load(call.target, body.replace("{n}", f"warm-{number}-{{n}}"), requests=50, seconds=1)
        report = server.load(call.target, body, connections=call.connections, requests=requests, seconds=seconds)
        bad = {status: count for status, count in report["statuses"].items() if status != "200"}
        if bad:
            raise RuntimeError(f"{server.name} answered {call.name} with {bad}")
        results[call.name] = report
    return results


def table(calls: list[Call], ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Rows for people: both figures, the ratio, and whether a bound holds."""
    rows = [
        f"{'call':34} {'kecs ms':>9} {'moto ms':>9} {'times less':>11} {'kecs req/s':>11} {'moto req/s':>11}  bound"
    ]
    for call in calls:
        a, b = ours[call.name], theirs[call.name]
        ratio = b["cpu_ms"] / a["cpu_ms"]
        speed = f"{a['per_second']:11.0f} {b['per_second']:11.0f}"
        rows.append(f"{call.name:34} {a['cpu_ms']:9.3f} {b['cpu_ms']:9.3f} {ratio:11.1f} {speed}  {bound(call, ratio)}")
    return rows


def bound(call: Call, ratio: float) -> str:
    """Whether the call's bound holds, in words."""
    if call.at_most is None:
        return ""
    return f"{'holds' if ratio >= 1 / call.at_most else 'BROKEN'} (≥ {1 / call.at_most:.0f})"
