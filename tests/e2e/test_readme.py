"""The README's session, run as it is printed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
BIN = Path(sys.executable).parent

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def session() -> str:
    blocks = re.findall(r"^```bash\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 1
    return str(blocks[0])


@pytest.mark.skipif(shutil.which("kubectl") is None or shutil.which("curl") is None, reason="needs kubectl and curl")
def test_the_session_does_what_it_says(tmp_path: Path) -> None:
    environment = os.environ | {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "KECS_HOME": str(tmp_path),
        "KECS_INSTANCE": "readme",  # ports of its own, where the reader's instance has the usual ones
        "AWS_PAGER": "",
        "AWS_CONFIG_FILE": os.devnull,
        "SHELL": "/bin/bash",
    }
    try:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", session()],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=500,
        )
        print(done.stdout, done.stderr)
        assert done.returncode == 0
        assert done.stdout.count("answers 200") == 3
        assert "EssentialContainerExited" in done.stdout
        assert "(service web) has started 1 tasks" in done.stdout
        assert "has reached a steady state" in done.stdout
        assert "KECS instance `readme` is stopped." in done.stdout
    finally:
        subprocess.run([BIN / "kecs", "destroy", "--yes"], env=environment, capture_output=True, check=False)
