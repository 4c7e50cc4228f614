"""The node's process: a container driver and a node on it; with the embedded runtime the Kubernetes API server as well.

`python -m cli.serve_node FOLDER`. Told to stop, it ends every task and leaves nothing behind; killed, it leaves the
tasks running, and the next one adopts them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio
from attrs import frozen

from cli.components import NODE
from cli.instances import Instance, Ports, Settings
from cli.kubelet_port import serve_kubelet_api
from cli.lifetime import Hopeless, Lifetime, leave, lifetime, log_to_stderr, told_to_stop
from cli.listening import listen
from cli.processes import replace_text
from k8s import names
from k8s.client import KubeClient
from k8s.embedded.driver import Driver, DriverError
from k8s.embedded.node import Node

if TYPE_CHECKING:
    from k8s.embedded.apiserver import ApiServer

LONGEST_STOP_S = 15.0


@frozen
class Kubernetes:
    """The API server the node serves, and where it may publish the node's logs and exec."""

    client: KubeClient
    api_server: ApiServer | None = None


async def serve(own: Lifetime, settings: Settings, ports: Ports) -> None:
    """Serve until told to stop, then end the tasks. Raises Hopeless for what a restart cannot mend."""
    async with trio.open_nursery() as nursery:
        stop = await nursery.start(told_to_stop)
        nursery.start_soon(_give_up_after, stop, own.instance.grace_s(settings) + LONGEST_STOP_S, nursery.cancel_scope)
        async with _kubernetes(own, settings, ports) as kubernetes:
            node = Node(
                kubernetes.client,
                _driver(own.instance, settings),
                own.instance.node_name,
                schedule=kubernetes.api_server is None,
                schedules=names.selector(own.instance.name),  # another instance's node runs other things
                host_port_address=settings.host,
            )
            if kubernetes.api_server is not None:
                kubernetes.api_server.gateway = node.gateway
            else:
                await nursery.start(serve_kubelet_api, own, node, kubernetes.client)
            await _run(own, node, stop, settings)
        nursery.cancel_scope.cancel()


async def _give_up_after(stop: trio.Event, patience_s: float, scope: trio.CancelScope) -> None:
    """Bound an orderly stop, which may wait for an API server that is not there. What is left then is swept."""
    await stop.wait()
    await trio.sleep(patience_s)
    scope.cancel()


async def _run(own: Lifetime, node: Node, stop: trio.Event, settings: Settings) -> None:
    own.step("taking up the tasks that are there")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_start, own, node, nursery)
        await stop.wait()
        if node.info is not None:
            await node.shut_down(own.instance.grace_s(settings))
        nursery.cancel_scope.cancel()


async def _start(own: Lifetime, node: Node, nursery: trio.Nursery) -> None:
    info = await nursery.start(node.run)
    for note in info.notes:
        own.note(note)
    own.ready()


def _sweep(instance: Instance, settings: Settings) -> None:
    """End what an orderly stop could not: it costs nothing when there is nothing."""
    if settings.effective_driver == "process":
        from k8s.embedded.process.cleanup import sweep

        sweep(instance.path / "node")


def _driver(instance: Instance, settings: Settings) -> Driver:
    folder = instance.path / "node"
    if settings.effective_driver == "simulated":
        from k8s.embedded.simulated_driver import SimulatedDriver

        return SimulatedDriver(folder)
    from k8s.embedded.process.driver import ProcessDriver

    try:
        return ProcessDriver(folder)
    except DriverError as failure:
        raise Hopeless(failure.message) from failure


@asynccontextmanager
async def _kubernetes(own: Lifetime, settings: Settings, ports: Ports) -> AsyncIterator[Kubernetes]:
    if settings.runtime == "embedded":
        async with _embedded(own, ports) as kubernetes:
            yield kubernetes
        return
    from k8s.client import UnreachableError
    from k8s.kr8s_client import Kr8sClient

    own.step("connecting to Kubernetes")
    try:
        async with Kr8sClient.connect(settings.kubeconfig, context=settings.context) as client:
            yield Kubernetes(client)
    except UnreachableError as failure:
        raise Hopeless(failure.message) from failure


@asynccontextmanager
async def _embedded(own: Lifetime, ports: Ports) -> AsyncIterator[Kubernetes]:
    from api.hypercorn_server import HypercornServer
    from k8s.embedded.apiserver import ApiServer, JournalError
    from k8s.embedded.apiserver.kubeconfig import kubeconfig

    own.step("starting the Kubernetes API server")
    folder = own.instance.kubeconfig.parent
    folder.mkdir(parents=True, exist_ok=True)
    listeners = await listen("127.0.0.1", ports.kubernetes)
    try:
        api_server = ApiServer.open(folder / "objects.db", node_name=own.instance.node_name)
    except JournalError as failure:
        raise Hopeless(str(failure)) from failure
    replace_text(
        own.instance.kubeconfig, kubeconfig(own.instance.node_name, f"http://127.0.0.1:{ports.kubernetes}"), 0o600
    )
    async with trio.open_nursery() as nursery:
        server = HypercornServer(api_server.asgi)
        await nursery.start(lambda task_status: server.run(listeners, task_status=task_status))
        try:
            yield Kubernetes(api_server.client(), api_server)
        finally:
            nursery.cancel_scope.cancel()
            api_server.close()


def main() -> None:
    """Be the node of the instance in the folder named on the command line."""
    with lifetime(NODE) as own:
        own.step("starting")
        settings, ports = own.instance.load()
        log_to_stderr(settings)
        trio.run(serve, own, settings, ports)
        _sweep(own.instance, settings)
    leave()


if __name__ == "__main__":
    main()
