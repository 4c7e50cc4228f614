"""An instance's own range of addresses, and which pod has which.

A range is a /16 of 100.64.0.0/10, the space for carriers' own networks (RFC 6598), which neither homes nor offices nor
Docker use. It must not overlap a route that this machine has.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterable
from pathlib import Path

from k8s.embedded.driver import SandboxError

SPACE = ipaddress.IPv4Network("100.64.0.0/10")
_ROUTES = Path("/proc/net/route")


class AddressRange:
    """Addresses of one /16: the first is the host's own, the others are lent to pods, the longest unused first."""

    def __init__(self, network: ipaddress.IPv4Network) -> None:
        self.network = network
        self.gateway = str(network[1])
        self._lent: set[int] = set()
        self._size = network.num_addresses
        self._next = random.randrange(2, self._size - 1)  # spreads reuse after a restart

    def lend(self) -> str:
        """An address nobody has. Raises SandboxError when all are lent."""
        for _ in range(self._size):
            number = self._next
            self._next = 2 if number >= self._size - 2 else number + 1
            if number not in self._lent:
                self._lent.add(number)
                return str(self.network[number])
        raise SandboxError(f"no address is left in {self.network}")

    def claim(self, address: str) -> None:
        """Mark an address as lent: a pod that was adopted has it."""
        if address and ipaddress.IPv4Address(address) in self.network:
            self._lent.add(self.number(address))

    def give_back(self, address: str) -> None:
        """The pod with this address is gone."""
        if address and ipaddress.IPv4Address(address) in self.network:
            self._lent.discard(self.number(address))

    def number(self, address: str) -> int:
        """The address's place in the range."""
        return int(ipaddress.IPv4Address(address)) - int(self.network.network_address)


def free_range(seed: str, taken: Iterable[ipaddress.IPv4Network]) -> ipaddress.IPv4Network:
    """A /16 that overlaps nothing in `taken`; `seed` decides where the search begins. Raises SandboxError."""
    taken = list(taken)
    candidates = list(SPACE.subnets(new_prefix=16))
    start = int(seed, 16) % len(candidates)
    for candidate in candidates[start:] + candidates[:start]:
        if not any(candidate.overlaps(network) for network in taken):
            return candidate
    raise SandboxError(f"this machine has routes into all of {SPACE}; no range is left for tasks")


def routed_networks() -> list[ipaddress.IPv4Network]:
    """Where this machine has routes to, but for the default one."""
    networks = []
    for line in _ROUTES.read_text().splitlines()[1:]:
        fields = line.split()
        destination, mask = (int.from_bytes(bytes.fromhex(fields[place]), "little") for place in (1, 7))
        if mask:
            networks.append(ipaddress.IPv4Network((destination, mask.bit_count())))
    return networks
