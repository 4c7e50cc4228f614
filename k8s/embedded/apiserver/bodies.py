"""What clients send: objects, options and patches, parsed and checked against the kind's schema.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#field-validation
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, Final

import orjson
from attrs import field, frozen

from k8s.client import JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, JsonObject
from k8s.embedded.apiserver import protobuf
from k8s.embedded.apiserver.apply import apply_configuration
from k8s.embedded.apiserver.conversion import from_storage, to_storage
from k8s.embedded.apiserver.errors import StatusError, bad_request, unsupported_media_type
from k8s.embedded.apiserver.messages import Request
from k8s.embedded.apiserver.patch import json_patch, merge_patch, strategic_merge
from k8s.embedded.apiserver.protobuf import PROTOBUF
from k8s.embedded.apiserver.resources import ResourceType
from k8s.embedded.apiserver.schema import decode, shape

APPLY_PATCH: Final = "application/apply-patch+yaml"
_OBJECT_TYPES: Final = ("application/json", "application/yaml", PROTOBUF)
_VALIDATIONS: Final = ("", "Ignore", "Warn", "Strict")
_ALWAYS_KNOWN: Final = ("apiVersion", "kind", "metadata")


@frozen
class Decoded:
    """An object from a client, without the fields that its kind does not have; those are named in `warnings`."""

    body: JsonObject
    warnings: Sequence[str] = field(factory=tuple)


def media_type(request: Request) -> str:
    """The content type without its parameters."""
    return request.content_type.partition(";")[0].strip().lower()


def parsed_body(request: Request) -> Any:
    """The body of a request as JSON or YAML says. Raises StatusError 400, 415."""
    kind = media_type(request)
    if kind not in _OBJECT_TYPES and kind:
        raise unsupported_media_type(_OBJECT_TYPES)
    if request.parsed is not None:
        return request.parsed
    if kind == PROTOBUF:
        return _protobuf(request.body)
    return _yaml(request.body) if kind == "application/yaml" else _json(request.body)


def _protobuf(data: bytes) -> JsonObject:
    try:
        return protobuf.parse(data)
    except protobuf.ProtobufError as error:
        raise bad_request(f"unable to decode protobuf: {error}") from None


def _json(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"couldn't get version/kind; json parse error: {error}") from None


def _yaml(text: bytes) -> Any:
    try:
        return orjson.loads(text)  # kubectl sends JSON, which is YAML
    except orjson.JSONDecodeError:
        pass
    from k8s.embedded.apiserver.yaml_text import parse  # few clients send YAML: PyYAML costs the start 20 ms

    try:
        return parse(text)
    except ValueError as error:
        raise bad_request(f"error converting YAML to JSON: {error}") from None


def options(request: Request) -> Mapping[str, Any]:
    """The `DeleteOptions` in a body, or nothing. Raises StatusError 400."""
    if not request.body.strip() and request.parsed is None:
        return {}
    return shaped_body(request, "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions")


def shaped_body(request: Request, schema: str) -> JsonObject:
    """A body that is no resource's object but of this OpenAPI definition (a Binding, say). Raises StatusError 400."""
    parsed = parsed_body(request)
    if not isinstance(parsed, dict):
        raise bad_request(f"the body must be a {schema.rpartition('.')[2]} object")
    decoded: JsonObject = decode(parsed, shape(schema), [])
    return decoded


def object_body(request: Request, resource: ResourceType) -> Decoded:
    """The object that a create or an update carries, as it is stored. Raises StatusError 400, 415."""
    return checked_object(parsed_body(request), resource, request.params)


def checked_object(parsed: Any, resource: ResourceType, params: Mapping[str, str]) -> Decoded:
    """A whole object, checked against its kind and changed into its stored version."""
    if not isinstance(parsed, dict):
        raise bad_request("the object provided is unrecognized (must be of type object)")
    _check_kind(parsed, resource)
    unknown: list[str] = []
    body = decode(parsed, shape(resource.schema), unknown) if resource.schema else _decoded_custom(parsed, unknown)
    body["apiVersion"], body["kind"] = resource.group_version, resource.kind
    warnings = _unknown_fields(unknown, resource, params)
    return Decoded(to_storage(resource, body), warnings)


def _decoded_custom(parsed: JsonObject, unknown: list[str]) -> JsonObject:
    metadata = decode(parsed.get("metadata") or {}, shape("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"), unknown)
    return {**parsed, "metadata": metadata}


def _check_kind(parsed: JsonObject, resource: ResourceType) -> None:
    version, kind = parsed.get("apiVersion"), parsed.get("kind")
    if version not in (None, "", resource.group_version):
        message = f"the API version in the data ({version}) does not match the expected API version "
        raise bad_request(f"{message}({resource.group_version})")
    if kind not in (None, "", resource.kind):
        raise bad_request(
            f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
            f"the kind in the data ({kind}) does not match the expected kind ({resource.kind})"
        )


def _unknown_fields(unknown: Sequence[str], resource: ResourceType, params: Mapping[str, str]) -> Sequence[str]:
    """Refuse, tell or ignore them, as the `fieldValidation` parameter says (Warn without it)."""
    validation = params.get("fieldValidation", "")
    if validation not in _VALIDATIONS:
        raise bad_request(
            f'fieldValidation: Unsupported value: "{validation}": supported values: "Ignore", "Strict", "Warn"'
        )
    named = [f'unknown field "{name}"' for name in unknown]
    if not named or validation == "Ignore":
        return ()
    if validation == "Strict":
        told = ", ".join(named)
        kind = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'
        raise bad_request(f"{kind}: strict decoding error: {told}")
    return named


def patched(request: Request, resource: ResourceType, current: JsonObject | None) -> Decoded:
    """`current` (as stored; None: there is none, which only an apply can do with) with the patch of a request applied.

    Raises StatusError 400, 409 (fields of another applier), 415, 422.
    """
    kind = media_type(request)
    if kind == APPLY_PATCH:
        return _applied(request, resource, current)
    if current is None:
        raise RuntimeError("only an apply can create")
    seen = from_storage(resource, current)
    if kind == JSON_PATCH:
        return checked_object(
            json_patch(seen, _json(request.body or orjson.dumps(request.parsed))), resource, request.params
        )
    if kind not in (MERGE_PATCH, STRATEGIC_MERGE_PATCH):
        raise unsupported_media_type((JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, APPLY_PATCH))
    form = shape(resource.schema)
    if kind == STRATEGIC_MERGE_PATCH and resource.schema is None:
        raise unsupported_media_type((JSON_PATCH, MERGE_PATCH, APPLY_PATCH))
    patch, warnings = _patch_body(request, resource)
    merged = merge_patch(seen, patch) if kind == MERGE_PATCH else strategic_merge(seen, patch, form)
    _check_identity(merged, resource)
    return Decoded(to_storage(resource, merged), warnings)


def _patch_body(request: Request, resource: ResourceType) -> tuple[JsonObject, Sequence[str]]:
    """A merge patch is checked instead of its result: it has the same shape, and is smaller."""
    patch = _json(request.body) if request.parsed is None else request.parsed
    if not isinstance(patch, dict):
        raise bad_request("error decoding patch: json: cannot unmarshal into Go value of type map[string]interface {}")
    unknown: list[str] = []
    checked = decode(patch, shape(resource.schema), unknown, keep_nulls=True)
    return checked, _unknown_fields(unknown, resource, request.params)


def _check_identity(merged: Any, resource: ResourceType) -> None:
    if not isinstance(merged, dict) or not isinstance(merged.get("metadata"), dict):
        raise bad_request("the patch leaves no object")
    _check_kind(merged, resource)
    merged["apiVersion"], merged["kind"] = resource.group_version, resource.kind


def _applied(request: Request, resource: ResourceType, current: JsonObject | None) -> Decoded:
    manager = request.params.get("fieldManager", "")
    if not manager:
        raise StatusError(
            422,
            "Invalid",
            'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch',
        )
    configuration = checked_object(_yaml(request.body or orjson.dumps(request.parsed)), resource, request.params)
    force = request.params.get("force", "false").lower() in ("true", "1")
    result = apply_configuration(deepcopy(current), configuration.body, shape(resource.schema), manager, force)
    return Decoded(result, configuration.warnings)
