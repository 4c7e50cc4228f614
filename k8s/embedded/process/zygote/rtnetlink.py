"""Links, addresses and routes over a raw netlink socket.

Hand-packed: what a pod needs is five kinds of message, and building them costs microseconds. A socket belongs to the
network namespace it was opened in, whichever namespace the process enters afterwards; that is how a keeper makes the
host's end of its link from inside the pod.
"""

from __future__ import annotations

import _socket
import os
from fcntl import ioctl
from struct import Struct, pack, unpack_from

RTM_NEWLINK, RTM_DELLINK, RTM_SETLINK = 16, 17, 19
RTM_NEWADDR, RTM_DELADDR, RTM_NEWROUTE = 20, 21, 24
NLM_F_REQUEST, NLM_F_ACK, NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x1, 0x4, 0x100, 0x200, 0x400
NLMSG_ERROR = 2

IFLA_ADDRESS, IFLA_IFNAME, IFLA_LINKINFO, IFLA_AF_SPEC, IFLA_GROUP, IFLA_NET_NS_FD = 1, 3, 18, 26, 27, 28
IFLA_NUM_TX_QUEUES, IFLA_NUM_RX_QUEUES = 31, 32
IFLA_INFO_KIND, IFLA_INFO_DATA, VETH_INFO_PEER, IFLA_INET_CONF = 1, 2, 1, 1
IFA_ADDRESS, IFA_LOCAL = 1, 2
RTA_DST, RTA_OIF, RTA_PREFSRC = 1, 4, 7
RT_TABLE_MAIN, RTPROT_STATIC, RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RTN_UNICAST = 254, 4, 0, 253, 1
IFF_UP, IFF_NOARP = 0x1, 0x80
FORWARDING, RP_FILTER, ROUTE_LOCALNET = 1, 8, 26  # IPV4_DEVCONF_*
_SIOCGIFINDEX = 0x8933

_HEADER = Struct("=IHHII")
_IFINFO = Struct("=BxHiII")
_NESTED = 0x8000


class NetlinkError(OSError):
    """The kernel refused a request."""


def attribute(kind: int, data: bytes) -> bytes:
    """One attribute, padded."""
    return pack("=HH", len(data) + 4, kind) + data + b"\0" * (-len(data) % 4)


def address_bytes(address: str) -> bytes:
    """Four bytes of a dotted IPv4 address."""
    return _socket.inet_aton(address)


class Netlink:
    """A netlink socket of the network namespace that the caller is in now."""

    def __init__(self) -> None:
        self._socket = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, 0)
        self._socket.bind((0, 0))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def index(self, name: str) -> int:
        """The index of an interface. Raises OSError (ENODEV)."""
        answer = ioctl(self._socket.fileno(), _SIOCGIFINDEX, pack("16sI20x", name.encode(), 0))
        return int(unpack_from("=I", answer, 16)[0])

    def request(self, *messages: tuple[int, int, bytes], allowed: tuple[int, ...] = ()) -> None:
        """Send messages (type, flags, body) at once and await every answer.

        Raises NetlinkError for the first that the kernel refused with an errno outside `allowed`.
        """
        packed = bytearray()
        for sequence, (kind, flags, body) in enumerate(messages, 1):
            packed += _HEADER.pack(16 + len(body), kind, flags | NLM_F_REQUEST | NLM_F_ACK, sequence, 0) + body
            packed += b"\0" * (-len(body) % 4)
        self._socket.send(packed)
        refused: NetlinkError | None = None
        remaining = len(messages)
        while remaining:
            answer = self._socket.recv(65536)
            offset = 0
            while offset < len(answer):
                length, kind = unpack_from("=IH", answer, offset)
                if kind == NLMSG_ERROR:
                    remaining -= 1
                    number = -unpack_from("=i", answer, offset + 16)[0]
                    if number and number not in allowed and refused is None:
                        refused = NetlinkError(number, os.strerror(number))
                offset += length + -length % 4
        if refused is not None:
            raise refused


def new_veth(name: str, group: int, mac: bytes, peer: str, peer_namespace: int | None) -> tuple[int, int, bytes]:
    """A link pair with `peer`, still down, inside the namespace of that descriptor (None: in this one).

    Both ends have the same hardware address and NOARP: no neighbour is ever looked up, and the kernel's neighbour
    table, which ends at 1024 entries by default, may drop ours as it likes.
    """
    # one queue each: the default, one a processor, doubles what making a link costs
    queues = attribute(IFLA_NUM_TX_QUEUES, pack("=I", 1)) + attribute(IFLA_NUM_RX_QUEUES, pack("=I", 1))
    peer_info = _IFINFO.pack(0, 0, 0, IFF_NOARP, IFF_NOARP) + queues
    peer_info += attribute(IFLA_IFNAME, peer.encode() + b"\0") + attribute(IFLA_ADDRESS, mac)
    if peer_namespace is not None:
        peer_info += attribute(IFLA_NET_NS_FD, pack("=I", peer_namespace))
    info = attribute(IFLA_INFO_KIND, b"veth")
    info += attribute(IFLA_INFO_DATA | _NESTED, attribute(VETH_INFO_PEER | _NESTED, peer_info))
    body = _IFINFO.pack(0, 0, 0, IFF_UP | IFF_NOARP, IFF_UP | IFF_NOARP) + attribute(IFLA_IFNAME, name.encode() + b"\0")
    body += queues + attribute(IFLA_ADDRESS, mac) + attribute(IFLA_GROUP, pack("=I", group))
    return RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body + attribute(IFLA_LINKINFO | _NESTED, info)


def link_up(index: int) -> tuple[int, int, bytes]:
    """Bring a link up."""
    return RTM_SETLINK, 0, _IFINFO.pack(0, 0, index, IFF_UP, IFF_UP)


def set_group(index: int, group: int) -> tuple[int, int, bytes]:
    """Put a link into a group."""
    return RTM_SETLINK, 0, _IFINFO.pack(0, 0, index, 0, 0) + attribute(IFLA_GROUP, pack("=I", group))


def link_settings(index: int, settings: dict[int, int]) -> tuple[int, int, bytes]:
    """Set `net.ipv4.conf.<link>` values, by their IPV4_DEVCONF numbers."""
    values = b"".join(attribute(number, pack("=I", value)) for number, value in settings.items())
    family = attribute(_socket.AF_INET | _NESTED, attribute(IFLA_INET_CONF | _NESTED, values))
    return RTM_SETLINK, 0, _IFINFO.pack(0, 0, index, 0, 0) + attribute(IFLA_AF_SPEC | _NESTED, family)


def delete_link(name: str) -> tuple[int, int, bytes]:
    """Remove one link, and its peer."""
    return RTM_DELLINK, 0, _IFINFO.pack(0, 0, 0, 0, 0) + attribute(IFLA_IFNAME, name.encode() + b"\0")


def delete_group(group: int) -> tuple[int, int, bytes]:
    """Remove every link of a group at once; ENODEV when there is none."""
    return RTM_DELLINK, 0, _IFINFO.pack(0, 0, 0, 0, 0) + attribute(IFLA_GROUP, pack("=I", group))


def _address(kind: int, flags: int, index: int, address: str, prefix: int) -> tuple[int, int, bytes]:
    scope = 254 if address.startswith("127.0.0.") else 0
    body = pack("=BBBBI", _socket.AF_INET, prefix, 0x80, scope, index)
    packed = address_bytes(address)
    return kind, flags, body + attribute(IFA_LOCAL, packed) + attribute(IFA_ADDRESS, packed)


def add_address(index: int, address: str, prefix: int = 32) -> tuple[int, int, bytes]:
    """Give a link an address."""
    return _address(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, index, address, prefix)


def delete_address(index: int, address: str, prefix: int) -> tuple[int, int, bytes]:
    """Take an address from a link."""
    return _address(RTM_DELADDR, 0, index, address, prefix)


def add_route(index: int, destination: str | None, source: str | None = None) -> tuple[int, int, bytes]:
    """Route one address (None: everything) straight to a link, by preference from `source`."""
    length = 32 if destination else 0
    body = pack(
        "=BBBBBBBBI", _socket.AF_INET, length, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, RT_SCOPE_LINK, RTN_UNICAST, 0
    )
    if destination:
        body += attribute(RTA_DST, address_bytes(destination))
    body += attribute(RTA_OIF, pack("=I", index))
    if source:
        body += attribute(RTA_PREFSRC, address_bytes(source))
    return RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, body
