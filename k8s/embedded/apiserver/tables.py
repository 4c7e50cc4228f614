"""Server-side printing: the rows that `kubectl get` shows, as a `Table` object.

Each kind has its columns and a function that makes the cells of one object; other kinds show name and age.

Source: https://github.com/kubernetes/kubernetes/blob/v1.33.0/pkg/printers/internalversion/printers.go
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from attrs import frozen

from k8s.client import JsonObject
from k8s.embedded.apiserver.durations import since
from k8s.embedded.apiserver.pod_cells import pod_cells
from k8s.embedded.apiserver.resources import ResourceType

Cells = Callable[[JsonObject, datetime], list[Any]]


@frozen
class Printer:
    """How one kind is printed. Columns after the `|` are shown with `-o wide` only."""

    columns: str
    cells: Cells

    def definitions(self) -> list[JsonObject]:
        """The table's column definitions."""
        shown, _, wide = self.columns.partition("|")
        named = [(name.strip(), 0) for name in shown.split(",")]
        named += [(name.strip(), 1) for name in wide.split(",") if name.strip()]
        return [_column(name, priority=priority) for name, priority in named]


def _column(name: str, kind: str = "string", priority: int = 0, description: str = "") -> JsonObject:
    shown = "name" if name == "Name" else ""
    return {"name": name, "type": kind, "format": shown, "description": description, "priority": priority}


def _age(body: JsonObject, now: datetime) -> str:
    return since(body["metadata"].get("creationTimestamp"), now)


def _name(body: JsonObject) -> str:
    return str(body["metadata"].get("name", ""))


def _joined(values: Iterable[Any], empty: str = "<none>") -> str:
    return ",".join(str(value) for value in values) or empty


def _namespace(body: JsonObject, now: datetime) -> list[Any]:
    return [_name(body), (body.get("status") or {}).get("phase", ""), _age(body, now)]


def _addresses(body: JsonObject) -> Mapping[str, str]:
    return {item["type"]: item["address"] for item in (body.get("status") or {}).get("addresses") or ()}


def _node(body: JsonObject, now: datetime) -> list[Any]:
    status = body.get("status") or {}
    ready = next((item for item in status.get("conditions") or () if item.get("type") == "Ready"), None)
    state = "Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"
    if (body.get("spec") or {}).get("unschedulable"):
        state += ",SchedulingDisabled"
    prefix = "node-role.kubernetes.io/"
    labels = body["metadata"].get("labels") or {}
    roles = sorted(key.removeprefix(prefix) for key in labels if key.startswith(prefix))
    info, addresses = status.get("nodeInfo") or {}, _addresses(body)
    return [
        _name(body),
        state,
        _joined(roles),
        _age(body, now),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", "<none>"),
        addresses.get("ExternalIP", "<none>"),
        info.get("osImage", "<unknown>"),
        info.get("kernelVersion", "<unknown>"),
        info.get("containerRuntimeVersion", "<unknown>"),
    ]


def _service_port(port: JsonObject) -> str:
    node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port.get('port')}{node_port}/{port.get('protocol', 'TCP')}"


def _service(body: JsonObject, now: datetime) -> list[Any]:
    spec = body.get("spec") or {}
    ingress = ((body.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    balanced = [entry.get("ip") or entry.get("hostname", "") for entry in ingress]
    external = balanced + list(spec.get("externalIPs") or ())
    waiting = "<pending>" if spec.get("type") == "LoadBalancer" else "<none>"
    return [
        _name(body),
        spec.get("type", ""),
        spec.get("clusterIP") or "<none>",
        spec.get("externalName") or _joined(external, waiting),
        _joined(_service_port(port) for port in spec.get("ports") or ()),
        _age(body, now),
        _joined(f"{key}={value}" for key, value in (spec.get("selector") or {}).items()),
    ]


def _endpoints_cells(body: JsonObject, now: datetime) -> list[Any]:
    found = [
        f"{address.get('ip')}:{port.get('port')}"
        for subset in body.get("subsets") or ()
        for port in subset.get("ports") or ()
        for address in subset.get("addresses") or ()
    ]
    shown = _joined(found[:3]) + (f" + {len(found) - 3} more..." if len(found) > 3 else "")
    return [_name(body), shown, _age(body, now)]


def _slice(body: JsonObject, now: datetime) -> list[Any]:
    ports = [str(port.get("port", "*")) for port in body.get("ports") or ()]
    addresses = [address for endpoint in body.get("endpoints") or () for address in endpoint.get("addresses") or ()]
    shown = _joined(addresses[:3], "<unset>") + (f" + {len(addresses) - 3} more..." if len(addresses) > 3 else "")
    return [_name(body), body.get("addressType", ""), _joined(ports, "<unset>"), shown, _age(body, now)]


def _configmap(body: JsonObject, now: datetime) -> list[Any]:
    return [_name(body), len(body.get("data") or ()) + len(body.get("binaryData") or ()), _age(body, now)]


def _secret(body: JsonObject, now: datetime) -> list[Any]:
    return [_name(body), body.get("type", ""), len(body.get("data") or ()), _age(body, now)]


def _event(body: JsonObject, now: datetime) -> list[Any]:
    about, source = body.get("involvedObject") or {}, body.get("source") or {}
    created = body["metadata"].get("creationTimestamp")
    first = body.get("firstTimestamp") or body.get("eventTime") or created
    last = (body.get("series") or {}).get("lastObservedTime") or body.get("lastTimestamp") or first
    count = (body.get("series") or {}).get("count") or body.get("count") or 1
    reporter = source.get("component") or body.get("reportingComponent", "")
    return [
        since(last, now),
        body.get("type", ""),
        body.get("reason", ""),
        f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}",
        about.get("fieldPath", ""),
        _joined([part for part in (reporter, source.get("host") or body.get("reportingInstance")) if part], ""),
        str(body.get("message", "")).strip(),
        since(first, now),
        count,
        _name(body),
    ]


def _service_account(body: JsonObject, now: datetime) -> list[Any]:
    return [_name(body), len(body.get("secrets") or ()), _age(body, now)]


_ACCESS: Final = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def _access_modes(spec: JsonObject) -> str:
    return ",".join(_ACCESS.get(mode, mode) for mode in spec.get("accessModes") or ())


def _volume(body: JsonObject, now: datetime) -> list[Any]:
    spec, status = body.get("spec") or {}, body.get("status") or {}
    claim = spec.get("claimRef") or {}
    return [
        _name(body),
        (spec.get("capacity") or {}).get("storage", ""),
        _access_modes(spec),
        spec.get("persistentVolumeReclaimPolicy", ""),
        status.get("phase", ""),
        f"{claim['namespace']}/{claim['name']}" if claim.get("name") else "",
        spec.get("storageClassName", ""),
        spec.get("volumeAttributesClassName", "<unset>"),
        status.get("reason", ""),
        _age(body, now),
        spec.get("volumeMode", "<unset>"),
    ]


def _claim(body: JsonObject, now: datetime) -> list[Any]:
    spec, status = body.get("spec") or {}, body.get("status") or {}
    return [
        _name(body),
        status.get("phase", ""),
        spec.get("volumeName", ""),
        (status.get("capacity") or {}).get("storage", ""),
        _access_modes(status),
        spec.get("storageClassName", ""),
        spec.get("volumeAttributesClassName", "<unset>"),
        _age(body, now),
        spec.get("volumeMode", "<unset>"),
    ]


def _ingress(body: JsonObject, now: datetime) -> list[Any]:
    spec = body.get("spec") or {}
    balanced = ((body.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return [
        _name(body),
        spec.get("ingressClassName", "<none>"),
        _joined((rule["host"] for rule in spec.get("rules") or () if rule.get("host")), "*"),
        ",".join(entry.get("ip") or entry.get("hostname", "") for entry in balanced),
        "80, 443" if spec.get("tls") else "80",
        _age(body, now),
    ]


def _ingress_class(body: JsonObject, now: datetime) -> list[Any]:
    spec = body.get("spec") or {}
    parameters = spec.get("parameters") or {}
    kind = f"{parameters.get('kind')}{'.' + parameters['apiGroup'] if parameters.get('apiGroup') else ''}"
    shown = f"{kind}/{parameters.get('name')}" if parameters else "<none>"
    return [_name(body), spec.get("controller", ""), shown, _age(body, now)]


def _lease(body: JsonObject, now: datetime) -> list[Any]:
    return [_name(body), (body.get("spec") or {}).get("holderIdentity", ""), _age(body, now)]


def _definition(body: JsonObject, _now: datetime) -> list[Any]:
    return [_name(body), body["metadata"].get("creationTimestamp")]


def _plain(body: JsonObject, now: datetime) -> list[Any]:
    return [_name(body), _age(body, now)]


_PRINTERS: Final[Mapping[str, Printer]] = {
    "pods": Printer("Name, Ready, Status, Restarts, Age | IP, Node, Nominated Node, Readiness Gates", pod_cells),
    "namespaces": Printer("Name, Status, Age", _namespace),
    "nodes": Printer(
        "Name, Status, Roles, Age, Version | Internal-IP, External-IP, OS-Image, Kernel-Version, Container-Runtime",
        _node,
    ),
    "services": Printer("Name, Type, Cluster-IP, External-IP, Port(s), Age | Selector", _service),
    "endpoints": Printer("Name, Endpoints, Age", _endpoints_cells),
    "configmaps": Printer("Name, Data, Age", _configmap),
    "secrets": Printer("Name, Type, Data, Age", _secret),
    "events": Printer("Last Seen, Type, Reason, Object | Subobject, Source, Message, First Seen, Count, Name", _event),
    "serviceaccounts": Printer("Name, Secrets, Age", _service_account),
    "persistentvolumes": Printer(
        "Name, Capacity, Access Modes, Reclaim Policy, Status, Claim, StorageClass, VolumeAttributesClass, Reason, Age"
        " | VolumeMode",
        _volume,
    ),
    "persistentvolumeclaims": Printer(
        "Name, Status, Volume, Capacity, Access Modes, StorageClass, VolumeAttributesClass, Age | VolumeMode", _claim
    ),
    "discovery.k8s.io/endpointslices": Printer("Name, AddressType, Ports, Endpoints, Age", _slice),
    "networking.k8s.io/ingresses": Printer("Name, Class, Hosts, Address, Ports, Age", _ingress),
    "networking.k8s.io/ingressclasses": Printer("Name, Controller, Parameters, Age", _ingress_class),
    "coordination.k8s.io/leases": Printer("Name, Holder, Age", _lease),
    "apiextensions.k8s.io/customresourcedefinitions": Printer("Name, Created At", _definition),
}
_DEFAULT: Final = Printer("Name, Age", _plain)

_WIDE_SHOWN: Final = {"events": {"Message"}}  # in the second half of its list, yet always shown


def column_definitions(resource: ResourceType) -> list[JsonObject]:
    """The columns of a kind's table."""
    if resource.columns:
        return [_column("Name"), *(_custom_column(column) for column in resource.columns)]
    columns = _PRINTERS.get(resource.storage, _DEFAULT).definitions()
    for column in columns:
        if column["name"] in _WIDE_SHOWN.get(resource.storage, ()):
            column["priority"] = 0
    return columns


def cells(resource: ResourceType, body: JsonObject, now: datetime) -> list[Any]:
    """The cells of one object, in the order of the columns."""
    if resource.columns:
        return [_name(body), *(_custom_cell(column, body, now) for column in resource.columns)]
    return _PRINTERS.get(resource.storage, _DEFAULT).cells(body, now)


def _custom_column(column: Mapping[str, Any]) -> JsonObject:
    kind = "string" if column.get("type") == "date" else column.get("type", "string")
    return _column(column["name"], kind, column.get("priority", 0), column.get("description", ""))


def _custom_cell(column: Mapping[str, Any], body: JsonObject, now: datetime) -> Any:
    value: Any = body
    for step in str(column.get("jsonPath", "")).strip(".").replace("\\.", "\0").split("."):
        value = value.get(step.replace("\0", ".")) if isinstance(value, dict) else None
    if column.get("type") == "date":
        return since(value, now)
    return "" if value is None else value
