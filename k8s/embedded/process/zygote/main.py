"""The zygote: forks shims as the driver asks, and ends with the driver.

Its arguments are a descriptor, its end of a SOCK_SEQPACKET pair, and the state directory. The first message is what
`modes.probe` found out. A request is then `{"pod": ..., "containers": [...]}`, answered by `{"uid", "pid"}` of the
shim. Threads would make forking unsafe; there are none.
"""

from __future__ import annotations

import _signal
import _socket
import gc
import os
import sys

from k8s.embedded.process.zygote import modes, shim, syscalls, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from k8s.embedded.process.zygote.wire import Message


def main() -> None:
    """Serve the driver until it closes its end."""
    requests = _socket.socket(fileno=int(sys.argv[1]))
    state_directory = os.open(sys.argv[2], os.O_PATH | os.O_CLOEXEC)
    os.setsid()
    syscalls.set_process_name("kecs-zygote")
    _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
    wire.send(requests, modes.probe())
    _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)  # the kernel reaps shims
    gc.disable()
    gc.freeze()  # the collector touches every object's page
    while (received := wire.receive(requests)) is not None:
        request, _ = received
        pid = os.fork()
        if pid == 0:
            _become_shim(requests, state_directory, request)
        wire.send(requests, {"uid": request["pod"]["uid"], "pid": pid})


def _become_shim(requests: _socket.socket, state_directory: int, request: Message) -> NoReturn:
    code = 1
    try:
        requests.close()
        os.setsid()
        syscalls.set_process_name("kecs-shim")
        shim.Shim(request["pod"], state_directory).run(request["containers"])
        code = 0
    finally:
        os._exit(code)
