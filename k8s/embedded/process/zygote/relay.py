"""Carries TCP connections from the host to tasks that live in an ordinary user's namespaces.

Such a user may not route between the host and namespaces of his own. But a socket belongs to the namespace it was made
in: the driver makes listening sockets on the host and hands them over, the relay accepts on them, and connects to the
same address and port from where the tasks are. It outlives the driver. Commands come over `keepers/<name>.sock`:

    {"op": "publish", "address", "port"} + a listening socket   → {}
    {"op": "retract", "address", "port"}                        → {}
    {"op": "published"}                                         → {"published": [(address, port), ...]}
    {"op": "leave"}                                             → {"kept": 0}; the relay ends
"""

from __future__ import annotations

import _signal
import _socket
import errno
import os
import select

from k8s.embedded.process.zygote import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from k8s.embedded.process.zygote.wire import Message

_PIECE = 1 << 16
_RESET = b"\x01\0\0\0\0\0\0\0"  # struct linger: on, 0 seconds
_Place = tuple[str, int]


class _Half:
    """One direction of a connection: what was read and not written yet."""

    def __init__(self, source: _socket.socket, target: _socket.socket) -> None:
        self.source = source
        self.target = target
        self.waiting = b""
        self.ended = False  # the source has said all
        self.done = False  # and the target was told


class Relay:
    """See the module. `listener` takes commands."""

    def __init__(self, listener: _socket.socket) -> None:
        self._listener = listener
        self._published: dict[_Place, _socket.socket] = {}
        self._epoll = select.epoll()
        self._ready: dict[int, Callable[[int], None]] = {}

    def run(self) -> None:
        """Carry, for ever."""
        _signal.signal(_signal.SIGPIPE, _signal.SIG_IGN)
        self._listener.setblocking(False)
        self._watch(self._listener, select.EPOLLIN, lambda _: self._accept_command())
        while True:
            for descriptor, events in self._epoll.poll():
                if (ready := self._ready.get(descriptor)) is not None:
                    ready(events)

    def _watch(self, sock: _socket.socket, events: int, ready: Callable[[int], None]) -> None:
        self._epoll.register(sock.fileno(), events)
        self._ready[sock.fileno()] = ready

    def _close(self, sock: _socket.socket) -> None:
        if self._ready.pop(sock.fileno(), None) is not None:
            self._epoll.unregister(sock.fileno())
        sock.close()

    # -- commands

    def _accept_command(self) -> None:
        connection = _accepted(self._listener)
        if connection is not None:
            self._watch(connection, select.EPOLLIN, lambda _: self._serve(connection))

    def _serve(self, connection: _socket.socket) -> None:
        try:
            received = wire.receive(connection)
            if received is not None:
                wire.send(connection, answer := self._answer(*received))
                if answer == {"kept": 0}:
                    os._exit(0)
                return
        except OSError:
            pass
        self._close(connection)

    def _answer(self, request: Message, descriptors: list[int]) -> Message:
        operation = request["op"]
        if operation == "published":
            return {"published": list(self._published)}
        if operation == "leave":
            return {"kept": 0}
        place = (request["address"], request["port"])
        if (before := self._published.pop(place, None)) is not None:
            self._close(before)
        if operation == "publish":
            published = _socket.socket(fileno=descriptors[0])
            published.setblocking(False)
            self._published[place] = published
            self._watch(published, select.EPOLLIN, lambda _: self._accept(place, published))
        return {}

    # -- connections

    def _accept(self, place: _Place, published: _socket.socket) -> None:
        outside = _accepted(published)
        if outside is None:
            return
        inside = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        inside.setblocking(False)
        if inside.connect_ex(place) not in (0, errno.EINPROGRESS):
            _reset(outside)
            outside.close()
            inside.close()
            return
        for sock in (outside, inside):
            sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        self._carry(outside, inside)

    def _carry(self, outside: _socket.socket, inside: _socket.socket) -> None:
        halves = (_Half(outside, inside), _Half(inside, outside))

        def ready(events: int) -> None:
            try:
                if events & select.EPOLLERR:
                    _raise_what_is_wrong(outside, inside)
                for half in halves:
                    _move(half)
            except OSError:
                _reset(outside)
                _reset(inside)
                for half in halves:
                    half.done = True
            if all(half.done for half in halves):
                self._close(outside)
                self._close(inside)
                return
            for half, back in (halves, halves[::-1]):
                self._want(half, back)

        self._watch(outside, 0, ready)
        self._watch(inside, select.EPOLLOUT, ready)

    def _want(self, half: _Half, back: _Half) -> None:
        """Wait for what a side can still give or take. One that is finished would only report that, without end."""
        descriptor = half.source.fileno()
        if half.ended and back.done:
            if self._ready.pop(descriptor, None) is not None:
                self._epoll.unregister(descriptor)
            return
        wanted = 0 if half.ended or half.waiting else select.EPOLLIN
        self._epoll.modify(descriptor, wanted | (select.EPOLLOUT if back.waiting else 0))


def _raise_what_is_wrong(*socks: _socket.socket) -> None:
    for sock in socks:
        if number := sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR):
            raise OSError(number, os.strerror(number))


def _accepted(listener: _socket.socket) -> _socket.socket | None:
    try:
        descriptor, _ = listener._accept()  # type: ignore[attr-defined]  # typeshed knows only socket.accept
    except OSError:  # gone again, or no descriptors left
        return None
    sock = _socket.socket(fileno=descriptor)
    sock.setblocking(False)
    return sock


def _move(half: _Half) -> None:
    """Write what waits, then read and write on for as long as both sides can. Raises OSError when a side is lost."""
    while not half.done:
        try:
            if half.waiting:
                half.waiting = half.waiting[half.target.send(half.waiting) :]
            elif half.ended:
                half.target.shutdown(_socket.SHUT_WR)
                half.done = True
            else:
                half.waiting = half.source.recv(_PIECE)
                half.ended = not half.waiting
        except BlockingIOError:
            return


def _reset(sock: _socket.socket) -> None:
    """Let close tell the other side that the connection failed."""
    try:
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, _RESET)
    except OSError:
        pass
