"""The page that says what KECS does not do: made from the operation table and the engine's list, so it cannot lie.

`python -m api.ecs.unsupported` prints it; a test compares it with `docs/unsupported.md`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from api.ecs.operations import READS, WRITES
from api.protocol import model
from engine.unsupported import STORED_ONLY, UNSUPPORTED_PARAMETERS, Parameter

_HEAD = """\
# What KECS does not do

Nothing is faked. Operations and parameters listed as refused are answered with `UnsupportedFeatureException` (HTTP 400)
and a message that names them; what is *stored only* is accepted and returned as AWS returns it, without effect.

This page is printed by `python -m api.ecs.unsupported`; a test compares the two.

## Other services

KECS answers Amazon ECS. A request for another AWS service is refused with an error that names the service.
"""


def page() -> str:
    """The page in Markdown."""
    missing = sorted(name for name in model.load("ecs").operations if name not in READS and name not in WRITES)
    answered = sorted([*READS, *WRITES])
    return "\n".join(
        (
            _HEAD,
            f"## Operations that are answered ({len(answered)})\n",
            *(f"- `{name}`" for name in answered),
            f"\n## Operations that are refused ({len(missing)})\n",
            *(f"- `{name}`" for name in missing),
            "\n## Parameters that are refused\n",
            *_table(UNSUPPORTED_PARAMETERS),
            "\n## Parameters that are stored only\n",
            *_table(STORED_ONLY),
            "",
        )
    )


def _table(parameters: Iterable[Parameter]) -> Iterable[str]:
    yield "| parameter | operations | why |"
    yield "|---|---|---|"
    operations: dict[tuple[str, str], list[str]] = {}
    for parameter in parameters:
        operations.setdefault((parameter.member, parameter.why), []).append(parameter.operation)
    for (member, why), names in sorted(operations.items()):
        yield f"| `{member}` | {', '.join(sorted(names))} | {why} |"


if __name__ == "__main__":
    sys.stdout.write(page())
