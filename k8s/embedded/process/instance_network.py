"""The network of an instance on the host: its range of addresses, the link that holds the host's own, and their end.

Every link of an instance is in one link group, and its name begins with the instance's tag, so that all of them can be
removed at once, also by somebody who knows nothing but the state directory.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import ipaddress
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import frozen

from k8s.embedded.process import addresses
from k8s.embedded.process.addresses import AddressRange
from k8s.embedded.process.zygote import namespaces, rtnetlink
from k8s.embedded.process.zygote_process import Zygote

_LOCK = Path("/run/lock/kecs-network.lock")


@frozen
class InstanceNetwork:
    """Names and numbers that belong to one instance, from the path of its state directory alone."""

    tag: str  # six hex digits

    @classmethod
    def of(cls, state_directory: Path) -> InstanceNetwork:
        """The network of the instance in that directory."""
        return cls(hashlib.blake2s(str(state_directory.resolve()).encode(), digest_size=3).hexdigest())

    @property
    def group(self) -> int:
        """The link group."""
        return 0x4B000000 | int(self.tag, 16)

    @property
    def gateway_link(self) -> str:
        """The link with the host's address in the range."""
        return f"k{self.tag}-gw"

    def link(self, number: int) -> str:
        """The host's end of a pod's link. At most 15 bytes."""
        return f"k{self.tag}-{number:x}"

    def bring_up(self, state_directory: Path) -> AddressRange:
        """Choose a range, or take the one chosen before, and give the host its address in it. Raises OSError."""
        with _only_one():
            network = self._chosen(state_directory)
            namespaces.make_gateway(self.gateway_link, self.group, str(network[1]))
        return AddressRange(network)

    async def bring_up_for_user(self, zygote: Zygote) -> AddressRange:
        """The same inside the instance's user namespace, with addresses that the host's loopback has too.

        127.64.0.0 to 127.254.0.0 are left alone by everybody else; two instances that fall on the same /16 would only
        quarrel over the ports of the same task number.
        """
        network = ipaddress.IPv4Network(f"127.{64 + int(self.tag, 16) % 191}.0.0/16")
        await zygote.make_gateway(self.gateway_link, self.group, str(network[1]))
        return AddressRange(network)

    def _chosen(self, state_directory: Path) -> ipaddress.IPv4Network:
        path = state_directory / "network.json"
        taken = addresses.routed_networks()
        with suppress(OSError, ValueError, KeyError):
            before = ipaddress.IPv4Network(json.loads(path.read_text())["range"])
            ours = [network for network in taken if network.prefixlen == 32 and network.subnet_of(before)]
            if not any(before.overlaps(network) for network in taken if network not in ours):
                return before
        chosen = addresses.free_range(self.tag, [*taken, *_local_addresses()])
        path.write_text(json.dumps({"range": str(chosen), "tag": self.tag}))
        return chosen

    def take_down(self) -> None:
        """Remove every link of the instance; addresses and routes go with them."""
        netlink = rtnetlink.Netlink()
        try:
            netlink.request(rtnetlink.delete_group(self.group), allowed=(errno.ENODEV, errno.EPERM))
        finally:
            netlink.close()

    def links(self) -> list[str]:
        """What there is of this instance."""
        return sorted(name for name in os.listdir("/sys/class/net") if name.startswith(f"k{self.tag}-"))  # noqa: PTH208


@contextmanager
def _only_one() -> Iterator[None]:
    """Two instances that start at once must not choose the same range."""
    with _LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _local_addresses() -> list[ipaddress.IPv4Network]:
    """This host's addresses, as the kernel's table of local routes lists them."""
    found, last = set(), ""
    for line in Path("/proc/net/fib_trie").read_text().splitlines():
        words = line.split()
        if words[:1] == ["|--"]:
            last = words[1]
        elif words[:2] == ["/32", "host"]:
            found.add(ipaddress.IPv4Network(last))
    return sorted(found)
