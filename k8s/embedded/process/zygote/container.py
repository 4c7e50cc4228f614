"""A container in its keeper: what it is, what became of it, and what it still has open."""

from __future__ import annotations

import _signal
import os
import time

from k8s.embedded.process.zygote import cgroups, launch, wire
from k8s.embedded.process.zygote.container_log import ContainerLog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k8s.embedded.process.zygote.loop import Loop
    from k8s.embedded.process.zygote.wire import Message

RUNNING, EXITED, FAILED = "RUNNING", "EXITED", "FAILED"
_PIECE = 65536


class Container:
    """One attempt of a container. `state` is what its pod's record says of it."""

    def __init__(self, pod: Message, description: Message, loop: Loop) -> None:
        self.description = description
        self._pod = pod
        self._loop = loop
        self._streams: dict[int, str] = {}  # descriptor → stdout, stderr
        self._log: ContainerLog | None = None
        self.state: Message = {
            "name": description["name"], "attempt": description["attempt"], "id": description["id"], "pid": 0,
            "ticks": 0, "phase": FAILED, "started_at": None, "finished_at": None, "exit_code": None, "signal": None,
            "oom_killed": False, "failure": None, "message": "",
        }  # fmt: skip

    @property
    def running(self) -> bool:
        """Whether its first process has not been waited for."""
        return bool(self.state["phase"] == RUNNING)

    @property
    def pid(self) -> int:
        """Its first process, as the host numbers it."""
        return int(self.state["pid"])

    def start(self) -> None:
        """Start it, in the namespaces that the caller is in. Afterwards it is RUNNING or FAILED."""
        try:
            self._launch()
        except launch.LaunchError as error:
            self.state |= {"failure": error.failure, "message": error.message}
        except OSError as error:
            self.state |= {"failure": launch.CREATE, "message": str(error)}
        if not self.running:
            self._close()

    def _launch(self) -> None:
        cgroups.make(self.description["cgroups"])
        self._log = ContainerLog(self.description["log"], self._pod["log_bytes"], self._pod["log_files"])
        stdin = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        out, stdout = os.pipe2(os.O_CLOEXEC)
        error, stderr = os.pipe2(os.O_CLOEXEC)
        self._follow(out, "stdout")
        self._follow(error, "stderr")
        try:
            pid = launch.start_first_process(self._pod, self.description, (stdin, stdout, stderr))
        finally:
            for descriptor in (stdin, stdout, stderr):
                os.close(descriptor)
        self.state |= {"phase": RUNNING, "pid": pid, "ticks": wire.start_ticks(pid), "started_at": time.time()}

    def _follow(self, descriptor: int, stream: str) -> None:
        os.set_blocking(descriptor, False)
        self._streams[descriptor] = stream
        self._loop.watch(descriptor, lambda: self._read(descriptor))

    def _read(self, descriptor: int) -> bool:
        """Log what a stream has; False once there is nothing to read now."""
        stream = self._streams[descriptor]
        try:
            data = os.read(descriptor, _PIECE)
        except BlockingIOError:
            return False
        assert self._log is not None
        if data:
            self._log.write(stream, data)
            return True
        self._log.finish(stream)
        self._forget(descriptor)
        return False

    def _forget(self, descriptor: int) -> None:
        self._loop.unwatch(descriptor)
        os.close(descriptor)
        del self._streams[descriptor]

    def _close(self) -> None:
        """Read what is left of the output and give back what the container had."""
        for descriptor in list(self._streams):
            while self._read(descriptor):
                pass
            if descriptor in self._streams:  # somebody outside the container holds the other end
                self._forget(descriptor)
        if self._log is not None:
            self._log.close()
        cgroups.remove(self.description["cgroups"], self._loop)

    def stop(self, grace_s: float) -> None:
        """Signal it, and kill it after `grace_s` unless it was to be killed sooner already."""
        if not self.running:
            return
        if grace_s <= 0:
            self._kill()
            return
        kill_at, before = time.monotonic() + grace_s, self._loop.deadline(self)
        if before is None:
            os.kill(self.pid, self.description["stop_signal"])
        self._loop.call_at(self, kill_at if before is None else min(kill_at, before), self._kill)

    def _kill(self) -> None:
        self._loop.cancel(self)
        if self.running:
            os.kill(self.pid, _signal.SIGKILL)

    def ended(self, status: int) -> None:
        """Its first process has been waited for."""
        self._loop.cancel(self)
        if not self.description["own_processes"]:
            launch.kill_group(self.pid)  # without a PID namespace, this finds what it left behind
        code = launch.exit_code(status)
        out_of_memory = code == 128 + _signal.SIGKILL and cgroups.out_of_memory(self.description["cgroups"])
        self.state |= {
            "phase": EXITED, "exit_code": code, "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
            "oom_killed": out_of_memory, "finished_at": time.time(),
        }  # fmt: skip
        self._close()
