"""The errors of the embedded API server, as Kubernetes words them: raised where they are found, sent as `Status`.

Source: https://github.com/kubernetes/apimachinery/blob/master/pkg/api/errors/errors.go
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from k8s.client import JsonObject, KubeError
from k8s.embedded.apiserver.resources import ResourceType


class StatusError(KubeError):
    """A refusal, with the fields of the `Status` object that tells it."""

    def as_object(self) -> JsonObject:
        """The `Status` object that goes to the client."""
        status: JsonObject = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.status,
        }
        if self.details:
            status["details"] = dict(self.details)
        return status


@frozen
class Cause:
    """One thing wrong with one field, in the words of Kubernetes' `field.Error`."""

    reason: str
    field: str
    message: str

    def as_object(self) -> JsonObject:
        """An entry of `Status.details.causes`."""
        return {"reason": self.reason, "message": self.message, "field": self.field}


def required(field: str, detail: str = "") -> Cause:
    """A field that must be there is not."""
    return Cause("FieldValueRequired", field, "Required value" + (f": {detail}" if detail else ""))


def invalid_value(field: str, value: object, detail: str) -> Cause:
    """A field has a value that is not allowed."""
    return Cause("FieldValueInvalid", field, f"Invalid value: {_shown(value)}: {detail}")


def duplicate(field: str, value: object) -> Cause:
    """A value that must be unique is there twice."""
    return Cause("FieldValueDuplicate", field, f"Duplicate value: {_shown(value)}")


def unsupported(field: str, value: object, supported: Sequence[str]) -> Cause:
    """A value is none of those known."""
    names = ", ".join(f'"{name}"' for name in supported)
    return Cause("FieldValueNotSupported", field, f"Unsupported value: {_shown(value)}: supported values: {names}")


def forbidden_field(field: str, detail: str) -> Cause:
    """A field may not be set, or not be changed."""
    return Cause("FieldValueForbidden", field, f"Forbidden: {detail}")


def not_found_value(field: str, value: object) -> Cause:
    """A field names something that is not there."""
    return Cause("FieldValueNotFound", field, f"Not found: {_shown(value)}")


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _qualified(name: str, group: str) -> str:
    return f"{name}.{group}" if group else name


def _details(resource: ResourceType, name: str, **more: Any) -> JsonObject:
    details: JsonObject = {"name": name} if name else {}
    if resource.group:
        details["group"] = resource.group
    return {**details, "kind": resource.plural, **more}


def not_found(resource: ResourceType, name: str) -> StatusError:
    """404: no such object."""
    message = f'{_qualified(resource.plural, resource.group)} "{name}" not found'
    return StatusError(404, "NotFound", message, _details(resource, name))


def no_such_path() -> StatusError:
    """404: no such resource or path at all."""
    return StatusError(404, "NotFound", "the server could not find the requested resource")


def already_exists(resource: ResourceType, name: str) -> StatusError:
    """409: create of a name that is taken."""
    message = f'{_qualified(resource.plural, resource.group)} "{name}" already exists'
    return StatusError(409, "AlreadyExists", message, _details(resource, name))


def conflict(resource: ResourceType, name: str, why: str = "") -> StatusError:
    """409: the object is no longer the one that the caller read."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {_qualified(resource.plural, resource.group)} "{name}": {why}'
    return StatusError(409, "Conflict", message, _details(resource, name))


def forbidden(resource: ResourceType, name: str, why: str, causes: Sequence[Mapping[str, str]] = ()) -> StatusError:
    """403: admission refuses."""
    message = f'{_qualified(resource.plural, resource.group)} "{name}" is forbidden: {why}'
    more = {"causes": list(causes)} if causes else {}
    return StatusError(403, "Forbidden", message, _details(resource, name, **more))


def namespace_terminating(resource: ResourceType, name: str, namespace: str) -> StatusError:
    """403: nothing new in a namespace that is being deleted."""
    cause = {
        "reason": "NamespaceTerminating",
        "message": f"namespace {namespace} is being terminated",
        "field": "metadata.namespace",
    }
    why = f"unable to create new content in namespace {namespace} because it is being terminated"
    return forbidden(resource, name, why, [cause])


def invalid(resource: ResourceType, name: str, causes: Sequence[Cause]) -> StatusError:
    """422: the object breaks rules of its kind, each named by its field."""
    told = [f"{cause.field}: {cause.message}" for cause in causes]
    text = told[0] if len(told) == 1 else "[" + ", ".join(told) + "]"
    message = f'{_qualified(resource.kind, resource.group)} "{name}" is invalid: {text}'
    details = {**_details(resource, name), "kind": resource.kind, "causes": [cause.as_object() for cause in causes]}
    return StatusError(422, "Invalid", message, details)


def bad_request(message: str) -> StatusError:
    """400: the request is not one."""
    return StatusError(400, "BadRequest", message)


def expired(message: str) -> StatusError:
    """410: that version is no longer remembered; list again."""
    return StatusError(410, "Expired", message)


def method_not_allowed() -> StatusError:
    """405: this resource knows no such verb."""
    return StatusError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")


def unsupported_media_type(accepted: Sequence[str]) -> StatusError:
    """415: the body is in a form that is not understood here."""
    names = ", ".join(accepted)
    text = f"the body of the request was in an unknown format - accepted media types include: {names}"
    return StatusError(415, "UnsupportedMediaType", text)


def too_large(limit: int) -> StatusError:
    """413: the body is longer than the server reads."""
    return StatusError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}")


def not_implemented(what: str) -> StatusError:
    """501: real Kubernetes can, the embedded one cannot, and says so."""
    return StatusError(501, "NotImplemented", f"the embedded Kubernetes of KECS does not implement {what}")


def unavailable(message: str) -> StatusError:
    """503: not now."""
    return StatusError(503, "ServiceUnavailable", message)


def internal(message: str) -> StatusError:
    """500: our own fault."""
    return StatusError(500, "InternalError", f"Internal error occurred: {message}")
