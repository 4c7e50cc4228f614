"""A load generator: HTTP/1.1 keep-alive connections over epoll, in a process of its own.

    python bench/load.py --port 5373 --connections 16 --requests 20000 --target ListTasks --body '{"cluster":"c"}'

`{n}` in the body becomes the request's number, so that every write is a new one. Prints one line of JSON: requests,
seconds, requests a second, how often each status code came, and latency in milliseconds. It talks to loopback only.
"""

from __future__ import annotations

import argparse
import json
import selectors
import socket
import sys
import time
from collections import Counter

SERVICE = "AmazonEC2ContainerServiceV20141113"
AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260101/us-east-1/ecs/aws4_request, "
    f"SignedHeaders=host;x-amz-date;x-amz-target, Signature={'0' * 64}"
)


def request_bytes(port: int, target: str, body: str) -> bytes:
    """One POST of the AWS JSON 1.1 protocol, as the SDKs send it."""
    payload = body.encode()
    head = (
        f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/x-amz-json-1.1\r\n"
        f"X-Amz-Target: {SERVICE}.{target}\r\nX-Amz-Date: 20260101T000000Z\r\nAuthorization: {AUTHORIZATION}\r\n"
        f"Content-Length: {len(payload)}\r\n\r\n"
    )
    return head.encode() + payload


class Connection:
    """One connection with at most one request under way; opened again where the server closes it after a response."""

    def __init__(self, port: int, selector: selectors.BaseSelector) -> None:
        self.port = port
        self.selector = selector
        self.received = bytearray()
        self.sent_at = 0.0
        self.open()

    def open(self) -> None:
        """Connect and be told when there is something to read."""
        self.socket = socket.create_connection(("127.0.0.1", self.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.selector.register(self.socket, selectors.EVENT_READ, self)

    def send(self, data: bytes) -> None:
        """Send a whole request; bodies here are small enough for the socket's buffer, or block shortly."""
        self.sent_at = time.perf_counter()
        self.socket.sendall(data)

    def status(self) -> int | None:
        """Read what is there; the status code once the whole response has arrived."""
        chunk = self.socket.recv(1 << 20)
        if not chunk:
            raise ConnectionError("the server closed the connection in mid-response")
        self.received += chunk
        head_end = self.received.find(b"\r\n\r\n")
        if head_end < 0:
            return None
        head = bytes(self.received[:head_end]).lower()
        at = head.find(b"content-length:")
        if at < 0:
            raise ConnectionError("a response without content-length")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0])
        if len(self.received) < head_end + 4 + length:
            return None
        status = int(self.received[9:12])
        self.received.clear()
        if b"connection: close" in head:
            self.selector.unregister(self.socket)
            self.socket.close()
            self.open()
        return status


def run(port: int, target: str, body: str, connections: int, requests: int, seconds: float) -> dict[str, object]:
    """Send `requests` requests, or as many as fit in `seconds`, and report."""
    selector = selectors.DefaultSelector()
    fixed = None if "{n}" in body else request_bytes(port, target, body)
    sent = 0

    def next_request() -> bytes:
        nonlocal sent
        sent += 1
        return fixed or request_bytes(port, target, body.replace("{n}", str(sent)))

    for _ in range(connections):
        Connection(port, selector)
    statuses: Counter[int] = Counter()
    latencies: list[float] = []
    began = time.perf_counter()
    for key in list(selector.get_map().values()):
        if sent < requests:
            key.data.send(next_request())
    while len(latencies) < sent:
        ready = selector.select(timeout=60)
        if not ready:
            raise TimeoutError("no answer within 60 s")
        for key, _ in ready:
            status = key.data.status()
            if status is None:
                continue
            now = time.perf_counter()
            latencies.append(now - key.data.sent_at)
            statuses[status] += 1
            if sent < requests and now - began < seconds:
                key.data.send(next_request())
    elapsed = time.perf_counter() - began
    latencies.sort()
    return {
        "requests": len(latencies),
        "seconds": elapsed,
        "per_second": len(latencies) / elapsed,
        "statuses": dict(statuses),
        "p50_ms": latencies[len(latencies) // 2] * 1000,
        "p99_ms": latencies[int(len(latencies) * 0.99)] * 1000,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--body", default="{}", help="JSON, or - to read it from standard input")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=30.0)
    arguments = parser.parse_args()
    body = sys.stdin.read() if arguments.body == "-" else arguments.body
    print(
        json.dumps(
            run(arguments.port, arguments.target, body, arguments.connections, arguments.requests, arguments.seconds)
        )
    )


if __name__ == "__main__":
    main()
