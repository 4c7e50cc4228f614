"""The node in a bad world: calls fail before or after they were done, watches break, the node is killed and restarted.

Whatever happened, once the world is calm every pod comes to what was asked of it, and nothing is left of those deleted.
"""

from __future__ import annotations

import math
from random import Random
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.k8s.embedded.faulty_api import FaultyApi
from tests.k8s.embedded.pod_objects import container_object, pod_object
from tests.k8s.embedded.test_node import Machine, now

KINDS: dict[str, dict[str, Any]] = {
    "forever": {},
    "fails": {"containers": [container_object("main", "sh", "-c", "sleep 3; exit 3")]},
    "two": {
        "containers": [container_object("second"), container_object("first", "sh", "-c", "sleep 2; exit 0")],
        "depends_on": {"second": {"first": "SUCCESS"}},
    },
    "slow": {"annotations": {"simulated.kecs.dev/start-seconds": "4"}},
    "stubborn": {"annotations": {"simulated.kecs.dev/stop-seconds": "never"}, "stop_timeouts": {"main": 5}},
    "held": {"finalizers": ["kecs.dev/task-record"]},
}
EXPECTED = {"forever": {"Running"}, "fails": {"Failed"}, "two": {"Running"}, "slow": {"Running"}}
EXPECTED |= {"stubborn": {"Running"}, "held": {"Running"}}

STEP = st.one_of(
    st.tuples(st.just("create"), st.sampled_from(sorted(KINDS))),
    st.tuples(st.just("delete"), st.sampled_from([None, 0, 1])),
    st.tuples(st.sampled_from(["kill", "break", "release"]), st.none()),
    st.tuples(st.just("wait"), st.sampled_from([0.001, 0.5, 3, 20])),
)


class World:
    """One run of a story: a machine, and the pods that its user made."""

    def __init__(self, machine: Machine, fault_rate: float, random: Random) -> None:
        self.machine = machine
        self.random = random
        self.fault_rate = fault_rate
        self.made: dict[str, str] = {}  # name -> kind
        self.deleted: set[str] = set()
        self.lost: set[str] = set()
        machine.api.faults = self.fault

    def fault(self, _method: str, _path: str) -> str:
        if self.random.random() < self.fault_rate:
            return self.random.choice(["before", "after", "500"])
        return ""

    async def play(self, story: list[tuple[str, Any]]) -> None:
        lives = self._lives(story)
        for life in lives:
            async with self.machine.node():
                for step, what in life:
                    await self._do(step, what)
        self.fault_rate = 0
        async with self.machine.node() as node:
            await trio.sleep(400)
            self._release_all()
            await trio.sleep(30)
            self._check()
            assert {w.pod.name for w in node.pods.values()} == set(self.machine.api.pods)

    @staticmethod
    def _lives(story: list[tuple[str, Any]]) -> list[list[tuple[str, Any]]]:
        lives: list[list[tuple[str, Any]]] = [[]]
        for step, what in story:
            if step == "kill":
                lives.append([])
            else:
                lives[-1].append((step, what))
        return lives

    async def _do(self, step: str, what: Any) -> None:
        match step:
            case "create":
                name = f"{what}-{len(self.made)}"
                self.machine.api.create_pod(pod_object(name, **KINDS[what]))
                self.made[name] = what
            case "delete":
                candidates = sorted(set(self.machine.api.pods) - self.deleted)
                if candidates:
                    name = self.random.choice(candidates)
                    self.machine.api.delete_pod(name, what)
                    self.deleted.add(name)
            case "break":
                self.machine.api.break_watches()
            case "release":
                self._release_all()
            case "wait":
                await trio.sleep(what)

    def _release_all(self) -> None:
        """What the control plane does: let go of pods whose end it has seen."""
        for name, pod in list(self.machine.api.pods.items()):
            over = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
            if name in self.deleted and over and pod["metadata"].get("finalizers"):
                self.machine.api.release_pod(name)

    def _check(self) -> None:
        pods = self.machine.api.pods
        assert set(pods) == set(self.made) - self.deleted
        for name, pod in pods.items():
            assert pod["status"]["phase"] in EXPECTED[self.made[name]], (name, pod["status"])
        alive = {p.spec.name for p in self.machine.world.pods.values()}
        assert alive == {n for n, p in pods.items() if p["status"]["phase"] == "Running"}
        for pod in pods.values():
            for container in pod["status"]["containerStatuses"]:
                if "terminated" in container["state"]:
                    assert container["state"]["terminated"]["exitCode"] in (0, 3)
        ips = [p.ip for p in self.machine.world.pods.values()]
        assert len(set(ips)) == len(ips)
        assert self.machine.world.addresses_in_use == set(ips)


@settings(max_examples=60, deadline=None)
@given(
    story=st.lists(STEP, max_size=20),
    fault_rate=st.sampled_from([0.0, 0.1, 0.4]),
    seed=st.integers(0, 2**32),
)
def test_a_calm_world_brings_every_pod_to_what_was_asked(
    tmp_path_factory: pytest.TempPathFactory, story: list[tuple[str, Any]], fault_rate: float, seed: int
) -> None:
    async def play() -> None:
        random = Random(seed)
        machine = Machine(tmp_path_factory.getbasetemp() / "logs", FaultyApi(now=now))
        with trio.fail_after(math.inf if not story else 10_000):
            await World(machine, fault_rate, random).play(story)

    trio.run(play, clock=MockClock(autojump_threshold=0))
