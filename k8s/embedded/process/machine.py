"""What this machine allows, in two forms: what the driver acts on, and sentences for people."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from k8s.embedded.process.describe import Machine
from k8s.embedded.process.limits import Cgroups

_ROOTLESS = (
    "tasks run in this user's own namespaces, with loopback addresses: other tasks reach all their ports, this machine "
    "their TCP ports from 1024 up, and they reach neither this machine nor anything outside"
)


def unsupported() -> str | None:
    """Why the process driver cannot run here at all; None where it can."""
    if sys.platform != "linux":
        return f"the process driver needs Linux; this is {sys.platform}"
    if not hasattr(os, "pidfd_open"):
        return "the process driver needs Python's os.pidfd_open"
    return None


def machine(abilities: Mapping[str, Any]) -> Machine:
    """What pods can have, from what the zygote found it may do."""
    root = os.geteuid() == 0
    rootless = bool(abilities["user_namespace"])
    return Machine(
        own_network=not abilities["network"],
        own_processes=not abilities["processes"],
        own_mounts=not abilities["mounts"],
        may_change_user=not abilities["users"],
        default_user="0" if root or rootless else str(os.geteuid()),
        home=str(Path.home()) if rootless else None,
    )


def notes(abilities: Mapping[str, Any], cgroups: Cgroups) -> list[str]:
    """Sentences on what this machine does not allow; none where everything works."""
    said = []
    if abilities["user_namespace"]:
        said.append(_ROOTLESS)
    if abilities["network"]:
        said.append(
            "tasks share this machine's network, because the kernel allows them none of their own "
            f"({abilities['network']}): two tasks cannot listen on the same port"
        )
    if abilities["processes"]:
        said.append(f"tasks see this machine's processes ({abilities['processes']})")
    if abilities["mounts"]:
        said.append(f"volumes and read-only file systems are not available ({abilities['mounts']})")
    if cgroups.missing:
        said.append(f"limits on {' and '.join(cgroups.missing)} are not enforced: no control group can be written")
    if not abilities["network"] and not abilities["user_namespace"] and (dropped := forwarding_dropped()):
        said.append(dropped)
    return said


def forwarding_dropped() -> str | None:
    """A sentence when a firewall keeps tasks from reaching each other, as Docker's default policy does."""
    iptables = shutil.which("iptables", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if os.geteuid() != 0 or iptables is None:
        return None
    listed = subprocess.run([iptables, "-w", "2", "-S", "FORWARD"], capture_output=True, text=True, check=False)
    if "-P FORWARD DROP" not in listed.stdout:
        return None
    return (
        "this machine's firewall drops forwarded packets (iptables: -P FORWARD DROP, which Docker sets), so tasks "
        "reach this machine but not each other; "
        "`iptables -I FORWARD -s 100.64.0.0/10 -d 100.64.0.0/10 -j ACCEPT` allows it"
    )


def host_address() -> str:
    """An address of this machine that is not loopback, for where tasks share its network; else 127.0.0.1."""
    routes = Path("/proc/net/route").read_text().splitlines()[1:]
    devices = [line.split()[0] for line in routes if line.split()[1] == "00000000"]
    return _device_address(devices[0]) if devices else "127.0.0.1"


def _device_address(device: str) -> str:
    import fcntl
    import socket
    import struct

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        answer = fcntl.ioctl(probe, 0x8915, struct.pack("256s", device.encode()[:15]))  # SIOCGIFADDR
    return socket.inet_ntoa(answer[20:24])
