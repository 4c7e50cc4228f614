"""A pod's own network, IPC and UTS namespaces: made once, entered whenever one of its containers starts.

One link pair a pod, no bridge (Linux bridges end at 1024 ports). The host's end has a route to the pod's one address
and forwards, so pods reach each other through the host's routing table without the host's global `ip_forward`.
"""

from __future__ import annotations

import errno
import os

from k8s.embedded.process.zygote import rtnetlink, syscalls
from k8s.embedded.process.zygote.syscalls import CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from k8s.embedded.process.zygote.wire import Message

    Namespaces = list[tuple[int, int]]  # descriptor, kind

MAC = b"\x02\x00\x00\x00\x00\x01"
_KINDS = ((CLONE_NEWNET, "net"), (CLONE_NEWIPC, "ipc"), (CLONE_NEWUTS, "uts"), (CLONE_NEWNS, "mnt"))


class Home:
    """The namespaces that a keeper lives in, and leaves for those of a pod for as long as it starts something there."""

    def __init__(self) -> None:
        self._own = _present(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS)
        self._links: rtnetlink.Netlink | None = None

    def left_for_new(self, pod: Message) -> _Away:
        """Be in new namespaces for a pod. Raises OSError; then the keeper is at home."""
        kinds = pod["unshare"] | (CLONE_NEWNS if pod["tmpfs"] else 0)
        if pod["link"] and self._links is None:
            self._links = rtnetlink.Netlink()
        away = _Away([], [own for own in self._own if own[1] & kinds])
        if kinds:
            syscalls.unshare(kinds)
        try:
            away.namespaces = _present(kinds)
            _furnish(pod, self._links)
        except OSError:
            away.__exit__(None, None, None)
            raise
        return away

    def left_for(self, namespaces: Namespaces) -> _Away:
        """Be in a pod's namespaces. Raises OSError."""
        kinds = 0
        for descriptor, kind in namespaces:
            syscalls.setns(descriptor, kind)
            kinds |= kind
        return _Away(namespaces, [own for own in self._own if own[1] & kinds])


class _Away:
    """Ends the stay in a pod's namespaces. Whoever cannot come home must not go on."""

    def __init__(self, namespaces: Namespaces, home: Namespaces) -> None:
        self.namespaces = namespaces
        self._home = home

    def __enter__(self) -> Namespaces:
        return self.namespaces

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            for descriptor, flag in self._home:
                syscalls.setns(descriptor, flag)
        except OSError:
            os._exit(1)


def _present(kinds: int) -> Namespaces:
    """The namespaces of these kinds that the caller is in."""
    return [
        (os.open(f"/proc/self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC), kind) for kind, name in _KINDS if kinds & kind
    ]


def _furnish(pod: Message, links: rtnetlink.Netlink | None) -> None:
    if pod["unshare"] & CLONE_NEWUTS:
        syscalls.set_hostname(pod["hostname"])
    if pod["link"] and links is not None:
        _link(links, pod)
    _set(pod["sysctls"])
    if pod["tmpfs"]:
        syscalls.mount("", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
        for directory, options in pod["tmpfs"]:
            syscalls.mount("tmpfs", directory, "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, options)


def make_gateway(link: str, group: int, address: str) -> None:
    """Give the host an address among the pods', on a link pair of its own. Raises OSError."""
    netlink = rtnetlink.Netlink()
    peer = f"{link}p"
    netlink.request(rtnetlink.new_veth(link, group, MAC, peer, None), allowed=(errno.EEXIST,))
    index, peer_index = netlink.index(link), netlink.index(peer)
    settings = _settings(address)
    netlink.request(
        rtnetlink.set_group(peer_index, group),
        rtnetlink.link_up(peer_index),
        rtnetlink.link_settings(index, settings),
        rtnetlink.add_address(index, address),
    )
    if rtnetlink.ROUTE_LOCALNET in settings:
        _leave_loopback_one_address(netlink)
    netlink.close()


def _settings(address: str) -> dict[int, int]:
    """A link with addresses in 127.0.0.0/8, as an ordinary user's instance has them, must be allowed to route them."""
    routes_loopback = address.startswith("127.")
    return {rtnetlink.FORWARDING: 1} | ({rtnetlink.ROUTE_LOCALNET: 1} if routes_loopback else {})


def _leave_loopback_one_address(netlink: rtnetlink.Netlink) -> None:
    """127.0.0.1 stays local; the rest of 127.0.0.0/8 can be routed."""
    netlink.request(rtnetlink.link_up(1))
    netlink.request(rtnetlink.delete_address(1, "127.0.0.1", 8), allowed=(errno.EADDRNOTAVAIL,))
    netlink.request(rtnetlink.add_address(1, "127.0.0.1"))


def _set(sysctls: list[tuple[str, str]]) -> None:
    """Set kernel parameters of the present namespaces. Raises OSError that names the parameter."""
    for name, value in sysctls:
        try:
            descriptor = os.open(f"/proc/sys/{name.replace('.', '/')}", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(descriptor, value.encode())
            finally:
                os.close(descriptor)
        except OSError as error:
            raise OSError(error.errno, error.strerror, f"sysctl {name}={value}") from error


def _link(host: rtnetlink.Netlink, pod: Message) -> None:
    namespace = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    host.request(rtnetlink.new_veth(pod["link"], pod["group"], MAC, "eth0", namespace))
    os.close(namespace)
    index = host.index(pod["link"])
    settings = _settings(pod["ip"])
    host.request(
        rtnetlink.link_settings(index, settings),
        rtnetlink.add_route(index, pod["ip"], pod["gateway"]),
    )
    inside = rtnetlink.Netlink()
    index = inside.index("eth0")
    if rtnetlink.ROUTE_LOCALNET in settings:
        _leave_loopback_one_address(inside)
        inside.request(rtnetlink.link_settings(index, settings))
    inside.request(
        rtnetlink.link_up(1),
        rtnetlink.link_up(index),
        rtnetlink.add_address(index, pod["ip"]),
        rtnetlink.add_route(index, None),
    )
    inside.close()
