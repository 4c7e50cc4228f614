"""Runs as an ordinary user over a directory and says what it found as a line of JSON: see `test_user`."""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

import trio

from k8s.embedded.driver import ContainerSpec, PodSpec, Resources
from k8s.embedded.process.driver import ProcessDriver

SERVER = ("python3", "-m", "http.server", "8080")
DIALOGUE = b"x" * 3_000_000


def spec(uid: str) -> PodSpec:
    return PodSpec(uid, "default", uid, f"{uid}-host")


def fetched(address: str) -> int:
    status: int = urllib.request.urlopen(f"http://{address}:8080/", timeout=10).status
    return status


async def answers(address: str) -> int:
    with trio.fail_after(20):
        while True:
            try:
                return await trio.to_thread.run_sync(fetched, address)
            except OSError:
                await trio.sleep(0.05)


async def echoed(address: str) -> int:
    """How much of a large message comes back through the relay, after both sides have closed in turn."""
    stream = await trio.open_tcp_stream(address, 7000)
    came = 0

    async def receive() -> None:
        nonlocal came
        while data := await stream.receive_some():
            came += len(data)

    async with stream, trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await stream.send_all(DIALOGUE)
        await stream.send_eof()
    return came


ECHO = """
import socketserver, shutil
class Echo(socketserver.StreamRequestHandler):
    def handle(self): shutil.copyfileobj(self.rfile, self.wfile)
socketserver.ThreadingTCPServer(('0.0.0.0', 7000), Echo).serve_forever()
"""


async def look(driver: ProcessDriver, said: dict[str, Any]) -> None:
    started = [await driver.start_pod(spec(f"web-{n}"), [ContainerSpec("main", command=SERVER)]) for n in range(3)]
    said["addresses"] = [each.ip for each in started]
    said["from the host"] = [await answers(ip) for ip in said["addresses"]]
    code = f"import urllib.request as u; print(u.urlopen('http://{started[1].ip}:8080/').status)"
    probed = await driver.probe("web-0", "main", ["python3", "-c", code], 20)
    said["from a task"] = probed.output.decode()
    seen = await driver.probe(
        "web-0", "main", ["sh", "-c", "id -u; hostname; echo $HOME; ls /proc | grep -c '^[0-9]'"], 9
    )
    said["inside"] = seen.output.decode().split()
    echo = await driver.start_pod(spec("echo"), [ContainerSpec("main", command=("python3", "-c", ECHO))])
    with trio.fail_after(20):
        while True:
            try:
                said["echoed"] = await echoed(echo.ip)
                break
            except OSError:
                await trio.sleep(0.05)
    await driver.remove_pod("echo")
    other = ContainerSpec("main", command=("true",), user="1", resources=Resources(memory_bytes=1 << 25))
    said["another user"] = (await driver.start_pod(spec("other"), [other])).containers[0].message


async def main() -> None:
    said: dict[str, Any] = {}
    directory = Path(sys.argv[1])
    first = ProcessDriver(directory)
    async with trio.open_nursery() as nursery:
        said["notes"] = (await nursery.start(first.run)).notes
        await look(first, said)
        nursery.cancel_scope.cancel()
    second = ProcessDriver(directory)
    async with trio.open_nursery() as nursery:
        await nursery.start(second.run)
        said["adopted"] = sorted(each.uid for each in second.adopted())
        said["still there"] = [await answers(ip) for ip in said["addresses"]]
        later = await second.start_pod(spec("later"), [ContainerSpec("main", command=SERVER)])
        said["a later one"] = await answers(later.ip)
        await second.stop_all(0)
        nursery.cancel_scope.cancel()
    print(json.dumps(said))


trio.run(main)
