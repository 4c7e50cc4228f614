"""How the world says no: the errors that every port raises, and nothing else (but `trio.Cancelled`).

They live here because the orchestrator's implementation and the actors that catch them may not know each other.
"""

from __future__ import annotations


class PortError(Exception):
    """The world said no. `message` is a sentence that names no secret."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class UnavailableError(PortError):
    """The other side did not answer, or asked to wait: worth trying again."""


class RejectedError(PortError):
    """The other side will never accept this."""


class ConflictError(PortError):
    """Something with this name is still in the way: worth trying again."""
