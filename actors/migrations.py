"""The schema's history: an ordered list of steps, of which one that has been released is never changed.

A new column is a new step that adds it and fills it from the snapshot: `UPDATE tasks SET x = snapshot->>'$.x'`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import frozen


@frozen
class Migration:
    """The step to a schema version."""

    version: int
    statements: Sequence[str]


MIGRATIONS: Final[Sequence[Migration]] = (
    Migration(
        1,
        (
            "CREATE TABLE schema_version (version INTEGER, applied_at TIMESTAMP WITH TIME ZONE)",
            """CREATE TABLE clusters (
                cluster_arn VARCHAR, cluster_name VARCHAR, status VARCHAR, created_at TIMESTAMP WITH TIME ZONE,
                tags STRUCT(key VARCHAR, value VARCHAR)[], snapshot JSON)""",
            "CREATE TABLE task_definition_families (arn VARCHAR, name VARCHAR, latest_revision BIGINT, snapshot JSON)",
            """CREATE TABLE task_definitions (
                task_definition_arn VARCHAR, family VARCHAR, revision BIGINT, status VARCHAR, network_mode VARCHAR,
                cpu VARCHAR, memory VARCHAR, registered_at TIMESTAMP WITH TIME ZONE,
                deregistered_at TIMESTAMP WITH TIME ZONE, tags STRUCT(key VARCHAR, value VARCHAR)[], snapshot JSON)""",
            """CREATE TABLE services (
                service_arn VARCHAR, service_name VARCHAR, cluster_arn VARCHAR, status VARCHAR, desired_count BIGINT,
                task_definition VARCHAR, launch_type VARCHAR, scheduling_strategy VARCHAR,
                created_at TIMESTAMP WITH TIME ZONE, tags STRUCT(key VARCHAR, value VARCHAR)[], snapshot JSON)""",
            """CREATE TABLE tasks (
                task_arn VARCHAR, cluster_arn VARCHAR, service_arn VARCHAR, task_definition_arn VARCHAR,
                last_status VARCHAR, desired_status VARCHAR, health_status VARCHAR, "group" VARCHAR,
                started_by VARCHAR, launch_type VARCHAR, stop_code VARCHAR, stopped_reason VARCHAR,
                created_at TIMESTAMP WITH TIME ZONE, started_at TIMESTAMP WITH TIME ZONE,
                stopping_at TIMESTAMP WITH TIME ZONE, stopped_at TIMESTAMP WITH TIME ZONE,
                containers STRUCT(name VARCHAR, last_status VARCHAR, exit_code INTEGER, reason VARCHAR,
                health_status VARCHAR)[], snapshot JSON)""",
        ),
    ),
)
