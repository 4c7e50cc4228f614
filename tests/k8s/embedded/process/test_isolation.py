"""What a container sees of the machine, and of other pods."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import trio

from k8s.embedded.driver import Failure, Phase, SandboxError, Ulimit
from tests.k8s.embedded.process.subjects import (
    SERVER,
    SLEEPER,
    container,
    fetched,
    namespace,
    output_of,
    pod,
    running,
)


async def test_three_servers_listen_on_the_same_port(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, info):
        if any("share this machine's network" in note for note in info.notes):
            pytest.skip(str(info.notes))
        started = [await driver.start_pod(pod(f"web-{n}"), [container(*SERVER)]) for n in range(3)]
        assert len({each.ip for each in started}) == 3
        for each in started:
            assert (await fetched(each.ip)).startswith(b"HTTP/1.0 200")


async def test_pods_reach_each_other_at_the_same_addresses(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, _):
        server = await driver.start_pod(pod("web"), [container(*SERVER)])
        await driver.start_pod(pod("client"), [container(*SLEEPER)])
        await fetched(server.ip)
        code = f"import urllib.request as u; print(u.urlopen('http://{server.ip}:8080/').status)"
        probed = await driver.probe("client", "main", ["python3", "-c", code], 20)
        assert (probed.exit_code, probed.output) == (0, b"200\n")


async def test_containers_of_a_pod_share_its_network(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, _):
        await driver.start_pod(pod(), [container(*SERVER), container(*SLEEPER, name="side")])
        fetch = (
            "import urllib.request as u, time\n"
            "for _ in range(200):\n  try: u.urlopen('http://localhost:8080/'); break\n"
            "  except OSError: time.sleep(0.05)\nelse: raise SystemExit(1)"
        )
        assert (await driver.probe("pod-1", "side", ["python3", "-c", fetch], 20)).exit_code == 0


async def test_a_container_sees_its_own_processes_only(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, _):
        assert await output_of(driver, "sh", "-c", "echo $$; ls /proc | grep -c '^[0-9]'") == ["1", "3"]


async def test_names_resolve_as_in_a_container(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, _):
        spec = pod("named", hosts=(("10.1.2.3", ("db", "db.local")),))
        lookup = (
            "import socket as s; print(s.gethostname(), s.gethostbyname(s.gethostname()), s.gethostbyname('localhost'),"
            " s.gethostbyname('db.local')); print(open('/etc/hostname').read().strip())"
        )
        names, file = await output_of(driver, "python3", "-c", lookup, pod_spec=spec)
        hostname, own, localhost, other = names.split()
        assert (hostname, localhost, other, file) == ("named-host", "127.0.0.1", "10.1.2.3", "named-host")
        assert own != "127.0.0.1"


async def test_the_resolver_and_kernel_parameters_are_the_specs(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, info):
        if any("share this machine's network" in note for note in info.notes):
            pytest.skip(str(info.notes))
        spec = pod(
            "resolver",
            dns_servers=("10.0.0.2",),
            dns_search=("a.test", "b.test"),
            dns_options=("ndots:2",),
            sysctls=(("net.ipv4.ip_default_ttl", "33"),),
        )
        lines = await output_of(driver, "cat", "/etc/resolv.conf", "/proc/sys/net/ipv4/ip_default_ttl", pod_spec=spec)
        assert lines == ["nameserver 10.0.0.2", "search a.test b.test", "options ndots:2", "33"]
        with pytest.raises(SandboxError, match=r"net\.no\.such"):
            await driver.start_pod(pod("bad", sysctls=(("net.no.such", "1"),)), [container(*SLEEPER)])


async def test_sharing_processes_is_refused_aloud(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, _):
        started = await driver.start_pod(pod(share_process_namespace=True), [container(*SLEEPER)])
        assert started.containers[0].failure is Failure.CONFIG


async def test_the_environment_is_the_specs_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_SECRET", "hidden")
    async with running(tmp_path) as (driver, _):
        lines = await output_of(driver, "/usr/bin/env", env=(("A", "1"), ("A", "2")))
        env = dict(line.split("=", 1) for line in lines)
        assert env["A"] == "2"
        assert set(env) == {"A", "PATH", "HOME", "HOSTNAME"}


async def test_nothing_of_the_driver_is_open(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, _):
        assert await output_of(driver, "sh", "-c", "ls /proc/self/fd | wc -l; umask") == ["4", "0022"]


async def test_limits_directory_and_arguments_are_the_specs(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, _):
        command = ("sh", "-c", "pwd; ulimit -n; echo $0 $1", "zero", "one two")
        lines = await output_of(driver, *command, working_dir="/usr", ulimits=(Ulimit("nofile", 77, 77),))
        assert lines == ["/usr", "77", "zero one two"]


async def test_search_domains_alone_leave_the_name_servers(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, info):
        if any("share this machine's network" in note for note in info.notes):
            pytest.skip(str(info.notes))
        lines = await output_of(driver, "cat", "/etc/resolv.conf", pod_spec=pod("search", dns_search=("a.test",)))
        own = (await trio.Path("/etc/resolv.conf").read_text()).splitlines()
        assert lines == [*(line for line in own if line.startswith("nameserver")), "search a.test"]


async def test_new_privileges_can_be_forbidden(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, _):
        show = ("sh", "-c", "grep NoNewPrivs /proc/self/status")
        assert await output_of(driver, *show) == ["NoNewPrivs:\t0"]
        assert await output_of(driver, *show, no_new_privileges=True) == ["NoNewPrivs:\t1"]


@pytest.mark.root
async def test_a_container_runs_as_its_user_with_few_capabilities(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, _):
        assert await output_of(driver, "id", "-u", user="nobody") == ["65534"]
        assert await output_of(driver, "id", "-g", user="65534:12") == ["12"]
        show = ("sh", "-c", "grep CapEff /proc/self/status")
        assert await output_of(driver, *show) == ["CapEff:\t00000000a80425fb"]
        assert await output_of(driver, *show, capabilities_drop=("ALL",)) == ["CapEff:\t0000000000000000"]
        only = await output_of(driver, *show, capabilities_drop=("ALL",), capabilities_add=("NET_RAW",))
        assert only == ["CapEff:\t0000000000002000"]
        assert await output_of(driver, *show, privileged=True) == [_own_capabilities()]


def _own_capabilities() -> str:
    return next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff"))


@pytest.mark.parametrize(
    ("argv", "more", "failure", "message"),
    [
        (("nonesuch",), {}, Failure.RUN, 'exec: "nonesuch": executable file not found in $PATH'),
        (("/no/such",), {}, Failure.RUN, 'exec: "/no/such": stat /no/such: no such file or directory'),
        (("/etc/hosts",), {}, Failure.RUN, 'exec: "/etc/hosts": permission denied'),
        (("true",), {"working_dir": "/no"}, Failure.RUN, 'chdir to cwd ("/no") failed: no such file or directory'),
        (("true",), {"user": "nonesuch"}, Failure.CONFIG, "unable to find user nonesuch"),
        (("true",), {"ulimits": (Ulimit("cows", 1, 1),)}, Failure.CONFIG, "invalid ulimit type: cows"),
        (("true",), {"capabilities_add": ("COWS",)}, Failure.CREATE, "invalid capability: COWS"),
        ((), {}, Failure.IMAGE_PULL, "the process driver cannot pull images: give the container a command"),
    ],
)
async def test_what_cannot_start_says_why(
    tmp_path: Path, argv: tuple[str, ...], more: dict[str, Any], failure: Failure, message: str
) -> None:
    async with running(tmp_path) as (driver, _):
        state = (await driver.start_pod(pod(), [container(*argv, **more)])).containers[0]
        assert (state.phase, state.failure) == (Phase.FAILED, failure)
        assert message in state.message


async def test_a_pod_on_the_hosts_network_has_its_addresses(tmp_path: Path) -> None:
    async with running(tmp_path) as (driver, _):
        if os.geteuid() != 0:
            pytest.skip("an ordinary user's pods live in another network than the host")
        spec = pod("host", host_network=True)
        await driver.start_pod(spec, [container(*SLEEPER)])
        inside = (await driver.probe("host", "main", ["readlink", "/proc/self/ns/net"], 10)).output.decode().strip()
        assert inside == namespace("net")
