"""The questions that clients ask about themselves: may I, and who am I. Whoever reaches this server may do anything.

Source: https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access
"""

from __future__ import annotations

from typing import Final

from k8s.client import JsonObject
from k8s.embedded.apiserver import bodies
from k8s.embedded.apiserver.errors import method_not_allowed
from k8s.embedded.apiserver.messages import Request, Response, json_response
from k8s.embedded.apiserver.resources import (
    SUBJECT_ACCESS_REVIEWS,
    SUBJECT_REVIEWS,
    SUBJECT_RULES_REVIEWS,
    ResourceType,
)

_REVIEWS: Final = (SUBJECT_ACCESS_REVIEWS, SUBJECT_RULES_REVIEWS, SUBJECT_REVIEWS)
_USER: Final = {"username": "kecs", "groups": ["system:masters", "system:authenticated"]}


def is_review(resource: ResourceType) -> bool:
    """Whether a resource is such a question: answered, never stored."""
    return resource in _REVIEWS


def answer(request: Request, resource: ResourceType) -> Response:
    """The review that was sent, with its answer. Raises StatusError 400, 405."""
    if request.method != "POST":
        raise method_not_allowed()
    body = bodies.object_body(request, resource).body
    body["status"] = _status(resource)
    return json_response(body, 201)


def _status(resource: ResourceType) -> JsonObject:
    if resource is SUBJECT_ACCESS_REVIEWS:
        return {"allowed": True, "reason": "the embedded Kubernetes of KECS allows everything"}
    if resource is SUBJECT_REVIEWS:
        return {"userInfo": _USER}
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    paths = {"verbs": ["*"], "nonResourceURLs": ["*"]}
    return {"resourceRules": [everything], "nonResourceRules": [paths], "incomplete": False}
