"""The operation table: every operation of the ECS model that KECS answers. Both servers answer from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from api.ecs import clusters, services, tags, task_definitions, tasks
from api.ecs.context import Read, Write

READS: Final[Mapping[str, Read]] = {
    "DescribeClusters": clusters.describe_clusters,
    "DescribeServices": services.describe_services,
    "DescribeTaskDefinition": task_definitions.describe_task_definition,
    "DescribeTasks": tasks.describe_tasks,
    "ListClusters": clusters.list_clusters,
    "ListServices": services.list_services,
    "ListTagsForResource": tags.list_tags_for_resource,
    "ListTaskDefinitionFamilies": task_definitions.list_task_definition_families,
    "ListTaskDefinitions": task_definitions.list_task_definitions,
    "ListTasks": tasks.list_tasks,
}
"""Operations that only look at what is committed: answered at once."""

WRITES: Final[Mapping[str, Write]] = {
    "CreateCluster": clusters.create_cluster,
    "CreateService": services.create_service,
    "DeleteCluster": clusters.delete_cluster,
    "DeleteService": services.delete_service,
    "DeleteTaskDefinitions": task_definitions.delete_task_definitions,
    "DeregisterTaskDefinition": task_definitions.deregister_task_definition,
    "PutClusterCapacityProviders": clusters.put_cluster_capacity_providers,
    "RegisterTaskDefinition": task_definitions.register_task_definition,
    "RunTask": tasks.run_task,
    "StopTask": tasks.stop_task,
    "TagResource": tags.tag_resource,
    "UntagResource": tags.untag_resource,
    "UpdateCluster": clusters.update_cluster,
    "UpdateClusterSettings": clusters.update_cluster_settings,
    "UpdateService": services.update_service,
}
"""Operations that ask an actor, and wait until what it decided is durable."""
