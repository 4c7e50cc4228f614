"""Requests that tests begin with."""

from __future__ import annotations

from typing import Any

from tests.api.oracle import Client

CONTAINER: dict[str, Any] = {"name": "app", "image": "busybox", "memory": 64, "command": ["sleep", "60"]}


async def a_cluster(call: Client, name: str = "default") -> str:
    """The ARN of a new cluster."""
    made = await call("CreateCluster", clusterName=name)
    arn: str = made["cluster"]["clusterArn"]
    return arn


async def a_task_definition(call: Client, family: str = "web", **members: Any) -> str:
    """The ARN of a new revision."""
    members.setdefault("containerDefinitions", [CONTAINER])
    made = await call("RegisterTaskDefinition", family=family, **members)
    arn: str = made["taskDefinition"]["taskDefinitionArn"]
    return arn


async def a_task(call: Client, family: str = "web", **members: Any) -> str:
    """The ARN of a new task of no service."""
    made = await call("RunTask", taskDefinition=family, **members)
    arn: str = made["tasks"][0]["taskArn"]
    return arn


async def a_service(call: Client, name: str = "web", count: int = 2, **members: Any) -> str:
    """The ARN of a new service."""
    made = await call("CreateService", serviceName=name, taskDefinition="web", desiredCount=count, **members)
    arn: str = made["service"]["serviceArn"]
    return arn
