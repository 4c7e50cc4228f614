"""What the API server decides about each built-in kind when it is written: defaults, validity, what may not change.

One table, `rules_of`; a kind without an entry is plain data.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Final

from attrs import frozen

from k8s.client import JsonObject
from k8s.embedded.apiserver import catalog, pod_rules
from k8s.embedded.apiserver.errors import Cause, forbidden_field, invalid_value, required, unsupported


def _nothing(_body: JsonObject) -> None:
    return None


def _no_causes(_body: JsonObject) -> list[Cause]:
    return []


def _no_update_causes(_new: JsonObject, _old: JsonObject) -> list[Cause]:
    return []


@frozen
class KindRules:
    """The rules of one kind. `defaults` and `begin` change the object; the others name what is wrong."""

    defaults: Callable[[JsonObject], None] = _nothing
    begin: Callable[[JsonObject], None] = _nothing  # only at create: the first status and the like
    causes: Callable[[JsonObject], list[Cause]] = _no_causes
    update_causes: Callable[[JsonObject, JsonObject], list[Cause]] = _no_update_causes
    returns_deleted: bool = False  # DELETE answers with the object instead of a Status


def _begin_pod(pod: JsonObject) -> None:
    pod["status"] = {"phase": "Pending", "qosClass": pod_rules.quality_of_service(pod["spec"])}


def _begin_namespace(namespace: JsonObject) -> None:
    namespace["status"] = {"phase": "Active"}
    finalizers = namespace["spec"].setdefault("finalizers", [])
    if "kubernetes" not in finalizers:
        finalizers.append("kubernetes")


def _namespace_defaults(namespace: JsonObject) -> None:
    name = namespace["metadata"]["name"]
    namespace["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = name
    namespace.setdefault("spec", {})


def _service_defaults(service: JsonObject) -> None:
    spec = service.setdefault("spec", {})
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port.get("port"))
    if spec["type"] != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")


def _begin_service(service: JsonObject) -> None:
    service["status"] = {"loadBalancer": {}}


_SERVICE_TYPES: Final = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")


def _service_causes(service: JsonObject) -> list[Cause]:
    spec = service["spec"]
    causes = [] if spec["type"] in _SERVICE_TYPES else [unsupported("spec.type", spec["type"], _SERVICE_TYPES)]
    if not spec.get("ports") and spec["type"] != "ExternalName" and spec.get("clusterIP") != "None":
        causes.append(required("spec.ports"))
    for index, port in enumerate(spec.get("ports") or ()):
        number = port.get("port", 0)
        if not 0 < number < 65536:
            field = f"spec.ports[{index}].port"
            causes.append(invalid_value(field, number, "must be between 1 and 65535, inclusive"))
    return causes


def _secret_defaults(secret: JsonObject) -> None:
    secret.setdefault("type", "Opaque")
    if texts := secret.pop("stringData", None):
        secret["data"] = {**(secret.get("data") or {}), **{key: _base64(text) for key, text in texts.items()}}


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()


def _frozen_data_causes(new: JsonObject, old: JsonObject) -> list[Cause]:
    causes = []
    if new.get("type") != old.get("type"):
        causes.append(invalid_value("type", new.get("type"), "field is immutable"))
    if old.get("immutable"):
        if not new.get("immutable"):
            causes.append(forbidden_field("immutable", "field is immutable when `immutable` is set"))
        if any(new.get(field) != old.get(field) for field in ("data", "binaryData")):
            causes.append(forbidden_field("data", "field is immutable when `immutable` is set"))
    return causes


def _event_causes(event: JsonObject) -> list[Cause]:
    namespace = event["metadata"].get("namespace", "")
    about = (event.get("involvedObject") or {}).get("namespace") or "default"
    if about == namespace:
        return []
    return [invalid_value("involvedObject.namespace", about, "does not match event.namespace")]


def _ingress_defaults(ingress: JsonObject) -> None:
    ingress.setdefault("spec", {})


def _ingress_causes(ingress: JsonObject) -> list[Cause]:
    spec = ingress["spec"]
    if spec.get("rules") or spec.get("defaultBackend"):
        return []
    return [invalid_value("spec", "", "either `defaultBackend` or `rules` must be specified")]


def _begin_loadbalanced(ingress: JsonObject) -> None:
    ingress["status"] = {"loadBalancer": {}}


def _slice_causes(endpoint_slice: JsonObject) -> list[Cause]:
    known = ("IPv4", "IPv6", "FQDN")
    kind = endpoint_slice.get("addressType")
    if not kind:
        return [required("addressType")]
    return [] if kind in known else [unsupported("addressType", kind, known)]


def _node_defaults(node: JsonObject) -> None:
    node.setdefault("spec", {})


_RULES: Final[Mapping[str, KindRules]] = {
    "pods": KindRules(
        pod_rules.set_defaults, _begin_pod, pod_rules.causes_of, pod_rules.update_causes, returns_deleted=True
    ),
    "namespaces": KindRules(_namespace_defaults, _begin_namespace, returns_deleted=True),
    "services": KindRules(_service_defaults, _begin_service, _service_causes, returns_deleted=True),
    "configmaps": KindRules(update_causes=_frozen_data_causes),
    "secrets": KindRules(_secret_defaults, update_causes=_frozen_data_causes),
    "events": KindRules(causes=_event_causes),
    "nodes": KindRules(_node_defaults),
    "serviceaccounts": KindRules(returns_deleted=True),
    "persistentvolumes": KindRules(returns_deleted=True),
    "persistentvolumeclaims": KindRules(returns_deleted=True),
    "networking.k8s.io/ingresses": KindRules(_ingress_defaults, _begin_loadbalanced, _ingress_causes),
    "apiextensions.k8s.io/customresourcedefinitions": KindRules(
        catalog.definition_defaults, catalog.begin_definition, catalog.definition_causes
    ),
    "discovery.k8s.io/endpointslices": KindRules(causes=_slice_causes),
}
_PLAIN: Final = KindRules()


def rules_of(storage: str) -> KindRules:
    """The rules of the kind that a collection holds."""
    return _RULES.get(storage, _PLAIN)
