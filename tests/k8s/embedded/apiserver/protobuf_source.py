"""Makes `k8s/embedded/apiserver/schema/protobuf.json` from the `generated.proto` files of Kubernetes' source.

    python -m tests.k8s.embedded.apiserver.protobuf_source .../kubernetes/staging/src/k8s.io

Numbers of fields never change, so an older source does: what it lacks is refused, not dropped. A message that JSON does
not show as a member of its own (Go embeds it) is marked as inline: the OpenAPI definitions tell.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import orjson

from k8s.embedded.apiserver.schema import definitions

Messages = dict[str, dict[str, list[str]]]

SOURCES: tuple[str, ...] = (
    "api/*/v1/generated.proto",
    "api/policy/v1beta1/generated.proto",
    "apimachinery/pkg/*/*/generated.proto",
)
SOURCES += ("apimachinery/pkg/apis/meta/v1/generated.proto", "apimachinery/pkg/runtime/generated.proto")
PACKAGES = {
    "k8s.io.apimachinery.pkg.apis.meta.v1.": "meta.",
    "k8s.io.apimachinery.pkg.api.resource.": "",
    "k8s.io.apimachinery.pkg.util.intstr.": "",
    "k8s.io.apimachinery.pkg.runtime.": "",
}
KINDS = "Namespace Pod Service Endpoints ConfigMap Secret Event Node ServiceAccount PersistentVolume Binding"
ROOTS = [f"k8s.io.api.core.v1.{kind}" for kind in (*KINDS.split(), "PersistentVolumeClaim")]
ROOTS += [f"k8s.io.api.{kind}" for kind in ("networking.v1.Ingress", "networking.v1.IngressClass", "events.v1.Event")]
ROOTS += ["k8s.io.api.coordination.v1.Lease", "k8s.io.api.policy.v1beta1.Eviction"]
ROOTS += [f"k8s.io.api.authorization.v1.SelfSubject{kind}Review" for kind in ("Access", "Rules")]
ROOTS += ["k8s.io.apimachinery.pkg.apis.meta.v1.DeleteOptions"]
SCALARS = ("string", "bytes", "bool", "int32", "int64", "double")
_FIELD = re.compile(r"^\s+(optional|repeated|map<string, ?([\w.]+)>)\s+(?:(\.?[\w.]+)\s+)?(\w+) = (\d+);", re.M)
_HOW = {"optional": "", "repeated": "list", "map": "map"}
TARGET = Path("k8s/embedded/apiserver/schema/protobuf.json")


def messages(text: str) -> Messages:
    """The messages of one file by full name; the types of their fields are full names too."""
    found = re.search(r"^package (\S+);", text, re.M)
    package = found[1] if found else ""
    result: Messages = {}
    for name, body in re.findall(r"^message (\w+) \{(.*?)^\}", text, re.M | re.S):
        fields = result[f"{package}.{name}"] = {}
        for how, of_map, of_field, field, number in _FIELD.findall(body):
            type_ = (of_map or of_field).lstrip(".")
            full = type_ if type_ in SCALARS or "." in type_ else f"{package}.{type_}"
            fields[number] = [field, full, _HOW[how.partition("<")[0]]]
    return result


def reached(known: Messages) -> Messages:
    """The messages that the served kinds reach, with inline members marked."""
    result: Messages = {}
    pending = list(ROOTS)
    while pending:
        name = pending.pop()
        if name in result or name in SCALARS:
            continue
        shown = definitions().get(name.replace("k8s.io.", "io.k8s.", 1), {}).get("properties")
        result[name] = {}
        for number, (field, type_, how) in sorted(known[name].items(), key=lambda item: int(item[0])):
            inline = shown is not None and field not in shown and type_ not in SCALARS
            result[name][number] = [field, type_, "inline" if inline else how]
            pending.append(type_)
    return result


def _short(name: str) -> str:
    for package, short in PACKAGES.items():
        if name.startswith(package):
            return short + name.removeprefix(package)
    return re.sub(r"^k8s\.io\.api\.(\w+)\.\w+\.", r"\1.", name)


if __name__ == "__main__":
    root, every = Path(sys.argv[1]), Messages()
    for pattern in SOURCES:
        for path in root.glob(pattern):
            every |= messages(path.read_text())
    table = {
        _short(name): {
            number: [field, _short(type_), how] if how else [field, _short(type_)]
            for number, (field, type_, how) in fields.items()
        }
        for name, fields in reached(every).items()
    }
    table["authentication.SelfSubjectReview"] = {"1": ["metadata", "meta.ObjectMeta"], "2": ["status", "ignored"]}
    lines = [f"{orjson.dumps(name).decode()}:{orjson.dumps(table[name]).decode()}" for name in sorted(table)]
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n")
