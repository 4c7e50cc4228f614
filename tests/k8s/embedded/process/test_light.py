"""What a keeper carries along."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_a_keeper_loads_nothing_that_it_does_not_need() -> None:
    program = (
        f"import sys; sys.path.append({str(Path(__file__).parents[4])!r})\n"
        "import k8s.embedded.process.zygote.main\n"
        "print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    pure = {
        name.partition(".")[0]
        for name in loaded.stdout.split()
        if not name.startswith("_") and name.partition(".")[0] not in sys.builtin_module_names
    }
    heavy = {"re", "enum", "typing", "socket", "json", "functools", "collections", "pathlib", "attrs", "trio", "signal"}
    assert not pure & heavy, pure & heavy
