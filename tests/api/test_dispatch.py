from __future__ import annotations

from typing import Any

import orjson
import pytest

from actors.mailbox import ActorStopped, DeadlineExceeded, Overloaded
from api.dispatch import Request
from api.protocol.faults import Answer
from engine.errors import AwsError
from tests.api.oracle import request_for
from tests.api.stub import StubControlPlane, cluster, endpoint_over


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (AwsError("ClientException", "no"), 400, "ClientException"),
        (Overloaded(), 400, "ThrottlingException"),
        (DeadlineExceeded(), 503, "ServerException"),
        (ActorStopped(), 503, "ServerException"),
        (ZeroDivisionError("inside"), 500, "ServerException"),
    ],
)
async def test_what_an_ask_raises_becomes_an_answer(failure: Exception, status: int, code: str) -> None:
    stub = StubControlPlane()

    async def fail(_message: object) -> Any:
        raise failure

    stub.reply = fail
    endpoint = endpoint_over(stub)
    outcome = endpoint.answer(request_for("CreateCluster", {}))
    assert not isinstance(outcome, Answer)
    answer = await outcome
    assert (answer.status, answer.code) == (status, code)
    assert orjson.loads(answer.body)["__type"] == code
    assert b"inside" not in answer.body
    assert list(endpoint.figures.series()) == [("CreateCluster", code)]


def test_a_bug_in_a_read_is_answered_too(caplog: pytest.LogCaptureFixture) -> None:
    stub = StubControlPlane(cluster())
    stub.views = None  # type: ignore[assignment]  # the bug
    answer = endpoint_over_broken(stub).answer(request_for("ListClusters", {}))
    assert isinstance(answer, Answer)
    assert answer.status == 500
    assert answer.request_id in caplog.text


def endpoint_over_broken(stub: StubControlPlane) -> Any:
    return endpoint_over(stub)


def test_request_ids_are_unique_uuids() -> None:
    endpoint = endpoint_over(StubControlPlane(cluster()))
    ids = set()
    for _ in range(1000):
        answer = endpoint.answer(request_for("ListClusters", {}))
        assert isinstance(answer, Answer)
        ids.add(answer.request_id)
    assert len(ids) == 1000
    assert {len(one) for one in ids} == {36}


def test_invented_names_do_not_grow_the_figures() -> None:
    endpoint = endpoint_over(StubControlPlane())
    for number in range(100):
        endpoint.answer(Request("POST", f"/v1/Invented{number}", "", "", "", b"{}"))
    assert list(endpoint.figures.series()) == [("Unknown", "UnknownOperationException")]


@pytest.mark.parametrize(
    ("target", "named"),
    [
        ("DynamoDB_20120810.ListTables", "DynamoDB"),
        ("AmazonSSM.GetParameter", "AmazonSSM"),
        ("x\x00y.z" + "q" * 5000, "x?y"),
    ],
)
def test_a_target_of_another_service_is_named(target: str, named: str) -> None:
    answer = endpoint_over(StubControlPlane()).answer(Request("POST", "/", target, "", "", b"{}"))
    assert isinstance(answer, Answer)
    assert answer.status == 400
    message = orjson.loads(answer.body)["message"]
    assert named in message
    assert len(message) < 1000


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://evil.example", 403),
        ("http://evil.example:5373", 403),
        ("http://localhost.evil.example", 403),
        ("null", 403),
        ("http://localhost:3000", 200),
        ("https://app.localhost", 200),
        ("http://127.0.0.1:5373", 200),
        ("http://[::1]:8080", 200),
        ("", 200),
    ],
)
def test_a_web_page_from_elsewhere_cannot_reach_the_endpoint(origin: str, status: int) -> None:
    """A browser sends `POST /v1/RunTask` with a plain text body for any page, without asking first."""
    endpoint = endpoint_over(StubControlPlane(cluster()))
    answer = endpoint.answer(Request("POST", "/v1/ListClusters", "", "", "text/plain", b"{}", origin))
    assert isinstance(answer, Answer)
    assert answer.status == status
