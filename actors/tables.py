"""The tables of the store: AWS's nouns as typed columns for people to query, and the snapshot that KECS reads.

Columns are taken from the snapshot's JSON by name, inside DuckDB, so the two cannot disagree. There are no keys and
no constraints: the one writer deletes and inserts by ARN, and foreign keys would forbid changing a referenced row.
A change here needs a migration (see `actors.migrations`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final

import orjson
from attrs import define

from actors.codec import Stored
from engine.cluster import Cluster
from engine.service import Service
from engine.task import Task
from engine.task_definition import Family, TaskDefinition

_TIME = "TIMESTAMP WITH TIME ZONE"
_TAGS = "STRUCT(key VARCHAR, value VARCHAR)[]"
_CONTAINERS = "STRUCT(name VARCHAR, last_status VARCHAR, exit_code INTEGER, reason VARCHAR, health_status VARCHAR)[]"
_SHAPES: Final[Mapping[str, object]] = {  # how from_json writes the types that are no plain words
    _TAGS: [{"key": "VARCHAR", "value": "VARCHAR"}],
    _CONTAINERS: [
        {
            "name": "VARCHAR",
            "last_status": "VARCHAR",
            "exit_code": "INTEGER",
            "reason": "VARCHAR",
            "health_status": "VARCHAR",
        }
    ],
}


@define(frozen=True, slots=False)
class Table:
    """A table of records. `columns` are fields of the record: name → DuckDB type; `key` is the one with its ARN."""

    name: str
    record: type[Stored]
    key: str
    columns: Mapping[str, str]

    @cached_property
    def delete(self) -> str:
        """Delete by ARN. Parameter: a list of ARNs."""
        return f"DELETE FROM {self.name} WHERE {self.key} IN (SELECT unnest(?))"

    @cached_property
    def insert(self) -> str:
        """Insert snapshots. Parameter: a list of JSON texts."""
        shape = orjson.dumps({name: _SHAPES.get(kind, kind) for name, kind in self.columns.items()}).decode()
        names = ", ".join(f'"{name}"' for name in self.columns)
        return (
            f"INSERT INTO {self.name} ({names}, snapshot) SELECT unnest(fields), snapshot FROM "
            f"(SELECT snapshot, from_json(snapshot, '{shape}') AS fields FROM (SELECT unnest(?)::JSON AS snapshot))"
        )


CLUSTERS: Final = Table(
    "clusters",
    Cluster,
    "cluster_arn",
    {"cluster_arn": "VARCHAR", "cluster_name": "VARCHAR", "status": "VARCHAR", "created_at": _TIME, "tags": _TAGS},
)
FAMILIES: Final = Table(
    "task_definition_families", Family, "arn", {"arn": "VARCHAR", "name": "VARCHAR", "latest_revision": "BIGINT"}
)
TASK_DEFINITIONS: Final = Table(
    "task_definitions",
    TaskDefinition,
    "task_definition_arn",
    {
        "task_definition_arn": "VARCHAR",
        "family": "VARCHAR",
        "revision": "BIGINT",
        "status": "VARCHAR",
        "network_mode": "VARCHAR",
        "cpu": "VARCHAR",
        "memory": "VARCHAR",
        "registered_at": _TIME,
        "deregistered_at": _TIME,
        "tags": _TAGS,
    },
)
SERVICES: Final = Table(
    "services",
    Service,
    "service_arn",
    {
        "service_arn": "VARCHAR",
        "service_name": "VARCHAR",
        "cluster_arn": "VARCHAR",
        "status": "VARCHAR",
        "desired_count": "BIGINT",
        "task_definition": "VARCHAR",
        "launch_type": "VARCHAR",
        "scheduling_strategy": "VARCHAR",
        "created_at": _TIME,
        "tags": _TAGS,
    },
)
TASKS: Final = Table(
    "tasks",
    Task,
    "task_arn",
    {
        "task_arn": "VARCHAR",
        "cluster_arn": "VARCHAR",
        "service_arn": "VARCHAR",
        "task_definition_arn": "VARCHAR",
        "last_status": "VARCHAR",
        "desired_status": "VARCHAR",
        "health_status": "VARCHAR",
        "group": "VARCHAR",
        "started_by": "VARCHAR",
        "launch_type": "VARCHAR",
        "stop_code": "VARCHAR",
        "stopped_reason": "VARCHAR",
        "created_at": _TIME,
        "started_at": _TIME,
        "stopping_at": _TIME,
        "stopped_at": _TIME,
        "containers": _CONTAINERS,
    },
)
TABLES: Final[Sequence[Table]] = (CLUSTERS, FAMILIES, TASK_DEFINITIONS, SERVICES, TASKS)
_TABLE_OF: Final = {table.record: table for table in TABLES}
_TABLE_OF_KIND: Final = {"cluster": CLUSTERS, "service": SERVICES, "task": TASKS}


def table_of(record: Stored) -> Table:
    """The table that keeps a record."""
    return _TABLE_OF[type(record)]


def table_of_arn(arn: str) -> Table:
    """The table that keeps the record with this ARN. A family's ARN is a task definition's without the revision."""
    kind, _, name = arn.split(":", 5)[5].partition("/")
    if kind == "task-definition":
        return TASK_DEFINITIONS if ":" in name else FAMILIES
    return _TABLE_OF_KIND[kind]
