"""The API server as a whole: its store, its handlers, and the two ways in (ASGI, and calls from the same process)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from k8s.embedded.apiserver.asgi import AsgiApp
from k8s.embedded.apiserver.catalog import Catalog
from k8s.embedded.apiserver.handlers import Handlers
from k8s.embedded.apiserver.in_process import InProcessClient
from k8s.embedded.apiserver.messages import Request, Response
from k8s.embedded.apiserver.pod_logs import PodLogs
from k8s.embedded.apiserver.resources import NAMESPACES
from k8s.embedded.apiserver.store import Store
from k8s.embedded.gateway import NodeGateway

FIRST_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")


def _now() -> datetime:
    return datetime.now(UTC)


class ApiServer:
    """An embedded Kubernetes API server over one file. Use `open`; set `gateway` when the node is there."""

    def __init__(self, store: Store, node_name: str | None, now: Callable[[], datetime]) -> None:
        self._store = store
        self._catalog = Catalog(store)
        self._logs = PodLogs()
        self._handlers = Handlers(store, self._catalog, self._logs, now, node_name)
        self.asgi = AsgiApp(self.handle, self._handlers.find_pod, lambda: self.gateway)
        self._create_first_namespaces()

    @classmethod
    def open(
        cls, db_path: Path | str, *, node_name: str | None = None, now: Callable[[], datetime] = _now
    ) -> ApiServer:
        """The server over the objects in `db_path`, which is made if it is not there.

        New pods get `node_name` at once; without it they wait for a binding. Raises JournalError when the file is in
        use, damaged, or from a newer version: its message is a sentence for the user.
        """
        return cls(Store(Path(db_path)), node_name, now)

    @property
    def gateway(self) -> NodeGateway | None:
        """The node that logs and exec are asked of; None (they answer 503) until it is set."""
        return self._logs.gateway

    @gateway.setter
    def gateway(self, gateway: NodeGateway | None) -> None:
        self._logs.gateway = gateway

    async def handle(self, request: Request) -> Response:
        """Answer one request; never raises."""
        return self._handlers.answer(request)

    def client(self) -> InProcessClient:
        """A client in this process, without sockets."""
        return InProcessClient(self._handlers.answer)

    def _create_first_namespaces(self) -> None:
        existing = self._store.collection(NAMESPACES)
        for name in FIRST_NAMESPACES:
            if existing.get("", name) is None:
                body = b'{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"%s"}}' % name.encode()
                self._handlers.answer(Request("POST", "/api/v1/namespaces", body=body))

    def close(self) -> None:
        """Close the file. Everything acknowledged is in it already."""
        self._store.close()
