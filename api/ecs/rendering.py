"""Records as the bytes of their JSON: each is rendered once and kept while it stays the same object.

State is immutable, so identity tells whether a kept rendering is current. A `Describe` then joins bytes. The counts of
clusters and services are no part of their records: a rendering that shows them is kept with the counts it shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from operator import attrgetter
from typing import Any

import attrs
import orjson

from actors.views import ClusterCounts, TaskCounts, Views
from api.ecs.statistics import statistics
from api.protocol.json_protocol import Writers
from api.protocol.model import ServiceModel, snake
from engine.cluster import Cluster
from engine.commands import Failure
from engine.service import Deployment, Service
from engine.task import Task
from engine.task_definition import TaskDefinition

MISSING = "MISSING"
MANAGED_BY = "CUSTOMER"  # a service's `resourceManagementType`; ECS manages Express services only
_KEPT = 20_000


class Kept:
    """Renderings by key, each with what it was made from. Holds at most `_KEPT`; the oldest goes first."""

    def __init__(self) -> None:
        self._kept: dict[Any, tuple[Any, Any, bytes]] = {}

    def get(self, key: Any, record: Any, computed: Any, render: Callable[[], bytes]) -> bytes:
        """The rendering of `record` with `computed` (compared by value) beside it."""
        kept = self._kept.get(key)
        if kept is not None and kept[0] is record and kept[1] == computed:
            return kept[2]
        body = render()
        if len(self._kept) >= _KEPT and key not in self._kept:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = (record, computed, body)
        return body


class Renderer:
    """Renders the records of ECS. One for the process: what it keeps is shared by all requests."""

    def __init__(self, model: ServiceModel, views: Views) -> None:
        writers = Writers(model)
        self._views = views
        self._write_task = writers.writer("Task")
        self._write_service = writers.writer("Service")
        self._write_cluster = writers.writer("Cluster")
        self._write_task_definition = writers.writer("TaskDefinition")
        self._write_tag = writers.writer("Tag")
        self._write_failure = writers.writer("Failure")
        self._outputs = {
            name: {
                snake(member): orjson.dumps(member) + b":"
                for member in model.shapes[model.output_shape(name)]["members"]
            }
            for name in model.operations
        }
        self._kept = Kept()
        self._tasks: dict[tuple[str, bool], tuple[Task, bytes]] = {}

    def task(self, task: Task, tags: bool) -> bytes:
        """A `Task`; its tags are an empty list unless they are asked for."""
        key = (task.task_arn, tags)
        kept = self._tasks.get(key)
        if kept is not None and kept[0] is task:
            return kept[1]
        written = self._write_task(task)
        if not tags:
            written["tags"] = []
        body = orjson.dumps(written)
        if len(self._tasks) >= _KEPT and kept is None:
            del self._tasks[next(iter(self._tasks))]
        self._tasks[key] = (task, body)
        return body

    def task_definition(self, definition: TaskDefinition) -> bytes:
        """A `TaskDefinition`; its tags are a member of the responses, not of it."""
        key = definition.task_definition_arn
        return self._kept.get(key, definition, None, lambda: orjson.dumps(self._write_task_definition(definition)))

    def service(self, service: Service, tags: bool) -> bytes:
        """A `Service` with its present counts; tags only when they are asked for."""
        views = self._views
        counts = (
            views.service_counts(service.service_arn),
            [views.deployment_counts(deployment.id) for deployment in service.deployments],
        )
        return self._kept.get(
            (service.service_arn, tags), service, counts, lambda: self._render_service(service, tags, *counts)
        )

    def _render_service(self, service: Service, tags: bool, total: TaskCounts, each: Sequence[TaskCounts]) -> bytes:
        record = _fields(service)
        record["running_count"], record["pending_count"] = total.running, total.pending
        record["deployments"] = [_deployment(*pair) for pair in zip(service.deployments, each, strict=True)]
        record["resource_management_type"] = MANAGED_BY
        if not tags:
            record["tags"] = None
        return orjson.dumps(self._write_service(record))

    def cluster(self, cluster: Cluster, include: frozenset[str]) -> bytes:
        """A `Cluster` with its present counts. `include` as in DescribeClusters."""
        counts = self._views.counts(cluster.cluster_arn)
        figures = self._statistics(cluster) if "STATISTICS" in include else []
        return self._kept.get(
            (cluster.cluster_arn, include),
            cluster,
            (counts, figures),
            lambda: self._render_cluster(cluster, include, counts, figures),
        )

    def _render_cluster(
        self, cluster: Cluster, include: frozenset[str], counts: ClusterCounts, figures: Sequence[Mapping[str, str]]
    ) -> bytes:
        record = _fields(cluster)
        record |= {
            "registered_container_instances_count": 0,
            "running_tasks_count": counts.running_tasks,
            "pending_tasks_count": counts.pending_tasks,
            "active_services_count": counts.active_services,
            "statistics": figures,
        }
        if "TAGS" not in include:
            record["tags"] = ()
        if "SETTINGS" not in include:
            record["settings"] = ()
        if "CONFIGURATIONS" not in include:
            record["configuration"] = None
        return orjson.dumps(self._write_cluster(record))

    def _statistics(self, cluster: Cluster) -> list[dict[str, str]]:
        figures = statistics(self._views, cluster.cluster_arn)
        return [{"name": name, "value": str(value)} for name, value in figures.items()]

    def response(self, operation: str, **members: bytes | None) -> bytes:
        """The operation's output from its rendered members; None leaves a member out."""
        names = self._outputs[operation]
        return b"{" + b",".join([names[name] + body for name, body in members.items() if body is not None]) + b"}"

    def listing(self, operation: str, token: str | None, **members: Sequence[str]) -> bytes:
        """The output of a `List` operation: one list of names or ARNs, and the next page's token if there is one."""
        rendered = {name: orjson.dumps(values) for name, values in members.items()}
        return self.response(operation, **rendered, next_token=None if token is None else orjson.dumps(token))

    def tags(self, tags: Iterable[Any]) -> bytes:
        """A list of `Tag`."""
        return orjson.dumps([self._write_tag(tag) for tag in tags])

    def failures(self, failures: Iterable[Failure]) -> bytes:
        """A list of `Failure`."""
        return orjson.dumps([self._write_failure(failure) for failure in failures])


def missing(arn: str) -> Failure:
    """What a `Describe` answers for something that does not exist."""
    return Failure(arn=arn, reason=MISSING)


def joined(bodies: Sequence[bytes]) -> bytes:
    """A JSON list of rendered elements."""
    return b"[" + b",".join(bodies) + b"]"


def _fields(record: attrs.AttrsInstance) -> dict[str, Any]:
    names, read = _reader(type(record))
    return dict(zip(names, read(record), strict=True))


@cache
def _reader(kind: type[attrs.AttrsInstance]) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:
    """The names of all fields, and what reads them at once."""
    names = tuple(field.name for field in attrs.fields(kind))
    return names, attrgetter(*names)


def _deployment(deployment: Deployment, counts: TaskCounts) -> dict[str, Any]:
    return _fields(deployment) | {"running_count": counts.running, "pending_count": counts.pending}
