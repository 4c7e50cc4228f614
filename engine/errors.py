"""Errors that the caller can fix, named as in the ECS service model, in AWS's wording.

What does AWS answer to a missing cluster? It is here. Nothing but the wording and the code is decided in this file.
"""

from __future__ import annotations


class AwsError(Exception):
    """A modelled error. `code` is the shape's name in botocore's service model; `status` its HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.resource_ids: tuple[str, ...] = ()  # ConflictException's `resourceIds`


def cluster_not_found() -> AwsError:
    """The cluster does not exist, or is INACTIVE where an active one is needed."""
    return AwsError("ClusterNotFoundException", "Cluster not found.")


def invalid_parameter(message: str) -> AwsError:
    """A parameter has a value that ECS refuses."""
    return AwsError("InvalidParameterException", message)


def client_error(message: str) -> AwsError:
    """ECS's general refusal of an action or a resource id."""
    return AwsError("ClientException", message)


def cluster_contains_services() -> AwsError:
    """DeleteCluster while services of it are active."""
    return AwsError("ClusterContainsServicesException", "The Cluster cannot be deleted while Services are active.")


def cluster_contains_tasks() -> AwsError:
    """DeleteCluster while tasks of it are active."""
    return AwsError("ClusterContainsTasksException", "The Cluster cannot be deleted while Tasks are active.")


def service_not_found() -> AwsError:
    """The service does not exist."""
    return AwsError("ServiceNotFoundException", "Service not found.")


def resource_not_found(noun: str) -> AwsError:
    """The tags of something that does not exist. AWS models ServiceNotFoundException for no operation on tags."""
    return invalid_parameter(f"The specified {noun} is not found.")


def cluster_inactive() -> AwsError:
    """The tags of a deleted cluster. Terraform reads this message as: it is gone."""
    return invalid_parameter("The specified cluster is inactive. Specify an active cluster and try again.")


def service_not_active() -> AwsError:
    """The service is DRAINING or INACTIVE."""
    return AwsError("ServiceNotActiveException", "Service was not ACTIVE.")


def task_not_found() -> AwsError:
    """StopTask of a task that does not exist."""
    return invalid_parameter("The referenced task was not found.")


def conflict(message: str, resource_ids: tuple[str, ...] = ()) -> AwsError:
    """RunTask with a client token that stands for another request."""
    error = AwsError("ConflictException", message)
    error.resource_ids = resource_ids
    return error


def unsupported(what: str) -> AwsError:
    """Something that AWS does and KECS does not do (yet). `what` names the operation or parameter."""
    return AwsError("UnsupportedFeatureException", f"{what} is not supported by KECS. See docs/unsupported.md.")
