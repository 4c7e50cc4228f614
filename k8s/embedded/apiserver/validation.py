"""What Kubernetes allows in names, labels and annotations, in Kubernetes' own wording.

Source: https://github.com/kubernetes/apimachinery/blob/master/pkg/util/validation/validation.go
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from k8s.client import JsonObject
from k8s.embedded.apiserver.errors import Cause, invalid_value, required

_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_SERVICE_LABEL: Final = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_ANNOTATIONS_LIMIT: Final = 256 * 1024

_LABEL_RULE: Final = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_SUBDOMAIN_RULE: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_SERVICE_RULE: Final = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)
_NAME_PART_RULE: Final = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_LABEL_VALUE_RULE: Final = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


def dns_label_problem(name: str) -> str | None:
    """What keeps `name` from being an RFC 1123 label (namespaces, containers, ports), or None."""
    if len(name) > 63:
        return "must be no more than 63 characters"
    return None if _LABEL.fullmatch(name) else _LABEL_RULE


def dns_subdomain_problem(name: str) -> str | None:
    """What keeps `name` from being an RFC 1123 subdomain (most objects), or None."""
    if len(name) > 253:
        return "must be no more than 253 characters"
    return None if _SUBDOMAIN.fullmatch(name) else _SUBDOMAIN_RULE


def service_name_problem(name: str) -> str | None:
    """What keeps `name` from being an RFC 1035 label (services), or None."""
    if len(name) > 63:
        return "must be no more than 63 characters"
    return None if _SERVICE_LABEL.fullmatch(name) else _SERVICE_RULE


def label_key_problem(key: str) -> str | None:
    """What keeps `key` from being a qualified name (label and annotation keys, finalizers), or None."""
    prefix, slash, name = key.rpartition("/")
    if slash and (not prefix or dns_subdomain_problem(prefix)):
        return f"prefix part {_SUBDOMAIN_RULE if prefix else 'must be non-empty'}"
    if not name:
        return "name part must be non-empty"
    if len(name) > 63:
        return "name part must be no more than 63 characters"
    return None if _QUALIFIED.fullmatch(name) else _NAME_PART_RULE


def label_value_problem(value: str) -> str | None:
    """What keeps `value` from being a label's value, or None."""
    if len(value) > 63:
        return "must be no more than 63 characters"
    return None if not value or _QUALIFIED.fullmatch(value) else _LABEL_VALUE_RULE


_NAME_RULES: Final = {"namespaces": dns_label_problem, "services": service_name_problem}


def metadata_causes(body: JsonObject, storage: str) -> list[Cause]:
    """What is wrong with an object's name, labels, annotations and finalizers."""
    metadata = body["metadata"]
    causes: list[Cause] = []
    name = metadata.get("name", "")
    if not name:
        causes.append(required("metadata.name", "name or generateName is required"))
    elif problem := _NAME_RULES.get(storage, dns_subdomain_problem)(name):
        causes.append(invalid_value("metadata.name", name, problem))
    if labels := metadata.get("labels"):
        causes += label_causes(labels, "metadata.labels")
    if annotations := metadata.get("annotations"):
        causes += _annotation_causes(annotations)
    for finalizer in metadata.get("finalizers") or ():
        if problem := label_key_problem(finalizer):
            causes.append(invalid_value("metadata.finalizers", finalizer, problem))
    for index, owner in enumerate(metadata.get("ownerReferences") or ()):
        missing = [name for name in ("apiVersion", "kind", "name", "uid") if not owner.get(name)]
        causes += [required(f"metadata.ownerReferences[{index}].{name}") for name in missing]
    return causes


_known_labels: dict[tuple[str, str], None] = {}  # pairs found right once: pods of one service all carry the same


def label_causes(labels: Mapping[str, str], field: str) -> list[Cause]:
    """What is wrong with a map of labels."""
    causes = []
    for key, value in labels.items():
        if (key, value) in _known_labels:
            continue
        problems = (label_key_problem(key), label_value_problem(value))
        if problems[0]:
            causes.append(invalid_value(field, key, problems[0]))
        if problems[1]:
            causes.append(invalid_value(field, value, problems[1]))
        if not any(problems) and len(_known_labels) < 10_000:
            _known_labels[key, value] = None
    return causes


_known_annotations: dict[str, None] = {}


def _annotation_causes(annotations: Mapping[str, str]) -> list[Cause]:
    causes, size = [], 0
    for key, value in annotations.items():
        size += len(key) + len(value)
        if key in _known_annotations:
            continue
        if problem := label_key_problem(key.lower()):
            causes.append(invalid_value("metadata.annotations", key, problem))
        elif len(_known_annotations) < 10_000:
            _known_annotations[key] = None
    if size > _ANNOTATIONS_LIMIT:
        detail = f"may not be more than {_ANNOTATIONS_LIMIT} bytes"
        causes.append(Cause("FieldValueTooLong", "metadata.annotations", f"Too long: {detail}"))
    return causes


def immutable_metadata_causes(new: Mapping[str, Any], old: Mapping[str, Any]) -> list[Cause]:
    """Fields of the metadata that an update tried to change though they never change."""
    if new.get("name") == old.get("name"):
        return []
    return [invalid_value("metadata.name", new.get("name", ""), "field is immutable")]
