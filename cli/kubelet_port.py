"""The node's own port, where a real API server fetches logs for `kubectl logs`.

As a kubelet's, it listens on all IPv4 addresses, and speaks only to those who have a certificate of the API server's
client authority. Where the API server publishes none to us, there is no such port.
"""

from __future__ import annotations

import logging
import ssl

import trio

from cli.lifetime import Lifetime
from k8s.client import KubeClient, KubeError
from k8s.embedded.node import Node

log = logging.getLogger(__name__)

_CLIENT_AUTHORITY = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
"""Written by every API server. Source: https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/"""


async def serve_kubelet_api(
    own: Lifetime, node: Node, client: KubeClient, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve until cancelled; `started` once the node knows its port, which may be none."""
    from api.hypercorn_server import HypercornServer
    from k8s.embedded.kubelet_api import create_kubelet_app
    from k8s.embedded.kubelet_certificate import kubelet_certificate

    authority = await _client_authority(client)
    if authority is None:
        own.note("kubectl logs does not work: the API server tells this node no authority to know it by")
        task_status.started()
        return
    paths = kubelet_certificate(own.instance.path / "node", node.name, "127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=authority)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(paths.certificate, paths.key)
    (listener,) = await trio.open_tcp_listeners(0, host="0.0.0.0")
    node.kubelet_port = int(listener.socket.getsockname()[1])
    server = HypercornServer(create_kubelet_app(node.gateway))
    await server.run([trio.SSLListener(listener, context)], task_status=task_status)


async def _client_authority(client: KubeClient) -> str | None:
    """The certificates, in PEM, that sign those whom the API server believes; its own among them."""
    try:
        published = await client.request("GET", _CLIENT_AUTHORITY)
    except KubeError as error:
        log.info("the API server's client authority cannot be read: %s", error)
        return None
    authority: str | None = (published.get("data") or {}).get("client-ca-file")
    return authority
