"""What reads see: the committed records, and indexes over them.

Plain synchronous calls that touch neither disk nor mailbox, and never show what a crash could undo. Counts are sizes
of indexes, so they cannot drift from the tasks. A page costs the page, not the collection it is taken from: lists
take `after` (the last key of the page before) and `limit`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from attrs import frozen
from sortedcontainers import SortedDict, SortedList

from actors.task_definition_views import TaskDefinitionViews, scope_key, scope_of
from engine.arn import Scope
from engine.cluster import Cluster
from engine.decision import Forget, Record
from engine.lifecycle import DesiredStatus, ServiceStatus, TaskStatus
from engine.service import Service
from engine.task import Task
from engine.task_definition import Family, TaskDefinition, TaskDefinitionStatus

_PENDING = frozenset({TaskStatus.PROVISIONING, TaskStatus.PENDING, TaskStatus.ACTIVATING})


@frozen
class TaskCounts:
    """Tasks whose lastStatus is RUNNING, and tasks on their way there."""

    running: int
    pending: int


@frozen
class ClusterCounts:
    """A cluster's computed counts, as DescribeClusters returns them."""

    running_tasks: int
    pending_tasks: int
    active_services: int


@frozen
class TaskFilter:
    """ListTasks' filters. None means any, except that one desired status is always looked at."""

    desired_status: DesiredStatus = DesiredStatus.RUNNING
    family: str | None = None
    service_name: str | None = None
    started_by: str | None = None
    launch_type: str | None = None
    container_instance: str | None = None


class _Index:
    """Keys in order, by what they are listed under. A list that becomes empty is dropped."""

    def __init__(self) -> None:
        self._lists: dict[tuple[str, ...], SortedList[str]] = {}

    def add(self, under: tuple[str, ...], key: str) -> None:
        keys = self._lists.get(under)
        if keys is None:
            keys = self._lists[under] = SortedList()
        keys.add(key)

    def remove(self, under: tuple[str, ...], key: str) -> None:
        keys = self._lists[under]
        keys.remove(key)
        if not keys:
            del self._lists[under]

    def get(self, under: tuple[str, ...]) -> SortedList[str]:
        return self._lists.get(under) or _NO_KEYS


_NO_KEYS: SortedList[str] = SortedList()


class Views:
    """The committed records. Only the instance applies records; everyone may read."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Show nothing any more."""
        self._clusters: dict[str, Cluster] = {}
        self._services: dict[str, Service] = {}
        self._tasks: dict[str, Task] = {}
        self._scopes: defaultdict[str, SortedDict[str, Cluster]] = defaultdict(SortedDict)
        self._cluster_services: defaultdict[str, SortedDict[str, Service]] = defaultdict(SortedDict)
        self._active_services: defaultdict[str, set[str]] = defaultdict(set)
        self._service_tasks: defaultdict[str, set[str]] = defaultdict(set)
        self._running: defaultdict[str, set[str]] = defaultdict(set)  # by cluster, service and deployment
        self._pending: defaultdict[str, set[str]] = defaultdict(set)
        self._pages = _Index()
        self._task_definitions = TaskDefinitionViews()

    # reads: clusters and services

    def cluster(self, cluster_arn: str) -> Cluster | None:
        """The cluster with this ARN, ACTIVE or INACTIVE."""
        return self._clusters.get(cluster_arn)

    def clusters(self, scope: Scope, after: str | None = None, limit: int | None = None) -> Sequence[Cluster]:
        """The clusters of an account in a region, ACTIVE and INACTIVE, in the order of their ARNs."""
        return _page(self._scopes.get(scope_key(scope)), after, limit)

    def service(self, service_arn: str) -> Service | None:
        """The service with this ARN, in any status."""
        return self._services.get(service_arn)

    def services(self, cluster_arn: str, after: str | None = None, limit: int | None = None) -> Sequence[Service]:
        """A cluster's services in any status, in the order of their ARNs."""
        return _page(self._cluster_services.get(cluster_arn), after, limit)

    def counts(self, cluster_arn: str) -> ClusterCounts:
        """A cluster's computed counts."""
        return ClusterCounts(
            len(self._running.get(cluster_arn, ())),
            len(self._pending.get(cluster_arn, ())),
            len(self._active_services.get(cluster_arn, ())),
        )

    def service_counts(self, service_arn: str) -> TaskCounts:
        """A service's running and pending tasks."""
        return TaskCounts(len(self._running.get(service_arn, ())), len(self._pending.get(service_arn, ())))

    def deployment_counts(self, deployment_id: str) -> TaskCounts:
        """A deployment's running and pending tasks. Deployment ids are unique in an instance."""
        return self.service_counts(deployment_id)

    # reads: tasks

    def task(self, task_arn: str) -> Task | None:
        """The task with this ARN, while it is remembered."""
        return self._tasks.get(task_arn)

    def tasks(self) -> Iterable[Task]:
        """All remembered tasks, in no particular order."""
        return self._tasks.values()

    def service_tasks(self, service_arn: str) -> Sequence[Task]:
        """A service's remembered tasks, in no particular order."""
        return [self._tasks[arn] for arn in self._service_tasks.get(service_arn, ())]

    def task_page(
        self, cluster_arn: str, chosen: TaskFilter, after: str | None = None, limit: int = 100
    ) -> tuple[Sequence[str], str | None]:
        """A page of task ARNs in order, and what to pass as `after` for the next page (None: there is none)."""
        wanted = _filter_keys(cluster_arn, chosen)
        lists = sorted((self._pages.get(key) for key in wanted), key=len)
        found = _above(lists[0], after)
        if len(wanted) > 1:
            found = (arn for arn in found if wanted <= set(_page_keys(self._tasks[arn])))
        page = list(islice(found, limit + 1))
        return (page[:limit], page[limit - 1]) if len(page) > limit else (page, None)

    # reads: task definitions

    def task_definition(self, task_definition_arn: str) -> TaskDefinition | None:
        """The revision with this ARN, in any status."""
        return self._task_definitions.by_arn.get(task_definition_arn)

    def latest_active(self, scope: Scope, family: str) -> TaskDefinition | None:
        """The highest ACTIVE revision of a family."""
        return self._task_definitions.latest_active(scope, family)

    def families(
        self,
        scope: Scope,
        prefix: str = "",
        status: TaskDefinitionStatus | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> Sequence[str]:
        """Family names in order: ACTIVE (an ACTIVE revision), INACTIVE (revisions, none ACTIVE), or None for all."""
        return self._task_definitions.families(scope, prefix, status, after, limit)

    def task_definitions(
        self,
        scope: Scope,
        family: str | None = None,
        status: TaskDefinitionStatus = TaskDefinitionStatus.ACTIVE,
        descending: bool = False,
        after: str | None = None,
        limit: int | None = None,
    ) -> Sequence[str]:
        """ARNs of task definitions in one status, by family and then by revision."""
        return self._task_definitions.arns(scope, family, status, descending, after, limit)

    # the write

    def apply(self, records: Iterable[Record]) -> None:
        """Make committed records visible."""
        for record in records:
            match record:
                case Task():
                    self._put_task(record.task_arn, self._tasks.get(record.task_arn), record)
                case Service():
                    self._put_service(record)
                case Cluster():
                    self._clusters[record.cluster_arn] = record
                    self._scopes[scope_of(record.cluster_arn)][record.cluster_arn] = record
                case TaskDefinition():
                    self._task_definitions.put(record)
                case Family():
                    pass
                case Forget():
                    self._forget(record.arn)

    def _forget(self, arn: str) -> None:
        if (task := self._tasks.get(arn)) is not None:
            self._put_task(arn, task, None)
        elif (service := self._services.pop(arn, None)) is not None:
            _drop(self._active_services, service.cluster_arn, arn)
            _drop_item(self._cluster_services, service.cluster_arn, arn)
        elif self._clusters.pop(arn, None) is not None:
            _drop_item(self._scopes, scope_of(arn), arn)
        else:
            self._task_definitions.forget(arn)

    def _put_service(self, new: Service) -> None:
        arn = new.service_arn
        self._services[arn] = new
        self._cluster_services[new.cluster_arn][arn] = new
        if new.status == ServiceStatus.ACTIVE:
            self._active_services[new.cluster_arn].add(arn)
        else:
            _drop(self._active_services, new.cluster_arn, arn)

    def _put_task(self, arn: str, old: Task | None, new: Task | None) -> None:
        if new is None:
            del self._tasks[arn]
        else:
            self._tasks[arn] = new
        before = _page_keys(old) if old is not None else ()
        after = _page_keys(new) if new is not None else ()
        if before != after:
            for key in before:
                self._pages.remove(key, arn)
            for key in after:
                self._pages.add(key, arn)
        self._count(arn, old, new)
        if new is not None and old is None and new.service_arn is not None:
            self._service_tasks[new.service_arn].add(arn)
        elif old is not None and new is None and old.service_arn is not None:
            _drop(self._service_tasks, old.service_arn, arn)

    def _count(self, arn: str, old: Task | None, new: Task | None) -> None:
        if old is not None and (new is None or old.last_status != new.last_status):
            for owner in _owners(old):
                _drop(self._running, owner, arn)
                _drop(self._pending, owner, arn)
        if new is not None and (old is None or old.last_status != new.last_status):
            counted = self._running if new.last_status == TaskStatus.RUNNING else self._pending
            if new.last_status == TaskStatus.RUNNING or new.last_status in _PENDING:
                for owner in _owners(new):
                    counted[owner].add(arn)


def _page_keys(task: Task) -> tuple[tuple[str, ...], ...]:
    """What a task is listed under: for each filter it satisfies, the cluster, its desired status and the value."""
    head = (task.cluster_arn, task.desired_status)
    keys: list[tuple[str, ...]] = [head, (*head, "family", _family(task))]
    if task.service_arn is not None:
        keys.append((*head, "service", task.service_arn.rsplit("/", 1)[-1]))
    if task.started_by is not None:
        keys.append((*head, "started_by", task.started_by))
    if task.launch_type is not None:
        keys.append((*head, "launch_type", task.launch_type))
    if task.container_instance_arn is not None:
        keys.append((*head, "container_instance", task.container_instance_arn))
    return tuple(keys)


def _filter_keys(cluster_arn: str, chosen: TaskFilter) -> set[tuple[str, ...]]:
    """What a task that passes the filter is listed under."""
    head = (cluster_arn, chosen.desired_status)
    values = {
        "family": chosen.family,
        "service": chosen.service_name,
        "started_by": chosen.started_by,
        "launch_type": chosen.launch_type,
        "container_instance": chosen.container_instance,
    }
    return {(*head, name, value) for name, value in values.items() if value is not None} or {head}


def _family(task: Task) -> str:
    return task.task_definition_arn.rsplit("/", 1)[-1].rpartition(":")[0]


def _owners(task: Task) -> tuple[str, ...]:
    """What a task is counted for."""
    return tuple(key for key in (task.cluster_arn, task.service_arn, task.deployment_id) if key is not None)


def _above(keys: SortedList[str], after: str | None) -> Iterator[str]:
    return iter(keys) if after is None else keys.irange(after, inclusive=(False, True))


_R = TypeVar("_R")


def _page(records: SortedDict[str, _R] | None, after: str | None, limit: int | None) -> Sequence[_R]:
    if records is None:
        return ()
    if after is None and limit is None:
        return list(records.values())
    keys = records.irange(after, inclusive=(False, True))
    return [records[key] for key in islice(keys, limit)]


def _drop(sets: dict[str, set[str]], owner: str, key: str) -> None:
    """Take a key out of an owner's set, and an empty set out of the whole."""
    keys = sets.get(owner)
    if keys is not None:
        keys.discard(key)
        if not keys:
            del sets[owner]


def _drop_item(records: dict[str, SortedDict[str, _R]], owner: str, key: str) -> None:
    del records[owner][key]
    if not records[owner]:
        del records[owner]
