"""TCP ports: is it free, who has it, which one to take instead."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Container


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen here now. A connection in TIME_WAIT is no obstacle."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def first_free(host: str, start: int, taken: Container[int]) -> int:
    """The first port from `start` on that nobody listens on and that is not among `taken`."""
    for port in range(start, 65536):
        if port not in taken and is_free(host, port):
            return port
    raise OSError(f"no free port from {start} on")


def holder(port: int) -> str | None:
    """Who listens on a port: `name (pid N)`. None when that cannot be seen, as another user's processes cannot."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError, RuntimeError):
        for connection in psutil.net_connections("tcp"):
            address = connection.laddr
            if address and address.port == port and connection.status == psutil.CONN_LISTEN and connection.pid:
                with contextlib.suppress(psutil.Error):
                    return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return None
