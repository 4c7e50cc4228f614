"""Tags and the rules AWS has for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from attrs import frozen

from engine import errors

MAX_TAGS: Final = 50
MAX_KEY: Final = 128
MAX_VALUE: Final = 256
CLUSTER_NAME_TAG: Final = "aws:ecs:clusterName"
SERVICE_NAME_TAG: Final = "aws:ecs:serviceName"


@frozen
class Tag:
    """One tag. Keys have 1 to 128 characters, values at most 256."""

    key: str = ""
    value: str = ""


def checked_tags(tags: Sequence[Tag] | None) -> tuple[Tag, ...]:
    """A resource's first tags. Raises InvalidParameterException."""
    for tag in tags or ():
        if not 1 <= len(tag.key) <= MAX_KEY:
            raise errors.invalid_parameter(f"Tag keys must have 1 to {MAX_KEY} characters.")
        if len(tag.value) > MAX_VALUE:
            raise errors.invalid_parameter(f"Tag values must have at most {MAX_VALUE} characters.")
        if tag.key.lower().startswith("aws:"):
            raise errors.invalid_parameter("Tag keys that begin with 'aws:' are reserved for AWS use.")
    keys = [tag.key for tag in tags or ()]
    if len(set(keys)) != len(keys):
        raise errors.invalid_parameter("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
    if len(keys) > MAX_TAGS:
        raise errors.invalid_parameter(f"A resource can have at most {MAX_TAGS} tags.")
    return tuple(tags or ())


def tagged(tags: Iterable[Tag], added: Sequence[Tag]) -> tuple[Tag, ...]:
    """Tags after TagResource: a key that is there gets the new value. Raises InvalidParameterException."""
    merged = {tag.key: tag for tag in tags} | {tag.key: tag for tag in checked_tags(added)}
    if sum(not key.startswith("aws:") for key in merged) > MAX_TAGS:
        raise errors.invalid_parameter(f"A resource can have at most {MAX_TAGS} tags.")
    return tuple(merged.values())


def untagged(tags: Iterable[Tag], keys: Iterable[str]) -> tuple[Tag, ...]:
    """Tags after UntagResource."""
    removed = frozenset(keys)
    return tuple(tag for tag in tags if tag.key not in removed)


def task_tags(
    own: Sequence[Tag], propagated: Iterable[Tag], managed: bool, cluster_name: str, service_name: str | None
) -> tuple[Tag, ...]:
    """A new task's tags: its own win over propagated ones; ECS's managed tags come on top."""
    merged = {tag.key: tag for tag in propagated} | {tag.key: tag for tag in own}
    if managed:
        merged[CLUSTER_NAME_TAG] = Tag(CLUSTER_NAME_TAG, cluster_name)
        if service_name is not None:
            merged[SERVICE_NAME_TAG] = Tag(SERVICE_NAME_TAG, service_name)
    return tuple(merged.values())
