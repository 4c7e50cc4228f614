"""A turn of the owner of an account's and region's task definitions.

Revisions of a family count up and are never given out twice, whatever is deregistered or deleted.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, TypeAlias, assert_never

from attrs import evolve

from engine import commands, errors
from engine.arn import Scope, parse_arn
from engine.commands import DeleteTaskDefinitionsResult, Failure, TaskDefinitionCommand
from engine.decision import Decision, Effect, Forget, Record, Tick, WakeAt
from engine.registration import registered
from engine.tags import tagged, untagged
from engine.task_definition import Family, TaskDefinition, TaskDefinitionsState, TaskDefinitionStatus

Message: TypeAlias = TaskDefinitionCommand | Tick
Outcome: TypeAlias = Decision[TaskDefinitionsState]

DELETION: Final = timedelta(hours=1)  # how long a deleted revision stays DELETE_IN_PROGRESS
MAX_DELETED_AT_ONCE: Final = 10
STILL_ACTIVE: Final = (
    "The specified task definition is still in ACTIVE status. Please deregister the target and try again."
)
UNKNOWN: Final = (
    "The specified task definition does not exist. Specify a valid account, family, revision and try again."
)


def decide(state: TaskDefinitionsState, message: Message, now: datetime) -> Outcome:
    """One turn. Raises AwsError when a command is refused."""
    match message:
        case commands.RegisterTaskDefinition():
            return _register(state, message, now)
        case commands.DeregisterTaskDefinition():
            return _deregister(state, message, now)
        case commands.DeleteTaskDefinitions():
            return _delete(state, message, now)
        case commands.TagResource():
            definition = _existing(state, message.arn)
            return _replaced(state, [evolve(definition, tags=tagged(definition.tags, message.tags))])
        case commands.UntagResource():
            definition = _existing(state, message.arn)
            return _replaced(state, [evolve(definition, tags=untagged(definition.tags, message.tag_keys))])
        case Tick():
            return _forget(state, now)
        case _:
            assert_never(message)


def reference(text: str, scope: Scope) -> tuple[str, int | None]:
    """The family and revision that `family`, `family:revision` or a full ARN names.

    Raises ClientException for what names no task definition of this account and region.
    """
    if text.startswith("arn:"):
        arn = parse_arn(text)
        if arn is None or arn.kind != "task-definition" or len(arn.path) != 1:
            raise errors.invalid_parameter("Invalid ARN for the task definition.")
        if arn.scope != scope:
            raise errors.client_error("Unable to describe task definition.")
        text = arn.name
    family, colon, revision = text.partition(":")
    if not colon:
        return family, None
    if not (revision.isascii() and revision.isdigit() and int(revision) > 0):
        raise errors.client_error(f"Invalid revision number. Number: {revision}")
    return family, int(revision)


def _register(state: TaskDefinitionsState, command: commands.RegisterTaskDefinition, now: datetime) -> Outcome:
    known = state.families.get(command.family)
    revision = known.latest_revision + 1 if known else 1
    definition = registered(command, revision, now)
    family = Family(command.scope.arn("task-definition", command.family), command.family, revision)
    after = evolve(
        state,
        families=state.families.insert(family.name, family),
        definitions=state.definitions.insert(definition.arn, definition),
    )
    return Decision(after, records=(family, definition), reply=definition)


def _deregister(state: TaskDefinitionsState, command: commands.DeregisterTaskDefinition, now: datetime) -> Outcome:
    family, revision = reference(command.task_definition, command.scope)
    if revision is None:
        raise errors.client_error("Revision is missing.")
    definition = _existing(state, command.scope.task_definition_arn(family, revision))
    if definition.status is not TaskDefinitionStatus.ACTIVE:
        raise errors.client_error(
            "The specified task definition is inactive. Specify an active task definition and try again."
        )
    inactive = evolve(definition, status=TaskDefinitionStatus.INACTIVE, deregistered_at=now)
    return _replaced(state, [inactive], reply=inactive)


def _delete(state: TaskDefinitionsState, command: commands.DeleteTaskDefinitions, now: datetime) -> Outcome:
    if len(command.task_definitions) > MAX_DELETED_AT_ONCE:
        raise errors.invalid_parameter(f"The maximum number of task definitions is {MAX_DELETED_AT_ONCE}.")
    deleted: list[TaskDefinition] = []
    failures: list[Failure] = []
    for text in dict.fromkeys(command.task_definitions):
        family, revision = reference(text, command.scope)
        arn = command.scope.task_definition_arn(family, revision or 0)
        definition = state.definitions.get(arn)
        if revision is None or definition is None:
            failures.append(Failure(arn=text, reason=UNKNOWN))
        elif definition.status is TaskDefinitionStatus.ACTIVE:
            failures.append(Failure(arn=definition.arn, reason=STILL_ACTIVE))
        else:
            deleted.append(_in_deletion(definition, command.in_use, now))
    reply = DeleteTaskDefinitionsResult(tuple(deleted), tuple(failures))
    effects = [WakeAt(definition.forget_at) for definition in deleted if definition.forget_at]
    return _replaced(state, deleted, reply, effects)


def _in_deletion(definition: TaskDefinition, in_use: frozenset[str], now: datetime) -> TaskDefinition:
    """A revision that tasks or services use stays DELETE_IN_PROGRESS until its deletion is asked for again."""
    return evolve(
        definition,
        status=TaskDefinitionStatus.DELETE_IN_PROGRESS,
        delete_requested_at=definition.delete_requested_at or now,
        forget_at=None if definition.arn in in_use else definition.forget_at or now + DELETION,
    )


def _existing(state: TaskDefinitionsState, arn: str) -> TaskDefinition:
    definition = state.definitions.get(arn)
    if definition is None:
        raise errors.client_error(UNKNOWN)
    return definition


def _replaced(
    state: TaskDefinitionsState,
    definitions: Iterable[TaskDefinition],
    reply: object = None,
    effects: Iterable[Effect] = (),
) -> Outcome:
    table, records = state.definitions, list[Record]()
    for definition in definitions:
        if table.get(definition.arn) != definition:
            table = table.insert(definition.arn, definition)
            records.append(definition)
    return Decision(evolve(state, definitions=table), tuple(effects), tuple(records), reply)


def _forget(state: TaskDefinitionsState, now: datetime) -> Outcome:
    table, records, later = state.definitions, list[Record](), list[datetime]()
    for arn, definition in state.definitions.items():
        if definition.forget_at is None:
            continue
        if definition.forget_at <= now:
            table = table.remove(arn)
            records.append(Forget(arn))
        else:
            later.append(definition.forget_at)
    effects = (WakeAt(min(later)),) if later else ()
    return Decision(evolve(state, definitions=table), effects, tuple(records))
