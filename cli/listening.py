"""Listening sockets of an instance's servers."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import trio

from cli.lifetime import Hopeless

_BACKLOG = 4096
_IPV4_LOOPBACK = "127.0.0.1"


async def listen(host: str, port: int) -> Sequence[trio.SocketListener]:
    """Listeners on a port; for IPv4's loopback also on IPv6's where there is one, since `localhost` means both.

    Raises Hopeless when the port is taken.
    """
    try:
        listeners = await trio.open_tcp_listeners(port, host=host, backlog=_BACKLOG)
    except OSError as error:
        raise Hopeless(f"cannot listen on {host} port {port}: {error.strerror or error}") from error
    if host == _IPV4_LOOPBACK:
        with contextlib.suppress(OSError):
            listeners += await trio.open_tcp_listeners(port, host="::1", backlog=_BACKLOG)
    return listeners
