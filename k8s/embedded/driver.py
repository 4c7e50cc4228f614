"""The seam between the node and what runs containers: the `Driver` port, and the specs and states that cross it.

The node decides (order, restarts, probes, what the API server is told); a driver only starts, stops and reports. It
knows nothing of the Kubernetes API: the node has resolved every reference, so a spec says all there is to know. States
are levels: each tells the whole present state of one container. One contract suite runs over every driver
(`tests/contract/test_driver.py`).

Drivers keep running containers when the node process dies, however it dies: only `remove_pod` and `stop_all` end them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol, TypeAlias

import trio
from attrs import field, frozen

from k8s.embedded.gateway import ExecSession


class DriverError(Exception):
    """The driver could not do it. `message` is a sentence for people; it ends in a Kubernetes event or status."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class SandboxError(DriverError):
    """The pod's surroundings (network, directories) could not be made now: worth trying again later."""


class NotRunningError(DriverError):
    """The container is not running, so nothing can be run in it."""


class PullPolicy(StrEnum):
    """Kubernetes' `imagePullPolicy`; a driver without images ignores it."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


@frozen
class Resources:
    """Limits of a container or a pod. None: no limit (for `cpu_shares_milli`: the least share)."""

    memory_bytes: int | None = None  # past it the container is killed: exit 137, `oom_killed`
    cpu_shares_milli: int | None = None  # weight under contention, in thousandths of a core
    cpu_limit_milli: int | None = None  # hard quota, in thousandths of a core


@frozen
class Ulimit:
    """A resource limit by its name in lower case (`nofile`, `nproc` ...); -1 is unlimited."""

    name: str
    soft: int
    hard: int


@frozen
class EmptyDir:
    """A directory that lives as long as the pod, shared by its containers. With `in_memory`, a tmpfs where possible."""

    name: str
    in_memory: bool = False
    size_bytes: int | None = None


@frozen
class HostPath:
    """A path of the host. `kind` is Kubernetes' `hostPath.type`, e.g. `DirectoryOrCreate`; "" checks nothing."""

    name: str
    path: str
    kind: str = ""


@frozen
class Files:
    """A read-only directory with these files (ConfigMaps, Secrets): relative path → content and mode."""

    name: str
    files: Mapping[str, tuple[bytes, int]] = field(factory=dict, hash=False)


Volume: TypeAlias = EmptyDir | HostPath | Files


@frozen
class Mount:
    """Where a container sees a volume of its pod; `sub_path` is relative to the volume's root."""

    volume: str
    path: str
    read_only: bool = False
    sub_path: str = ""


@frozen
class ContainerSpec:
    """One container to start. Names are unique within the pod; `attempt` counts its restarts from 0.

    `command` replaces the image's entry point and `args` its command, when given (Kubernetes' words). `env` is complete
    and in order: a later entry wins. `user` is `uid`, `uid:gid`, `name` or `name:group`. `working_dir` None is the
    image's, or for processes of the host `/`.
    """

    name: str
    image: str = ""
    pull_policy: PullPolicy = PullPolicy.IF_NOT_PRESENT
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)  # may hold secrets
    working_dir: str | None = None
    user: str | None = None
    supplemental_groups: tuple[int, ...] = ()
    mounts: tuple[Mount, ...] = ()
    resources: Resources = Resources()
    ulimits: tuple[Ulimit, ...] = ()
    read_only_root: bool = False
    privileged: bool = False
    capabilities_add: tuple[str, ...] = ()
    capabilities_drop: tuple[str, ...] = ()
    no_new_privileges: bool = False  # no set-user-ID program raises it
    init_process: bool = False  # an init as PID 1 that passes signals on and reaps
    tty: bool = False
    stop_signal: str = "SIGTERM"
    attempt: int = 0

    @property
    def argv(self) -> tuple[str, ...]:
        """What to execute when there is no image to take defaults from."""
        return self.command + self.args


@frozen
class PodSpec:
    """A pod's sandbox: what its containers share. `uid` is its identity; `namespace` and `name` are for people.

    `annotations` are the pod's, for drivers with settings of their own (`simulated.kecs.dev/...`).
    """

    uid: str
    namespace: str
    name: str
    hostname: str
    host_network: bool = False
    host_pid: bool = False
    host_ipc: bool = False
    share_process_namespace: bool = False
    volumes: tuple[Volume, ...] = ()
    resources: Resources = Resources()  # of the pod as a whole
    hosts: tuple[tuple[str, tuple[str, ...]], ...] = ()  # more lines of /etc/hosts: address, names
    dns_servers: tuple[str, ...] = ()  # with `dns_search` and `dns_options`: /etc/resolv.conf; empty: the host's
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()  # `ndots:2`
    sysctls: tuple[tuple[str, str], ...] = ()
    annotations: Mapping[str, str] = field(factory=dict, hash=False)


class Phase(StrEnum):
    """How far a container has come. FAILED: it could not be started, and nothing of it runs."""

    RUNNING = "RUNNING"
    EXITED = "EXITED"
    FAILED = "FAILED"


class Failure(StrEnum):
    """Why a container could not be started, in the kubelet's words (they become `waiting.reason`)."""

    IMAGE_PULL = "ErrImagePull"
    INVALID_IMAGE_NAME = "InvalidImageName"
    CONFIG = "CreateContainerConfigError"  # the spec cannot be met: an unknown user, a missing mount
    CREATE = "CreateContainerError"
    RUN = "RunContainerError"  # the command could not be executed: not found, no permission


@frozen
class ContainerState:
    """The whole present state of one container of one attempt. Times are aware UTC.

    RUNNING has `container_id` and `started_at`; EXITED also `finished_at` and `exit_code` (128 + signal when a signal
    ended it); FAILED has `failure` and `message`.
    """

    pod_uid: str
    name: str
    phase: Phase
    attempt: int = 0
    container_id: str = ""  # with the runtime's scheme: `process://4f5c...`
    image_id: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int | None = None
    signal: int | None = None
    oom_killed: bool = False
    failure: Failure | None = None
    message: str = ""
    pid: int | None = None  # on the host, for people


@frozen
class PodState:
    """What a driver has of a pod: its address and its containers (the newest attempt of each)."""

    uid: str
    ip: str
    containers: tuple[ContainerState, ...] = ()
    namespace: str = ""
    name: str = ""


@frozen
class ProbeResult:
    """How a command run by a probe ended. `exit_code` is None when it took longer than it was allowed."""

    exit_code: int | None
    output: bytes = b""  # stdout and stderr together, at most the first 4 KiB


@frozen
class DriverInfo:
    """What a driver tells of itself once it runs. `notes` are sentences on what this machine does not allow."""

    name: str  # process, docker, simulated
    version: str
    host_ip: str  # the host's address as pods see it; `status.hostIP`
    runs_images: bool
    pod_capacity: int = 10_000
    parallel_starts: int = 64  # `start_pod` calls that the node may have under way at once
    notes: tuple[str, ...] = ()


class Driver(Protocol):
    """What runs containers. Every call is safe to repeat, may run beside any other call, and raises only what it names
    (and trio.Cancelled). A cancelled start leaves what was begun to `remove_pod`.
    """

    @property
    def exits(self) -> trio.MemoryReceiveChannel[ContainerState]:
        """The end of every container that was ever RUNNING, exactly once (an EXITED state), in order of arrival.

        The sender never blocks. An exit may arrive before the call that started the container has returned. Ends
        already told by `adopted` do not come here.
        """
        ...

    async def run(self, task_status: trio.TaskStatus[DriverInfo] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled; `started(info)` once what survived an earlier run is adopted. Cancelling leaves
        containers running, to be adopted by the next run over the same state directory.
        """
        ...

    def adopted(self) -> Sequence[PodState]:
        """What was there when `run` started: running containers, and ended ones whose exit was never removed."""
        ...

    async def start_pod(self, pod: PodSpec, containers: Sequence[ContainerSpec]) -> PodState:
        """Make the sandbox and start these containers in this order, without waiting for one between two.

        One round trip for a pod whose containers depend on nothing; a pod with dependencies starts with those that wait
        for nobody, perhaps none. Returns once the pod has its address and each of `containers` is RUNNING, EXITED (it
        ended at once) or FAILED; after a FAILED one the rest may be missing from the answer, and are not started.
        Repeated for a pod that it has, it starts only containers that it does not have. Raises SandboxError.
        """
        ...

    async def start_container(self, pod_uid: str, container: ContainerSpec) -> ContainerState:
        """Start one more container, or a further attempt of one that has ended, in a pod that was started.

        Returns RUNNING, EXITED or FAILED as `start_pod` does. Raises SandboxError when the pod is not there.
        """
        ...

    async def stop_container(self, pod_uid: str, name: str, grace_s: float) -> None:
        """Send the stop signal now and SIGKILL after `grace_s` (0: SIGKILL at once), and return without waiting.

        The end arrives on `exits`. Asked again, the earlier deadline holds and no second signal is sent before it. A
        container that does not run is no error.
        """
        ...

    async def remove_pod(self, pod_uid: str, *, keep_logs: bool = False) -> None:
        """Kill what still runs and give back address, namespaces, mounts, cgroups and emptyDirs; logs too, unless kept.

        With `keep_logs` the pod may be removed again later, without. A pod that is not there is no error.
        """
        ...

    async def stop_all(self, grace_s: float) -> None:
        """End everything: stop signals to all containers, SIGKILL after `grace_s`, then remove every pod but its logs.

        Exits arrive on `exits` first. Afterwards no process, namespace, mount or address of this driver is left.
        """
        ...

    async def probe(self, pod_uid: str, name: str, argv: Sequence[str], timeout_s: float) -> ProbeResult:
        """Run a command inside a running container and wait for its end; past `timeout_s` it is killed with its
        children. Raises NotRunningError.
        """
        ...

    def exec(
        self,
        pod_uid: str,
        name: str,
        argv: Sequence[str],
        *,
        stdin: bool = False,
        stdout: bool = True,
        stderr: bool = True,
        tty: bool = False,
    ) -> AbstractAsyncContextManager[ExecSession]:
        """Run a command inside a running container with streams connected. Entering raises NotRunningError, or
        DriverError when the command cannot be executed.
        """
        ...

    def log_path(self, pod_uid: str, name: str, attempt: int = 0) -> Path:
        """Where an attempt's output goes, whether or not it exists yet, in the CRI format:
        `2026-11-22T22:00:00.000000000Z stdout F line`.

        Files that were rotated away lie beside it as `<file name>.<suffix>`; suffixes sort oldest first.
        """
        ...
