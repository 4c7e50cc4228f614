"""Settings as a person types them: NAME=VALUE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import evolve

from cli.instances import InstanceError, Settings

_INTEGERS = frozenset({"port", "admin_port", "kubernetes_port"})
_NUMBERS = frozenset({"grace_s"})


def with_changes(settings: Settings, changes: Sequence[str]) -> Settings:
    """The settings with `NAME=VALUE` changes; an empty value gives the default back. Raises InstanceError."""
    for change in changes:
        name, separator, text = change.partition("=")
        name = name.strip().replace("-", "_")
        if not separator:
            raise InstanceError(f"`{change}` is not NAME=VALUE.", 2)
        settings = settings.changed({name: _value(name, text.strip())})
        if not text.strip():
            settings = evolve(settings, **{name: getattr(Settings(), name)})
    return settings


def _value(name: str, text: str) -> Any:
    try:
        if not text:
            return None
        return int(text) if name in _INTEGERS else float(text) if name in _NUMBERS else text
    except ValueError:
        raise InstanceError(f"{name} is a number, and `{text}` is none.", 2) from None
