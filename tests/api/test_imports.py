"""What the AWS endpoint costs before its first answer: Quart and hypercorn are not part of it."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("unwanted", ["quart", "hypercorn", "prometheus_client", "botocore.model", "cattrs", "kr8s"])
def test_the_hot_path_does_not_import(unwanted: str) -> None:
    code = f"import sys, api.server; print({unwanted!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"
