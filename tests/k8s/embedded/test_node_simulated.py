"""How simulated containers behave: annotations, simple commands, and the page that lists them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from k8s.embedded import simulated_driver
from k8s.embedded.driver import Failure
from k8s.embedded.simulated_script import Behaviour, behaviour, scripted

DOCS = Path(__file__).parents[3] / "docs" / "node.md"


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["true"], (0, 0)),
        (["false"], (0, 1)),
        (["sleep", "5"], (5, 0)),
        (["/bin/sleep", "0.5"], (0.5, 0)),
        (["exit 3"], (0, 3)),
        (["sh", "-c", "exit 3"], (0, 3)),
        (["/bin/sh", "-c", "sleep 2; exit 7"], (2, 7)),
        (["bash", "-c", "echo hello && sleep 1 && false"], (1, 1)),
        (["sh", "-c", "false && sleep 9"], (0, 1)),
        (["sh", "-c", "false; exit"], (0, 1)),
        (["sh", "-c", "exit 256"], (0, 0)),
        (["sleep", "infinity"], (None, 0)),
        (["python3", "-m", "http.server"], None),
        (["sh", "-c", "while true; do sleep 1; done"], None),
        (["sh", "-c", "echo $(date)"], (0, 0)),
        ([], None),
    ],
)
def test_simple_commands_do_as_they_say(argv: Sequence[str], expected: tuple[float | None, int] | None) -> None:
    assert scripted(argv) == expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, Behaviour()),
        ({"exit-code": "3"}, Behaviour(run_s=0, exit_code=3)),
        ({"exit-code": "3", "run-seconds": "2.5"}, Behaviour(run_s=2.5, exit_code=3)),
        ({"run-seconds": "never", "exit-code": "1"}, Behaviour(run_s=None, exit_code=1)),
        ({"stop-seconds": "never"}, Behaviour(stop_s=None)),
        ({"exit-code.main": "4", "exit-code": "5"}, Behaviour(run_s=0, exit_code=4)),
        ({"exit-code.other": "4"}, Behaviour()),
        ({"start-error": "no such image"}, Behaviour(start_error=(Failure.IMAGE_PULL, "no such image"))),
        ({"start-error": "RunContainerError: no sh"}, Behaviour(start_error=(Failure.RUN, "no sh"))),
    ],
)
def test_annotations_win(settings: dict[str, str], expected: Behaviour) -> None:
    annotations = {f"simulated.kecs.dev/{name}": value for name, value in settings.items()}
    assert behaviour(annotations, "main", ["python3"]) == expected


def test_the_page_and_the_docstring_list_the_same_settings() -> None:
    documented = re.findall(r"^    ([a-z-]+)  +\S", simulated_driver.__doc__ or "", re.MULTILINE)
    listed = re.findall(r"^\| `([a-z-]+)` \|", DOCS.read_text(), re.MULTILINE)
    assert documented == listed
    assert len(listed) == 9
