"""The read model's half that knows task definitions: families and revisions, in the orders that lists show them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import islice

from sortedcontainers import SortedDict, SortedList

from engine.arn import Scope
from engine.task_definition import TaskDefinition, TaskDefinitionStatus

_LAST_REVISION = 2**63
_Revisions = SortedDict[int, TaskDefinition]
_Key = tuple[str, int]  # family, revision
_NO_REVISIONS: _Revisions = SortedDict()


class TaskDefinitionViews:
    """Committed task definitions. The families of a scope are kept apart by whether a revision is ACTIVE."""

    def __init__(self) -> None:
        self.by_arn: dict[str, TaskDefinition] = {}
        self._revisions: dict[tuple[str, str], _Revisions] = {}  # by scope and family
        self._listed: defaultdict[tuple[str, TaskDefinitionStatus], SortedList[_Key]] = defaultdict(SortedList)
        self._families: defaultdict[tuple[str, TaskDefinitionStatus | None], SortedList[str]] = defaultdict(SortedList)

    def latest_active(self, scope: Scope, family: str) -> TaskDefinition | None:
        """The highest ACTIVE revision of a family."""
        revisions = self._revisions.get((scope_key(scope), family), _NO_REVISIONS)
        return next((found for found in reversed(revisions.values()) if _is_active(found)), None)

    def families(
        self, scope: Scope, prefix: str, status: TaskDefinitionStatus | None, after: str | None, limit: int | None
    ) -> Sequence[str]:
        """Names in order that start with `prefix`."""
        names = self._families.get((scope_key(scope), status), SortedList[str]())
        beyond = after is not None and after >= prefix
        found = names.irange(after if beyond else prefix, prefix + "\U0010ffff", (not beyond, False))
        return list(islice(found, limit))

    def arns(
        self,
        scope: Scope,
        family: str | None,
        status: TaskDefinitionStatus,
        descending: bool,
        after: str | None,
        limit: int | None,
    ) -> Sequence[str]:
        """ARNs by family and revision, of one family or of all."""
        listed = self._listed.get((scope_key(scope), status), SortedList[_Key]())
        low = (family, 0) if family is not None else None
        high = (family, _LAST_REVISION) if family is not None else None
        if after is not None and descending:
            high = min(high, _key(after)) if high is not None else _key(after)
        elif after is not None:
            low = max(low, _key(after)) if low is not None else _key(after)
        found = listed.irange(low, high, (False, False), reverse=descending)
        return [scope.task_definition_arn(name, revision) for name, revision in islice(found, limit)]

    def put(self, new: TaskDefinition) -> None:
        """Add or replace a revision."""
        scope, key = scope_of(new.task_definition_arn), (new.family, new.revision)
        old = self.by_arn.get(new.task_definition_arn)
        self.by_arn[new.task_definition_arn] = new
        self._revisions.setdefault((scope, new.family), SortedDict())[new.revision] = new
        if old is None or old.status != new.status:
            if old is not None:
                self._listed[scope, old.status].remove(key)
            self._listed[scope, new.status].add(key)
            self._list_family(scope, new.family)

    def forget(self, task_definition_arn: str) -> None:
        """Remove a revision; one that is not there is no error."""
        old = self.by_arn.pop(task_definition_arn, None)
        if old is None:
            return
        scope = scope_of(task_definition_arn)
        self._listed[scope, old.status].remove((old.family, old.revision))
        revisions = self._revisions[scope, old.family]
        del revisions[old.revision]
        if not revisions:
            del self._revisions[scope, old.family]
        self._list_family(scope, old.family)

    def _list_family(self, scope: str, family: str) -> None:
        revisions = self._revisions.get((scope, family), _NO_REVISIONS)
        for status in (None, TaskDefinitionStatus.ACTIVE, TaskDefinitionStatus.INACTIVE):
            self._families[scope, status].discard(family)
        if revisions:
            active = any(_is_active(found) for found in reversed(revisions.values()))
            self._families[scope, None].add(family)
            self._families[scope, TaskDefinitionStatus.ACTIVE if active else TaskDefinitionStatus.INACTIVE].add(family)


def scope_key(scope: Scope) -> str:
    """Region and account as they stand in an ARN."""
    return f"{scope.region}:{scope.account}"


def scope_of(arn: str) -> str:
    """The `scope_key` of what an ARN names."""
    _, _, _, region, account, _ = arn.split(":", 5)
    return f"{region}:{account}"


def _is_active(task_definition: TaskDefinition) -> bool:
    return task_definition.status == TaskDefinitionStatus.ACTIVE


def _key(task_definition_arn: str) -> _Key:
    family, _, revision = task_definition_arn.rsplit("/", 1)[-1].rpartition(":")
    return family, int(revision)
