"""Client tokens: a token stands for one request; sent again with the same parameters it answers the same."""

from __future__ import annotations

import re
from typing import Final

import attrs

from engine import errors
from engine.commands import CreateService, RunTask
from engine.identifiers import digest

_RESOLVED: Final = frozenset({"task_definition", "cluster", "id_seed", "client_token", "created_by"})
_TOKEN: Final = re.compile(r"[!-~]{1,64}", re.ASCII)


def request_digest(command: RunTask | CreateService) -> str:
    """A fingerprint of what the caller asked for."""
    definition = command.task_definition and command.task_definition.task_definition_arn
    asked = [getattr(command, one.name) for one in attrs.fields(type(command)) if one.name not in _RESOLVED]
    return digest((definition, asked))


def check_token(token: str | None) -> None:
    """Raise InvalidParameterException for a token that ECS does not take."""
    if token is not None and not _TOKEN.fullmatch(token):
        raise errors.invalid_parameter("Invalid clientToken: up to 64 characters in the range of 33-126 are allowed.")
