"""Ports of the host that lead to pods: one listener a `hostPort`, which copies bytes to the pod and back."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from typing import Final

import trio
from attrs import define, field

from k8s.embedded.pod_spec import HostPort, Pod

log = logging.getLogger(__name__)

_CHUNK: Final = 65536
_CONNECT_TIMEOUT_S: Final = 10.0


class PortTakenError(Exception):
    """A host port cannot be given to the pod; the message says which and why."""


@define
class HostPorts:
    """The host ports of a node's pods. Listens on `bind`, unless a pod names an address of its own."""

    nursery: trio.Nursery
    bind: str = "127.0.0.1"
    connections: int = 256  # at once, for each port; more wait in the listener's queue
    _scopes: dict[str, trio.CancelScope] = field(factory=dict, init=False)

    async def open(self, pod: Pod, pod_ip: Callable[[], str]) -> None:
        """Take the pod's ports. All of them are open when this returns; raises PortTakenError and takes none."""
        if not pod.host_ports or pod.uid in self._scopes:
            return
        listeners: list[tuple[HostPort, trio.SocketListener]] = []
        try:
            for port in pod.host_ports:
                listeners.append((port, await self._listen(port)))  # noqa: PERF401 - one that fails closes those before it
        except BaseException:
            for _, listener in listeners:
                listener.socket.close()
            raise
        scope = self._scopes[pod.uid] = trio.CancelScope()
        self.nursery.start_soon(self._serve, scope, listeners, pod_ip)

    def close(self, uid: str) -> None:
        """Give the pod's ports back and break its connections. A pod without ports is no error."""
        if (scope := self._scopes.pop(uid, None)) is not None:
            scope.cancel()

    async def _listen(self, port: HostPort) -> trio.SocketListener:
        if port.protocol != "TCP":
            raise PortTakenError(f"host port {port.port}: only TCP ports can be opened on this host")
        host = port.address or self.bind
        try:
            return (await trio.open_tcp_listeners(port.port, host=host))[0]
        except OSError as error:
            why = "it is in use" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
            raise PortTakenError(f"host port {port.port} cannot be opened on {host}: {why}") from error

    async def _serve(
        self,
        scope: trio.CancelScope,
        listeners: list[tuple[HostPort, trio.SocketListener]],
        pod_ip: Callable[[], str],
    ) -> None:
        with scope:
            async with trio.open_nursery() as nursery:
                for port, listener in listeners:
                    nursery.start_soon(self._accept, port, listener, pod_ip)

    async def _accept(self, port: HostPort, listener: trio.SocketListener, pod_ip: Callable[[], str]) -> None:
        limit = trio.CapacityLimiter(self.connections)
        async with listener, trio.open_nursery() as nursery:
            while True:
                token = object()
                await limit.acquire_on_behalf_of(token)
                try:
                    stream = await listener.accept()
                except OSError as error:  # out of file descriptors, a peer that is gone already
                    limit.release_on_behalf_of(token)
                    log.warning("host port %d: %s", port.port, error)
                    await trio.sleep(0.1)
                    continue
                nursery.start_soon(_connect, stream, pod_ip(), port.container_port, limit, token)


async def _connect(stream: trio.SocketStream, ip: str, port: int, limit: trio.CapacityLimiter, token: object) -> None:
    try:
        async with stream:
            with trio.move_on_after(_CONNECT_TIMEOUT_S) as connecting:
                other = await trio.open_tcp_stream(ip, port)
            if connecting.cancelled_caught:
                return
            async with other, trio.open_nursery() as nursery:
                nursery.start_soon(_copy, stream, other)
                nursery.start_soon(_copy, other, stream)
    except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    finally:
        limit.release_on_behalf_of(token)


async def _copy(source: trio.SocketStream, sink: trio.SocketStream) -> None:
    while data := await source.receive_some(_CHUNK):
        await sink.send_all(data)
    await sink.send_eof()
