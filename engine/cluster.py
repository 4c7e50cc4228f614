"""Clusters: their own record, and the tasks that belong to no service."""

from __future__ import annotations

from datetime import datetime

from attrs import field, frozen
from rpds import HashTrieMap

from engine.lifecycle import ClusterStatus
from engine.tags import Tag
from engine.task import Task
from engine.task_definition import TaskDefinition


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
class ExecuteCommandLogConfiguration:
    """Where the sessions of ECS Exec are logged: stored and returned."""

    cloud_watch_log_group_name: str | None = None
    cloud_watch_encryption_enabled: bool | None = None
    s3_bucket_name: str | None = None
    s3_encryption_enabled: bool | None = None
    s3_key_prefix: str | None = None


@frozen
class ExecuteCommandConfiguration:
    """Options of ECS Exec for a cluster."""

    kms_key_id: str | None = None
    logging: str | None = None
    log_configuration: ExecuteCommandLogConfiguration | None = None


@frozen
class ManagedStorageConfiguration:
    """Encryption keys of managed storage: stored and returned."""

    kms_key_id: str | None = None
    fargate_ephemeral_storage_kms_key_id: str | None = None


@frozen
class ClusterConfiguration:
    """A cluster's `configuration`."""

    execute_command_configuration: ExecuteCommandConfiguration | None = None
    managed_storage_configuration: ManagedStorageConfiguration | None = None


@frozen
class ClusterServiceConnectDefaults:
    """The Cloud Map namespace that Service Connect uses by default: stored and returned."""

    namespace: str | None = None


@frozen
class Cluster:
    """A cluster's record. Its counts are not here: they are computed from tasks and services when it is read."""

    cluster_arn: str
    cluster_name: str
    configuration: ClusterConfiguration | None = None
    status: ClusterStatus = ClusterStatus.ACTIVE
    settings: tuple[ClusterSetting, ...] = ()
    capacity_providers: tuple[str, ...] = ()
    default_capacity_provider_strategy: tuple[CapacityProviderStrategyItem, ...] = ()
    service_connect_defaults: ClusterServiceConnectDefaults | None = None
    tags: tuple[Tag, ...] = ()
    # KECS's own, not part of the API's shape:
    created_at: datetime | None = None
    deleted_at: datetime | None = None
    id_seed: str = ""  # what the ids of its tasks are derived from

    @property
    def arn(self) -> str:
        """The record's key."""
        return self.cluster_arn


@frozen
class ClientToken:
    """What a client token of RunTask stands for: one request, and the tasks that it started."""

    request_digest: str
    task_arns: tuple[str, ...]


@frozen
class ClusterState:
    """What a cluster actor owns. `cluster` is None before CreateCluster, and once a deleted one is forgotten.

    `task_definitions` holds those of tasks that the orchestrator has not shown yet, so that they can be asked for
    again. `client_tokens` is an index over `tasks`. Both are made from records by `cluster_turn.restore`.
    """

    cluster: Cluster | None = None
    tasks: HashTrieMap[str, Task] = field(factory=HashTrieMap)  # by task ARN, tasks of no service
    task_definitions: HashTrieMap[str, TaskDefinition] = field(factory=HashTrieMap)  # by ARN
    client_tokens: HashTrieMap[str, ClientToken] = field(factory=HashTrieMap)
