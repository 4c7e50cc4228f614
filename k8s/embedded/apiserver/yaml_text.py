"""YAML as Kubernetes reads it: JSON's types only; what looks like a date stays text, and every key is one."""

from __future__ import annotations

from typing import Any

import orjson
import yaml


class _Loader(yaml.SafeLoader):
    pass


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse(text: bytes) -> Any:
    """The value that a YAML document means. Raises ValueError for what is no YAML, or more than JSON can hold."""
    try:
        value = _as_json(yaml.load(text, Loader=_Loader))
        orjson.dumps(value)  # numbers and letters that JSON cannot carry are found here
        return value  # a SafeLoader that reads less
    except (yaml.YAMLError, RecursionError, TypeError) as error:
        raise ValueError(str(error)) from None


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {_key(key): _as_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise ValueError(f"a {type(value).__name__} is nothing that JSON can hold")


def _key(key: object) -> str:
    """As sigs.k8s.io/yaml: numbers and booleans become text."""
    if isinstance(key, bool):
        return str(key).lower()
    if isinstance(key, (str, int, float)):
        return str(key)
    raise ValueError(f"{key!r} is no key of an object")
