"""The Kubernetes API servers that the contract suites run over."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from k8s.client import KubeClient
from k8s.kr8s_client import Kr8sClient

SERVERS = ["embedded in process", "embedded over http", "real"]

_NO_REAL_ONE = "set KECS_TEST_KUBECONFIG to a kubeconfig to run this against a real Kubernetes API server"


@asynccontextmanager
async def a_client_of(server: str, tmp_path: Path) -> AsyncIterator[KubeClient]:
    """A client of one of SERVERS; skips the test where there is no real one."""
    kubeconfig = os.environ.get("KECS_TEST_KUBECONFIG")
    if not kubeconfig:
        pytest.skip(_NO_REAL_ONE)
    async with Kr8sClient.connect(kubeconfig) as client:
        yield client
