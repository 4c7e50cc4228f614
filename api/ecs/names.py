"""Names and ARNs as callers give them: which cluster, service, task or task definition is meant.

Everything may be given as a short name or a full ARN. An ARN of another account, region, cluster or kind is refused
here, in AWS's wording, and so is a name that nothing could have: only legal ARNs leave this module.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from engine.arn import Arn, Scope, parse_arn
from engine.errors import AwsError, client_error, invalid_parameter

DEFAULT_CLUSTER = "default"

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,255}", re.ASCII)
_TASK_ID = re.compile(r"[a-zA-Z0-9-]{1,255}", re.ASCII)
_REVISION = re.compile(r"[1-9]\d{0,9}", re.ASCII)
_SHOWN = 300


def cluster_arn(scope: Scope, reference: str | None) -> str:
    """The ARN of the cluster that is meant; the default one when none is named. Raises InvalidParameterException."""
    if not reference:
        return scope.cluster_arn(DEFAULT_CLUSTER)
    if reference.startswith("arn:"):
        arn = _own_arn(scope, reference, "cluster")
        return scope.cluster_arn(_name("Cluster", "/".join(arn.path)))
    return scope.cluster_arn(_name("Cluster", reference))


def service_arn(scope: Scope, cluster: str, reference: str) -> str:
    """The ARN of the service that is meant in `cluster` (an ARN). Raises InvalidParameterException."""
    if not reference:
        raise invalid_parameter("Service can not be blank.")
    name = reference
    if reference.startswith("arn:"):
        arn = _own_arn(scope, reference, "service")
        name = arn.path[-1]
        _same_cluster(arn, cluster)
    return scope.service_arn(cluster_name(cluster), _name("Service", name))


def task_arn(scope: Scope, cluster: str, reference: str) -> str:
    """The ARN of the task that is meant in `cluster` (an ARN). Raises InvalidParameterException."""
    task_id = reference
    if reference.startswith("arn:"):
        arn = _own_arn(scope, reference, "task")
        task_id = arn.path[-1]
        _same_cluster(arn, cluster)
    if _TASK_ID.fullmatch(task_id) is None:
        raise invalid_parameter("Task Identifier is invalid")
    if len(task_id) not in (32, 36):
        raise invalid_parameter("taskId length should be one of [32,36]")
    return scope.task_arn(cluster_name(cluster), task_id)


def task_definition_name(scope: Scope, reference: str) -> tuple[str, int | None]:
    """Family and revision (None: the newest ACTIVE one) that are meant.

    Raises ClientException for one that cannot exist, InvalidParameterException for an empty one.
    """
    if not reference:
        raise invalid_parameter("TaskDefinition can not be blank.")
    name = reference
    if reference.startswith("arn:"):
        name = "/".join(_own_arn(scope, reference, "task-definition").path)
    family, colon, revision = name.partition(":")
    if _NAME.fullmatch(family) is None:
        raise client_error(f"Invalid task definition identifier: {_shown(reference)}")
    if not colon:
        return family, None
    if _REVISION.fullmatch(revision) is None:
        raise client_error(f"Invalid revision number. Number: {_shown(revision)}")
    return family, int(revision)


def resource(scope: Scope, reference: str) -> Arn:
    """The resource of this account and region that an ARN names. Raises InvalidParameterException."""
    arn = parse_arn(reference)
    if arn is None:
        raise invalid_parameter(f"Invalid resource ARN: {_shown(reference)}")
    _same_scope(scope, arn)
    return arn


def named(nouns: str, references: Sequence[str], most: int) -> Sequence[str]:
    """What a `Describe` asks for. Raises InvalidParameterException when it is nothing, or more than `most`."""
    if not references:
        raise invalid_parameter(f"{nouns} cannot be empty.")
    if len(references) > most:
        raise invalid_parameter(f"{nouns} cannot have more than {most} elements.")
    return references


def cluster_name(arn: str) -> str:
    """The name in a cluster's ARN."""
    return arn.rpartition("/")[2]


def _own_arn(scope: Scope, reference: str, kind: str) -> Arn:
    arn = parse_arn(reference)
    if arn is None:
        raise invalid_parameter(f"Invalid identifier: {_shown(reference)}")
    if arn.kind != kind:
        raise invalid_parameter(f"Unsupported resource type: {arn.kind}")
    _same_scope(scope, arn)
    return arn


def _same_scope(scope: Scope, arn: Arn) -> None:
    if arn.scope.region != scope.region:
        raise _identifier_is_for("region", arn.scope.region, scope.region)
    if arn.scope.account != scope.account:
        raise _identifier_is_for("account", arn.scope.account, scope.account)


def _same_cluster(arn: Arn, cluster: str) -> None:
    """ARNs of the old format name no cluster: they are taken to be of the one that is asked."""
    if len(arn.path) > 1 and arn.path[0] != cluster_name(cluster):
        raise _identifier_is_for("cluster", arn.path[0], cluster_name(cluster))


def _identifier_is_for(noun: str, theirs: str, ours: str) -> AwsError:
    """As AWS words it, for example https://github.com/docker-archive/compose-cli/issues/2086."""
    return invalid_parameter(f"Invalid identifier: Identifier is for {noun} {_shown(theirs)}. Your {noun} is {ours}")


def _name(noun: str, name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise invalid_parameter(f"{noun} must match ^[a-zA-Z0-9\\-_]{{1,255}}$, but was {_shown(name)}")
    return name


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
