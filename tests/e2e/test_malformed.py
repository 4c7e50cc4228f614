"""Ten thousand malformed requests: each gets an AWS error, nothing hangs, nothing changes."""

from __future__ import annotations

import http.client
import json
import os
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import pytest

from tests.api.malformed import Malformed, requests
from tests.e2e.instance import Instance
from tests.e2e.test_main_job import containers

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

COUNT = int(os.environ.get("KECS_TEST_MALFORMED", "10000"))
CONNECTIONS = 8


def send(instance: Instance, batch: list[Malformed]) -> list[tuple[Malformed, int, bytes]]:
    """Every answer of one keep-alive connection, opened again where the server closes it."""
    connection = http.client.HTTPConnection("127.0.0.1", instance.port, timeout=20)
    answers = []
    for request in batch:
        target = request.target.encode("utf-8", "replace").decode("latin-1")
        headers = {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1"}
        connection.request("POST", "/", request.body, headers)
        answer = connection.getresponse()
        answers.append((request, answer.status, answer.read()))
    connection.close()
    return answers


def everything(instance: Instance) -> Any:
    """What an observer can list and describe, in two regions."""
    seen = []
    for region in ("us-east-1", "eu-west-1"):
        ecs = instance.ecs(region)
        clusters = sorted(ecs.list_clusters()["clusterArns"])
        described = (
            ecs.describe_clusters(clusters=clusters, include=["TAGS", "SETTINGS"])["clusters"] if clusters else []
        )
        definitions = ecs.list_task_definitions()["taskDefinitionArns"]
        services = {arn: sorted(ecs.list_services(cluster=arn)["serviceArns"]) for arn in clusters}
        tasks = {arn: sorted(ecs.list_tasks(cluster=arn)["taskArns"]) for arn in clusters}
        seen.append((described, definitions, services, tasks))
    return seen


def test_malformed_requests_get_errors_and_change_nothing(own_instance: Instance) -> None:
    instance = own_instance
    ecs = instance.ecs()
    ecs.create_cluster(clusterName="kept", tags=[{"key": "made", "value": "before"}])
    ecs.register_task_definition(family="kept", containerDefinitions=json.loads(containers("sleep", "600")))
    ecs.create_service(cluster="kept", serviceName="kept", taskDefinition="kept", desiredCount=0)
    before = everything(instance)

    seed = random.randrange(2**32)
    print(f"seed {seed}")
    generated = list(islice(requests(seed), COUNT))
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        batches = [generated[start::CONNECTIONS] for start in range(CONNECTIONS)]
        answers = [answer for batch in pool.map(lambda batch: send(instance, batch), batches) for answer in batch]

    assert len(answers) == COUNT
    for request, status, body in answers:
        assert status < 500, f"{request.why}: {request.operation} {request.body[:300]!r} → {status} {body[:300]!r}"
        if status != 200:
            assert json.loads(body)["__type"], body
    statuses = Counter(status for _, status, _ in answers)
    assert statuses[400] > COUNT * 0.8, statuses
    assert everything(instance) == before
    assert ecs.create_cluster(clusterName="after")["cluster"]["status"] == "ACTIVE"
