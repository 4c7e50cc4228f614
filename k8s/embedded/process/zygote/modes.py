"""What this machine lets the zygote do, found out by doing it once in a child.

The answer is one of: namespaces as root, namespaces below a user namespace, or none.
"""

from __future__ import annotations

import os

from k8s.embedded.process.zygote import rtnetlink, syscalls
from k8s.embedded.process.zygote.syscalls import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUTS,
    MS_PRIVATE,
    MS_REC,
)  # fmt: skip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from k8s.embedded.process.zygote.wire import Message


def probe() -> Message:
    """`{"network", "processes", "mounts"}`: for each, "" when a pod can have its own, else why not."""
    return {"network": _tried(_try_network), "processes": _tried(_try_processes), "mounts": _tried(_try_mounts)}


def _tried(attempt: Callable[[], None]) -> str:
    """What an attempt in a child raises, as a sentence; "" when it succeeds."""
    report, told = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        os.close(report)
        try:
            attempt()
        except BaseException as error:
            os.write(told, str(error).encode()[:4096] or b"?")
        os._exit(0)
    os.close(told)
    said = os.read(report, 4096).decode()
    os.close(report)
    os.waitpid(pid, 0)
    return said


def _try_network() -> None:
    host = rtnetlink.Netlink()
    syscalls.unshare(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)
    namespace = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    host.request(rtnetlink.new_veth(f"kecs-{os.getpid()}", 0, b"\x02\0\0\0\0\1", "eth0", namespace))
    rtnetlink.Netlink().request(rtnetlink.delete_link("eth0"))


def _try_processes() -> None:
    pid = syscalls.fork_into(CLONE_NEWPID | CLONE_NEWNS)
    if pid == 0:
        try:
            syscalls.mount("", "/", flags=MS_REC | MS_PRIVATE)
            syscalls.mount("proc", "/proc", "proc")
        except OSError:
            os._exit(1)
        os._exit(0)
    if os.waitpid(pid, 0)[1]:
        raise OSError("/proc cannot be mounted in a PID namespace")


def _try_mounts() -> None:
    syscalls.unshare(CLONE_NEWNS)
    syscalls.mount("", "/", flags=MS_REC | MS_PRIVATE)
    syscalls.mount("", "/dev/shm", "tmpfs")
