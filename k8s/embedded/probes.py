"""One probe: how a check is made, and what a row of results means.

The counting is pure; `check` touches the world. Source:
https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable
from typing import Final, assert_never

import trio
from attrs import evolve, frozen

from k8s.embedded.driver import Driver, NotRunningError
from k8s.embedded.pod_spec import Check, ExecCheck, HttpCheck, Probe, TcpCheck, UnsupportedCheck

_MAX_STATUS_LINE: Final = 1024
_MAX_OUTPUT: Final = 512


@frozen
class Outcome:
    """How one check went; `message` says why it failed."""

    ok: bool
    message: str = ""


@frozen
class ProbeCount:
    """Results in a row. `verdict` is the last threshold reached: None before the first."""

    successes: int = 0
    failures: int = 0
    verdict: bool | None = None

    def after(self, probe: Probe, ok: bool) -> ProbeCount:
        """With one more result."""
        if ok:
            successes = self.successes + 1
            verdict = True if successes >= probe.success_threshold else self.verdict
            return evolve(self, successes=successes, failures=0, verdict=verdict)
        failures = self.failures + 1
        verdict = False if failures >= probe.failure_threshold else self.verdict
        return evolve(self, successes=0, failures=failures, verdict=verdict)


async def check(driver: Driver, pod_uid: str, container: str, pod_ip: str, probe: Probe) -> Outcome | None:
    """Make one check, within the probe's timeout. None when the container does not run, so that it says nothing."""
    what: Check = probe.check
    match what:
        case ExecCheck():
            return await _exec(driver, pod_uid, container, what, probe.timeout_s)
        case HttpCheck():
            return await _in_time(_http(what, pod_ip), probe.timeout_s)
        case TcpCheck():
            return await _in_time(_tcp(what, pod_ip), probe.timeout_s)
        case UnsupportedCheck():
            return Outcome(False, what.message)
    assert_never(what)


async def _exec(driver: Driver, pod_uid: str, container: str, what: ExecCheck, timeout_s: float) -> Outcome | None:
    try:
        result = await driver.probe(pod_uid, container, what.argv, timeout_s)
    except NotRunningError:
        return None
    if result.exit_code is None:
        return Outcome(False, f"command timed out after {timeout_s:g} s")
    return Outcome(result.exit_code == 0, result.output[:_MAX_OUTPUT].decode(errors="replace").strip())


async def _in_time(outcome: Awaitable[Outcome], timeout_s: float) -> Outcome:
    with trio.move_on_after(timeout_s):
        try:
            return await outcome
        except (OSError, ssl.SSLError, trio.BrokenResourceError) as error:
            return Outcome(False, f"{type(error).__name__}: {error}")
    return Outcome(False, f"no answer within {timeout_s:g} s")


async def _tcp(what: TcpCheck, pod_ip: str) -> Outcome:
    stream = await trio.open_tcp_stream(what.host or pod_ip, what.port)
    await stream.aclose()
    return Outcome(True)


async def _http(what: HttpCheck, pod_ip: str) -> Outcome:
    host = what.host or pod_ip
    stream: trio.abc.Stream = await trio.open_tcp_stream(host, what.port)
    if what.https:  # a kubelet does not verify the certificate either
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        stream = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
    async with stream:
        await stream.send_all(_request(what, host))
        status = await _status(stream)
    if status is None:
        return Outcome(False, "the answer is not HTTP")
    return Outcome(200 <= status < 400, f"HTTP probe failed with statuscode: {status}")


def _request(what: HttpCheck, host: str) -> bytes:
    given = {name.lower() for name, _ in what.headers}
    headers = [*what.headers, ("Connection", "close")]
    if "host" not in given:
        headers.insert(0, ("Host", f"{host}:{what.port}"))
    if "user-agent" not in given:
        headers.append(("User-Agent", "kube-probe/1.33"))
    lines = [f"GET {what.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode()


async def _status(stream: trio.abc.ReceiveStream) -> int | None:
    line = b""
    while b"\r\n" not in line and len(line) < _MAX_STATUS_LINE:
        chunk = await stream.receive_some(_MAX_STATUS_LINE)
        if not chunk:
            break
        line += chunk
    words = line.split(b"\r\n")[0].split()
    return int(words[1]) if len(words) > 1 and words[0].startswith(b"HTTP/") and words[1].isdigit() else None
