"""Host ports, and the probes that open connections: real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from k8s.embedded.host_ports import HostPorts, PortTakenError
from k8s.embedded.pod_spec import HttpCheck, Probe, TcpCheck, UnsupportedCheck, parse_pod
from k8s.embedded.probes import ProbeCount, check
from k8s.embedded.simulated_driver import SimulatedDriver
from tests.k8s.embedded.pod_objects import container_object, pod_object
from tests.k8s.embedded.test_node import Machine, phase


async def _echo(stream: trio.SocketStream) -> None:
    async with stream:
        while data := await stream.receive_some(1024):
            await stream.send_all(data)


@asynccontextmanager
async def serving(handler: object = _echo) -> AsyncIterator[int]:
    """A server on the loopback; gives its port."""
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            trio.serve_tcp,
            handler,
            0,
        )
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def free_port() -> int:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port: int = listeners[0].socket.getsockname()[1]
    await listeners[0].aclose()
    return port


async def ask(port: int, text: bytes) -> bytes:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(text)
        await stream.send_eof()
        answer = b""
        while data := await stream.receive_some(1024):
            answer += data
        return answer


async def test_a_host_port_leads_to_the_pod_until_it_is_closed() -> None:
    async with serving() as target, trio.open_nursery() as nursery:
        ports = HostPorts(nursery)
        port = await free_port()
        mapping = {"containerPort": target, "hostPort": port}
        pod = parse_pod(pod_object(containers=[container_object(ports=[mapping])]))
        await ports.open(pod, lambda: "127.0.0.1")
        await ports.open(pod, lambda: "127.0.0.1")
        with trio.fail_after(5):
            assert await ask(port, b"hello") == b"hello"
            other = parse_pod(pod_object(containers=[container_object(ports=[mapping])]))
            with pytest.raises(PortTakenError, match=f"host port {port} cannot be opened on 127.0.0.1: it is in use"):
                await ports.open(other, lambda: "127.0.0.1")
            ports.close(pod.uid)
            ports.close(pod.uid)
            while True:
                try:
                    await ports.open(other, lambda: "127.0.0.1")
                except PortTakenError:
                    await trio.sleep(0.01)
                else:
                    break
            assert await ask(port, b"again") == b"again"
        nursery.cancel_scope.cancel()


async def test_a_pod_that_does_not_listen_breaks_the_connection_and_nothing_else() -> None:
    async with trio.open_nursery() as nursery:
        ports = HostPorts(nursery, connections=2)
        port = await free_port()
        mapping = {"containerPort": await free_port(), "hostPort": port}
        await ports.open(parse_pod(pod_object(containers=[container_object(ports=[mapping])])), lambda: "127.0.0.1")
        with trio.fail_after(5):
            for _ in range(5):
                try:
                    assert await ask(port, b"hello") == b""
                except trio.BrokenResourceError:
                    continue
        nursery.cancel_scope.cancel()


async def test_udp_ports_are_refused_with_a_sentence() -> None:
    async with trio.open_nursery() as nursery:
        mapping = {"containerPort": 53, "hostPort": 5353, "protocol": "UDP"}
        pod = parse_pod(pod_object(containers=[container_object(ports=[mapping])]))
        with pytest.raises(PortTakenError, match="only TCP"):
            await HostPorts(nursery).open(pod, lambda: "127.0.0.1")


def answering(text: bytes) -> object:
    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some(4096)
            await stream.send_all(text)

    return answer


@pytest.mark.parametrize(
    ("text", "ok"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True),
        (b"HTTP/1.0 302 Found\r\n\r\n", True),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", False),
        (b"HTTP/1.1 500 Oops\r\n\r\n", False),
        (b"SSH-2.0\r\n", False),
        (b"", False),
        (b"HTTP/1.1 \xff\r\n", False),
    ],
)
async def test_an_http_probe_reads_the_status(tmp_path: Path, text: bytes, ok: bool) -> None:
    async with serving(answering(text)) as port:
        outcome = await check(SimulatedDriver(tmp_path), "uid", "main", "127.0.0.1", Probe(HttpCheck(port)))
        assert outcome is not None
        assert outcome.ok is ok


async def test_a_silent_server_fails_an_http_probe_in_time(tmp_path: Path) -> None:
    async def silent(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with serving(silent) as port:
        probe = Probe(HttpCheck(port), timeout_s=0.2)
        outcome = await check(SimulatedDriver(tmp_path), "uid", "main", "127.0.0.1", probe)
        assert outcome is not None
        assert (outcome.ok, outcome.message) == (False, "no answer within 0.2 s")


async def test_a_tcp_probe_opens_a_connection(tmp_path: Path) -> None:
    driver = SimulatedDriver(tmp_path)
    async with serving() as port:
        outcome = await check(driver, "uid", "main", "127.0.0.1", Probe(TcpCheck(port)))
        assert outcome is not None
        assert outcome.ok
    outcome = await check(driver, "uid", "main", "127.0.0.1", Probe(TcpCheck(await free_port())))
    assert outcome is not None
    assert not outcome.ok


async def test_a_check_that_is_not_supported_fails_and_says_so(tmp_path: Path) -> None:
    probe = Probe(UnsupportedCheck("grpc probes are not supported by this node"))
    outcome = await check(SimulatedDriver(tmp_path), "uid", "main", "127.0.0.1", probe)
    assert outcome is not None
    assert "grpc" in outcome.message


def test_a_probe_turns_after_as_many_results_in_a_row_as_it_takes() -> None:
    probe = Probe(TcpCheck(1), failure_threshold=3, success_threshold=2)
    count, verdicts = ProbeCount(), []
    for ok in (False, False, True, True, False, False, True, False, False, False):
        count = count.after(probe, ok)
        verdicts.append(count.verdict)
    assert verdicts == [None, None, None, True, True, True, True, True, True, False]


async def test_the_next_run_of_a_node_opens_the_ports_again(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    async with serving() as target:
        port = await free_port()
        ports = [{"containerPort": target, "hostPort": port}]
        async with machine.node():
            machine.api.create_pod(pod_object(containers=[container_object(ports=ports)], hostNetwork=False))
            pod = await machine.until("pod", phase("Running"))
            machine.world.pods[pod["metadata"]["uid"]].ip = "127.0.0.1"
        async with machine.node():
            with trio.fail_after(5):
                while True:
                    try:
                        assert await ask(port, b"hello") == b"hello"
                        break
                    except OSError:
                        await trio.sleep(0.02)


async def test_a_pod_whose_port_is_taken_fails_with_a_reason(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    async with serving() as taken, machine.node():
        ports = [{"containerPort": 80, "hostPort": taken}]
        machine.api.create_pod(pod_object(containers=[container_object(ports=ports)]))
        pod = await machine.until("pod", phase("Failed"))
        assert pod["status"]["reason"] == "NodePorts"
        assert f"host port {taken} cannot be opened" in pod["status"]["message"]
