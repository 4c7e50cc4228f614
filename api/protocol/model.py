"""botocore's service models: the shapes and operations that everything at the edge is compiled from.

Owns: finding and reading `service-2.json`, and botocore's snake_case rule for names. The file is read directly:
importing `botocore.loaders` and `botocore.model` would cost ten times the parse.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias, cast

import botocore
import orjson
from attrs import frozen

Shape: TypeAlias = Mapping[str, Any]
"""One entry of the model's `shapes`: its `type`, and by type its `members`, `required`, `enum`, `min`, ..."""


@frozen
class ServiceModel:
    """One service's operations and shapes, as botocore ships them."""

    target_prefix: str
    full_name: str
    operations: Mapping[str, Mapping[str, Any]]
    shapes: Mapping[str, Shape]

    def input_shape(self, operation: str) -> str:
        """The name of the operation's input shape."""
        return cast(str, self.operations[operation]["input"]["shape"])

    def output_shape(self, operation: str) -> str:
        """The name of the operation's output shape."""
        return cast(str, self.operations[operation]["output"]["shape"])


@cache
def load(service: str) -> ServiceModel:
    """The newest model of `service` that botocore has. Raises FileNotFoundError for an unknown service."""
    versions = sorted((Path(botocore.__file__).parent / "data" / service).iterdir())
    folder = [version for version in versions if version.is_dir()][-1]
    packed = folder / "service-2.json.gz"
    text = gzip.decompress(packed.read_bytes()) if packed.exists() else (folder / "service-2.json").read_bytes()
    model = orjson.loads(text)
    metadata = model["metadata"]
    return ServiceModel(
        target_prefix=metadata["targetPrefix"],
        full_name=metadata["serviceFullName"],
        operations=model["operations"],
        shapes=model["shapes"],
    )


@cache
def snake(name: str) -> str:
    """botocore's snake_case of a member's name: `sizeInGiB` is `size_in_gi_b`."""
    name_in_snake_case: str = botocore.xform_name(name)
    return name_in_snake_case
