"""Objects that the tests create."""

from __future__ import annotations

from typing import Any

from k8s.client import JsonObject

PODS = "/api/v1/namespaces/default/pods"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
FINALIZER = "kecs.dev/task-record"


def pod(name: str = "web", **metadata: Any) -> JsonObject:
    container = {"name": "main", "image": "busybox:1", "command": ["sleep", "1"]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, **metadata},
        "spec": {"containers": [container], "restartPolicy": "Never"},
    }


def config_map(name: str = "settings", **metadata: Any) -> JsonObject:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": {"a": "1"}}


def namespace(name: str) -> JsonObject:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def custom_definition(scope: str = "Namespaced") -> JsonObject:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "middlewares.traefik.io"},
        "spec": {
            "group": "traefik.io",
            "scope": scope,
            "names": {
                "plural": "middlewares",
                "kind": "Middleware",
                "singular": "middleware",
                "listKind": "MiddlewareList",
            },
            "versions": [
                {
                    "name": "v1alpha1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                    "additionalPrinterColumns": [{"name": "Kind", "type": "string", "jsonPath": ".spec.kind"}],
                }
            ],
        },
    }
