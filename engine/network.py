"""Network shapes of tasks and services."""

from __future__ import annotations

from attrs import frozen

from engine.container_definition import KeyValuePair


@frozen
class Attachment:
    """An elastic network interface of an awsvpc task. `details` carry its subnet and addresses."""

    id: str
    type: str = "ElasticNetworkInterface"
    status: str = "PRECREATED"
    details: tuple[KeyValuePair, ...] = ()


@frozen
class NetworkInterface:
    """The address of a container."""

    attachment_id: str | None = None
    private_ipv4_address: str | None = None
    ipv6_address: str | None = None


@frozen
class NetworkBinding:
    """Where a container's port can be reached."""

    bind_ip: str | None = None
    container_port: int | None = None
    host_port: int | None = None
    protocol: str | None = None
    container_port_range: str | None = None
    host_port_range: str | None = None


@frozen
class AwsVpcConfiguration:
    """Subnets and security groups of awsvpc tasks: stored, returned, not enforced."""

    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] | None = None
    assign_public_ip: str | None = None


@frozen
class NetworkConfiguration:
    """A task's or service's network configuration."""

    awsvpc_configuration: AwsVpcConfiguration | None = None
