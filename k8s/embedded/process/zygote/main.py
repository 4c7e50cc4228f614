"""The zygote: forks keepers as the driver asks, and ends with the driver.

Its arguments are a descriptor, its end of a SOCK_SEQPACKET pair; the state directory; and the pid of a keeper whose
user namespace it should join if it needs one, or 0. The first message is what `modes.settle` found out. Requests are
then

    {"op": "keeper", "name"}                        → {"name", "pid", "ticks"} of a new keeper
    {"op": "relay", "name"}                          → {"name", "pid", "ticks"} of a process that runs `relay`
    {"op": "gateway", "link", "group", "address"}   → {} the host's own link among the pods' is there

Threads would make forking unsafe; there are none.
"""

from __future__ import annotations

import _signal
import _socket
import gc
import os
import sys

from k8s.embedded.process.zygote import keeper, modes, namespaces, relay, syscalls, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_BACKLOG = 1024


def main() -> None:
    """Serve the driver until it closes its end."""
    requests = _socket.socket(fileno=int(sys.argv[1]))
    state_directory = os.open(sys.argv[2], os.O_PATH | os.O_CLOEXEC)
    os.setsid()
    syscalls.set_process_name("kecs-zygote")
    _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
    wire.send(requests, modes.settle(int(sys.argv[3])))
    _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)  # the kernel reaps keepers
    gc.disable()
    gc.freeze()  # the collector touches every object's page
    while (received := wire.receive(requests)) is not None:
        request, _ = received
        if request["op"] == "gateway":
            namespaces.make_gateway(request["link"], request["group"], request["address"])
            wire.send(requests, {})
            continue
        listener = _listener(state_directory, request["name"])
        pid = os.fork()
        if pid == 0:
            requests.close()
            _become(request["op"], request["name"], listener, state_directory)
        listener.close()
        ticks = wire.start_ticks(pid)
        wire.append_line(wire.socket_path(state_directory, f"keepers/{request['name']}"), f"{pid} {ticks}")
        wire.send(requests, {"name": request["name"], "pid": pid, "ticks": ticks})


def _listener(state_directory: int, name: str) -> _socket.socket:
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    listener.bind(wire.socket_path(state_directory, f"keepers/{name}.sock"))
    listener.listen(_BACKLOG)
    return listener


def _become(kind: str, name: str, listener: _socket.socket, state_directory: int) -> NoReturn:
    try:
        os.setsid()
        syscalls.set_process_name(f"kecs-{kind}")
        if kind == "relay":
            relay.Relay(listener).run()
        else:
            keeper.Keeper(name, listener, state_directory).run()
    finally:
        os._exit(1)
