"""Container definitions: the shapes inside a task definition, named as in the service model."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen


@frozen
class RepositoryCredentials:
    """Where the credentials of a private registry are kept."""

    credentials_parameter: str


@frozen
class PortMapping:
    """A port a container listens on. `host_port` is filled for awsvpc and host networking."""

    container_port: int | None = None
    host_port: int | None = None
    protocol: str | None = None
    name: str | None = None
    app_protocol: str | None = None
    container_port_range: str | None = None


@frozen
class ContainerRestartPolicy:
    """Whether a container that exits is started again within its task. `restart_attempt_period` is in seconds."""

    enabled: bool
    ignored_exit_codes: tuple[int, ...] | None = None
    restart_attempt_period: int | None = None


@frozen
class KeyValuePair:
    """A name and a value: an environment variable, a detail of an attachment."""

    name: str | None = None
    value: str | None = None


@frozen
class EnvironmentFile:
    """A file of environment variables in S3."""

    value: str
    type: str


@frozen
class MountPoint:
    """Where a volume of the task appears in a container."""

    source_volume: str | None = None
    container_path: str | None = None
    read_only: bool | None = None


@frozen
class VolumeFrom:
    """Mounts of another container of the task that this one shares."""

    source_container: str | None = None
    read_only: bool | None = None


@frozen
class KernelCapabilities:
    """Linux capabilities added to or dropped from the default set."""

    add: tuple[str, ...] | None = None
    drop: tuple[str, ...] | None = None


@frozen
class Device:
    """A device of the host given to a container."""

    host_path: str
    container_path: str | None = None
    permissions: tuple[str, ...] | None = None


@frozen
class Tmpfs:
    """A tmpfs mount; `size` is in MiB."""

    container_path: str
    size: int
    mount_options: tuple[str, ...] | None = None


@frozen
class LinuxParameters:
    """Linux-only options. `shared_memory_size` and `max_swap` are in MiB."""

    capabilities: KernelCapabilities | None = None
    devices: tuple[Device, ...] | None = None
    init_process_enabled: bool | None = None
    shared_memory_size: int | None = None
    tmpfs: tuple[Tmpfs, ...] | None = None
    max_swap: int | None = None
    swappiness: int | None = None


@frozen
class Secret:
    """An environment variable (or log option) whose value comes from SSM or Secrets Manager."""

    name: str
    value_from: str


@frozen
class ContainerDependency:
    """This container waits for another to reach START, COMPLETE, SUCCESS or HEALTHY."""

    container_name: str
    condition: str


@frozen
class HostEntry:
    """A line of `/etc/hosts`."""

    hostname: str
    ip_address: str


@frozen
class Ulimit:
    """A resource limit, by its name in `setrlimit`."""

    name: str
    soft_limit: int
    hard_limit: int


@frozen
class LogConfiguration:
    """The log driver of a container and its options."""

    log_driver: str
    options: Mapping[str, str] | None = field(default=None, hash=False)
    secret_options: tuple[Secret, ...] | None = None


@frozen
class HealthCheck:
    """A command that tells whether a container is healthy. Seconds; the defaults are ECS's."""

    command: tuple[str, ...]
    interval: int | None = None
    timeout: int | None = None
    retries: int | None = None
    start_period: int | None = None


@frozen
class SystemControl:
    """A kernel parameter set in the container."""

    namespace: str | None = None
    value: str | None = None


@frozen
class NvidiaMpsAllocation:
    """A share of a GPU."""

    memory: int
    max_compute_percent: int | None = None


@frozen
class SharingStrategy:
    """How a GPU is shared."""

    nvidia_mps: NvidiaMpsAllocation | None = None


@frozen
class ResourceRequirement:
    """A GPU or accelerator that a container asks for."""

    type: str
    value: str | None = None
    sharing_strategy: SharingStrategy | None = None


@frozen
class FirelensConfiguration:
    """Marks a container as a log router."""

    type: str
    options: Mapping[str, str] | None = field(default=None, hash=False)


@frozen
class ContainerDefinition:
    """One container of a task definition, as DescribeTaskDefinition returns it.

    What AWS reads back even when it is empty has an empty default; what it leaves out is None.
    """

    name: str = ""  # a registered definition always has a name and an image
    image: str = ""
    repository_credentials: RepositoryCredentials | None = None
    cpu: int = 0
    memory: int | None = None
    memory_reservation: int | None = None
    links: tuple[str, ...] | None = None
    port_mappings: tuple[PortMapping, ...] = ()
    essential: bool = True
    restart_policy: ContainerRestartPolicy | None = None
    entry_point: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    environment: tuple[KeyValuePair, ...] = ()
    environment_files: tuple[EnvironmentFile, ...] | None = None
    mount_points: tuple[MountPoint, ...] = ()
    volumes_from: tuple[VolumeFrom, ...] = ()
    linux_parameters: LinuxParameters | None = None
    secrets: tuple[Secret, ...] | None = None
    depends_on: tuple[ContainerDependency, ...] | None = None
    start_timeout: int | None = None
    stop_timeout: int | None = None
    version_consistency: str | None = None
    hostname: str | None = None
    user: str | None = None
    working_directory: str | None = None
    disable_networking: bool | None = None
    privileged: bool | None = None
    readonly_root_filesystem: bool | None = None
    dns_servers: tuple[str, ...] | None = None
    dns_search_domains: tuple[str, ...] | None = None
    extra_hosts: tuple[HostEntry, ...] | None = None
    docker_security_options: tuple[str, ...] | None = None
    interactive: bool | None = None
    pseudo_terminal: bool | None = None
    docker_labels: Mapping[str, str] | None = field(default=None, hash=False)
    ulimits: tuple[Ulimit, ...] | None = None
    log_configuration: LogConfiguration | None = None
    health_check: HealthCheck | None = None
    system_controls: tuple[SystemControl, ...] = ()
    resource_requirements: tuple[ResourceRequirement, ...] | None = None
    firelens_configuration: FirelensConfiguration | None = None
    credential_specs: tuple[str, ...] | None = None
