"""A keeper: owns some pods, starts their containers, keeps their logs, and records how they end.

The zygote forks keepers, each into a session of its own, so that it outlives whatever the node does; each keeps a few
dozen pods, because a process a pod would cost a megabyte a pod. If one is killed, its containers die with it. A pod's
whole state is a line in `state.jsonl` in its directory, the last line counts, and every change is also told to the
driver if one listens (`driver.sock`), as the whole state: a lost message costs nothing once the driver reads the file.
Commands come over `keepers/<id>.sock`:

    {"op": "start_pod", "pod", "containers"}        → the pod's record
    {"op": "start", "uid", "container"}             → the pod's record
    {"op": "stop", "uid", "name", "grace"}          → {}
    {"op": "end_pod", "uid"}                        → the pod's record, once all in it has ended and it is forgotten
    {"op": "exec", "uid", "name", "argv", "env"} + three descriptors
                                                    → {"pid"} or {"failure", "message"}; then {"exit_code"}
    {"op": "leave"}                                 → {"kept": pods}; with none left, the keeper ends

A connection that closes during an exec hangs the command up.
"""

from __future__ import annotations

import _socket
import os
import time

from k8s.embedded.process.zygote import cgroups, launch, namespaces, syscalls, wire
from k8s.embedded.process.zygote.container import FAILED, Container
from k8s.embedded.process.zygote.loop import Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k8s.embedded.process.zygote.wire import Message

_RETRY_S = 0.05
_GONE: Message = {"failure": "NotRunning", "message": "the pod is not there"}


class Pod:
    """A pod in its keeper. `waiting` are connections that are answered at its end."""

    def __init__(self, description: Message, keeper: Message) -> None:
        self.description = description
        self.namespaces: list[tuple[int, int]] = []
        self.containers: dict[str, Container] = {}
        self.ending = False
        self.waiting: list[_socket.socket] = []
        self._keeper = keeper
        self.error = ""

    @property
    def running(self) -> bool:
        """Whether a container runs."""
        return any(container.running for container in self.containers.values())

    @property
    def record(self) -> Message:
        """The whole state."""
        pod = self.description
        return {
            "uid": pod["uid"], "namespace": pod["namespace"], "name": pod["name"], "ip": pod["ip"],
            "surroundings": pod["surroundings"], "error": self.error, **self._keeper,
            "containers": [container.state for container in self.containers.values()],
        }  # fmt: skip


class Keeper:
    """See the module. `listener` takes commands; `state_directory` is where the driver listens."""

    def __init__(self, number: str, listener: _socket.socket, state_directory: int) -> None:
        self._identity: Message = {"keeper": number, "pid": os.getpid(), "ticks": wire.start_ticks(os.getpid())}
        self._state_directory = state_directory
        self._listener = listener
        self._pods: dict[str, Pod] = {}
        self._children: dict[int, tuple[Pod, Container]] = {}
        self._commands: dict[int, tuple[_socket.socket, int]] = {}  # pid waited for → connection, command's pid
        self._untold: dict[str, Message] = {}
        self._events = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        self._home = namespaces.Home()
        self._loop = Loop()

    def run(self) -> None:
        """Keep pods until told to leave."""
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
        self._loop.watch_children(self._ended)
        self._loop.watch(self._listener.fileno(), self._accept)
        self._loop.run()

    # -- pods

    def _start_pod(self, request: Message) -> Message:
        pod = Pod(request["pod"], self._identity)
        self._pods[pod.description["uid"]] = pod
        try:
            cgroups.make(pod.description["cgroups"])
            with self._home.left_for_new(pod.description) as pod.namespaces:
                for description in request["containers"]:
                    if self._start(pod, description).state["phase"] == FAILED:
                        break
        except OSError as error:
            pod.error = f"{error.filename or 'sandbox'}: {error.strerror}"
            self._forget(pod)
        return self._published(pod)

    def _start_further(self, pod: Pod, description: Message) -> Message:
        present = pod.containers.get(description["name"])
        if (present is not None and present.running) or pod.ending:
            return pod.record
        with self._home.left_for(pod.namespaces):
            self._start(pod, description)
        return self._published(pod)

    def _start(self, pod: Pod, description: Message) -> Container:
        container = pod.containers[description["name"]] = Container(pod.description, description, self._loop)
        container.start()
        if container.running:
            self._children[container.pid] = (pod, container)
        return container

    def _ended(self, pid: int, status: int) -> None:
        if pid in self._commands:
            connection, _ = self._commands.pop(pid)
            _reply(connection, {"exit_code": launch.exit_code(status)})
        if pid not in self._children:  # an orphan of a container without a PID namespace
            return
        pod, container = self._children.pop(pid)
        container.ended(status)
        self._published(pod)
        if pod.ending and not pod.running:
            self._forget(pod)

    def _end(self, pod: Pod, connection: _socket.socket) -> None:
        pod.ending = True
        pod.waiting.append(connection)
        for container in pod.containers.values():
            container.stop(0)
        if not pod.running:
            self._forget(pod)

    def _forget(self, pod: Pod) -> None:
        """Give back what the pod had. Its network ends with its last descriptor."""
        for descriptor, _ in pod.namespaces:
            os.close(descriptor)
        cgroups.remove(pod.description["cgroups"], self._loop)
        self._pods.pop(pod.description["uid"], None)
        for connection in pod.waiting:
            _reply(connection, pod.record)

    def _published(self, pod: Pod) -> Message:
        record = pod.record
        try:
            wire.append_line(pod.description["directory"] + "/state.jsonl", wire.json_text(record))
        except OSError:  # a full disk: the driver may still hear it
            pass
        self._untold[pod.description["uid"]] = record
        self._tell()
        return record

    def _tell(self) -> None:
        """Tell the driver what it was not told; later, if it cannot take it now."""
        path = wire.socket_path(self._state_directory, "driver.sock")
        for uid, record in list(self._untold.items()):
            try:
                self._events.sendto(wire.encode(record), _socket.MSG_DONTWAIT, path)
            except BlockingIOError:
                self._loop.call_at(self, time.monotonic() + _RETRY_S, self._tell)
                return
            except OSError:  # no driver listens: the next one reads the file
                pass
            del self._untold[uid]

    # -- commands

    def _accept(self) -> None:
        descriptor, _ = self._listener._accept()  # type: ignore[attr-defined]  # typeshed knows only socket.accept
        connection = _socket.socket(fileno=descriptor)
        self._loop.watch(descriptor, lambda: self._serve(connection))

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
        if answer is not None:
            _reply(connection, answer)
        if answer == {"kept": 0}:
            os._exit(0)

    def _answer(self, connection: _socket.socket, request: Message, descriptors: list[int]) -> Message | None:
        """What to reply now; None when the reply comes later."""
        operation = request["op"]
        if operation == "start_pod":
            return self._start_pod(request)
        if operation == "leave":
            return {"kept": len(self._pods)}
        pod = self._pods.get(request["uid"])
        if pod is None:
            return _GONE
        if operation == "start":
            return self._start_further(pod, request["container"])
        if operation == "end_pod":
            self._end(pod, connection)
            return None
        container = pod.containers.get(request["name"])
        if operation == "exec":
            return self._exec(connection, pod, container, request, descriptors)
        if container is not None:
            container.stop(request["grace"])
        return {}

    def _exec(
        self, connection: _socket.socket, pod: Pod, container: Container | None, request: Message, streams: list[int]
    ) -> Message:
        if container is None or not container.running:
            return {"failure": "NotRunning", "message": f"container {request['name']} is not running"}
        try:
            waited_for, pid = launch.start_further_process(
                container.description, pod.namespaces, container.pid, request["argv"], streams, request["env"]
            )
        except launch.LaunchError as error:
            return {"failure": error.failure, "message": error.message}
        self._commands[waited_for] = (connection, pid)
        return {"pid": pid}

    def _hang_up(self, connection: _socket.socket) -> None:
        for other, pid in self._commands.values():
            if other is connection:
                launch.kill_group(pid)
        self._loop.unwatch(connection.fileno())
        connection.close()


def _reply(connection: _socket.socket, message: Message) -> None:
    try:
        wire.send(connection, message)
    except OSError:  # the other side has gone
        pass
