"""YAML as Kubernetes reads it: JSON's types only, and what looks like a date stays text."""

from __future__ import annotations

from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    pass


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse(text: bytes) -> Any:
    """The value that a YAML document means. Raises ValueError for what is no YAML."""
    try:
        return yaml.load(text, Loader=_Loader)  # a SafeLoader, that reads less
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(str(error)) from None
