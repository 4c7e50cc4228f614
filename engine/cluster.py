"""Clusters: their own record, and the tasks that belong to no service."""

from __future__ import annotations

from datetime import datetime

from attrs import field, frozen
from rpds import HashTrieMap

from engine.lifecycle import ClusterStatus
from engine.tags import Tag
from engine.task import Task


@frozen
class ClusterSetting:
    """A setting; the only name AWS has is `containerInsights`."""

    name: str
    value: str


@frozen
class CapacityProviderStrategyItem:
    """A share of a capacity provider strategy."""

    capacity_provider: str
    weight: int = 0
    base: int = 0


@frozen
class Cluster:
    """A cluster's record. Its counts are not here: they are computed from tasks and services when it is read."""

    cluster_arn: str
    cluster_name: str
    status: ClusterStatus = ClusterStatus.ACTIVE
    settings: tuple[ClusterSetting, ...] = ()
    capacity_providers: tuple[str, ...] = ()
    default_capacity_provider_strategy: tuple[CapacityProviderStrategyItem, ...] = ()
    created_at: datetime | None = None
    tags: tuple[Tag, ...] = ()

    @property
    def arn(self) -> str:
        """The record's key."""
        return self.cluster_arn


@frozen
class ClusterState:
    """What a cluster actor owns. `cluster` is None before CreateCluster."""

    cluster: Cluster | None = None
    tasks: HashTrieMap[str, Task] = field(factory=HashTrieMap)  # by task ARN, tasks of no service
