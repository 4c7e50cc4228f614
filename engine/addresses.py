"""Addresses of tasks: elastic network interfaces, network interfaces and port bindings as DescribeTasks shows them.

ECS gives `networkInterfaces` only to awsvpc tasks. Here a task has an address of its own in every network mode, and
every container shows it, so that a client finds where to connect. That is KECS's reading, not AWS's.
"""

from __future__ import annotations

from attrs import evolve

from engine.arn import parse_arn
from engine.container_definition import KeyValuePair
from engine.identifiers import derived_hex
from engine.network import Attachment, NetworkBinding, NetworkConfiguration, NetworkInterface
from engine.task import Container, Task


def requested_attachments(
    task_arn: str, attachment_id: str, network: NetworkConfiguration | None
) -> tuple[Attachment, ...]:
    """The network interface that an awsvpc task asks for, before it has one."""
    subnets = network.awsvpc_configuration.subnets if network and network.awsvpc_configuration else ()
    spread = int(derived_hex(task_arn)[:8], 16) % len(subnets) if subnets else 0
    subnet = subnets[spread] if subnets else "subnet-00000000"
    return (Attachment(id=attachment_id, details=(KeyValuePair("subnetId", subnet),)),)


def attached(task: Task, ip: str) -> tuple[Attachment, ...]:
    """The task's interfaces once it has its address."""
    return tuple(
        evolve(one, status="ATTACHED", details=(one.details[0], *_interface(task, one.id, ip)))
        if one.status == "PRECREATED"
        else one
        for one in task.attachments
    )


def detached(attachments: tuple[Attachment, ...]) -> tuple[Attachment, ...]:
    """The interfaces of a task that has stopped."""
    return tuple(evolve(one, status="DELETED") for one in attachments)


def interfaces(task: Task, ip: str) -> tuple[NetworkInterface, ...]:
    """What every container of the task shows as its network interfaces."""
    attachment_id = task.attachments[0].id if task.attachments else None
    return (NetworkInterface(attachment_id=attachment_id, private_ipv4_address=ip),)


def bindings(container: Container, ip: str) -> tuple[NetworkBinding, ...]:
    """Where the container's published ports are reached: at the task's own address, on the port itself."""
    return tuple(
        NetworkBinding(
            bind_ip=ip,
            container_port=port.container_port,
            host_port=port.host_port or port.container_port,
            protocol=port.protocol or "tcp",
            container_port_range=port.container_port_range,
            host_port_range=port.container_port_range,
        )
        for port in container.published_ports
    )


def _interface(task: Task, attachment_id: str, ip: str) -> tuple[KeyValuePair, ...]:
    digits = derived_hex(attachment_id)
    mac = ":".join(("02", *(digits[n : n + 2] for n in range(0, 10, 2))))
    arn = parse_arn(task.task_arn)
    region = arn.scope.region if arn else ""
    zone = "ec2.internal" if region == "us-east-1" else f"{region}.compute.internal"
    return (
        KeyValuePair("networkInterfaceId", f"eni-{digits[:17]}"),
        KeyValuePair("macAddress", mac),
        KeyValuePair("privateDnsName", f"ip-{ip.replace('.', '-')}.{zone}"),
        KeyValuePair("privateIPv4Address", ip),
    )
