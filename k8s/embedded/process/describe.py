"""From the node's specs to what a keeper takes: pure but for looking at host paths and writing a pod's own files."""

from __future__ import annotations

import grp
import pwd
import signal
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from attrs import asdict, frozen

from k8s.embedded.driver import (
    ContainerSpec,
    DriverError,
    EmptyDir,
    Failure,
    Files,
    HostPath,
    PodSpec,
    Volume,
)
from k8s.embedded.process.limits import Cgroups

NO_COMMAND = (
    "the process driver cannot pull images: give the container a command (or entryPoint) that exists on this machine, "
    "or use a runtime with images"
)
# Docker's default set: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, NET_RAW,
# SYS_CHROOT, MKNOD, AUDIT_WRITE, SETFCAP
DEFAULT_CAPABILITIES = sum(1 << number for number in (0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31))
ALL_CAPABILITIES = (1 << 64) - 1
_CAPABILITY_NAMES = """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
    NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
    SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
    MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""
CAPABILITIES = {name: number for number, name in enumerate(_CAPABILITY_NAMES.split())}


class RefusedError(DriverError):
    """A container's spec cannot be met. `failure` is the kubelet's word for it."""

    def __init__(self, failure: Failure, message: str) -> None:
        super().__init__(message)
        self.failure = failure


@frozen
class Machine:
    """What a pod can have on this machine, as the zygote found out."""

    own_network: bool
    own_processes: bool
    own_mounts: bool
    may_change_user: bool
    default_user: str  # of containers that name none
    home: str | None = None  # in place of the user's own, where the user is root in a user namespace only


@lru_cache
def user(named: str) -> tuple[int, int, str]:
    """uid, gid and home of `uid`, `uid:gid`, `name` or `name:group` on this machine. Raises RefusedError."""
    name, _, group = named.partition(":")
    try:
        entry = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
        uid, gid, home = entry.pw_uid, entry.pw_gid, entry.pw_dir
    except KeyError:
        if not name.isdigit():
            message = f"unable to find user {name}: no matching entries in passwd file"
            raise RefusedError(Failure.CONFIG, message) from None
        uid, gid, home = int(name), 0, "/"
    if group:
        try:
            gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
        except KeyError:
            message = f"unable to find group {group}: no matching entries in group file"
            raise RefusedError(Failure.CONFIG, message) from None
    return uid, gid, home


def capability_mask(spec: ContainerSpec) -> int | None:
    """The capabilities that a container keeps; None: all that the node has. Raises RefusedError."""
    if spec.privileged:
        return None
    added = [_capability(name) for name in spec.capabilities_add]
    dropped = [_capability(name) for name in spec.capabilities_drop]
    # as containerd: ALL comes first, so that one may drop all and add some
    mask = ALL_CAPABILITIES if ALL_CAPABILITIES in added else DEFAULT_CAPABILITIES
    mask = 0 if ALL_CAPABILITIES in dropped else mask
    for bit in added:
        mask |= bit if bit != ALL_CAPABILITIES else 0
    for bit in dropped:
        mask &= ~bit if bit != ALL_CAPABILITIES else ALL_CAPABILITIES
    return mask


def _capability(name: str) -> int:
    """The bit of a capability, or ALL_CAPABILITIES. Raises RefusedError."""
    plain = name.upper().removeprefix("CAP_")
    if plain == "ALL":
        return ALL_CAPABILITIES
    if plain not in CAPABILITIES:
        raise RefusedError(Failure.CREATE, f"invalid capability: {name}")
    return 1 << CAPABILITIES[plain]


@frozen
class Surroundings:
    """What of a pod a container's description needs; kept in the keeper's record, for containers that start later."""

    uid: str
    hostname: str
    host_pid: bool
    limited: Sequence[str]  # the controllers by which the pod as a whole is limited
    shared_processes: bool
    volumes: Mapping[str, tuple[str, bool]]  # name → path on the host, read-only

    @classmethod
    def of(cls, pod: PodSpec, cgroups: Cgroups, volumes: Path) -> Surroundings:
        """The surroundings of a pod whose own volumes lie in the directory `volumes`."""
        paths = {
            volume.name: (
                volume.path if isinstance(volume, HostPath) else str(volumes / volume.name),
                isinstance(volume, Files),
            )
            for volume in pod.volumes
        }
        return cls(
            pod.uid,
            pod.hostname,
            pod.host_pid,
            list(cgroups.limited(pod.resources)),
            pod.share_process_namespace,
            paths,
        )


def container_message(
    pod: Surroundings, spec: ContainerSpec, machine: Machine, cgroups: Cgroups, container_id: str, log: Path
) -> dict[str, Any]:
    """What a keeper needs to start a container. Raises RefusedError."""
    if not spec.argv:
        raise RefusedError(Failure.IMAGE_PULL, NO_COMMAND)
    if pod.shared_processes:
        raise RefusedError(
            Failure.CONFIG, "the process driver cannot share one PID namespace among a task's containers"
        )
    uid, gid, home = user(spec.user or machine.default_user)
    return {
        "name": spec.name,
        "attempt": spec.attempt,
        "id": container_id,
        "argv": list(spec.argv),
        "env": {"HOSTNAME": pod.hostname} | dict(spec.env),
        "cwd": spec.working_dir or "/",
        "uid": uid,
        "gid": gid,
        "home": machine.home or home,
        "groups": list(spec.supplemental_groups),
        "can_change_user": machine.may_change_user,
        "mounts": _mounts(pod, spec, machine),
        "ulimits": [(limit.name, limit.soft, limit.hard) for limit in spec.ulimits],
        "read_only_root": spec.read_only_root,
        "capabilities": capability_mask(spec) if machine.own_processes else None,
        "no_new_privileges": spec.no_new_privileges,
        "own_processes": machine.own_processes and not pod.host_pid,
        "init": spec.init_process,
        "stop_signal": int(getattr(signal, spec.stop_signal, signal.SIGTERM)),
        "cgroups": cgroups.of_container(pod.uid, spec.name, spec.resources, pod.limited),
        "log": str(log),
    }


def _mounts(pod: Surroundings, spec: ContainerSpec, machine: Machine) -> list[tuple[str, str, bool]]:
    """(source, target, read-only) in the order in which they must be mounted: outer before inner."""
    if not machine.own_mounts and (spec.mounts or spec.read_only_root):
        message = "volumes and a read-only root need a mount namespace, which this machine does not allow"
        raise RefusedError(Failure.CONFIG, message)
    mounts = []
    for mount in sorted(spec.mounts, key=lambda mount: mount.path.rstrip("/").count("/")):
        if mount.volume not in pod.volumes:
            raise RefusedError(Failure.CONFIG, f'volume "{mount.volume}" of container "{spec.name}" is not in the pod')
        path, read_only = pod.volumes[mount.volume]
        if mount.sub_path:
            path = f"{path}/{mount.sub_path}"
            Path(path).mkdir(parents=True, exist_ok=True)
        mounts.append((path, mount.path, mount.read_only or read_only))
    return mounts


def make_volume(volume: Volume, volumes: Path) -> None:
    """Make what a volume needs to exist. Raises RefusedError, OSError."""
    if isinstance(volume, HostPath):
        _check_host_path(volume)
        return
    directory = volumes / volume.name
    directory.mkdir(parents=True, exist_ok=True)
    if isinstance(volume, EmptyDir):
        directory.chmod(0o777)
        return
    _write_files(directory, volume.files)


def _write_files(directory: Path, files: Mapping[str, tuple[bytes, int]]) -> None:
    for name, (content, mode) in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)


def _check_host_path(volume: HostPath) -> None:
    """Kubernetes' `hostPath.type`; "" makes a missing directory, as the Docker engine under ECS does."""
    path = Path(volume.path)
    if volume.kind in ("", "DirectoryOrCreate"):
        if not path.exists():
            path.mkdir(parents=True)
    elif volume.kind == "FileOrCreate":
        path.touch()
    matches = {
        "Directory": path.is_dir, "DirectoryOrCreate": path.is_dir, "File": path.is_file, "FileOrCreate": path.is_file,
        "Socket": path.is_socket, "CharDevice": path.is_char_device, "BlockDevice": path.is_block_device,
    }.get(volume.kind, path.exists)  # fmt: skip
    if not matches():
        raise RefusedError(Failure.CONFIG, f"hostPath type check failed: {volume.path} is not a {volume.kind}")


def hosts_file(pod: PodSpec, ip: str) -> str:
    """A pod's /etc/hosts."""
    lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    if ip:
        lines.append(f"{ip}\t{pod.hostname}")
    lines += [f"{address}\t{' '.join(names)}" for address, names in pod.hosts]
    return "\n".join(lines) + "\n"


def files(pod: PodSpec, ip: str, own_hostname: bool) -> dict[str, str]:
    """The pod's own files in /etc."""
    settings = [f"search {' '.join(pod.dns_search)}"] if pod.dns_search else []
    settings += [f"options {' '.join(pod.dns_options)}"] if pod.dns_options else []
    servers = [f"nameserver {server}" for server in pod.dns_servers]
    resolver = (servers or _own_servers()) + settings if servers or settings else []
    return (
        {"hosts": hosts_file(pod, ip)}
        | ({"hostname": pod.hostname + "\n"} if own_hostname else {})
        | ({"resolv.conf": "\n".join(resolver) + "\n"} if resolver else {})
    )


def _own_servers() -> list[str]:
    """The name servers of this machine, as lines."""
    try:
        lines = Path("/etc/resolv.conf").read_text().splitlines()
    except OSError:
        return []
    return [line for line in lines if line.startswith("nameserver")]


def in_memory_volumes(pod: PodSpec, volumes: Path) -> list[tuple[str, str]]:
    """(directory, mount options) of the volumes that are to live in memory."""
    return [
        (str(volumes / volume.name), "mode=1777" + (f",size={volume.size_bytes}" if volume.size_bytes else ""))
        for volume in pod.volumes
        if isinstance(volume, EmptyDir) and volume.in_memory
    ]


def as_message(surroundings: Surroundings) -> dict[str, Any]:
    """Surroundings for the keeper's record."""
    return asdict(surroundings)


def from_message(message: Mapping[str, Any]) -> Surroundings:
    """Surroundings from a keeper's record."""
    return Surroundings(**message)
