"""How a simulated container behaves: read from its pod's annotations, or guessed from a simple command. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final

from attrs import frozen

from k8s.embedded.driver import Failure

PREFIX: Final = "simulated.kecs.dev/"
_SHELLS: Final = frozenset({"sh", "bash", "dash", "ash"})
_STEP: Final = re.compile(r"(exit|sleep|true|false|:|echo)(?:\s+(.*))?", re.DOTALL)


@frozen
class Behaviour:
    """What a simulated container does. Times in seconds; `run_s` None runs until it is stopped."""

    run_s: float | None = None
    exit_code: int = 0
    start_s: float = 0
    start_error: tuple[Failure, str] | None = None
    stop_s: float | None = 0  # from the stop signal to its end; None ignores the signal
    stop_exit_code: int = 143
    oom_killed: bool = False
    healthy_after_s: float | None = 0  # None never passes a probe
    log: str = ""


def behaviour(annotations: Mapping[str, str], container: str, argv: Sequence[str]) -> Behaviour:
    """How this container behaves; annotations win over the command. Raises ValueError for a value that is no number."""

    def setting(name: str) -> str | None:
        return annotations.get(f"{PREFIX}{name}.{container}", annotations.get(PREFIX + name))

    def seconds(name: str, default: float | None) -> float | None:
        value = setting(name)
        if value is None:
            return default
        return None if value == "never" else float(value)

    run_s, exit_code = scripted(argv) or (None, 0)
    if setting("run-seconds") is None and setting("exit-code") is not None and run_s is None:
        run_s = 0
    return Behaviour(
        run_s=seconds("run-seconds", run_s),
        exit_code=int(setting("exit-code") or exit_code),
        start_s=seconds("start-seconds", 0) or 0,
        start_error=_start_error(setting("start-error")),
        stop_s=seconds("stop-seconds", 0),
        stop_exit_code=int(setting("stop-exit-code") or 143),
        oom_killed=setting("oom-killed") == "true",
        healthy_after_s=seconds("healthy-after-seconds", 0),
        log=setting("log") or "",
    )


def _start_error(text: str | None) -> tuple[Failure, str] | None:
    """`ErrImagePull: no such image`, or just a message."""
    if text is None:
        return None
    kind, _, message = text.partition(": ")
    try:
        return Failure(kind), message
    except ValueError:
        return Failure.IMAGE_PULL, text


def scripted(argv: Sequence[str]) -> tuple[float | None, int] | None:
    """For how long a simple command runs and how it ends; None for one that is not simple.

    Simple are `true`, `false`, `exit N`, `sleep N`, `echo ...` and rows of them with `;` or `&&`, bare or in `sh -c`.
    """
    if not argv:
        return None
    program = PurePosixPath(argv[0]).name
    if program in _SHELLS and len(argv) >= 3 and argv[1] == "-c":
        return _script(argv[2])
    if len(argv) == 1:
        return _script(argv[0])
    return _script(" ".join([program, *argv[1:]])) if program in ("sleep", "true", "false", "echo", "exit") else None


def _script(text: str) -> tuple[float | None, int] | None:
    run_s, code = 0.0, 0
    for part in re.split(r"(;|&&|\n)", text.strip()):
        step = part.strip()
        if step == "&&" and code != 0:
            return run_s, code
        if step in (";", "&&", ""):
            continue
        known = _STEP.fullmatch(step)
        if known is None:
            return None
        word, rest = known[1], (known[2] or "").strip()
        match word:
            case "sleep" if rest in ("infinity", "inf"):
                return None, 0
            case "sleep" if re.fullmatch(r"\d+(\.\d+)?", rest):
                run_s, code = run_s + float(rest), 0
            case "exit" if re.fullmatch(r"\d*", rest):
                return run_s, int(rest or code) & 255
            case "true" | "false" | ":" | "echo":
                code = int(word == "false")
            case _:
                return None
    return run_s, code
