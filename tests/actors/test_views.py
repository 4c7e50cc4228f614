"""Views are what a look at all committed records would give, after any sequence of records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from time import perf_counter

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from actors.views import ClusterCounts, TaskCounts, TaskFilter, Views
from engine.arn import Scope
from engine.decision import Forget, Record
from engine.lifecycle import DesiredStatus, ServiceStatus, TaskStatus
from engine.service import Service
from engine.task import Task
from engine.task_definition import TaskDefinition, TaskDefinitionStatus
from tests.actors.records import SCOPE, a_cluster, a_definition, a_family, a_service, a_task

CLUSTERS = ("default", "other")
SERVICES = ("web", "api")
FAMILIES = ("web", "web-2", "api")
PENDING = {TaskStatus.PROVISIONING, TaskStatus.PENDING, TaskStatus.ACTIVATING}

cluster_names = st.sampled_from(CLUSTERS)
tasks = st.builds(
    lambda number, last_status, desired_status: evolve(
        a_task(
            number,
            cluster=CLUSTERS[number % 2],
            service=(None, *SERVICES)[number % 3],
            family=FAMILIES[number % 3],
            last_status=last_status,
        ),
        desired_status=desired_status,
        started_by=(None, "me")[number % 2],
        launch_type=("EC2", "FARGATE")[number // 2 % 2],
    ),
    st.integers(0, 11),
    st.sampled_from(TaskStatus),
    st.sampled_from([DesiredStatus.RUNNING, DesiredStatus.STOPPED]),
)
services = st.builds(
    lambda name, cluster, status: evolve(a_service(name, cluster), status=status),
    st.sampled_from(SERVICES),
    cluster_names,
    st.sampled_from(ServiceStatus),
)
definitions = st.builds(
    lambda family, revision, status: evolve(a_definition(family, revision), status=status),
    st.sampled_from(FAMILIES),
    st.integers(1, 11),
    st.sampled_from(TaskDefinitionStatus),
)
written = st.one_of(tasks, services, definitions, st.builds(a_cluster, cluster_names), st.builds(a_family))
records = st.one_of(written, written, st.builds(lambda record: Forget(record.arn), written))


class Remembered:
    """The records themselves, looked through from end to end."""

    def __init__(self, applied: Iterable[Record]) -> None:
        held: dict[str, Record] = {}
        for record in applied:
            if isinstance(record, Forget):
                held.pop(record.arn, None)
            else:
                held[record.arn] = record
        self.tasks = [each for each in held.values() if isinstance(each, Task)]
        self.services = [each for each in held.values() if isinstance(each, Service)]
        self.definitions = [each for each in held.values() if isinstance(each, TaskDefinition)]

    def counts(self, belongs: Callable[[Task], bool]) -> TaskCounts:
        mine = [task.last_status for task in self.tasks if belongs(task)]
        return TaskCounts(
            sum(status == TaskStatus.RUNNING for status in mine), sum(status in PENDING for status in mine)
        )

    def page(self, cluster_arn: str, chosen: TaskFilter) -> list[str]:
        wanted = {
            "desired_status": chosen.desired_status,
            "started_by": chosen.started_by,
            "launch_type": chosen.launch_type,
        }
        return sorted(
            task.task_arn
            for task in self.tasks
            if task.cluster_arn == cluster_arn
            and all(value is None or getattr(task, name) == value for name, value in wanted.items())
            and (chosen.family is None or f"/{chosen.family}:" in task.task_definition_arn)
            and (chosen.service_name is None or (task.service_arn or "").endswith(f"/{chosen.service_name}"))
        )


def viewed(batches: Sequence[Sequence[Record]]) -> tuple[Views, Remembered]:
    views = Views()
    for batch in batches:
        views.apply(batch)
    return views, Remembered(record for batch in batches for record in batch)


def all_pages(views: Views, cluster_arn: str, chosen: TaskFilter, limit: int) -> list[str]:
    found: list[str] = []
    after: str | None = None
    while True:
        page, after = views.task_page(cluster_arn, chosen, after, limit)
        assert len(page) <= limit
        found.extend(page)
        if after is None:
            return found
        assert len(page) == limit


filters = st.builds(
    TaskFilter,
    desired_status=st.sampled_from([DesiredStatus.RUNNING, DesiredStatus.STOPPED]),
    family=st.sampled_from([None, *FAMILIES]),
    service_name=st.sampled_from([None, *SERVICES]),
    started_by=st.sampled_from([None, "me", "nobody"]),
    launch_type=st.sampled_from([None, "EC2", "FARGATE"]),
)
batches = st.lists(st.lists(records, max_size=5), max_size=30)


@given(batches, filters, st.integers(1, 4))
def test_pages_are_what_passes_the_filter(applied: list[list[Record]], chosen: TaskFilter, limit: int) -> None:
    views, remembered = viewed(applied)
    for name in CLUSTERS:
        arn = SCOPE.cluster_arn(name)
        assert all_pages(views, arn, chosen, limit) == remembered.page(arn, chosen)


@given(batches)
def test_counts_are_computed_from_the_tasks(applied: list[list[Record]]) -> None:
    views, remembered = viewed(applied)
    for name in CLUSTERS:
        arn = SCOPE.cluster_arn(name)
        counts = remembered.counts(lambda task, arn=arn: task.cluster_arn == arn)  # type: ignore[misc]  # bound early
        active = sum(each.cluster_arn == arn and each.status == ServiceStatus.ACTIVE for each in remembered.services)
        assert views.counts(arn) == ClusterCounts(counts.running, counts.pending, active)
        for service in SERVICES:
            its = SCOPE.service_arn(name, service)
            mine = remembered.counts(lambda task, its=its: task.service_arn == its)  # type: ignore[misc]  # bound early
            assert views.service_counts(its) == mine
            held = {task.task_arn for task in remembered.tasks if task.service_arn == its}
            assert {task.task_arn for task in views.service_tasks(its)} == held
    for service in SERVICES:
        deployment = f"ecs-svc/{service}"
        mine = remembered.counts(lambda task, deployment=deployment: task.deployment_id == deployment)  # type: ignore[misc]  # bound early
        assert views.deployment_counts(deployment) == mine


@given(batches)
def test_single_records_are_the_latest(applied: list[list[Record]]) -> None:
    views, remembered = viewed(applied)
    assert {task.task_arn: task for task in views.tasks()} == {task.task_arn: task for task in remembered.tasks}
    for service in remembered.services:
        assert views.service(service.service_arn) is service
    for name in CLUSTERS:
        arn = SCOPE.cluster_arn(name)
        mine = sorted(each.service_arn for each in remembered.services if each.cluster_arn == arn)
        assert [service.service_arn for service in views.services(arn)] == mine
        assert [service.service_arn for service in views.services(arn, after=mine[0] if mine else None)] == mine[1:]


@given(batches, st.sampled_from(TaskDefinitionStatus), st.sampled_from([None, *FAMILIES]), st.booleans())
def test_task_definitions_are_listed_by_family_and_revision(
    applied: list[list[Record]], status: TaskDefinitionStatus, family: str | None, descending: bool
) -> None:
    views, remembered = viewed(applied)
    mine = [each for each in remembered.definitions if each.status == status and family in (None, each.family)]
    mine.sort(key=lambda each: (each.family, each.revision), reverse=descending)
    arns = [each.task_definition_arn for each in mine]
    assert views.task_definitions(SCOPE, family, status, descending) == arns
    for index, arn in enumerate(arns):
        assert (
            views.task_definitions(SCOPE, family, status, descending, after=arn, limit=2) == arns[index + 1 : index + 3]
        )


@given(batches, st.sampled_from(["", "w", "web", "web-", "x"]))
def test_families_are_listed_by_whether_a_revision_is_active(applied: list[list[Record]], prefix: str) -> None:
    views, remembered = viewed(applied)
    every = {each.family for each in remembered.definitions}
    active = {each.family for each in remembered.definitions if each.status == TaskDefinitionStatus.ACTIVE}
    for status, names in (
        (None, every),
        (TaskDefinitionStatus.ACTIVE, active),
        (TaskDefinitionStatus.INACTIVE, every - active),
    ):
        expected = sorted(name for name in names if name.startswith(prefix))
        assert views.families(SCOPE, prefix, status) == expected
        for name in expected:
            assert views.families(SCOPE, prefix, status, after=name) == [one for one in expected if one > name]
    for family in FAMILIES:
        revisions = [
            each.revision
            for each in remembered.definitions
            if each.family == family and each.status == TaskDefinitionStatus.ACTIVE
        ]
        latest = views.latest_active(SCOPE, family)
        assert (latest.revision if latest else None) == max(revisions, default=None)


def test_scopes_are_kept_apart() -> None:
    elsewhere = Scope("111111111111", "eu-west-1")
    views = Views()
    views.apply([a_cluster(), a_cluster(scope=elsewhere), a_definition(), a_definition(scope=elsewhere)])
    assert [cluster.cluster_arn for cluster in views.clusters(elsewhere)] == [elsewhere.cluster_arn("default")]
    assert views.task_definitions(elsewhere) == [elsewhere.task_definition_arn("web", 1)]
    assert views.clusters(Scope("222222222222")) == ()


def test_a_page_among_ten_thousand_tasks_costs_what_it_costs_among_a_hundred() -> None:
    def page_s(tasks: int) -> float:
        views = Views()
        views.apply(a_task(number, service="web") for number in range(tasks))
        arn, chosen = SCOPE.cluster_arn("default"), TaskFilter(family="web")
        after = views.task_page(arn, chosen, None, tasks // 2)[1]

        def once() -> float:
            began = perf_counter()
            for _ in range(20):
                assert len(views.task_page(arn, chosen, after, 40)[0]) == 40
            return perf_counter() - began

        return min(once() for _ in range(30))

    assert page_s(10_000) < 2 * page_s(100)  # 1.0 on a quiet machine; a page that looked at all would be 100
