"""What the process still waits for before it can serve."""

from __future__ import annotations

from collections.abc import Sequence


class Readiness:
    """A list of steps that are awaited, in order; `reached` takes one off it."""

    def __init__(self, steps: Sequence[str]) -> None:
        self._awaited = dict.fromkeys(steps)

    def reached(self, step: str) -> None:
        """The step is done. One that is unknown or already done is no error."""
        self._awaited.pop(step, None)

    def awaited(self) -> list[str]:
        """The steps that are still to come; empty when ready."""
        return list(self._awaited)
