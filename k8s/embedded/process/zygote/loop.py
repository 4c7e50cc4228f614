"""The one place where a keeper waits: for descriptors, for its children, and for deadlines."""

from __future__ import annotations

import _signal
import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Loop:
    """Calls back what is ready, one thing at a time."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._ready: dict[int, Callable[[], object]] = {}
        self._timers: dict[object, tuple[float, Callable[[], object]]] = {}

    def watch(self, descriptor: int, ready: Callable[[], object]) -> None:
        """Call `ready` whenever the descriptor can be read."""
        self._epoll.register(descriptor, select.EPOLLIN)
        self._ready[descriptor] = ready

    def unwatch(self, descriptor: int) -> None:
        """No longer; before the descriptor is closed."""
        self._epoll.unregister(descriptor)
        del self._ready[descriptor]

    def watch_children(self, ended: Callable[[int, int], object]) -> None:
        """Call `ended` with the pid and wait status of every child that ends."""
        woken, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        _signal.signal(_signal.SIGCHLD, lambda *_: None)
        _signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self.watch(woken, lambda: _reap(woken, ended))

    def call_at(self, key: object, deadline: float, call: Callable[[], object]) -> None:
        """Call at that time (of `time.monotonic`), in place of what `key` had."""
        self._timers[key] = (deadline, call)

    def deadline(self, key: object) -> float | None:
        """When `key` is to be called."""
        return self._timers[key][0] if key in self._timers else None

    def cancel(self, key: object) -> None:
        """Forget what `key` had."""
        self._timers.pop(key, None)

    def run(self) -> None:
        """Wait and call back, for ever."""
        while True:
            timeout = None
            if self._timers:
                timeout = max(0.0, min(deadline for deadline, _ in self._timers.values()) - time.monotonic())
            for descriptor, _ in self._epoll.poll(timeout):
                if (ready := self._ready.get(descriptor)) is not None:
                    ready()
            now = time.monotonic()
            for key, (deadline, call) in list(self._timers.items()):
                if deadline <= now and key in self._timers:
                    del self._timers[key]
                    call()


def _reap(woken: int, ended: Callable[[int, int], object]) -> None:
    os.read(woken, 65536)
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        ended(pid, status)
