"""A pod as the node runs it: what a pod object says, parsed once, in the words of the driver port.

Pure. What a pod refers to (ConfigMaps, Secrets, its own fields) is resolved by `pod_inputs`. Annotations under
`kecs.dev/` say what a pod's own fields cannot: dependencies between containers, stop and start timeouts, ulimits, init.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeAlias

from attrs import field, frozen

from k8s.embedded import driver
from k8s.embedded.driver import ContainerSpec, EmptyDir, HostPath, Mount, PodSpec, PullPolicy, Resources, Ulimit
from k8s.embedded.pod_fields import refusal

JsonObject: TypeAlias = Mapping[str, Any]

DEPENDS_ON: Final = "kecs.dev/depends-on"  # {container: [{"container", "condition"}]}
STOP_TIMEOUTS: Final = "kecs.dev/stop-timeouts"  # {container: seconds}
START_TIMEOUTS: Final = "kecs.dev/start-timeouts"  # {container: seconds}
INIT_PROCESS: Final = "kecs.dev/init-process"  # [container]
ULIMITS: Final = "kecs.dev/ulimits"  # {container: [{"name", "softLimit", "hardLimit"}]}
USERS: Final = "kecs.dev/users"  # {container: "name" or "name:group"}: users that are not numbers

CONDITIONS: Final = frozenset({"START", "COMPLETE", "SUCCESS", "HEALTHY"})
_DEFAULT_GRACE_S: Final = 30
_BINARY: Final = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
_DECIMAL: Final = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal("1e3"),
    "M": Decimal("1e6"),
    "G": Decimal("1e9"),
    "T": Decimal("1e12"),
    "P": Decimal("1e15"),
    "E": Decimal("1e18"),
}


class PodSpecError(Exception):
    """The node cannot run a pod like this; the message says why, for the pod's status."""


@frozen
class ExecCheck:
    """Run a command in the container; 0 is a success."""

    argv: tuple[str, ...]


@frozen
class HttpCheck:
    """GET a URL; 200 to 399 is a success. `host` None is the pod's address; `port` may name a container port."""

    port: int
    path: str = "/"
    host: str | None = None
    https: bool = False
    headers: tuple[tuple[str, str], ...] = ()


@frozen
class TcpCheck:
    """Open a connection."""

    port: int
    host: str | None = None


@frozen
class UnsupportedCheck:
    """A check that this node cannot make: it always fails, with this message."""

    message: str


Check: TypeAlias = ExecCheck | HttpCheck | TcpCheck | UnsupportedCheck


@frozen
class Probe:
    """A check and when it counts. Times in seconds; the defaults are Kubernetes'."""

    check: Check
    initial_delay_s: float = 0
    period_s: float = 10
    timeout_s: float = 1
    failure_threshold: int = 3
    success_threshold: int = 1


@frozen
class Dependency:
    """Wait for `container` to reach `condition`, one of ECS's START, COMPLETE, SUCCESS, HEALTHY."""

    container: str
    condition: str


@frozen
class HostPort:
    """A port of the host that leads to a port of the pod."""

    port: int
    container_port: int
    protocol: str = "TCP"
    address: str = ""


@frozen
class Container:
    """One container of a pod. `env` and `env_from` are as in the pod: `pod_inputs` makes them plain."""

    spec: ContainerSpec
    env: tuple[JsonObject, ...] = field(default=(), hash=False, repr=False)
    env_from: tuple[JsonObject, ...] = field(default=(), hash=False, repr=False)
    readiness: Probe | None = None
    liveness: Probe | None = None
    startup: Probe | None = None
    depends_on: tuple[Dependency, ...] = ()
    stop_timeout_s: float | None = None
    start_timeout_s: float | None = None

    @property
    def name(self) -> str:
        """The container's name, unique in its pod."""
        return self.spec.name


@frozen
class Pod:
    """A pod that the node is to run. Its spec never changes; deletion is told apart from it."""

    uid: str
    namespace: str
    name: str
    sandbox: PodSpec
    containers: tuple[Container, ...]
    init_containers: tuple[Container, ...] = ()
    restart_policy: str = "Always"
    grace_s: float = _DEFAULT_GRACE_S
    active_deadline_s: float | None = None
    host_ports: tuple[HostPort, ...] = ()
    volumes: tuple[JsonObject, ...] = field(default=(), hash=False, repr=False)
    needs_ip: bool = False  # a container's environment names the pod's address, so that has to be known first

    def container(self, name: str) -> Container:
        """The container or init container of this name."""
        return next(c for c in (*self.init_containers, *self.containers) if c.name == name)


@frozen
class Deletion:
    """That the pod's end was asked for: `deletionTimestamp` (when grace is over) and `deletionGracePeriodSeconds`."""

    deadline: datetime
    grace_s: float


def quantity(value: object) -> Decimal:
    """A Kubernetes quantity (`500m`, `512Mi`, `1e3`, 2) as a number. Raises PodSpecError."""
    text = str(value)
    try:
        for suffix, factor in _BINARY.items():
            if text.endswith(suffix):
                return Decimal(text[: -len(suffix)]) * factor
        if text[-1:] in _DECIMAL:
            return Decimal(text[:-1]) * _DECIMAL[text[-1]]
        return Decimal(text)
    except InvalidOperation:
        raise PodSpecError(f"{text!r} is not a quantity") from None


def parse_deletion(pod: JsonObject) -> Deletion | None:
    """What a pod object says of its deletion."""
    metadata = pod["metadata"]
    stamp = metadata.get("deletionTimestamp")
    if stamp is None:
        return None
    return Deletion(datetime.fromisoformat(stamp), float(metadata.get("deletionGracePeriodSeconds") or 0))


def parse_pod(pod: JsonObject) -> Pod:
    """A pod object, less its status. Raises PodSpecError when this node cannot run it."""
    try:
        return _pod(pod)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PodSpecError(f"the pod's spec cannot be read: {type(error).__name__}: {error}") from error


def _pod(pod: JsonObject) -> Pod:
    metadata, spec = pod["metadata"], pod["spec"]
    hints = _Hints.of(metadata.get("annotations") or {})
    grace_s = spec.get("terminationGracePeriodSeconds")
    containers = tuple(_container(c, spec, hints) for c in spec["containers"])
    _check_dependencies(containers)
    if (refused := refusal(spec)) is not None:
        raise PodSpecError(refused)
    return Pod(
        uid=metadata["uid"],
        namespace=metadata["namespace"],
        name=metadata["name"],
        sandbox=_sandbox(metadata, spec),
        containers=containers,
        init_containers=tuple(_container(c, spec, hints) for c in spec.get("initContainers") or ()),
        restart_policy=spec.get("restartPolicy") or "Always",
        grace_s=_DEFAULT_GRACE_S if grace_s is None else float(grace_s),
        active_deadline_s=spec.get("activeDeadlineSeconds"),
        host_ports=() if spec.get("hostNetwork") else tuple(_host_ports(spec["containers"])),
        volumes=tuple(spec.get("volumes") or ()),
        needs_ip=any("status.podIP" in str(e) for c in spec["containers"] for e in c.get("env") or ()),
    )


def _sandbox(metadata: JsonObject, spec: JsonObject) -> PodSpec:
    security = spec.get("securityContext") or {}
    dns = spec.get("dnsConfig") or {}
    return PodSpec(
        uid=metadata["uid"],
        namespace=metadata["namespace"],
        name=metadata["name"],
        hostname=spec.get("hostname") or metadata["name"][:63].rstrip("-."),
        host_network=bool(spec.get("hostNetwork")),
        host_pid=bool(spec.get("hostPID")),
        host_ipc=bool(spec.get("hostIPC")),
        share_process_namespace=bool(spec.get("shareProcessNamespace")),
        resources=_resources(spec.get("resources") or {}),
        hosts=tuple((a["ip"], tuple(a.get("hostnames") or ())) for a in spec.get("hostAliases") or ()),
        dns_servers=tuple(dns.get("nameservers") or ()),
        dns_search=tuple(dns.get("searches") or ()),
        dns_options=tuple(_dns_option(o) for o in dns.get("options") or ()),
        sysctls=tuple((s["name"], s["value"]) for s in security.get("sysctls") or ()),
        annotations=metadata.get("annotations") or {},
    )


def _dns_option(raw: JsonObject) -> str:
    return f"{raw['name']}:{raw['value']}" if raw.get("value") else str(raw["name"])


@frozen
class _Hints:
    """The `kecs.dev/` annotations, parsed."""

    depends_on: Mapping[str, Sequence[JsonObject]]
    stop_timeouts: Mapping[str, float]
    start_timeouts: Mapping[str, float]
    init_process: Sequence[str]
    ulimits: Mapping[str, Sequence[JsonObject]]
    users: Mapping[str, str]

    @classmethod
    def of(cls, annotations: Mapping[str, str]) -> _Hints:
        def read(key: str, default: str) -> Any:
            return json.loads(annotations.get(key) or default)

        return cls(
            read(DEPENDS_ON, "{}"),
            read(STOP_TIMEOUTS, "{}"),
            read(START_TIMEOUTS, "{}"),
            read(INIT_PROCESS, "[]"),
            read(ULIMITS, "{}"),
            read(USERS, "{}"),
        )


def _container(raw: JsonObject, spec: JsonObject, hints: _Hints) -> Container:
    name = raw["name"]
    return Container(
        spec=_container_spec(raw, spec, hints),
        env=tuple(raw.get("env") or ()),
        env_from=tuple(raw.get("envFrom") or ()),
        readiness=_probe(raw.get("readinessProbe"), raw),
        liveness=_probe(raw.get("livenessProbe"), raw),
        startup=_probe(raw.get("startupProbe"), raw),
        depends_on=tuple(Dependency(d["container"], d["condition"]) for d in hints.depends_on.get(name, ())),
        stop_timeout_s=_seconds(hints.stop_timeouts.get(name)),
        start_timeout_s=_seconds(hints.start_timeouts.get(name)),
    )


def _seconds(value: object) -> float | None:
    return None if value is None else float(str(value))


def _container_spec(raw: JsonObject, spec: JsonObject, hints: _Hints) -> ContainerSpec:
    name = raw["name"]
    security = {**(spec.get("securityContext") or {}), **(raw.get("securityContext") or {})}
    capabilities = security.get("capabilities") or {}
    policy = raw.get("imagePullPolicy") or PullPolicy.IF_NOT_PRESENT
    return ContainerSpec(
        name=name,
        image=raw.get("image") or "",
        pull_policy=PullPolicy(policy),
        command=tuple(raw.get("command") or ()),
        args=tuple(raw.get("args") or ()),
        working_dir=raw.get("workingDir") or None,
        user=hints.users.get(name) or _user(security),
        supplemental_groups=tuple(security.get("supplementalGroups") or ()),
        mounts=tuple(_mount(m) for m in raw.get("volumeMounts") or ()),
        resources=_resources(raw.get("resources") or {}),
        ulimits=tuple(_ulimit(u) for u in hints.ulimits.get(name, ())),
        read_only_root=bool(security.get("readOnlyRootFilesystem")),
        privileged=bool(security.get("privileged")),
        capabilities_add=tuple(capabilities.get("add") or ()),
        capabilities_drop=tuple(capabilities.get("drop") or ()),
        no_new_privileges=security.get("allowPrivilegeEscalation") is False,
        init_process=name in hints.init_process,
        tty=bool(raw.get("tty")),
    )


def _user(security: JsonObject) -> str | None:
    uid, gid = security.get("runAsUser"), security.get("runAsGroup")
    if uid is None:
        return None if gid is None else f"0:{gid}"
    return str(uid) if gid is None else f"{uid}:{gid}"


def _ulimit(raw: JsonObject) -> Ulimit:
    return Ulimit(raw["name"].lower(), int(raw["softLimit"]), int(raw["hardLimit"]))


def _resources(raw: JsonObject) -> Resources:
    limits, requests = raw.get("limits") or {}, raw.get("requests") or {}
    cpu, share = limits.get("cpu"), requests.get("cpu")
    memory = limits.get("memory")
    return Resources(
        memory_bytes=None if memory is None else int(quantity(memory)),
        cpu_shares_milli=None if share is None else int(quantity(share) * 1000),
        cpu_limit_milli=None if cpu is None else int(quantity(cpu) * 1000),
    )


def _mount(raw: JsonObject) -> Mount:
    return Mount(raw["name"], raw["mountPath"], bool(raw.get("readOnly")), raw.get("subPath") or "")


def plain_volume(raw: JsonObject) -> driver.Volume | None:
    """A volume that needs nothing but this machine; None for those made of other objects."""
    name = raw["name"]
    if (empty := raw.get("emptyDir")) is not None:
        size = empty.get("sizeLimit")
        return EmptyDir(name, empty.get("medium") == "Memory", None if size is None else int(quantity(size)))
    if (host := raw.get("hostPath")) is not None:
        return HostPath(name, host["path"], host.get("type") or "")
    return None


def _probe(raw: JsonObject | None, container: JsonObject) -> Probe | None:
    if not raw:
        return None
    return Probe(
        check=_check(raw, container),
        initial_delay_s=float(raw.get("initialDelaySeconds") or 0),
        period_s=float(raw.get("periodSeconds") or 10),
        timeout_s=float(raw.get("timeoutSeconds") or 1),
        failure_threshold=int(raw.get("failureThreshold") or 3),
        success_threshold=int(raw.get("successThreshold") or 1),
    )


def _check(raw: JsonObject, container: JsonObject) -> Check:
    if (command := raw.get("exec")) is not None:
        return ExecCheck(tuple(command.get("command") or ()))
    if (http := raw.get("httpGet")) is not None:
        return HttpCheck(
            port=_port(http["port"], container),
            path=http.get("path") or "/",
            host=http.get("host") or None,
            https=http.get("scheme") == "HTTPS",
            headers=tuple((h["name"], h["value"]) for h in http.get("httpHeaders") or ()),
        )
    if (tcp := raw.get("tcpSocket")) is not None:
        return TcpCheck(_port(tcp["port"], container), tcp.get("host") or None)
    return UnsupportedCheck("grpc probes are not supported by this node")


def _port(value: object, container: JsonObject) -> int:
    if isinstance(value, int) or str(value).isdigit():
        return int(str(value))
    named = [p["containerPort"] for p in container.get("ports") or () if p.get("name") == value]
    if not named:
        raise PodSpecError(f"container {container['name']} has no port named {value}")
    return int(named[0])


def _host_ports(containers: Sequence[JsonObject]) -> Sequence[HostPort]:
    return [
        HostPort(p["hostPort"], p["containerPort"], p.get("protocol") or "TCP", p.get("hostIP") or "")
        for c in containers
        for p in c.get("ports") or ()
        if p.get("hostPort")
    ]


def _check_dependencies(containers: Sequence[Container]) -> None:
    """Refuse names that are not there, unknown conditions and circles: they could only wait for ever."""
    by_name = {c.name: c for c in containers}
    for c in containers:
        for d in c.depends_on:
            if d.container not in by_name or d.condition not in CONDITIONS:
                raise PodSpecError(f"container {c.name} cannot depend on {d.container} being {d.condition}")
    done: set[str] = set()
    while len(done) < len(by_name):
        free = [n for n, c in by_name.items() if n not in done and all(d.container in done for d in c.depends_on)]
        if not free:
            raise PodSpecError("the containers' dependencies form a circle")
        done.update(free)
