"""Deadlines of asks: one task looks after all of them, because a timer an ask costs a tenth of a small write's CPU."""

from __future__ import annotations

from typing import Any

import trio

from actors.mailbox import DeadlineExceeded, Reply

CHECK_S = 0.25  # how late a deadline may be noticed


class Deadlines:
    """The replies that are waited for, and when each is given up."""

    def __init__(self) -> None:
        self._awaited: dict[Reply, tuple[float, float]] = {}  # deadline in trio's time, and how long it was

    async def wait(self, reply: Reply, deadline_s: float) -> Any:
        """The answer. Raises its error, or DeadlineExceeded once `run` notices that its time is up."""
        self._awaited[reply] = (trio.current_time() + deadline_s, deadline_s)
        try:
            return await reply.wait()
        finally:
            del self._awaited[reply]

    async def run(self) -> None:
        """Give up what takes too long, until cancelled."""
        while True:
            await trio.sleep(CHECK_S)
            now = trio.current_time()
            for reply, (deadline, deadline_s) in self._awaited.items():
                if deadline <= now:
                    reply.give_up(DeadlineExceeded(f"no reply within {deadline_s:g} s"))

    def settle_all(self, error: Exception) -> None:
        """Answer whoever still waits: nobody will."""
        for reply in self._awaited:
            reply.fail(error)
