"""The supervisor: starts an instance's processes, starts again one that dies, stops them in order.

It is a process of its own, as light as it can be. Its children do not need it: they survive it, write to their log
files and own their pid files, so that the next supervisor finds and adopts them. What it knows it writes to
run/processes.json, where the commands read it. SIGTERM stops everything, SIGUSR1 restarts the control plane.

Restart policy: a process that had been ready is started again at once, up to MAX_DEATHS times in DEATH_PERIOD_S; one
that dies of itself before it was ready is tried MAX_FAILED_STARTS times in a row, with a back-off. Past either limit
it is given up, loudly, and the others go on. A kill -9 from outside is no failed start: it says nothing about the next.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import trio
from attrs import define, field

from cli.components import CONTROL, EXIT_HOPELESS, NOTE, SUPERVISOR, Component
from cli.instances import Instance
from cli.processes import PidFile, replace_text
from cli.spawning import Spawned, spawn
from cli.supervise import log

MAX_FAILED_STARTS = 5
BACK_OFF_S = 0.1
MAX_DEATHS, DEATH_PERIOD_S = 120, 60.0
LAST_STEPS_S = 0.2
LOG_LIMIT_BYTES, LOG_GENERATIONS, LOG_LOOK_S = 10_000_000, 3, 5.0
_WAITERS = trio.CapacityLimiter(100)


@define
class Child:
    """What is known of one process."""

    component: Component
    pid: int | None = None
    state: str = "starting"
    step: str = ""
    restarts: int = 0
    last_exit: str = ""
    since: float = field(factory=time.time)
    deaths: deque[float] = field(factory=deque)
    notes: list[str] = field(factory=list)
    wanted: bool = True
    retry: trio.Event = field(factory=trio.Event)

    def public(self) -> dict[str, Any]:
        """What the report says."""
        return {
            "pid": self.pid,
            "state": self.state,
            "step": self.step,
            "restarts": self.restarts,
            "last_exit": self.last_exit,
            "since": self.since,
            "notes": self.notes,
        }


class Supervisor:
    """Keeps the processes of one instance running until told to stop."""

    def __init__(
        self, instance: Instance, wanted: Sequence[Component], first: Mapping[str, Spawned] = MappingProxyType({})
    ) -> None:
        """`first`: those of the processes that were started already, by name."""
        self._instance = instance
        self._first = dict(first)
        self._children = [Child(component) for component in wanted]

    async def run(self) -> None:
        """Supervise until SIGTERM or SIGINT; returns when every process has ended."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGUSR1) as signals:
            async with trio.open_nursery() as nursery:
                for child in self._children:
                    nursery.start_soon(self._keep, child)
                nursery.start_soon(self._rotate_logs)
                async for number in signals:
                    if number != signal.SIGUSR1:
                        break
                    self._restart_control()
                await self._stop()
                nursery.cancel_scope.cancel()

    def _restart_control(self) -> None:
        for child in self._children:
            if child.component.name == CONTROL:
                child.retry.set()
                self._pid_file(child).signal(signal.SIGTERM)

    async def _stop(self) -> None:
        for child in self._children:
            child.wanted = False
        for child in self._children:
            self._note(child, state="stopping")
            with trio.move_on_after(child.component.stop_deadline_s) as patience:
                while self._alive(child):
                    self._signal(child, signal.SIGTERM)
                    await self._gone(child)
            if patience.cancelled_caught:
                log(f"{child.component.name} did not stop within {child.component.stop_deadline_s:g} s: killed")
                self._signal(child, signal.SIGKILL)
                await self._gone(child)
            self._note(child, state="stopped", pid=None)

    def _alive(self, child: Child) -> bool:
        return child.pid is not None or self._pid_file(child).pid() is not None

    def _signal(self, child: Child, number: signal.Signals) -> None:
        if child.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, number)
        else:
            self._pid_file(child).signal(number)

    async def _gone(self, child: Child) -> None:
        while self._alive(child):  # noqa: ASYNC110 - no event tells of the end of a process that is not our child
            await trio.sleep(0.02)

    async def _keep(self, child: Child) -> None:
        failed_starts = 0
        while child.wanted:
            was_ready, code = await (self._adopt(child) or self._spawn(child))
            self._note(child, pid=None, last_exit=describe_exit(code))
            if not child.wanted:
                return
            log(f"{child.component.name} ended: {child.last_exit}")
            failed_starts = 0 if was_ready or code == -signal.SIGKILL else failed_starts + 1
            if code == EXIT_HOPELESS or failed_starts >= MAX_FAILED_STARTS or self._dies_too_often(child):
                log(f"{child.component.name} is given up; `kecs restart` tries again")
                child.retry = trio.Event()
                self._note(child, state="failed")
                await child.retry.wait()
                failed_starts = 0
            elif failed_starts:
                await trio.sleep(BACK_OFF_S * 2 ** (failed_starts - 1))
            self._note(child, state="starting", step="", restarts=child.restarts + 1)

    def _dies_too_often(self, child: Child) -> bool:
        now = time.monotonic()
        child.deaths.append(now)
        while child.deaths[0] < now - DEATH_PERIOD_S:
            child.deaths.popleft()
        return len(child.deaths) > MAX_DEATHS

    def _adopt(self, child: Child) -> Any:
        pid = self._pid_file(child).pid()
        return None if pid is None else self._watch_stranger(child, pid)

    async def _watch_stranger(self, child: Child, pid: int) -> tuple[bool, int | None]:
        """Wait for the end of a process that another supervisor started."""
        log(f"{child.component.name} is still there (pid {pid}): adopted")
        self._note(child, pid=pid, state="ready", step="adopted")
        pid_file = self._pid_file(child)
        while pid_file.pid() == pid:  # noqa: ASYNC110 - no event tells of the end of a process that is not our child
            await trio.sleep(0.1)
        return True, None

    async def _spawn(self, child: Child) -> tuple[bool, int | None]:
        """Start the process and wait for its end: (whether it had been ready, its exit code)."""
        spawned = self._first.pop(child.component.name, None) or spawn(self._instance, child.component)
        self._note(child, pid=spawned.process.pid, since=time.time(), notes=[])
        async with trio.lowlevel.FdStream(spawned.reports) as steps, trio.open_nursery() as nursery:
            nursery.start_soon(self._read_steps, child, steps)
            code = await trio.to_thread.run_sync(spawned.process.wait, limiter=_WAITERS)
            nursery.cancel_scope.deadline = trio.current_time() + LAST_STEPS_S
        return child.state == "ready" or (not child.wanted and code == 0), code

    async def _read_steps(self, child: Child, steps: trio.abc.ReceiveStream) -> None:
        buffer = b""
        async for data in steps:
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                step = line.decode()
                if step.startswith(NOTE):
                    child.notes.append(step.removeprefix(NOTE))
                elif child.wanted:
                    self._note(child, step=step, state="ready" if step == "ready" else child.state)

    def _pid_file(self, child: Child) -> PidFile:
        return self._instance.pid_file(child.component.name)

    def _note(self, child: Child, **changes: Any) -> None:
        for name, value in changes.items():
            setattr(child, name, value)
        report = {child.component.name: child.public() for child in self._children}
        replace_text(self._instance.report_file, json.dumps(report))

    async def _rotate_logs(self) -> None:
        while True:
            for name in (SUPERVISOR, *(child.component.name for child in self._children)):
                rotate(self._instance.log_file(name))
            await trio.sleep(LOG_LOOK_S)


def rotate(path: Path, limit_bytes: int = LOG_LIMIT_BYTES) -> None:
    """Move a log that has grown too long aside. Its writer appends, so copying and cutting is enough."""
    if not path.exists() or path.stat().st_size < limit_bytes:
        return
    for generation in range(LOG_GENERATIONS - 1, 0, -1):
        older = path.with_name(f"{path.name}.{generation}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{generation + 1}"))
    shutil.copyfile(path, path.with_name(f"{path.name}.1"))
    os.truncate(path, 0)


def describe_exit(code: int | None) -> str:
    """An exit code in words."""
    if code is None:
        return "not known, it was adopted"
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
