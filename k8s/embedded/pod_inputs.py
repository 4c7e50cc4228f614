"""What a pod refers to, made plain: environment from ConfigMaps, Secrets and its own fields, volumes of files.

The kubelet's rules: https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from attrs import evolve, field, frozen

from k8s.client import KubeClient, KubeError
from k8s.embedded.driver import ContainerSpec, EmptyDir, Files, PodSpec, Volume
from k8s.embedded.pod_spec import Container, JsonObject, Pod, plain_volume

_EXPRESSION: Final = re.compile(r"\$(?:\$|\(([^)]*)\))")
_FILE_MODE: Final = 0o644


class InputError(Exception):
    """Something that the pod refers to is not there (yet); the message goes into the container's status."""


@contextmanager
def _readable(what: str) -> Iterator[None]:
    """Turn what a spec or an object lacks into InputError. No values in it: they may be secret."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        missing = f" (no {error})" if isinstance(error, KeyError) else ""
        raise InputError(f"the pod's {what} cannot be read{missing}") from error


@frozen
class PodFacts:
    """What a pod may ask about itself besides its own object."""

    ip: str
    host_ip: str
    node_name: str


def expand(text: str, env: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by its value; unknown names stay as they are, and `$$` is a plain `$`."""
    if "$" not in text:
        return text
    return _EXPRESSION.sub(lambda m: "$" if m[0] == "$$" else env.get(m[1], m[0]), text)


@frozen
class PodInputs:
    """Resolves what one pod refers to, reading each object once."""

    client: KubeClient
    pod: Pod
    source: JsonObject  # the pod object
    facts: PodFacts
    _read: dict[tuple[str, str], JsonObject | None] = field(factory=dict)

    async def sandbox(self) -> PodSpec:
        """The pod's sandbox with its volumes. Raises InputError."""
        if not self.pod.volumes:
            return self.pod.sandbox
        with _readable("volumes"):
            return evolve(self.pod.sandbox, volumes=tuple([await self._volume(v) for v in self.pod.volumes]))

    async def container(self, container: Container, attempt: int) -> ContainerSpec:
        """A container with its environment, command and arguments expanded. Raises InputError."""
        with _readable(f"container {container.name}'s environment"):
            env = await self._environment(container)
        spec = container.spec
        return evolve(
            spec,
            attempt=attempt,
            env=tuple(env.items()),
            command=tuple(expand(a, env) for a in spec.command),
            args=tuple(expand(a, env) for a in spec.args),
        )

    async def _environment(self, container: Container) -> dict[str, str]:
        env = {"HOSTNAME": self.pod.sandbox.hostname}
        for origin in container.env_from:
            env |= await self._all_of(origin)
        for entry in container.env:
            if (source := entry.get("valueFrom")) is None:
                env[entry["name"]] = expand(entry.get("value") or "", env)
                continue
            value = await self._value(container, source)
            if value is not None:
                env[entry["name"]] = value
        return env

    async def _all_of(self, source: JsonObject) -> dict[str, str]:
        kind = "configMap" if "configMapRef" in source else "secret"
        reference = source[kind + "Ref"]
        data = await self._data(kind, reference["name"], bool(reference.get("optional")))
        prefix = source.get("prefix") or ""
        return {prefix + key: value.decode(errors="replace") for key, value in data.items()}

    async def _value(self, container: Container, source: JsonObject) -> str | None:
        for kind in ("configMap", "secret"):
            if kind + "KeyRef" in source:
                reference = source[kind + "KeyRef"]
                optional = bool(reference.get("optional"))
                data = await self._data(kind, reference["name"], optional)
                if reference["key"] not in data and not optional:
                    raise InputError(f"couldn't find key {reference['key']} in {kind} {reference['name']}")
                value = data.get(reference["key"])
                return None if value is None else value.decode(errors="replace")
        if "fieldRef" in source:
            return self._field(source["fieldRef"]["fieldPath"])
        if "resourceFieldRef" in source:
            return _resource(container, source["resourceFieldRef"]["resource"])
        raise InputError(f"cannot read a variable from {', '.join(source)}")

    def _field(self, path: str) -> str:
        pod, facts = self.pod, self.facts
        simple = {
            "metadata.name": pod.name,
            "metadata.namespace": pod.namespace,
            "metadata.uid": pod.uid,
            "spec.nodeName": facts.node_name,
            "spec.serviceAccountName": self.source["spec"].get("serviceAccountName") or "default",
            "status.podIP": facts.ip,
            "status.podIPs": facts.ip,
            "status.hostIP": facts.host_ip,
            "status.hostIPs": facts.host_ip,
        }
        if path in simple:
            return simple[path]
        keyed = re.fullmatch(r"metadata\.(labels|annotations)(?:\['(.+)'\])?", path)
        if keyed is None:
            raise InputError(f"unsupported field path {path}")
        values: Mapping[str, str] = self.source["metadata"].get(keyed[1]) or {}
        return values.get(keyed[2], "") if keyed[2] else "\n".join(f'{k}="{v}"' for k, v in sorted(values.items()))

    async def _volume(self, raw: JsonObject) -> Volume:
        plain = plain_volume(raw)
        if plain is not None:
            return plain
        sources = raw["projected"].get("sources") or () if "projected" in raw else (raw,)
        files: dict[str, tuple[bytes, int]] = {}
        for source in sources:
            files |= await self._files(raw["name"], source)
        return Files(raw["name"], files) if files or raw.keys() & _FILE_VOLUMES else EmptyDir(raw["name"])

    async def _files(self, volume: str, source: JsonObject) -> dict[str, tuple[bytes, int]]:
        if (fields := source.get("downwardAPI")) is not None:
            items = fields.get("items") or ()
            return {i["path"]: (self._field(i["fieldRef"]["fieldPath"]).encode(), _FILE_MODE) for i in items}
        for kind in ("configMap", "secret"):
            if kind in source:
                reference = source[kind]
                name = reference.get("name") or reference.get("secretName")
                data = await self._data(kind, name, bool(reference.get("optional")))
                return _chosen(kind, name, data, reference)
        if "serviceAccountToken" in source:
            return {}
        raise InputError(f"volume {volume}: this node knows no volumes of kind {', '.join(source.keys() - {'name'})}")

    async def _data(self, kind: str, name: str, optional: bool) -> dict[str, bytes]:
        key = (kind, name)
        if key not in self._read:
            self._read[key] = await self._get(kind, name)
        found = self._read[key]
        if found is None:
            if optional:
                return {}
            raise InputError(f'{kind.lower()} "{name}" not found')
        if kind == "secret":
            return {k: base64.b64decode(v) for k, v in (found.get("data") or {}).items()}
        texts = {k: v.encode() for k, v in (found.get("data") or {}).items()}
        return texts | {k: base64.b64decode(v) for k, v in (found.get("binaryData") or {}).items()}

    async def _get(self, kind: str, name: str) -> JsonObject | None:
        path = f"/api/v1/namespaces/{self.pod.namespace}/{kind.lower()}s/{name}"
        try:
            return await self.client.request("GET", path)
        except KubeError as error:
            if error.status == 404:
                return None
            raise InputError(f"{kind.lower()} {name}: {error.message}") from error


_FILE_VOLUMES: Final = frozenset({"configMap", "secret", "projected", "downwardAPI"})


def _chosen(kind: str, name: str, data: Mapping[str, bytes], reference: JsonObject) -> dict[str, tuple[bytes, int]]:
    mode = int(reference.get("defaultMode") or _FILE_MODE)
    items: Iterable[Any] = reference.get("items") or ()
    if not items:
        return {key: (value, mode) for key, value in data.items()}
    chosen = {}
    for item in items:
        if item["key"] not in data:
            if reference.get("optional"):
                continue
            raise InputError(f"{kind.lower()} {name} has no key {item['key']}")
        chosen[item["path"]] = (data[item["key"]], int(item.get("mode") or mode))
    return chosen


def _resource(container: Container, name: str) -> str:
    resources = container.spec.resources
    values = {
        "limits.memory": resources.memory_bytes,
        "limits.cpu": -(-(resources.cpu_limit_milli or 0) // 1000),
        "requests.cpu": -(-(resources.cpu_shares_milli or 0) // 1000),
    }
    if name not in values:
        raise InputError(f"unsupported resource {name}")
    return str(values[name] or 0)
