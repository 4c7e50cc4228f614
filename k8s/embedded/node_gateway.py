"""Answers for the containers of a node: logs and exec. Implements `NodeGateway` (see `gateway`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from typing import Protocol

from attrs import frozen

from k8s.embedded.driver import Driver, DriverError, NotRunningError
from k8s.embedded.gateway import ExecRequest, ExecSession, GatewayError, LogRequest
from k8s.embedded.node_logs import LogQuery, read_log
from k8s.embedded.pod_progress import ContainerProgress, Progress
from k8s.embedded.pod_spec import Pod


class Known(Protocol):
    """A pod of the node."""

    @property
    def pod(self) -> Pod:
        """What it asks for."""
        ...

    @property
    def progress(self) -> Progress:
        """What has become of it."""
        ...

    is_gone: bool


@frozen
class PodLogsAndExec:
    """Logs and exec for the pods in `pods` (by uid)."""

    driver: Driver
    pods: Mapping[str, Known]

    def named(self, namespace: str, name: str) -> Known | None:
        """The pod of this name, if the node has it."""
        return next((k for k in self.pods.values() if (k.pod.namespace, k.pod.name) == (namespace, name)), None)

    @asynccontextmanager
    async def read_log(self, request: LogRequest) -> AsyncIterator[AsyncIterator[bytes]]:
        """See `NodeGateway`."""
        uid, container = request.pod_uid, request.container
        attempt = self._attempt(request)
        query = LogQuery(request.tail_lines, request.since, request.timestamps, request.limit_bytes, request.follow)

        def is_over() -> bool:
            known = self.pods.get(uid)
            if known is None or known.is_gone:
                return True
            state = known.progress.of(container).state
            return not known.progress.of(container).running or state is None or state.attempt != attempt

        async with aclosing(read_log(self.driver.log_path(uid, container, attempt), query, is_over)) as pieces:
            yield pieces

    def _attempt(self, request: LogRequest) -> int:
        container = self._container(request.pod_uid, request.pod, request.container)
        if request.previous:
            ended = container.previous
            if ended is None:
                raise _bad_request(
                    f'previous terminated container "{request.container}" in pod "{request.pod}" not found'
                )
            return ended.attempt
        if container.state is None or not (container.running or container.exited):
            raise _bad_request(
                f'container "{request.container}" in pod "{request.pod}" is waiting to start: ContainerCreating'
            )
        return container.state.attempt

    def exec(self, request: ExecRequest) -> AbstractAsyncContextManager[ExecSession]:
        """See `NodeGateway`."""
        return self._exec(request)

    @asynccontextmanager
    async def _exec(self, request: ExecRequest) -> AsyncIterator[ExecSession]:
        container = self._container(request.pod_uid, request.pod, request.container)
        if not container.running:
            raise _bad_request(f'container "{request.container}" in pod "{request.pod}" is not running')
        session = self.driver.exec(
            request.pod_uid,
            request.container,
            request.command,
            stdin=request.stdin,
            stdout=request.stdout,
            stderr=request.stderr,
            tty=request.tty,
        )
        async with AsyncExitStack() as stack:
            try:
                opened = await stack.enter_async_context(session)
            except NotRunningError as error:
                raise _bad_request(error.message) from error
            except DriverError as error:
                raise GatewayError(500, "InternalError", error.message) from error
            yield opened

    def _container(self, uid: str, pod: str, name: str) -> ContainerProgress:
        known = self.pods.get(uid)
        if known is None:
            raise GatewayError(404, "NotFound", f'pod "{pod}" is not on this node (yet)')
        if name not in (c.name for c in (*known.pod.init_containers, *known.pod.containers)):
            raise _bad_request(f"container {name} is not valid for pod {pod}")
        return known.progress.of(name)


def _bad_request(message: str) -> GatewayError:
    return GatewayError(400, "BadRequest", message)
