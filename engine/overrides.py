"""What RunTask may change of a task definition for one task."""

from __future__ import annotations

from attrs import frozen

from engine.container_definition import EnvironmentFile, KeyValuePair, ResourceRequirement
from engine.task_definition import EphemeralStorage


@frozen
class ContainerOverride:
    """Overrides for one container, by name."""

    name: str | None = None
    command: tuple[str, ...] | None = None
    environment: tuple[KeyValuePair, ...] | None = None
    environment_files: tuple[EnvironmentFile, ...] | None = None
    cpu: int | None = None
    memory: int | None = None
    memory_reservation: int | None = None
    resource_requirements: tuple[ResourceRequirement, ...] | None = None


@frozen
class InferenceAcceleratorOverride:
    """Stored and returned: there are no accelerators."""

    device_name: str | None = None
    device_type: str | None = None


@frozen
class TaskOverride:
    """Overrides for one task."""

    container_overrides: tuple[ContainerOverride, ...] | None = None
    cpu: str | None = None
    inference_accelerator_overrides: tuple[InferenceAcceleratorOverride, ...] | None = None
    memory: str | None = None
    execution_role_arn: str | None = None
    task_role_arn: str | None = None
    ephemeral_storage: EphemeralStorage | None = None
