"""A pod's own network, IPC and UTS namespaces, entered by its shim.

One link pair a pod, no bridge (Linux bridges end at 1024 ports). The host's end has a route to the pod's one address
and forwards, so pods reach each other through the host's routing table without the host's global `ip_forward`.
"""

from __future__ import annotations

import os

from k8s.embedded.process.zygote import rtnetlink, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k8s.embedded.process.zygote.wire import Message

MAC = b"\x02\x00\x00\x00\x00\x01"
_FILE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


def enter(pod: Message) -> None:
    """Put the calling process into the pod's namespaces and write the pod's files for /etc. Raises OSError."""
    host = rtnetlink.Netlink() if pod["link"] else None
    if pod["unshare"]:
        syscalls.unshare(pod["unshare"])
    if pod["unshare"] & syscalls.CLONE_NEWUTS:
        syscalls.set_hostname(pod["hostname"])
    if host is not None:
        _link(host, pod)
        host.close()
    if pod["tmpfs"]:
        syscalls.unshare(syscalls.CLONE_NEWNS)  # the pod's containers inherit what is mounted here, nobody else sees it
        syscalls.mount("", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
        for directory, options in pod["tmpfs"]:
            syscalls.mount("tmpfs", directory, "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, options)
    for name, text in pod["files"].items():
        descriptor = os.open(f"{pod['directory']}/{name}", _FILE, 0o644)
        os.write(descriptor, text.encode())
        os.close(descriptor)


def _link(host: rtnetlink.Netlink, pod: Message) -> None:
    namespace = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    host.request(rtnetlink.new_veth(pod["link"], pod["group"], MAC, "eth0", namespace))
    os.close(namespace)
    index = host.index(pod["link"])
    host.request(
        rtnetlink.link_settings(index, {rtnetlink.FORWARDING: 1}),
        rtnetlink.add_route(index, pod["ip"], pod["gateway"]),
    )
    inside = rtnetlink.Netlink()
    index = inside.index("eth0")
    inside.request(
        rtnetlink.link_up(1),
        rtnetlink.link_up(index),
        rtnetlink.add_address(index, pod["ip"]),
        rtnetlink.add_route(index, None),
    )
    inside.close()
