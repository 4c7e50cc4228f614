"""The process driver for an ordinary user: user namespaces, loopback addresses, the relay."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = Path(__file__).parents[4]
NOBODY = 65534


def _command(script: Path, *arguments: str) -> list[str]:
    """A command that runs a script as an ordinary user; skips where there is no way to."""
    if os.geteuid() != 0:
        return [sys.executable, str(script), *arguments]
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("needs setpriv to become an ordinary user")
    become = [
        setpriv,
        f"--reuid={NOBODY}",
        f"--regid={NOBODY}",
        "--clear-groups",
        "env",
    ]  # setpriv itself still has root's access
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/local/bin/{version}", f"/usr/bin/{version}"):
        run = [*become, python, "-c", "import attrs, trio, k8s.embedded.process.driver"]
        try:
            if subprocess.run(run, env=_environment(), cwd="/", capture_output=True, check=False).returncode == 0:
                return [*become, python, str(script), *arguments]
        except OSError:
            continue
    pytest.skip("no Python here that an ordinary user may run with these packages")


def _environment() -> dict[str, str]:
    packages = sysconfig.get_path("purelib")
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": "/tmp",
        "PYTHONPATH": f"{ROOT}:{packages}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory of an ordinary user; pytest's own are closed to others."""
    path = Path(tempfile.mkdtemp(prefix="kecs-user-"))
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def test_tasks_have_addresses_that_mean_the_same_everywhere(folder: Path) -> None:
    command = _command(HERE / "as_user.py", str(folder / "node"))
    ended = subprocess.run(
        command, env=_environment(), cwd="/", capture_output=True, text=True, timeout=100, check=False
    )
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    if any("share this machine's network" in note for note in said["notes"]):
        pytest.skip(str(said["notes"]))
    assert len(set(said["addresses"])) == 3
    assert said["from the host"] == [200, 200, 200]
    assert said["from a task"] == "200\n"
    assert said["inside"] == ["0", "web-0-host", "/tmp", "4"]
    assert said["echoed"] == 3_000_000
    assert "may not become another user" in said["another user"]
    assert said["adopted"] == ["other", "web-0", "web-1", "web-2"]
    assert said["still there"] == [200, 200, 200]
    assert said["a later one"] == 200
    assert any("neither this machine nor anything outside" in note for note in said["notes"])
    left = subprocess.run(["pgrep", "-f", str(folder)], capture_output=True, text=True, check=False).stdout
    assert not left
    assert not list((folder / "node" / "keepers").iterdir())


def test_where_nothing_is_allowed_tasks_share_what_the_machine_has_and_it_is_said(folder: Path) -> None:
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("needs unshare to forbid namespaces below a user namespace")
    forbid = "for kind in user net pid mnt ipc uts; do echo 0 > /proc/sys/user/max_${kind}_namespaces; done"
    command = _command(HERE / "without_namespaces.py", str(folder / "node"))
    place = command.index("env") + 1 if "env" in command else 0
    command[place:place] = [unshare, "-Ur", "sh", "-c", f'{forbid}; exec "$@"', "sh"]
    ended = subprocess.run(
        command, env=_environment(), cwd="/", capture_output=True, text=True, timeout=100, check=False
    )
    if "unshare" in ended.stderr and "failed" in ended.stderr:
        pytest.skip(ended.stderr)
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    assert any("two tasks cannot listen on the same port" in note for note in said["notes"]), said["notes"]
    assert said["ip is the host's"]
    assert said["phase"] == "RUNNING"
    assert said["probe"] == 5
    assert said["ended"] == [143, 15]
    assert said["log"] == ["stdout", "F", "up"]
    assert said["left"] == []
    assert "mount namespace" in said["a volume"]
