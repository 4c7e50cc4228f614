"""Makes `k8s/embedded/apiserver/schema/v1.33.json` from the JSON schemas that `kubernetes-validate` carries.

    python -m tests.k8s.embedded.apiserver.schema_source .../kubernetes-json-schema/v1.33.0-local/_definitions.json

It keeps the definitions that the served kinds reach, without descriptions.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import orjson

from k8s.embedded.apiserver.resources import BUILT_IN

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
MORE: tuple[str, ...] = (f"{_META}DeleteOptions", f"{_META}Status", f"{_META}WatchEvent", f"{_META}APIResourceList")
MORE += ("io.k8s.api.core.v1.Binding", "io.k8s.api.policy.v1.Eviction")
TARGET = Path("k8s/embedded/apiserver/schema/v1.33.json")


def _pruned(schema: dict[str, Any], reached: list[str]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in schema.items():
        match key, value:
            case "description" | "default" | "$schema", _:
                continue
            case "type", [*types]:
                named = [one for one in types if one != "null"]
                kept[key] = named[0] if len(named) == 1 else named
            case "$ref", str():
                name = value.rsplit("/", 1)[1]
                reached.append(name)
                kept[key] = f"#/components/schemas/{name}"
            case "properties", dict():
                kept[key] = {name: _pruned(member, reached) for name, member in value.items()}
            case "items" | "additionalProperties", dict():
                kept[key] = _pruned(value, reached)
            case "oneOf" | "anyOf" | "allOf", [*members]:
                kept[key] = [_pruned(member, reached) for member in members]
            case _:
                kept[key] = value
    return kept


def pruned_definitions(definitions: dict[str, Any]) -> dict[str, Any]:
    """What the served kinds reach, without descriptions."""
    reached = [*(type_.schema for type_ in BUILT_IN if type_.schema), *MORE]
    kept: dict[str, Any] = {}
    while reached:
        name = reached.pop()
        if name not in kept:
            kept[name] = {}
            kept[name] = _pruned(definitions[name], reached)
    return kept


if __name__ == "__main__":
    source = orjson.loads(Path(sys.argv[1]).read_bytes())
    found = pruned_definitions(source.get("$defs") or source["definitions"])
    TARGET.write_bytes(orjson.dumps(found, option=orjson.OPT_SORT_KEYS))
