"""What this machine lets the zygote do, found out by doing it once in a child.

The answer is one of: namespaces as root; namespaces below a user namespace of the instance, where an ordinary user is
root; or none.
"""

from __future__ import annotations

import os

from k8s.embedded.process.zygote import rtnetlink, syscalls
from k8s.embedded.process.zygote.syscalls import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    MS_PRIVATE,
    MS_REC,
)  # fmt: skip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from k8s.embedded.process.zygote.wire import Message


# the user namespace first: it gives the right to enter the others
_INSTANCE_KINDS = {
    "user": CLONE_NEWUSER,
    "mnt": CLONE_NEWNS,
    "net": CLONE_NEWNET,
    "ipc": CLONE_NEWIPC,
    "uts": CLONE_NEWUTS,
}


def settle(keeper: int) -> Message:
    """Find out what is allowed, and enter the instance's user namespace where nothing is without one.

    `keeper` is the pid of a keeper that lives in it already, or 0. The answer is `{"user_namespace", "network",
    "processes", "mounts", "users"}`: whether there is one, and for each kind "" when a pod can have its own, else why
    not.
    """
    found = _probe()
    if found["network"] and not _tried(lambda: _try_user_namespace(keeper)):
        enter_user_namespace(keeper)
        return _probe() | {"user_namespace": True}
    return found | {"user_namespace": False}


def enter_user_namespace(keeper: int) -> None:
    """Become root of a user namespace with its own network: the keeper's, or a new one. Raises OSError."""
    if keeper:
        namespaces = [os.open(f"/proc/{keeper}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC) for name in _INSTANCE_KINDS]
        for descriptor, kind in zip(namespaces, _INSTANCE_KINDS.values(), strict=True):
            syscalls.setns(descriptor, kind)
            os.close(descriptor)
        return
    uid, gid = os.geteuid(), os.getegid()
    syscalls.unshare(sum(_INSTANCE_KINDS.values()))
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        descriptor = os.open(f"/proc/self/{name}", os.O_WRONLY | os.O_CLOEXEC)
        os.write(descriptor, text.encode())
        os.close(descriptor)
    syscalls.mount("", "/", flags=MS_REC | MS_PRIVATE)


def _probe() -> Message:
    attempts = {"network": _try_network, "processes": _try_processes, "mounts": _try_mounts, "users": _try_users}
    return {name: _tried(attempt) for name, attempt in attempts.items()}


def _try_user_namespace(keeper: int) -> None:
    enter_user_namespace(keeper)
    _try_network()


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


def _try_users() -> None:
    os.setgroups([])
    os.setresuid(1, 1, 1)


def _try_mounts() -> None:
    syscalls.unshare(CLONE_NEWNS)
    syscalls.mount("", "/", flags=MS_REC | MS_PRIVATE)
    syscalls.mount("", "/dev/shm", "tmpfs")
