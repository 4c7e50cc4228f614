"""Addresses, and who lives at them.

An address is made from an ARN, so region and account are part of it. The registry knows every living actor; peeking
shows the state an actor has decided, which may be ahead of what is durable: only other actors' turns may look at it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from attrs import frozen

from engine.arn import Scope

if TYPE_CHECKING:
    from actors.loop import Actor

CLUSTER = "cluster"
SERVICE = "service"
TASK_DEFINITIONS = "task-definitions"
KINDS = frozenset({CLUSTER, SERVICE, TASK_DEFINITIONS})


@frozen(cache_hash=True)
class Address:
    """Where an actor lives. `name` is a cluster's name, `cluster/service` for a service, empty for task definitions."""

    kind: str
    region: str
    account: str
    name: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.kind, self.region, self.account, self.name) if part)

    @property
    def scope(self) -> Scope:
        """The account and region the actor lives in."""
        return Scope(self.account, self.region)

    @property
    def arn(self) -> str:
        """The ARN of the cluster or service that lives here."""
        return self.scope.arn(self.kind, self.name)


def cluster_address(cluster_arn: str) -> Address:
    """The address of a cluster's actor."""
    return _address(CLUSTER, cluster_arn)


def service_address(service_arn: str) -> Address:
    """The address of a service's actor."""
    return _address(SERVICE, service_arn)


def task_definitions_address(scope: Scope) -> Address:
    """The address of the actor that owns the task definitions of an account in a region."""
    return Address(TASK_DEFINITIONS, scope.region, scope.account)


def parse_address(text: str) -> Address | None:
    """The address that `str(address)` shows, or None when `text` shows none."""
    parts = text.strip("/").split("/", 3)
    if len(parts) < 3 or parts[0] not in KINDS or (len(parts) == 3) is not (parts[0] == TASK_DEFINITIONS):
        return None
    return Address(*parts)


def _address(kind: str, arn: str) -> Address:
    _, _, _, region, account, resource = arn.split(":", 5)
    return Address(kind, region, account, resource.partition("/")[2])


class Registry:
    """The living actors by address."""

    def __init__(self) -> None:
        self._actors: dict[Address, Actor[Any]] = {}

    def __len__(self) -> int:
        return len(self._actors)

    def __iter__(self) -> Iterator[Actor[Any]]:
        return iter(tuple(self._actors.values()))

    def get(self, address: Address) -> Actor[Any] | None:
        """The actor that lives at `address`, if one does."""
        return self._actors.get(address)

    def peek(self, address: Address) -> Any:
        """The state decided by the actor at `address`, or None when nobody lives there."""
        actor = self._actors.get(address)
        return None if actor is None else actor.state

    def add(self, actor: Actor[Any]) -> None:
        """Let an actor be found. Raises ValueError when its address is taken."""
        if actor.address in self._actors:
            raise ValueError(f"{actor.address} is taken")
        self._actors[actor.address] = actor

    def discard(self, actor: Actor[Any]) -> None:
        """Let an actor no longer be found."""
        if self._actors.get(actor.address) is actor:
            del self._actors[actor.address]
