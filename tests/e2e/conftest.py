"""Instances for the end-to-end tests: embedded by default, and the real Kubernetes named by KECS_TEST_KUBECONFIG."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.instance import Instance, started

KUBECONFIG = os.environ.get("KECS_TEST_KUBECONFIG")
NO_CLUSTER = "KECS_TEST_KUBECONFIG names no kubeconfig of a real Kubernetes"

RUNTIMES = {
    "embedded": ("--runtime", "embedded"),
    "kubernetes-process": ("--runtime", "kubernetes", "--driver", "process"),
    "kubernetes-simulated": ("--runtime", "kubernetes", "--driver", "simulated"),
}


def new_name() -> str:
    """A name that no instance of any run had: a real Kubernetes may still be removing what the last one had there, and
    a bare API server, which has no controllers, never ends removing a namespace.
    """
    return f"e2e-{secrets.token_hex(4)}"


@pytest.fixture(scope="session", params=RUNTIMES)
def instance(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """One started instance per runtime, shared by the tests: each takes a cluster of its own."""
    arguments = RUNTIMES[request.param]
    if "kubernetes" in arguments:
        if KUBECONFIG is None:
            pytest.skip(NO_CLUSTER)
        arguments = (*arguments, "--kubeconfig", KUBECONFIG)
    with started(tmp_path_factory.mktemp("home"), *arguments, name=new_name()) as running:
        yield running


@pytest.fixture
def cluster(instance: Instance, request: pytest.FixtureRequest) -> str:
    """The name of a new cluster for this test."""
    name: str = request.node.name.split("[")[0].replace("_", "-")[:60]
    instance.aws("create-cluster", "--cluster-name", name)
    return name


@pytest.fixture
def own_instance(tmp_path: Path) -> Iterator[Instance]:
    """An embedded instance for one test alone, which may ill-treat it."""
    with started(tmp_path / "home", name="own") as running:
        yield running
