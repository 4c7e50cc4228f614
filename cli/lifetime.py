"""What the control plane's and the node's processes do alike: say who they are, report steps, log, stop when told.

The other half of `cli.supervision`.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import NoReturn

import trio

from cli.components import EXIT_HOPELESS, NOTE, REPORT_FD
from cli.instances import Instance, Settings


class Hopeless(Exception):  # noqa: N818 - it says what the situation is, as trio.Cancelled does
    """Starting cannot succeed until a person does something; the message says what."""


class Lifetime:
    """Who this process is, and its line to the supervisor."""

    def __init__(self, name: str, instance: Instance) -> None:
        self.name = name
        self.instance = instance
        descriptor = os.environ.pop(REPORT_FD, "")
        self._report: int | None = int(descriptor) if descriptor else None
        if self._report is not None:
            os.set_inheritable(self._report, False)

    def step(self, text: str) -> None:
        """Tell the supervisor, and so whoever is waiting, what is being done now."""
        if self._report is not None:
            with contextlib.suppress(OSError):
                os.write(self._report, text.encode() + b"\n")

    def note(self, sentence: str) -> None:
        """Tell of something that this machine does not allow; it is shown at the start and by `kecs status`."""
        self.step(f"{NOTE}{sentence}")

    def ready(self) -> None:
        """Tell the supervisor that this process serves; there is nothing to report after that."""
        self.step("ready")
        if self._report is not None:
            os.close(self._report)
            self._report = None
        keep_what_is_loaded()


def keep_what_is_loaded() -> None:
    """Spare the garbage collector what lives as long as the process, and let it look less often at what is new.

    State is immutable and holds few cycles: collecting cost a fifth of a write's CPU (0.61 ms, then 0.47).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


@contextlib.contextmanager
def lifetime(name: str) -> Iterator[Lifetime]:
    """Be the instance's process of this name: the instance's folder is the first argument of the command line.

    Leaves the interpreter with EXIT_HOPELESS when `Hopeless` is raised inside.
    """
    instance = Instance.at(Path(sys.argv[1]))
    with instance.claimed(name):
        pid_file = instance.pid_file(name)
        pid_file.claim()
        try:
            yield Lifetime(name, instance)
        except* Hopeless as reasons:
            for reason in leaves(reasons):
                print(f"{name}: {reason}", file=sys.stderr, flush=True)
            sys.exit(EXIT_HOPELESS)
        finally:
            pid_file.release()


def leave() -> NoReturn:
    """End this process, now that everything is closed, without taking the interpreter apart: that takes a while, and
    DuckDB prints pages about it.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    """The exceptions in a group that are no groups themselves."""
    for member in group.exceptions:
        if isinstance(member, BaseExceptionGroup):
            yield from leaves(member)
        else:
            yield member


def log_to_stderr(settings: Settings) -> None:
    """Every module's log goes to standard error, which is the process's log file. Times are UTC."""
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        stream=sys.stderr,
        level=settings.log_level.upper(),
        format="%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )
    for chatty in ("httpx", "httpcore", "hypercorn.access"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


async def told_to_stop(task_status: trio.TaskStatus[trio.Event]) -> None:
    """Hand out an event that SIGTERM or SIGINT sets; runs until cancelled."""
    told = trio.Event()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started(told)
        async for _ in signals:
            told.set()


async def until_told_to_stop(serve: Callable[[], Awaitable[None]]) -> None:
    """Run `serve` and cancel it at SIGTERM or SIGINT. Returns only then; `serve` returning early is a bug."""
    async with trio.open_nursery() as nursery:
        told = await nursery.start(told_to_stop)
        nursery.start_soon(serve)
        await told.wait()
        nursery.cancel_scope.cancel()
