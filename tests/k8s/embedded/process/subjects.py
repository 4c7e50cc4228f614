"""What the process driver's tests share: a driver that runs inside a block, specs, and what this machine has of it."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import trio

from k8s.embedded.driver import ContainerSpec, ContainerState, DriverInfo, PodSpec
from k8s.embedded.process.driver import LogLimits, ProcessDriver
from k8s.embedded.process.instance_network import InstanceNetwork

LOG_LIMITS = LogLimits()
HERE = Path(__file__).parent
SERVER = ("python3", "-m", "http.server", "8080")
SLEEPER = ("sh", "-c", "trap 'exit 143' TERM; sleep 1000 & wait")


@asynccontextmanager
async def running(
    directory: Path, *, end: bool = True, log_limits: LogLimits = LOG_LIMITS
) -> AsyncIterator[tuple[ProcessDriver, DriverInfo]]:
    """A driver inside the block; afterwards everything of it is ended, or with `end` False left to the next one."""
    driver = ProcessDriver(directory, log_limits=log_limits)
    async with trio.open_nursery() as nursery:
        info = await nursery.start(driver.run)
        try:
            with trio.fail_after(60):
                yield driver, info
        finally:
            if end:
                with trio.CancelScope(shield=True):
                    await driver.stop_all(0)
            nursery.cancel_scope.cancel()


def pod(uid: str = "pod-1", **more: Any) -> PodSpec:
    return PodSpec(uid, "default", uid, f"{uid}-host", **more)


def container(*argv: str, name: str = "main", **more: Any) -> ContainerSpec:
    return ContainerSpec(name, command=argv, **more)


async def exit_of(driver: ProcessDriver, uid: str = "pod-1", name: str = "main") -> ContainerState:
    while True:
        state = await driver.exits.receive()
        if (state.pod_uid, state.name) == (uid, name):
            return state


async def output_of(driver: ProcessDriver, *argv: str, pod_spec: PodSpec | None = None, **more: Any) -> list[str]:
    """The lines that a command writes, run as a pod's only container."""
    spec = pod_spec or pod(f"output-{time.monotonic_ns()}")
    started = await driver.start_pod(spec, [container(*argv, **more)])
    assert not started.containers[0].failure, started.containers[0].message
    await exit_of(driver, spec.uid)
    lines = [line.split(" ", 3)[3] for line in driver.log_path(spec.uid, "main").read_text().splitlines()]
    await driver.remove_pod(spec.uid)
    return lines


async def eventually(holds: Callable[[], object], within_s: float = 10) -> None:
    with trio.fail_after(within_s):
        while not holds():  # noqa: ASYNC110 - the world outside sends no event
            await trio.sleep(0.01)


async def fetched(address: str, port: int = 8080) -> bytes:
    """What a web server answers, once it listens."""
    with trio.fail_after(20):
        while True:
            try:
                stream = await trio.open_tcp_stream(address, port)
                async with stream:
                    await stream.send_all(b"GET / HTTP/1.0\r\n\r\n")
                    if answer := await stream.receive_some(64):
                        return answer
            except (OSError, trio.BrokenResourceError):
                pass
            await trio.sleep(0.05)


def left_of(directory: Path) -> list[str]:
    """What this machine has of the instance in that directory: processes, links, control groups, mounts."""
    tag = InstanceNetwork.of(directory).tag
    found = [f"link {path.name}" for path in Path("/sys/class/net").glob(f"k{tag}-*")]
    found += [f"cgroup {path}" for path in Path("/sys/fs/cgroup").glob(f"*/kecs-{tag}")]
    found += [f"cgroup {path}" for path in Path("/sys/fs/cgroup").glob(f"kecs-{tag}")]
    found += [f"mount {line}" for line in Path("/proc/mounts").read_text().splitlines() if str(directory) in line]
    found += [f"route {line}" for line in Path("/proc/net/route").read_text().splitlines() if f"k{tag}-" in line]
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                arguments = (process / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if str(directory) in arguments:
                found.append(f"process {process.name} {arguments!r}")
    return found


def alive(pid: int | None) -> bool:
    """Whether there is such a process, and it runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def namespace(kind: str, pid: int | str | None = "self") -> str:
    """The identity of a process's namespace."""
    return str(Path(f"/proc/{pid}/ns/{kind}").readlink())


def processes_in(pid_namespace: str) -> int:
    """How many processes of this machine are in that PID namespace."""
    found = 0
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            found += namespace("pid", process.name) == pid_namespace
    return found


def script(name: str, *arguments: str) -> list[str]:
    """The command line of a script beside this file."""
    return [sys.executable, str(HERE / name), *arguments]
