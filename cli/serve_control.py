"""The control plane's process: puts store, orchestrator, actors, AWS endpoint and admin server together.

`python -m cli.serve_control FOLDER`. It starts beside the node, and waits for it only where it must. Tasks do not
notice when this process ends; told to stop, it backs its state up first.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio

from actors.instance import ControlPlane
from actors.ports import StoreFailedError
from actors.snapshots import DuckDbStore
from api import server
from api.admin.readiness import Readiness
from api.dispatch import Endpoint
from api.metrics import RequestFigures
from cli.admin_server import serve_admin
from cli.components import CONTROL
from cli.instances import Instance, Ports, Settings
from cli.lifetime import Hopeless, Lifetime, leave, lifetime, log_to_stderr, until_told_to_stop
from cli.listening import listen
from cli.state_files import restore_command
from cli.world import RandomIds, SystemClock
from k8s.client import UnreachableError
from k8s.kr8s_client import Kr8sClient
from k8s.orchestrator import KubernetesOrchestrator


async def serve(own: Lifetime, settings: Settings, ports: Ports) -> None:
    """Serve until cancelled. Raises Hopeless for what a restart cannot mend."""
    aws = await listen(settings.host, ports.aws)
    admin = await listen(settings.host, ports.admin)
    own.step("opening the state")
    try:
        store = await trio.to_thread.run_sync(_open_store, own.instance)
    except StoreFailedError as failure:
        raise Hopeless(str(failure)) from failure
    own.step("connecting to Kubernetes")
    embedded = settings.runtime == "embedded"
    try:
        kubernetes = Kr8sClient.connect(
            None if embedded else settings.kubeconfig,
            context=settings.context,
            url=f"http://127.0.0.1:{ports.kubernetes}" if embedded else None,
        )
        async with kubernetes as client:
            orchestrator = KubernetesOrchestrator(client, own.instance.name)
            await _serve(own, ControlPlane(store, orchestrator, SystemClock(), RandomIds()), aws, admin)
    except UnreachableError as failure:
        raise Hopeless(failure.message) from failure


def _open_store(instance: Instance) -> DuckDbStore:
    return DuckDbStore.open(instance.database, instance.backups, restore_command(instance))


async def _serve(
    own: Lifetime,
    control_plane: ControlPlane,
    aws: Sequence[trio.SocketListener],
    admin: Sequence[trio.SocketListener],
) -> None:
    figures = RequestFigures()
    readiness = Readiness(["state and Kubernetes", "AWS endpoint"])
    async with trio.open_nursery() as nursery:
        own.step("waiting for Kubernetes' first answer")
        await nursery.start(control_plane.run)
        readiness.reached("state and Kubernetes")
        await nursery.start(server.serve, aws, Endpoint(control_plane, figures))
        readiness.reached("AWS endpoint")
        own.ready()
        nursery.start_soon(serve_admin, admin, control_plane, readiness, figures)


def main() -> None:
    """Be the control plane of the instance in the folder named on the command line."""
    with lifetime(CONTROL) as own:
        own.step("starting")
        settings, ports = own.instance.load()
        log_to_stderr(settings)
        trio.run(until_told_to_stop, lambda: serve(own, settings, ports))
    leave()


if __name__ == "__main__":
    main()
