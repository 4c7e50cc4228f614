"""The zygote: forks keepers as the driver asks, and ends with the driver.

Its arguments are a descriptor, its end of a SOCK_SEQPACKET pair, and the state directory. The first message is what
`modes.probe` found out. A request is then `{"keeper": id}`, answered by that keeper's `{"keeper", "pid", "ticks"}`.
Threads would make forking unsafe; there are none.
"""

from __future__ import annotations

import _signal
import _socket
import gc
import os
import sys

from k8s.embedded.process.zygote import keeper, modes, syscalls, wire

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
    wire.send(requests, modes.probe())
    _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)  # the kernel reaps keepers
    gc.disable()
    gc.freeze()  # the collector touches every object's page
    while (received := wire.receive(requests)) is not None:
        number = received[0]["keeper"]
        listener = _listener(state_directory, number)
        pid = os.fork()
        if pid == 0:
            requests.close()
            _become_keeper(number, listener, state_directory)
        listener.close()
        ticks = wire.start_ticks(pid)
        wire.append_line(wire.socket_path(state_directory, f"keepers/{number}"), f"{pid} {ticks}")
        wire.send(requests, {"keeper": number, "pid": pid, "ticks": ticks})


def _listener(state_directory: int, number: str) -> _socket.socket:
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    listener.bind(wire.socket_path(state_directory, f"keepers/{number}.sock"))
    listener.listen(_BACKLOG)
    return listener


def _become_keeper(number: str, listener: _socket.socket, state_directory: int) -> NoReturn:
    try:
        os.setsid()
        syscalls.set_process_name("kecs-keeper")
        keeper.Keeper(number, listener, state_directory).run()
    finally:
        os._exit(1)
