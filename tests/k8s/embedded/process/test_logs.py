"""Output as CRI log files."""

from __future__ import annotations

import re
from pathlib import Path

from k8s.embedded.process.driver import LogLimits
from k8s.embedded.process.zygote.container_log import LONGEST_ENTRY, ContainerLog
from tests.k8s.embedded.process.subjects import container, exit_of, pod, running

ENTRY = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (stdout|stderr) (F|P) (.*)$")


def entries(path: Path) -> list[tuple[str, ...]]:
    matches = [ENTRY.match(line) for line in path.read_text().splitlines()]
    assert all(matches)
    return [match.groups() for match in matches if match]


def test_lines_come_whole_however_they_were_written(tmp_path: Path) -> None:
    log = ContainerLog(str(tmp_path / "log"), 1 << 20, 3)
    for piece in (b"one\ntw", b"o", b"\n\nthr"):
        log.write("stdout", piece)
    log.write("stderr", b"oops\n")
    log.write("stdout", b"ee")
    log.finish("stdout")
    log.close()
    assert entries(tmp_path / "log") == [
        ("stdout", "F", "one"), ("stdout", "F", "two"), ("stdout", "F", ""), ("stderr", "F", "oops"),
        ("stdout", "F", "three"),
    ]  # fmt: skip


def test_long_lines_are_cut_and_marked(tmp_path: Path) -> None:
    log = ContainerLog(str(tmp_path / "log"), 1 << 20, 3)
    log.write("stdout", b"x" * (2 * LONGEST_ENTRY + 1) + b"\ny\n")
    log.close()
    assert [(kind, len(text)) for _, kind, text in entries(tmp_path / "log")] == [
        ("P", LONGEST_ENTRY), ("P", LONGEST_ENTRY), ("F", 1), ("F", 1),
    ]  # fmt: skip


def test_old_files_are_rotated_away_in_order(tmp_path: Path) -> None:
    log = ContainerLog(str(tmp_path / "log"), 400, 3)
    for n in range(100):
        log.write("stdout", b"line %d\n" % n)
    log.close()
    rotated = sorted(path for path in tmp_path.iterdir() if path.name.startswith("log."))
    assert len(rotated) == 2
    kept = [entry[2] for path in [*rotated, tmp_path / "log"] for entry in entries(path)]
    assert kept == [f"line {n}" for n in range(100 - len(kept), 100)]
    assert all(path.stat().st_size <= 400 for path in rotated)


async def test_a_container_that_says_a_lot_keeps_a_bounded_log(tmp_path: Path) -> None:
    async with running(tmp_path, log_limits=LogLimits(10_000, 2)) as (driver, _):
        await driver.start_pod(pod(), [container("sh", "-c", "seq 5000; echo last >&2")])
        assert (await exit_of(driver)).exit_code == 0
        path = driver.log_path("pod-1", "main")
        assert entries(path)[-1] == ("stderr", "F", "last")
        assert len(list(path.parent.glob("main.0.log.*"))) == 1


async def test_logs_stay_when_they_are_to_be_kept(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, _):
        await driver.start_pod(pod(), [container("echo", "hello")])
        await exit_of(driver)
        await driver.remove_pod("pod-1", keep_logs=True)
        path = driver.log_path("pod-1", "main")
        assert entries(path) == [("stdout", "F", "hello")]
        await driver.remove_pod("pod-1")
        assert not path.exists()
