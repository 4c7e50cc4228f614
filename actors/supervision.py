"""Restarts: an actor that crashes is restarted alone, from its snapshot; one that keeps crashing stops the instance."""

from __future__ import annotations

import logging
import traceback
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio
from attrs import frozen

from actors.loop import Actor
from actors.ports import StoreFailedError
from actors.registry import Address

_log = logging.getLogger(__name__)


@frozen
class RestartPolicy:
    """At most `intensity` restarts of one actor within `period_s`; one more escalates."""

    intensity: int = 10
    period_s: float = 60.0


class ActorFailedError(Exception):
    """An actor crashed more often than its policy allows: the instance stops, and this is the reason."""

    def __init__(self, address: Address, policy: RestartPolicy, last_error: str | None) -> None:
        super().__init__(
            f"{address} crashed more than {policy.intensity} times within {policy.period_s:g} s; the last: {last_error}"
        )
        self.address = address


async def supervise(actor: Actor[Any], policy: RestartPolicy, restarted: Callable[[Actor[Any]], None]) -> None:
    """Run an actor, restarting it when it crashes; `restarted` is called each time it starts anew.

    Returns when the actor does. Raises ActorFailedError past the policy's limit.
    """
    crashes: deque[float] = deque()
    while True:
        try:
            await actor.run()
            return
        except StoreFailedError:
            raise
        except Exception as error:
            actor.last_error = describe(error)
            _log.error("%s crashed: %s\n%s", actor.address, actor.last_error, trace(error))
            now = trio.current_time()
            crashes.append(now)
            while crashes[0] < now - policy.period_s:
                crashes.popleft()
            if len(crashes) > policy.intensity:
                raise ActorFailedError(actor.address, policy, actor.last_error) from None  # logged above, without text
            await actor.restore()
            actor.restarts += 1
            restarted(actor)


def describe(error: BaseException) -> str:
    """An error's type and where it was raised. Not its text: that may quote values that are secret."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {frames[-1].name} at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"


def trace(error: BaseException) -> str:
    """Where an error came from, for the log: its frames without its text (see `describe`)."""
    return "".join(traceback.format_tb(error.__traceback__))
