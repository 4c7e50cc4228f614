"""Kubernetes names for ECS things: always legal, never the same for two different things.

ECS allows `_`, upper case and 255 characters where Kubernetes wants a DNS label. A name that is already legal stays as
it is; any other becomes a readable part and a digest of the whole. A legal name that looks like one of those gets a
digest too, so that nobody can choose a name that collides.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
INSTANCE: Final = "kecs.dev/instance"
TASK_ID: Final = "kecs.dev/task-id"
CLUSTER: Final = "kecs.dev/cluster"
SERVICE: Final = "kecs.dev/service"
FAMILY: Final = "kecs.dev/family"

TASK_ARN: Final = "kecs.dev/task-arn"
CLUSTER_ARN: Final = "kecs.dev/cluster-arn"
SERVICE_ARN: Final = "kecs.dev/service-arn"
TASK_DEFINITION_ARN: Final = "kecs.dev/task-definition-arn"
CONTAINER_NAMES: Final = "kecs.dev/container-names"
DEPENDS_ON: Final = "kecs.dev/depends-on"
STOP_TIMEOUTS: Final = "kecs.dev/stop-timeouts"
START_TIMEOUTS: Final = "kecs.dev/start-timeouts"
INIT_PROCESS: Final = "kecs.dev/init-process"
ULIMITS: Final = "kecs.dev/ulimits"
USERS: Final = "kecs.dev/users"
DOCKER_LABEL_PREFIX: Final = "simulated.kecs.dev/"

FINALIZER: Final = "kecs.dev/task-record"

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?", re.ASCII)
_DIGEST_LENGTH = 16
_DIGESTED = re.compile(r"(.*-)?x[a-z2-7]{16}", re.DOTALL)


@lru_cache(maxsize=1024)
def namespace(cluster_arn: str, instance: str) -> str:
    """The namespace of a cluster's pods. Another region, account or instance has another."""
    cluster = cluster_arn.rsplit("/", 1)[-1]
    return f"kecs-{_readable(cluster, 38)}-x{_digest(f'{instance} {cluster_arn}')}".replace("--", "-")


def pod_name(task_arn: str) -> str:
    """A task's pod: its id, which is 32 hex digits."""
    return label(task_arn.rsplit("/", 1)[-1])


def label(name: str) -> str:
    """A DNS label (RFC 1123, at most 63 characters) for any name."""
    if _LABEL.fullmatch(name) and not _DIGESTED.fullmatch(name):
        return name
    return f"{_readable(name, 45)}-x{_digest(name)}".removeprefix("-")


def container_names(names: Iterable[str]) -> dict[str, str]:
    """Kubernetes' name of each container, by ECS's name."""
    return {name: label(name) for name in names}


def label_value(text: str) -> str:
    """A legal label value (at most 63 characters) for any text."""
    if _LABEL_VALUE.fullmatch(text) and not _DIGESTED.fullmatch(text):
        return text
    readable = re.sub(r"[^-A-Za-z0-9_.]+", "-", text)[:45].strip("-_.")
    return f"{readable}-x{_digest(text)}".removeprefix("-")


def selector(instance: str) -> str:
    """The label selector of everything that belongs to an instance."""
    return f"{MANAGED_BY}=kecs,{INSTANCE}={label_value(instance)}"


def _readable(name: str, length: int) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower())[:length].strip("-")


def _digest(text: str) -> str:
    raw = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=10).digest()
    return base64.b32encode(raw).decode().lower()[:_DIGEST_LENGTH]
