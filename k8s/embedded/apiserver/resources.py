"""Which kinds of object the embedded API server knows, and by which words: one table.

A kind is here because something acts on it (the node, the control plane, Traefik) or because it is plain data that
clients read back. Kinds that need a controller (deployments, jobs ...) are left out: storing them would be a silent
fake. Custom resources add their types at run time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import field, frozen

ALL_VERBS: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."


@frozen
class ResourceType:
    """One resource of one API version. `storage` is the resource that holds its objects (itself, mostly)."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    schema: str | None = None  # name of the OpenAPI definition; None: any fields
    singular: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    fields: Mapping[str, str] = {}  # field selectors beyond metadata.name and metadata.namespace: default values
    has_generation: bool = False
    storage: str = ""  # the name of the collection that holds its objects: "<group>/<plural>" unless given
    converts: bool = False  # objects are stored in another version's shape
    field_steps: tuple[tuple[str, tuple[str, ...], str], ...] = field(init=False, default=())  # of `fields`: split once
    columns: tuple[Mapping[str, str], ...] = ()  # of a custom resource: additionalPrinterColumns

    def __attrs_post_init__(self) -> None:
        if not self.storage:
            object.__setattr__(self, "storage", f"{self.group}/{self.plural}" if self.group else self.plural)
        steps = tuple((path, tuple(path.split(".")), default) for path, default in self.fields.items())
        object.__setattr__(self, "field_steps", steps)

    @property
    def group_version(self) -> str:
        """What objects say in `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular_name(self) -> str:
        """The name for one of them, as a person types it."""
        return self.singular or self.kind.lower()

    @property
    def has_status(self) -> bool:
        """Whether `status` is written through its own subresource only."""
        return "status" in self.subresources

    def path(self, namespace: str | None, name: str | None = None) -> str:
        """Where its objects are in the API."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        inside = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        return f"{root}{inside}/{self.plural}" + (f"/{name}" if name else "")


def _core(plural: str, kind: str, namespaced: bool, short: str = "", **more: object) -> ResourceType:
    names = tuple(short.split()) if short else ()
    return ResourceType("", "v1", plural, kind, namespaced, f"io.k8s.api.core.v1.{kind}", short_names=names, **more)  # type: ignore[arg-type]  # the keywords are the class's own


PODS: Final = _core(
    "pods",
    "Pod",
    True,
    "po",
    categories=("all",),
    subresources=("status", "log", "exec", "binding", "eviction"),
    has_generation=True,
    fields={
        "spec.nodeName": "",
        "status.phase": "",
        "status.podIP": "",
        "spec.restartPolicy": "",
        "spec.schedulerName": "",
        "spec.serviceAccountName": "",
        "spec.hostNetwork": "false",
        "status.nominatedNodeName": "",
    },
)
NAMESPACES: Final = _core(
    "namespaces", "Namespace", False, "ns", subresources=("status", "finalize"), fields={"status.phase": ""}
)
NODES: Final = _core("nodes", "Node", False, "no", subresources=("status",), fields={"spec.unschedulable": "false"})
_EVENT_OBJECT = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
EVENTS: Final = _core(
    "events",
    "Event",
    True,
    "ev",
    fields={f"involvedObject.{name}": "" for name in _EVENT_OBJECT}
    | {"reason": "", "type": "", "source": "", "reportingComponent": ""},
)
CRDS: Final = ResourceType(
    "apiextensions.k8s.io",
    "v1",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    False,
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
    short_names=("crd", "crds"),
    categories=("api-extensions",),
    subresources=("status",),
    has_generation=True,
)
SUBJECT_ACCESS_REVIEWS: Final = ResourceType(
    "authorization.k8s.io",
    "v1",
    "selfsubjectaccessreviews",
    "SelfSubjectAccessReview",
    False,
    "io.k8s.api.authorization.v1.SelfSubjectAccessReview",
    verbs=("create",),
)
SUBJECT_RULES_REVIEWS: Final = ResourceType(
    "authorization.k8s.io",
    "v1",
    "selfsubjectrulesreviews",
    "SelfSubjectRulesReview",
    False,
    "io.k8s.api.authorization.v1.SelfSubjectRulesReview",
    verbs=("create",),
)
SUBJECT_REVIEWS: Final = ResourceType(
    "authentication.k8s.io",
    "v1",
    "selfsubjectreviews",
    "SelfSubjectReview",
    False,
    "io.k8s.api.authentication.v1.SelfSubjectReview",
    verbs=("create",),
)

BUILT_IN: Final[tuple[ResourceType, ...]] = (
    NAMESPACES,
    PODS,
    _core(
        "services",
        "Service",
        True,
        "svc",
        categories=("all",),
        subresources=("status",),
        fields={"spec.clusterIP": "", "spec.type": ""},
    ),
    _core("endpoints", "Endpoints", True, "ep", singular="endpoints"),
    _core("configmaps", "ConfigMap", True, "cm"),
    _core("secrets", "Secret", True, fields={"type": ""}),
    EVENTS,
    NODES,
    _core("serviceaccounts", "ServiceAccount", True, "sa"),
    _core("persistentvolumes", "PersistentVolume", False, "pv", subresources=("status",)),
    _core("persistentvolumeclaims", "PersistentVolumeClaim", True, "pvc", subresources=("status",)),
    ResourceType(
        "discovery.k8s.io",
        "v1",
        "endpointslices",
        "EndpointSlice",
        True,
        "io.k8s.api.discovery.v1.EndpointSlice",
        has_generation=True,
    ),
    ResourceType(
        "networking.k8s.io",
        "v1",
        "ingresses",
        "Ingress",
        True,
        "io.k8s.api.networking.v1.Ingress",
        short_names=("ing",),
        subresources=("status",),
        has_generation=True,
    ),
    ResourceType(
        "networking.k8s.io",
        "v1",
        "ingressclasses",
        "IngressClass",
        False,
        "io.k8s.api.networking.v1.IngressClass",
        has_generation=True,
    ),
    ResourceType("coordination.k8s.io", "v1", "leases", "Lease", True, "io.k8s.api.coordination.v1.Lease"),
    ResourceType(
        "events.k8s.io",
        "v1",
        "events",
        "Event",
        True,
        "io.k8s.api.events.v1.Event",
        short_names=("ev",),
        storage="events",
        converts=True,
        fields={f"regarding.{name}": "" for name in _EVENT_OBJECT}
        | {"reason": "", "type": "", "reportingController": ""},
    ),
    CRDS,
    SUBJECT_ACCESS_REVIEWS,
    SUBJECT_RULES_REVIEWS,
    SUBJECT_REVIEWS,
)
