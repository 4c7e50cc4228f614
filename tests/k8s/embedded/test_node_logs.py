"""Reading container logs: tails, rotation, following, in bounded pieces."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from k8s.embedded.node_logs import LogQuery, log_files, read_log


def cri(second: int, text: str, tag: str = "F") -> str:
    return f"2026-11-22T12:00:{second:02d}.000000000Z stdout {tag} {text}\n"


async def read(path: Path, query: LogQuery | None = None) -> str:
    return b"".join([piece async for piece in read_log(path, query or LogQuery(), lambda: True)]).decode()


def rotate(log: Path) -> None:
    log.rename(log.with_name("0.log.20261122-120006"))
    log.write_text(cri(7, "seven"))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "0.log"
    (tmp_path / "0.log.20261122-120001").write_text(cri(1, "one") + cri(2, "two"))
    (tmp_path / "0.log.20261122-120003").write_text(cri(3, "three"))
    path.write_text(cri(4, "four") + cri(5, "fi", "P") + cri(5, "ve"))
    return path


async def test_rotated_files_come_first(log: Path) -> None:
    assert await read(log) == "one\ntwo\nthree\nfour\nfive\n"
    assert [p.name for p in log_files(log)][-1] == "0.log"


@pytest.mark.parametrize(
    ("count", "expected"), [(0, ""), (1, "ve\n"), (3, "four\nfive\n"), (4, "three\nfour\nfive\n"), (99, None)]
)
async def test_the_tail_may_reach_into_rotated_files(log: Path, count: int, expected: str | None) -> None:
    assert await read(log, LogQuery(tail_lines=count)) == (await read(log) if expected is None else expected)


async def test_since_timestamps_and_limit(log: Path) -> None:
    since = datetime(2026, 11, 22, 12, 0, 4, tzinfo=UTC)
    assert await read(log, LogQuery(since=since)) == "four\nfive\n"
    assert (await read(log, LogQuery(timestamps=True))).startswith("2026-11-22T12:00:01.000000000Z one\n")
    assert await read(log, LogQuery(limit_bytes=6)) == "one\ntw"


async def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert await read(tmp_path / "no" / "0.log") == ""


async def test_following_sees_new_lines_rotation_and_the_end(log: Path) -> None:
    over = False
    seen = ""
    enough = trio.Event()

    async def follow() -> None:
        nonlocal seen
        async for piece in read_log(log, LogQuery(follow=True, tail_lines=0), lambda: over):
            seen += piece.decode()
            if "seven" in seen:
                enough.set()

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            await trio.sleep(0.1)
            with log.open("a") as file:
                file.write(cri(6, "six"))
            rotate(log)
            await enough.wait()
            with log.open("a") as file:
                file.write(cri(8, "eight"))
            over = True
    assert seen == "six\nseven\neight\n"


@given(lengths=st.lists(st.integers(0, 60), max_size=40), cuts=st.integers(0, 40), count=st.integers(0, 50))
def test_a_tail_is_the_end_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], cuts: int, count: int
) -> None:
    directory = tmp_path_factory.mktemp("log")
    lines = [cri(n % 60, "x" * length) for n, length in enumerate(lengths)]
    (directory / "0.log.1").write_text("".join(lines[:cuts]))
    (directory / "0.log").write_text("".join(lines[cuts:]))
    expected = "".join("x" * length + "\n" for length in lengths[max(0, len(lengths) - count) :])
    if count == 0:
        expected = ""

    async def check() -> None:
        assert await read(directory / "0.log", LogQuery(tail_lines=count)) == expected

    trio.run(check)


async def test_a_big_log_is_read_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    line = cri(1, "x" * 200)
    path.write_text(line * 100_000)
    tracemalloc.start()
    total = 0
    async for piece in read_log(path, LogQuery(), lambda: True):
        total += len(piece)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == 201 * 100_000
    assert peak < 8 * 2**20
