"""ARNs and the identity they carry: partition, region and account are part of every name.

Source: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-account-settings.html#ecs-resource-arn-timeline
(the long format: tasks and services carry their cluster's name).
"""

from __future__ import annotations

import re

from attrs import frozen

DEFAULT_ACCOUNT = "000000000000"
DEFAULT_REGION = "us-east-1"

_ARN = re.compile(r"arn:(aws[a-z-]*):ecs:([a-z0-9-]+):(\d{12}):([a-z-]+)/(.+)", re.ASCII)


@frozen
class Scope:
    """The account and region a request is made in. Nothing is shared between two scopes."""

    account: str = DEFAULT_ACCOUNT
    region: str = DEFAULT_REGION

    @property
    def partition(self) -> str:
        """The AWS partition this region belongs to."""
        if self.region.startswith("cn-"):
            return "aws-cn"
        return "aws-us-gov" if self.region.startswith("us-gov-") else "aws"

    @property
    def principal(self) -> str:
        """Who makes the requests of this scope: its credentials name an account and nobody in it, so its root."""
        return f"arn:{self.partition}:iam::{self.account}:root"

    def arn(self, kind: str, resource: str) -> str:
        """The ARN of an ECS resource, `kind/resource`, in this scope."""
        return f"arn:{self.partition}:ecs:{self.region}:{self.account}:{kind}/{resource}"

    def cluster_arn(self, name: str) -> str:
        """`arn:aws:ecs:region:account:cluster/name`."""
        return self.arn("cluster", name)

    def service_arn(self, cluster: str, name: str) -> str:
        """`arn:aws:ecs:region:account:service/cluster/name`."""
        return self.arn("service", f"{cluster}/{name}")

    def task_arn(self, cluster: str, task_id: str) -> str:
        """`arn:aws:ecs:region:account:task/cluster/id`; the id is 32 hex digits."""
        return self.arn("task", f"{cluster}/{task_id}")

    def container_arn(self, cluster: str, task_id: str, container_id: str) -> str:
        """`arn:aws:ecs:region:account:container/cluster/task/uuid`."""
        return self.arn("container", f"{cluster}/{task_id}/{container_id}")

    def task_definition_arn(self, family: str, revision: int) -> str:
        """`arn:aws:ecs:region:account:task-definition/family:revision`."""
        return self.arn("task-definition", f"{family}:{revision}")


@frozen
class Arn:
    """A parsed ECS ARN. `kind` is `cluster`, `service`, `task`, `task-definition`, ...; `path` is what follows it."""

    scope: Scope
    kind: str
    path: tuple[str, ...]

    @property
    def name(self) -> str:
        """The last part of the resource: a cluster's or service's name, a task's id, `family:revision`."""
        return self.path[-1]

    def __str__(self) -> str:
        return self.scope.arn(self.kind, "/".join(self.path))


def parse_arn(text: str) -> Arn | None:
    """The ARN in `text`, or None when it is not an ECS ARN."""
    match = _ARN.fullmatch(text)
    if match is None:
        return None
    _, region, account, kind, resource = match.groups()
    return Arn(Scope(account, region), kind, tuple(resource.split("/")))


def cluster_arn_of(arn: str) -> str:
    """The ARN of the cluster that a service, task or container ARN (long format) belongs to.

    Raises ValueError for an ARN that names no cluster.
    """
    parsed = parse_arn(arn)
    if parsed is None or (parsed.kind != "cluster" and len(parsed.path) < 2):
        raise ValueError(f"no cluster in {arn!r}")
    return parsed.scope.cluster_arn(parsed.path[0])


def short_name(arn_or_name: str) -> str:
    """The last part of an ARN, or the text itself when it is a bare name."""
    return arn_or_name.rsplit("/", 1)[-1]
