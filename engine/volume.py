"""Volumes of task definitions, named as in the service model."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen


@frozen
class HostVolumeProperties:
    """A directory of the host, or (without a path) an empty one that lives as long as the task."""

    source_path: str | None = None


@frozen
class DockerVolumeConfiguration:
    """A Docker volume, of the task or shared."""

    scope: str | None = None
    autoprovision: bool | None = None
    driver: str | None = None
    driver_opts: Mapping[str, str] | None = field(default=None, hash=False)
    labels: Mapping[str, str] | None = field(default=None, hash=False)


@frozen
class EFSAuthorizationConfig:
    """Access point and IAM use of an EFS volume."""

    access_point_id: str | None = None
    iam: str | None = None


@frozen
class EFSVolumeConfiguration:
    """An EFS file system."""

    file_system_id: str
    root_directory: str | None = None
    transit_encryption: str | None = None
    transit_encryption_port: int | None = None
    authorization_config: EFSAuthorizationConfig | None = None


@frozen
class S3FilesVolumeConfiguration:
    """An S3 Files file system."""

    file_system_arn: str
    root_directory: str | None = None
    transit_encryption_port: int | None = None
    access_point_arn: str | None = None


@frozen
class FSxWindowsFileServerAuthorizationConfig:
    """Credentials for an FSx file system."""

    credentials_parameter: str
    domain: str


@frozen
class FSxWindowsFileServerVolumeConfiguration:
    """An FSx for Windows file system."""

    file_system_id: str
    root_directory: str
    authorization_config: FSxWindowsFileServerAuthorizationConfig


@frozen
class Volume:
    """A volume of a task definition. None of the kinds given means an empty directory of the task."""

    name: str | None = None
    host: HostVolumeProperties | None = None
    docker_volume_configuration: DockerVolumeConfiguration | None = None
    efs_volume_configuration: EFSVolumeConfiguration | None = None
    s3files_volume_configuration: S3FilesVolumeConfiguration | None = None
    fsx_windows_file_server_volume_configuration: FSxWindowsFileServerVolumeConfiguration | None = None
    configured_at_launch: bool | None = None
