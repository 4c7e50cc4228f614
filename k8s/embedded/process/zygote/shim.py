"""A pod's shim: owns the pod's namespaces, starts its containers, keeps their logs, and records how they end.

One process a pod, forked by the zygote, in a session of its own, so that it outlives whatever the node does. It does
one thing at a time and waits in one place. The pod's whole state is in `state.json`, and every change of it is also
told to the driver if one listens (`driver.sock`), as the whole state: a lost message costs nothing once the driver
reads the file. Commands come over `shim.sock` in the pod's directory:

    {"op": "start", "container": ...}        → {"containers": [...]} the pod's containers, once it runs or failed
    {"op": "stop", "name", "grace"}          → {}
    {"op": "exec", "name", "argv", "env"} + three descriptors → {"pid"} or {"failure", "message"}, then {"exit_code"}
    {"op": "end"}                            → {} kill what runs; the shim ends when all have ended

A connection that closes during an exec hangs the command up.
"""

from __future__ import annotations

import _signal
import _socket
import os
import select
import time

from k8s.embedded.process.zygote import cgroups, launch, pod_network, syscalls, wire
from k8s.embedded.process.zygote.container_log import ContainerLog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from k8s.embedded.process.zygote.wire import Message

RUNNING, EXITED, FAILED = "RUNNING", "EXITED", "FAILED"
_RETRY_S = 0.05
_PIECE = 65536


class Container:
    """A container that was started: what it is, what became of it, and what it still has open."""

    def __init__(self, description: Message) -> None:
        self.description = description
        self.pid = 0
        self.kill_at: float | None = None
        self.streams: dict[int, str] = {}  # descriptor → stdout, stderr
        self.log: ContainerLog | None = None
        self.state: Message = {
            "name": description["name"], "attempt": description["attempt"], "id": description["id"], "pid": 0,
            "ticks": 0,
            "phase": FAILED, "started_at": None, "finished_at": None, "exit_code": None, "signal": None,
            "oom_killed": False, "failure": None, "message": "",
        }  # fmt: skip

    @property
    def running(self) -> bool:
        """Whether its first process has not been waited for."""
        return bool(self.state["phase"] == RUNNING)


class Shim:
    """The shim of one pod. `state_directory` is a descriptor of the directory in which the driver listens."""

    def __init__(self, pod: Message, state_directory: int) -> None:
        self._pod = pod
        self._state_directory = state_directory
        self._containers: dict[str, Container] = {}
        self._commands: dict[int, tuple[_socket.socket, int]] = {}  # pid waited for → connection, command's pid
        self._epoll = select.epoll()
        self._ready: dict[int, Callable[[], object]] = {}
        self._events = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        self._untold = False
        self._ending = False
        self._state: Message = {
            "uid": pod["uid"], "namespace": pod["namespace"], "name": pod["name"], "ip": pod["ip"], "error": "",
            "surroundings": pod["surroundings"],
            "pid": os.getpid(), "ticks": wire.start_ticks(os.getpid()), "containers": [],
        }  # fmt: skip

    def run(self, containers: list[Message]) -> None:
        """Make the pod, start these containers, and serve until the pod has ended."""
        try:
            self._prepare()
        except OSError as error:
            self._state["error"] = f"{error.filename or 'sandbox'}: {error.strerror}"
            self._publish()
            return
        for description in containers:
            if self._start(description).state["phase"] == FAILED:
                break
        self._publish()
        while not (self._ending and not any(container.running for container in self._containers.values())):
            self._wait_once()
        cgroups.remove(self._pod["cgroups"])
        os.unlink(self._pod["directory"] + "/shim.sock")

    def _prepare(self) -> None:
        woken, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        _signal.signal(_signal.SIGCHLD, lambda *_: None)
        _signal.set_wakeup_fd(wake)
        self._watch(woken, lambda: self._reap(woken))
        if not self._pod["own_processes"]:
            syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
        pod_network.enter(self._pod)
        cgroups.make(self._pod["cgroups"])
        self._listen()

    def _listen(self) -> None:
        listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
        directory = os.open(self._pod["directory"], os.O_PATH | os.O_CLOEXEC)
        listener.bind(wire.socket_path(directory, "shim.sock"))
        os.close(directory)
        listener.listen(64)
        self._watch(listener.fileno(), lambda: self._accept(listener))

    def _watch(self, descriptor: int, ready: Callable[[], object]) -> None:
        self._epoll.register(descriptor, select.EPOLLIN)
        self._ready[descriptor] = ready

    def _unwatch(self, descriptor: int) -> None:
        self._epoll.unregister(descriptor)
        del self._ready[descriptor]

    def _wait_once(self) -> None:
        deadlines = [container.kill_at for container in self._containers.values() if container.kill_at is not None]
        timeout = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
        if self._untold:
            timeout = min(_RETRY_S, _RETRY_S if timeout is None else timeout)
        for descriptor, _ in self._epoll.poll(timeout):
            if descriptor in self._ready:
                self._ready[descriptor]()
        for container in self._containers.values():
            if container.kill_at is not None and container.kill_at <= time.monotonic():
                self._kill(container)
        if self._untold:
            self._tell()

    # -- state

    def _publish(self) -> None:
        self._state["containers"] = [container.state for container in self._containers.values()]
        try:
            wire.replace_file(self._pod["directory"] + "/state.json", wire.json_text(self._state))
        except OSError:  # a full disk, or the directory was removed under us: the driver may still hear
            pass
        self._tell()

    def _tell(self) -> None:
        path = wire.socket_path(self._state_directory, "driver.sock")
        try:
            self._events.sendto(wire.encode(self._state), _socket.MSG_DONTWAIT, path)
        except BlockingIOError:
            self._untold = True
            return
        except OSError:  # no driver listens: the next one reads the file
            pass
        self._untold = False

    # -- containers

    def _start(self, description: Message) -> Container:
        container = Container(description)
        self._containers[description["name"]] = container
        try:
            self._launch(container)
        except launch.LaunchError as error:
            container.state |= {"failure": error.failure, "message": error.message}
        except OSError as error:
            container.state |= {"failure": launch.CREATE, "message": str(error)}
        if container.state["phase"] == FAILED:
            self._close(container)
        return container

    def _launch(self, container: Container) -> None:
        description = container.description
        cgroups.make(description["cgroups"])
        container.log = ContainerLog(description["log"], self._pod["log_bytes"], self._pod["log_files"])
        stdin = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        out, stdout = os.pipe2(os.O_CLOEXEC)
        error, stderr = os.pipe2(os.O_CLOEXEC)
        for descriptor, stream in ((out, "stdout"), (error, "stderr")):
            container.streams[descriptor] = stream
            os.set_blocking(descriptor, False)
            self._follow(container, descriptor)
        try:
            container.pid = launch.start_first_process(self._pod, description, (stdin, stdout, stderr))
        finally:
            for descriptor in (stdin, stdout, stderr):
                os.close(descriptor)
        container.state |= {
            "phase": RUNNING, "pid": container.pid, "ticks": wire.start_ticks(container.pid), "started_at": time.time(),
        }  # fmt: skip

    def _follow(self, container: Container, descriptor: int) -> None:
        self._watch(descriptor, lambda: self._read(container, descriptor))

    def _read(self, container: Container, descriptor: int) -> bool:
        """Log what a stream has; False once there is nothing to read now."""
        stream = container.streams[descriptor]
        try:
            data = os.read(descriptor, _PIECE)
        except BlockingIOError:
            return False
        assert container.log is not None
        if data:
            container.log.write(stream, data)
            return True
        container.log.finish(stream)
        self._unwatch(descriptor)
        os.close(descriptor)
        del container.streams[descriptor]
        return False

    def _close(self, container: Container) -> None:
        """Read what is left of the output and give back what the container had."""
        for descriptor in list(container.streams):
            while self._read(container, descriptor):
                pass
            if descriptor in container.streams:  # somebody outside the container holds the other end
                self._unwatch(descriptor)
                os.close(descriptor)
        container.streams.clear()
        if container.log is not None:
            container.log.close()
        cgroups.remove(container.description["cgroups"])

    def _stop(self, container: Container, grace_s: float) -> None:
        if not container.running:
            return
        if grace_s <= 0:
            self._kill(container)
            return
        kill_at = time.monotonic() + grace_s
        if container.kill_at is None:
            os.kill(container.pid, container.description["stop_signal"])
        container.kill_at = kill_at if container.kill_at is None else min(kill_at, container.kill_at)

    def _kill(self, container: Container) -> None:
        container.kill_at = None
        os.kill(container.pid, _signal.SIGKILL)

    def _reap(self, woken: int) -> None:
        os.read(woken, 4096)
        changed = False
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid in self._commands:
                self._command_ended(pid, status)
            for container in self._containers.values():
                if container.running and container.pid == pid:
                    self._ended(container, status)
                    changed = True
        if changed:
            self._publish()

    def _ended(self, container: Container, status: int) -> None:
        code = launch.exit_code(status)
        if not container.description["own_processes"]:
            _kill_group(container.pid)  # without a PID namespace, this finds what it left behind
        out_of_memory = cgroups.out_of_memory(container.description["cgroups"])
        container.kill_at = None
        container.state |= {
            "phase": EXITED, "exit_code": code, "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
            "oom_killed": out_of_memory and code == 128 + _signal.SIGKILL, "finished_at": time.time(),
        }  # fmt: skip
        self._close(container)

    # -- commands

    def _accept(self, listener: _socket.socket) -> None:
        descriptor, _ = listener._accept()  # type: ignore[attr-defined]  # typeshed knows only socket.socket's accept
        connection = _socket.socket(fileno=descriptor)
        self._watch(connection.fileno(), lambda: self._serve(connection))

    def _serve(self, connection: _socket.socket) -> None:
        try:
            received = wire.receive(connection)
        except OSError:
            received = None
        if received is None:
            self._hang_up(connection)
            return
        request, descriptors = received
        try:
            answer = self._answer(connection, request, descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        _reply(connection, answer)

    def _answer(self, connection: _socket.socket, request: Message, descriptors: list[int]) -> Message:
        operation = request["op"]
        if operation == "start":
            present = self._containers.get(request["container"]["name"])
            if present is None or not present.running:
                self._start(request["container"])
                self._publish()
            return self._state
        if operation == "stop":
            if (container := self._containers.get(request["name"])) is not None:
                self._stop(container, request["grace"])
            return {}
        if operation == "exec":
            return self._exec(connection, request, descriptors)
        if operation == "end":
            self._ending = True
            for container in self._containers.values():
                self._stop(container, 0)
        return {}

    def _exec(self, connection: _socket.socket, request: Message, descriptors: list[int]) -> Message:
        container = self._containers.get(request["name"])
        if container is None or not container.running:
            return {"failure": "NotRunning", "message": f"container {request['name']} is not running"}
        try:
            waited_for, pid = launch.start_further_process(
                container.description, container.pid, request["argv"], descriptors, request["env"]
            )
        except launch.LaunchError as error:
            return {"failure": error.failure, "message": error.message}
        self._commands[waited_for] = (connection, pid)
        return {"pid": pid}

    def _command_ended(self, pid: int, status: int) -> None:
        connection, _ = self._commands.pop(pid)
        _reply(connection, {"exit_code": launch.exit_code(status)})

    def _hang_up(self, connection: _socket.socket) -> None:
        for other, pid in self._commands.values():
            if other is connection:
                _kill_group(pid)
        self._unwatch(connection.fileno())
        connection.close()


def _reply(connection: _socket.socket, message: Message) -> None:
    try:
        wire.send(connection, message)
    except OSError:  # the other side has gone
        pass


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, _signal.SIGKILL)
    except ProcessLookupError:
        pass
