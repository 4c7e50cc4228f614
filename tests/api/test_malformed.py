"""Malformed requests get AWS errors; nothing changes, nothing hangs, and a correct request works after them."""

from __future__ import annotations

from itertools import islice

import orjson
import pytest
import trio
from attrs import evolve

from api.dispatch import Request
from api.protocol.faults import Answer
from engine.service import Service
from tests.api import malformed
from tests.api.conftest import Instance
from tests.api.examples import a_cluster, a_service, a_task, a_task_definition
from tests.api.oracle import Client


@pytest.mark.parametrize("seed", range(4))
async def test_a_thousand_malformed_requests_change_nothing(call: Client, instance: Instance, seed: int) -> None:
    await a_cluster(call)
    await a_task_definition(call)
    await a_task(call)
    await a_service(call, count=1)
    await instance.settle()
    before = _asked_for(instance)
    with trio.fail_after(60):
        for made in islice(malformed.requests(seed), 1000):
            answer = await _answered(instance, made)
            assert answer.status in (200, 400), (made, answer)
            if answer.status != 200:
                body = orjson.loads(answer.body)
                assert body["__type"] == answer.code, made
                assert isinstance(body["message"], str)
                assert len(body["message"]) < 10_000, made
            assert answer.request_id
    await instance.settle()
    assert _asked_for(instance) == before
    assert len((await call("ListTasks"))["taskArns"]) == 2


def _asked_for(instance: Instance) -> dict[str, object]:
    """What is durable, less what a deployment writes as time passes."""
    return {
        arn: evolve(record, events=(), deployments=()) if isinstance(record, Service) else record
        for arn, record in instance.store.disk.records.items()
    }


async def _answered(instance: Instance, made: malformed.Malformed) -> Answer:
    request = Request("POST", "/", made.target, "", "application/x-amz-json-1.1", made.body)
    outcome = instance.endpoint.answer(request)
    return outcome if isinstance(outcome, Answer) else await outcome
