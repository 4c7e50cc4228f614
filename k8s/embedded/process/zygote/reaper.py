"""An init for containers that ask for one: passes signals on, reaps orphans, ends as the command ends."""

from __future__ import annotations

import _signal
import os

_NOT_PASSED_ON = {_signal.SIGKILL, _signal.SIGSTOP}


def fork_below_init(told: int) -> None:
    """Fork, stay as the init, and return in the child only, which must then become the command.

    `told` is the descriptor that must close once the command runs; the init closes its own.
    """
    signals = set(_signal.valid_signals()) - _NOT_PASSED_ON
    before = _signal.pthread_sigmask(_signal.SIG_BLOCK, signals)
    command = os.fork()
    if command == 0:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, before)
        return
    os.close(told)
    while True:
        number = _signal.sigwait(signals)
        if number == _signal.SIGCHLD:
            _reap(command)
        else:
            os.kill(command, number)


def _reap(command: int) -> None:
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        if pid == command:
            code = os.waitstatus_to_exitcode(status)
            os._exit(128 - code if code < 0 else code)
