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


def cluster_not_found() -> AwsError:
    """The cluster does not exist, or is INACTIVE where an active one is needed."""
    return AwsError("ClusterNotFoundException", "Cluster not found.")


def invalid_parameter(message: str) -> AwsError:
    """A parameter has a value that ECS refuses."""
    return AwsError("InvalidParameterException", message)


def client_error(message: str) -> AwsError:
    """ECS's general refusal of an action or a resource id."""
    return AwsError("ClientException", message)


def unsupported(what: str) -> AwsError:
    """Something that AWS does and KECS does not do (yet). `what` names the operation or parameter."""
    return AwsError("UnsupportedFeatureException", f"{what} is not supported by KECS. See docs/unsupported.md.")
