"""Container definitions: the shapes inside a task definition, named as in the service model."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen


@frozen
class KeyValuePair:
    """A name and a value: one environment variable."""

    name: str | None = None
    value: str | None = None


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
class ContainerDependency:
    """This container waits for another to reach START, COMPLETE, SUCCESS or HEALTHY."""

    container_name: str
    condition: str


@frozen
class HealthCheck:
    """A command that tells whether a container is healthy. Seconds; the defaults are ECS's."""

    command: tuple[str, ...]
    interval: int | None = None
    timeout: int | None = None
    retries: int | None = None
    start_period: int | None = None


@frozen
class ContainerDefinition:
    """One container of a task definition."""

    name: str
    image: str | None = None
    cpu: int = 0
    memory: int | None = None
    memory_reservation: int | None = None
    essential: bool = True
    entry_point: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    environment: tuple[KeyValuePair, ...] = ()
    port_mappings: tuple[PortMapping, ...] = ()
    depends_on: tuple[ContainerDependency, ...] | None = None
    health_check: HealthCheck | None = None
    start_timeout: int | None = None
    stop_timeout: int | None = None
    docker_labels: Mapping[str, str] | None = field(default=None, hash=False)


@frozen
class Volume:
    """A volume of a task definition."""

    name: str | None = None
