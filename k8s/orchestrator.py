"""Tasks run as pods: the actors' orchestrator port, on any Kubernetes API server.

One reflector follows the pods of the whole instance; every call is one or two requests that may be repeated. It keeps
no tasks: what is true is in the API server. It never logs a pod's spec, which has the environment in it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import trio

from engine.arn import cluster_arn_of
from engine.observation import TaskObservation
from engine.port_errors import ConflictError, PortError, RejectedError, UnavailableError
from engine.task import Task
from engine.task_definition import TaskDefinition
from k8s import names, pods
from k8s.client import MERGE_PATCH, JsonObject, KubeClient, KubeError, UnreachableError
from k8s.pod_status import observation
from k8s.reflector import Reflector

log = logging.getLogger(__name__)

ObservationSink = Callable[[Sequence[TaskObservation], bool, datetime], None]

NEW_NAMESPACE_S: Final = 10
"""How long a new namespace may take to accept pods: its service account is made by a controller, later."""

_ALL_PODS: Final = "/api/v1/pods"
_NAMESPACES: Final = "/api/v1/namespaces"


class KubernetesOrchestrator:
    """The orchestrator port (`actors.ports.Orchestrator`), for one instance's pods among any others in the server."""

    def __init__(
        self, client: KubeClient, instance: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._client = client
        self._instance = instance
        self._now = now
        self._namespaces: set[str] = set()  # known to exist
        self._creating = trio.Lock()
        self._selector = {"labelSelector": names.selector(instance)}

    async def run(
        self, observe: ObservationSink, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Tell `observe` of every pod until cancelled; `started` once the first complete list has been told."""

        def on_list(listed: Sequence[JsonObject], asked_at: datetime) -> None:
            observe(
                [seen for pod in listed if (seen := task_observation(pod, self._instance)) is not None], True, asked_at
            )

        def on_events(events: Sequence[JsonObject]) -> None:
            if latest := latest_observations(events, self._instance):
                observe(latest, False, self._now())

        reflector = Reflector(self._client, _ALL_PODS, on_list, on_events, params=self._selector, now=self._now)
        await reflector.run(task_status)

    async def start_task(self, task: Task, task_definition: TaskDefinition) -> None:
        """Create the task's pod, and before it its cluster's namespace. One that is there already is fine."""
        pod = pods.pod(task, task_definition, self._instance)
        namespace = pod["metadata"]["namespace"]
        with trio.move_on_after(NEW_NAMESPACE_S):
            while True:
                await self._ensure_namespace(namespace, task.cluster_arn)
                try:
                    await self._client.request("POST", f"{_NAMESPACES}/{namespace}/pods", body=pod)
                    return
                except KubeError as error:
                    if error.reason == "AlreadyExists":
                        return
                    if error.status == 404:
                        self._namespaces.discard(namespace)
                    elif not _waits_for_service_account(error):
                        self._namespaces.discard(namespace)
                        raise _port_error(error, f"task {task.task_id}") from error
                await trio.sleep(0.05)
        raise ConflictError(f"namespace {namespace} does not accept pods yet")

    async def stop_task(self, task_arn: str, grace_s: int) -> None:
        """Ask for the pod's end. A pod that is not there is fine.

        The grace is at least a second: with 0 a kubelet is not asked, and nothing would tell how the containers ended.
        """
        await self._ignoring_missing(
            "DELETE", self._pod_path(task_arn), {"gracePeriodSeconds": max(1, grace_s)}, "stop a task"
        )

    async def release_task(self, task_arn: str) -> None:
        """Let the pod go: without its finalizer it vanishes, at once where nothing else holds it."""
        path = self._pod_path(task_arn)
        without = {"metadata": {"finalizers": None}}
        pod = await self._ignoring_missing("PATCH", path, without, "release a task", MERGE_PATCH)
        if pod is None:
            return
        metadata = pod.get("metadata") or {}
        if "deletionTimestamp" not in metadata or metadata.get("deletionGracePeriodSeconds") != 0:
            await self._ignoring_missing("DELETE", path, {"gracePeriodSeconds": 0}, "release a task")

    async def remove_cluster(self, cluster_arn: str) -> None:
        """Delete the cluster's namespace with all that is in it."""
        namespace = names.namespace(cluster_arn, self._instance)
        self._namespaces.discard(namespace)
        await self._release_all(f"{_NAMESPACES}/{namespace}/pods")
        await self._ignoring_missing("DELETE", f"{_NAMESPACES}/{namespace}", None, "remove a cluster")

    async def remove_everything(self) -> None:
        """Delete all that the instance has, at once, and return when its pods are gone. Raises only PortError."""
        self._namespaces.clear()
        with trio.move_on_after(30):
            while await self._release_all(_ALL_PODS):  # noqa: ASYNC110  an API server has no event to wait for
                await trio.sleep(0.02)
            listed = await self._ask("GET", _NAMESPACES, None, "list the namespaces", params=self._selector)
            paths = [f"{_NAMESPACES}/{namespace['metadata']['name']}" for namespace in listed["items"]]
            await _side_by_side(
                partial(self._ignoring_missing, "DELETE", path, None, "remove a namespace") for path in paths
            )
            return
        raise UnavailableError("the pods of this instance are still there after 30 seconds")

    async def _release_all(self, path: str) -> int:
        """Release every pod of ours in a list; how many there were."""
        listed = await self._ask("GET", path, None, "list the pods", params=self._selector)
        tasks = [
            seen.task_arn for pod in listed["items"] if (seen := task_observation(pod, self._instance)) is not None
        ]
        await _side_by_side(partial(self.release_task, task_arn) for task_arn in tasks)
        return len(tasks)

    async def _ensure_namespace(self, namespace: str, cluster_arn: str) -> None:
        if namespace in self._namespaces:
            return
        async with self._creating:
            if namespace in self._namespaces:
                return
            body = {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {
                    "name": namespace,
                    "labels": {names.MANAGED_BY: "kecs", names.INSTANCE: names.label_value(self._instance)},
                    "annotations": {names.CLUSTER_ARN: cluster_arn},
                },
            }
            try:
                await self._client.request("POST", _NAMESPACES, body=body)
            except KubeError as error:
                if error.reason != "AlreadyExists":
                    raise _port_error(error, f"the namespace of {cluster_arn}") from error
            self._namespaces.add(namespace)

    def _pod_path(self, task_arn: str) -> str:
        namespace = names.namespace(cluster_arn_of(task_arn), self._instance)
        return f"{_NAMESPACES}/{namespace}/pods/{names.pod_name(task_arn)}"

    async def _ignoring_missing(
        self, method: str, path: str, body: object | None, what: str, content_type: str = "application/json"
    ) -> JsonObject | None:
        try:
            return await self._client.request(method, path, body=body, content_type=content_type)
        except KubeError as error:
            # 409: what is to be deleted is being deleted already (a terminating namespace says so).
            if error.status == 404 or (error.status == 409 and method == "DELETE"):
                return None
            raise _port_error(error, what) from error

    async def _ask(
        self, method: str, path: str, body: object | None, what: str, params: Mapping[str, str]
    ) -> JsonObject:
        try:
            return await self._client.request(method, path, params=params, body=body)
        except KubeError as error:
            raise _port_error(error, what) from error


async def _side_by_side(calls: Iterable[Callable[[], Awaitable[object]]]) -> None:
    """Make all calls, each whatever becomes of the others; then raise the first PortError, if there was one."""
    failures: list[PortError] = []

    async def make(call: Callable[[], Awaitable[object]]) -> None:
        try:
            await call()
        except PortError as error:
            failures.append(error)

    async with trio.open_nursery() as nursery:
        for call in calls:
            nursery.start_soon(make, call)
    if failures:
        raise failures[0]


def task_observation(pod: JsonObject, instance: str, deleted: bool = False) -> TaskObservation | None:
    """What a pod tells of its task. A copy that somebody made in another namespace is nobody's task."""
    seen = observation(pod, deleted)
    if seen is None or pod["metadata"].get("namespace") != names.namespace(cluster_arn_of(seen.task_arn), instance):
        return None
    return seen


def latest_observations(events: Iterable[JsonObject], instance: str) -> list[TaskObservation]:
    """The newest observation of each task, in the order in which the tasks were last seen."""
    latest: dict[str, TaskObservation] = {}
    for event in events:
        seen = task_observation(event["object"], instance, deleted=event["type"] == "DELETED")
        if seen is not None:
            latest.pop(seen.task_arn, None)
            latest[seen.task_arn] = seen
    return list(latest.values())


def _waits_for_service_account(error: KubeError) -> bool:
    return error.status == 403 and "serviceaccount" in error.message


def _port_error(error: KubeError, what: str) -> PortError:
    """Whose turn it is to act, and a sentence. What Kubernetes rejects, it would reject again."""
    if isinstance(error, UnreachableError):
        return UnavailableError(error.message)
    sentence = f"Kubernetes refused {what} with {error.status} {error.reason}: {error.message}"
    causes: Sequence[Mapping[str, Any]] = error.details.get("causes") or ()
    if any(cause.get("reason") == "NamespaceTerminating" for cause in causes) or error.status in (404, 409):
        return ConflictError(sentence)
    if error.status in (401, 408, 410, 429) or error.status >= 500:
        return UnavailableError(sentence)
    return RejectedError(sentence)
