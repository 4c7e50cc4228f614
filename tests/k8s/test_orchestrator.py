"""The orchestrator against a server whose every answer is written down. What a server does with it is in
tests/contract/test_orchestrator.py."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio
import trio.testing
from attrs import define, field

from engine.arn import Scope
from engine.container_definition import ContainerDefinition, KeyValuePair
from engine.observation import Phase
from engine.port_errors import ConflictError, PortError, RejectedError, UnavailableError
from engine.task import Task
from engine.task_definition import TaskDefinition
from k8s import names
from k8s.client import JsonObject, KubeError, UnreachableError
from k8s.orchestrator import KubernetesOrchestrator, latest_observations

_SCOPE = Scope()
_TASK = Task(_SCOPE.task_arn("default", "a" * 32), _SCOPE.cluster_arn("default"), _SCOPE.task_definition_arn("web", 1))
_DEFINITION = TaskDefinition(
    _TASK.task_definition_arn,
    "web",
    1,
    (ContainerDefinition(name="web", image="x", environment=(KeyValuePair("PASSWORD", "hunter2"),)),),
)
_NAMESPACE = names.namespace(_TASK.cluster_arn, "default")
_POD = f"/api/v1/namespaces/{_NAMESPACE}/pods/{_TASK.task_id}"
_PODS = f"/api/v1/namespaces/{_NAMESPACE}/pods"

MISSING = KubeError(404, "NotFound", "not found")
EXISTS = KubeError(409, "AlreadyExists", "already exists")
TERMINATING = KubeError(403, "Forbidden", "being terminated", {"causes": [{"reason": "NamespaceTerminating"}]})
NO_SERVICE_ACCOUNT = KubeError(403, "Forbidden", 'error looking up service account: serviceaccount "default" not found')

Answer = JsonObject | KubeError


@define
class Api:
    """Answers what `answer(call)` says, where a call is `METHOD path`."""

    answer: Callable[[str], Answer]
    calls: list[str] = field(factory=list)
    bodies: list[Any] = field(factory=list)

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] = {},
        body: object | None = None,
        content_type: str = "application/json",
        timeout_s: float = 30,
    ) -> JsonObject:
        await trio.lowlevel.checkpoint()
        self.calls.append(f"{method} {path}")
        self.bodies.append(body)
        answer = self.answer(f"{method} {path}")
        if isinstance(answer, KubeError):
            raise answer
        return answer

    def stream(
        self,
        path: str,
        *,
        params: Mapping[str, str] = {},
        read_timeout_s: float = 90,
    ) -> AbstractAsyncContextManager[Any]:
        raise AssertionError("no test here watches")


def _scripted(**answers: Sequence[Answer]) -> Api:
    """Answers by method, each list in turn; then its last again."""
    left = {method: list(listed) for method, listed in answers.items()}

    def answer(call: str) -> Answer:
        mine = left[call.split()[0]]
        return mine.pop(0) if len(mine) > 1 else mine[0]

    return Api(answer)


def _orchestrator(api: Api) -> KubernetesOrchestrator:
    return KubernetesOrchestrator(api, "default")


@pytest.fixture
def mock_clock() -> trio.testing.MockClock:
    return trio.testing.MockClock(autojump_threshold=0)


async def test_a_first_task_makes_its_clusters_namespace_and_the_next_does_not() -> None:
    api = _scripted(POST=[{}])
    orchestrator = _orchestrator(api)
    await orchestrator.start_task(_TASK, _DEFINITION)
    await orchestrator.start_task(_TASK, _DEFINITION)
    assert api.calls == ["POST /api/v1/namespaces", f"POST {_PODS}", f"POST {_PODS}"]
    assert api.bodies[0]["metadata"]["labels"][names.INSTANCE] == "default"


async def test_many_first_tasks_at_once_make_one_namespace() -> None:
    api = _scripted(POST=[{}])
    orchestrator = _orchestrator(api)
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(orchestrator.start_task, _TASK, _DEFINITION)
    assert api.calls.count("POST /api/v1/namespaces") == 1


async def test_a_task_that_is_there_already_was_started() -> None:
    await _orchestrator(_scripted(POST=[EXISTS])).start_task(_TASK, _DEFINITION)


async def test_a_namespace_that_somebody_removed_is_made_again(mock_clock: trio.testing.MockClock) -> None:
    api = _scripted(POST=[{}, MISSING, {}, {}])
    await _orchestrator(api).start_task(_TASK, _DEFINITION)
    assert api.calls == ["POST /api/v1/namespaces", f"POST {_PODS}"] * 2


async def test_a_new_namespace_may_wait_for_its_service_account(mock_clock: trio.testing.MockClock) -> None:
    api = _scripted(POST=[{}, NO_SERVICE_ACCOUNT, NO_SERVICE_ACCOUNT, {}])
    await _orchestrator(api).start_task(_TASK, _DEFINITION)
    assert len(api.calls) == 4


async def test_a_service_account_that_never_comes_is_a_conflict(mock_clock: trio.testing.MockClock) -> None:
    with pytest.raises(ConflictError):
        await _orchestrator(_scripted(POST=[{}, NO_SERVICE_ACCOUNT])).start_task(_TASK, _DEFINITION)


async def test_a_namespace_on_its_way_out_is_a_conflict_and_is_looked_at_anew() -> None:
    api = _scripted(POST=[EXISTS, TERMINATING, {}, {}])
    orchestrator = _orchestrator(api)
    with pytest.raises(ConflictError):
        await orchestrator.start_task(_TASK, _DEFINITION)
    await orchestrator.start_task(_TASK, _DEFINITION)
    assert api.calls.count("POST /api/v1/namespaces") == 2


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (UnreachableError("connection refused"), UnavailableError),
        (KubeError(429, "TooManyRequests", "slow down"), UnavailableError),
        (KubeError(500, "InternalError", "etcd"), UnavailableError),
        (KubeError(503, "ServiceUnavailable", "later"), UnavailableError),
        (KubeError(401, "Unauthorized", "who?"), UnavailableError),
        (KubeError(403, "Forbidden", "no rights"), RejectedError),
        (KubeError(422, "Invalid", "spec.containers[0].image: Required value"), RejectedError),
        (KubeError(400, "BadRequest", "what?"), RejectedError),
        (KubeError(413, "RequestEntityTooLarge", "too large"), RejectedError),
        (KubeError(409, "Conflict", "again"), ConflictError),
    ],
)
async def test_refusals_become_port_errors_in_sentences(answer: KubeError, expected: type[PortError]) -> None:
    with pytest.raises(expected) as refused:
        await _orchestrator(_scripted(POST=[{}, answer])).start_task(_TASK, _DEFINITION)
    assert answer.message in refused.value.message
    assert "hunter2" not in refused.value.message


async def test_a_stop_is_a_delete_with_grace() -> None:
    api = _scripted(DELETE=[{}])
    await _orchestrator(api).stop_task(_TASK.task_arn, 90)
    assert (api.calls, api.bodies) == ([f"DELETE {_POD}"], [{"gracePeriodSeconds": 90}])


async def test_a_stop_without_grace_still_lets_the_kubelet_tell_how_it_ended() -> None:
    api = _scripted(DELETE=[{}])
    await _orchestrator(api).stop_task(_TASK.task_arn, 0)
    assert api.bodies == [{"gracePeriodSeconds": 1}]


async def test_what_is_not_there_is_stopped_and_released_and_removed() -> None:
    api = _scripted(DELETE=[MISSING], PATCH=[MISSING], GET=[{"items": []}])
    orchestrator = _orchestrator(api)
    await orchestrator.stop_task(_TASK.task_arn, 30)
    await orchestrator.release_task(_TASK.task_arn)
    await orchestrator.remove_cluster(_TASK.cluster_arn)


async def test_releasing_a_pod_that_waits_only_for_us_is_one_call() -> None:
    deleted = {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 0}}
    api = _scripted(PATCH=[deleted])
    await _orchestrator(api).release_task(_TASK.task_arn)
    assert (api.calls, api.bodies) == ([f"PATCH {_POD}"], [{"metadata": {"finalizers": None}}])


async def test_releasing_a_pod_that_ended_by_itself_deletes_it() -> None:
    api = _scripted(PATCH=[{"metadata": {}}], DELETE=[{}])
    await _orchestrator(api).release_task(_TASK.task_arn)
    assert api.calls == [f"PATCH {_POD}", f"DELETE {_POD}"]
    assert api.bodies[1] == {"gracePeriodSeconds": 0}


async def test_a_removed_cluster_can_be_made_again() -> None:
    api = _scripted(POST=[{}], GET=[{"items": []}], DELETE=[{}])
    orchestrator = _orchestrator(api)
    await orchestrator.start_task(_TASK, _DEFINITION)
    await orchestrator.remove_cluster(_TASK.cluster_arn)
    await orchestrator.start_task(_TASK, _DEFINITION)
    assert api.calls.count("POST /api/v1/namespaces") == 2


async def test_one_namespace_that_cannot_be_removed_fails_the_removal() -> None:
    listed = {"items": [{"metadata": {"name": "one"}}, {"metadata": {"name": "two"}}]}
    api = _scripted(GET=[{"items": []}, listed], DELETE=[UnreachableError("gone")])
    with pytest.raises(UnavailableError):
        await _orchestrator(api).remove_everything()


def _event(kind: str, task_id: str, phase: str, **metadata: str) -> JsonObject:
    annotations = {names.TASK_ARN: _SCOPE.task_arn("default", task_id)}
    found = {"name": task_id, "namespace": _NAMESPACE, "annotations": annotations, **metadata}
    return {"type": kind, "object": {"metadata": found, "spec": {}, "status": {"phase": phase}}}


def test_of_several_events_of_a_task_the_last_counts() -> None:
    events = [_event("ADDED", "a", "Pending"), _event("ADDED", "b", "Pending"), _event("DELETED", "a", "Failed")]
    assert [(one.task_arn[-1], one.phase) for one in latest_observations(events, "default")] == [
        ("b", Phase.ACCEPTED),
        ("a", Phase.GONE),
    ]


def test_a_pod_that_somebody_copied_speaks_for_no_task() -> None:
    copied = _event("ADDED", "a", "Failed", namespace="elsewhere")
    renamed = _event("ADDED", "a", "Failed", name="b")
    assert latest_observations([copied, renamed], "default") == []
