from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cli.processes import PidFile, birth, locked, replace_text


def test_a_pid_file_knows_its_process(tmp_path: Path) -> None:
    file = PidFile(tmp_path / "run" / "x.pid")
    assert file.pid() is None
    file.claim()
    assert file.pid() == os.getpid()
    file.release()
    assert not file.path.exists()


def test_a_reused_pid_is_nobody_and_is_never_signalled(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        file = PidFile(tmp_path / "x.pid")
        file.path.write_text(json.dumps({"pid": stranger.pid, "birth": "another boot:1"}))
        assert file.pid() is None
        assert not file.signal(signal.SIGKILL)
        assert stranger.poll() is None
        stranger.kill()


def test_a_zombie_is_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert birth(child.pid) is None
    child.wait()


@pytest.mark.parametrize("text", ["", "17", "{}", '{"pid": "x", "birth": 1}', "[1]", '{"pid": 1, "birth": null}'])
def test_a_damaged_pid_file_is_nobody(tmp_path: Path, text: str) -> None:
    file = PidFile(tmp_path / "x.pid")
    file.path.write_text(text)
    assert file.pid() is None


def test_terminate_kills_what_ignores_sigterm(tmp_path: Path) -> None:
    code = (
        "import signal, sys, time, pathlib; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "from cli.processes import PidFile; PidFile(pathlib.Path(sys.argv[1])).claim(); time.sleep(60)"
    )
    file = PidFile(tmp_path / "x.pid")
    with subprocess.Popen([sys.executable, "-c", code, str(file.path)]) as stubborn:
        while file.pid() is None:
            assert stubborn.poll() is None
        assert not file.terminate(grace_s=0.1)
        assert stubborn.wait(10) == -signal.SIGKILL


def test_a_lock_is_waited_for_and_given_up(tmp_path: Path) -> None:
    waited: list[int] = []
    with (
        locked(tmp_path / "lock", wait_s=0),
        pytest.raises(TimeoutError),
        locked(tmp_path / "lock", wait_s=0.05, on_wait=lambda: waited.append(1)),
    ):
        pass
    assert waited
    with locked(tmp_path / "lock", wait_s=0):
        pass


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    replace_text(path, "one")
    replace_text(path, "two", mode=0o600)
    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [left.name for left in path.parent.iterdir()] == ["file"]
