"""Operations on clusters."""

from __future__ import annotations

from api.ecs import names, pages
from api.ecs.context import Context, Members, without
from api.ecs.rendering import joined, missing
from engine import commands
from engine.lifecycle import ClusterStatus

_MOST_DESCRIBED = 100
_EVERYTHING = frozenset({"TAGS", "SETTINGS", "CONFIGURATIONS"})


async def create_cluster(context: Context, members: Members) -> bytes:
    """CreateCluster."""
    arn = names.cluster_arn(context.scope, members.get("cluster_name"))
    given = without(members, "cluster_name")
    seed = context.control_plane.ids.uuid()
    command = commands.CreateCluster(context.scope, seed, names.cluster_name(arn), **given)
    return await _changed(context, "CreateCluster", arn, command)


async def update_cluster(context: Context, members: Members) -> bytes:
    """UpdateCluster."""
    arn = context.active_cluster(members).cluster_arn
    return await _changed(context, "UpdateCluster", arn, commands.UpdateCluster(**without(members, "cluster")))


async def update_cluster_settings(context: Context, members: Members) -> bytes:
    """UpdateClusterSettings."""
    arn = context.active_cluster(members).cluster_arn
    command = commands.UpdateClusterSettings(**without(members, "cluster"))
    return await _changed(context, "UpdateClusterSettings", arn, command)


async def put_cluster_capacity_providers(context: Context, members: Members) -> bytes:
    """PutClusterCapacityProviders."""
    arn = context.active_cluster(members).cluster_arn
    command = commands.PutClusterCapacityProviders(**without(members, "cluster"))
    return await _changed(context, "PutClusterCapacityProviders", arn, command)


async def delete_cluster(context: Context, members: Members) -> bytes:
    """DeleteCluster."""
    arn = context.active_cluster(members).cluster_arn
    return await _changed(context, "DeleteCluster", arn, commands.DeleteCluster())


def describe_clusters(context: Context, members: Members) -> bytes:
    """DescribeClusters: without names, the default cluster."""
    references = names.named("Clusters", members.get("clusters") or (names.DEFAULT_CLUSTER,), _MOST_DESCRIBED)
    include = frozenset(members.get("include", ()))
    found, failures = [], []
    for arn in dict.fromkeys(names.cluster_arn(context.scope, reference) for reference in references):
        cluster = context.views.cluster(arn)
        if cluster is None:
            failures.append(missing(arn))
        else:
            found.append(context.renderer.cluster(cluster, include))
    renderer = context.renderer
    return renderer.response("DescribeClusters", clusters=joined(found), failures=renderer.failures(failures))


def list_clusters(context: Context, members: Members) -> bytes:
    """ListClusters: those that are ACTIVE."""

    def fetch(after: str | None, limit: int) -> list[tuple[str, bool]]:
        clusters = context.views.clusters(context.scope, after, limit)
        return [(cluster.cluster_arn, cluster.status == ClusterStatus.ACTIVE) for cluster in clusters]

    arns, token = pages.filtered(("clusters", context.scope), members, fetch)
    return context.renderer.listing("ListClusters", token, cluster_arns=arns)


async def _changed(context: Context, operation: str, arn: str, command: object) -> bytes:
    cluster = await context.ask_cluster(arn, command)
    return context.renderer.response(operation, cluster=context.renderer.cluster(cluster, _EVERYTHING))
