"""The front and the Quart app answer every request alike: same status, same body, same type."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest

from api.dispatch import BODY_LIMIT
from tests.api import malformed
from tests.api.raw_http import Response, Wire, chunked, post
from tests.api.stub import StubControlPlane, app_port, cluster, endpoint_over, front_port, task, task_definition

TASK = task(1).task_arn.encode()
FORM = "Content-Type: application/x-www-form-urlencoded"
SIGNED = (
    "Authorization: AWS4-HMAC-SHA256 Credential=123456789012/20260101/eu-west-1/ecs/aws4_request, "
    "SignedHeaders=host, Signature=0"
)
CORPUS = {
    "list": post("ListClusters"),
    "list for another account": post("ListClusters", b"{}", SIGNED),
    "odd authorization": post("ListClusters", b"{}", "Authorization: Basic \xff\xfe"),
    "describe": post("DescribeTasks", b'{"tasks":["%b"]}' % TASK),
    "describe a missing one": post("DescribeTasks", b'{"tasks":["%b"]}' % TASK.replace(b"1", b"2")),
    "task definition": post("DescribeTaskDefinition", b'{"taskDefinition":"web"}'),
    "no such cluster": post("ListTasks", b'{"cluster":"nope"}'),
    "empty body": post("ListClusters", b""),
    "bad JSON": post("ListClusters", b"{"),
    "not UTF-8": post("ListClusters", b'{"nextToken":"\xff"}'),
    "wrong type": post("ListClusters", b'{"maxResults":"1"}'),
    "bad token": post("ListClusters", b'{"nextToken":"bm90aGluZw=="}'),
    "missing member": post("DescribeTasks", b"{}"),
    "unknown operation": post("Nope"),
    "operation that is not there": post("ExecuteCommand"),
    "hostile operation": post("../../etc"),
    "v1": post("x", path="/v1/ListClusters"),
    "v1 with a query": post("x", path="/v1/ListClusters?a=b"),
    "v1 unknown": post("x", path="/v1/Nope"),
    "v1 nested": post("x", path="/v1/a/b"),
    "v1 escaped": post("x", path="/v1/List%43lusters"),
    "root with a query": post("ListClusters", path="/?x=y"),
    "chunked": chunked("ListClusters", b"{", b'"maxResults":1', b"}"),
    "chunked, empty": chunked("ListClusters"),
    "chunked, with trailers": chunked("ListClusters", b"{}", ending=b"0\r\nX-Trailer: 1\r\n\r\n"),
    "another service": post("ListTables").replace(b"AmazonEC2ContainerServiceV20141113", b"DynamoDB_20120810"),
    "query protocol": post("x", b"Action=GetCallerIdentity&Version=2011-06-15", FORM)
    .replace(b"Content-Type: application/x-amz-json-1.1\r\n", b"")
    .replace(b"X-Amz-Target: AmazonEC2ContainerServiceV20141113.x\r\n", b""),
    "no target": post("x").replace(b"X-Amz-Target: AmazonEC2ContainerServiceV20141113.x\r\n", b""),
    "a foreign page": post("ListClusters", b"{}", "Origin: https://evil.example"),
    "a sandboxed page": post("x", b"{}", "Origin: null", path="/v1/ListClusters"),
    "a page of this machine": post("ListClusters", b"{}", "Origin: http://localhost:3000"),
    "no Host": post("ListClusters").replace(b"Host: localhost\r\n", b""),
    "too large": post("ListClusters", b" " * (BODY_LIMIT + 1)),
    "GET": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET v1": b"GET /v1/ListClusters HTTP/1.1\r\nHost: a\r\n\r\n",
    "PUT": b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
    "no such path": b"POST /v2/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
}
_STATUS_ONLY = {"no Host"}  # hypercorn itself answers, without a body


@pytest.fixture
async def ports() -> AsyncIterator[tuple[int, int]]:
    endpoint = endpoint_over(StubControlPlane(cluster(), task_definition(), task(1)))
    async with front_port(endpoint) as front, app_port(endpoint) as app:
        yield front, app


async def exchange(port: int, request: bytes) -> Response:
    wire = await Wire.open(port)
    try:
        await wire.send(request)
        return await wire.response()
    finally:
        await wire.aclose()


def comparable(response: Response) -> tuple[int, bytes, str]:
    request_id = response.headers.get("x-amzn-requestid", "none").encode()
    kept = re.sub(rb"; charset=utf-8", b"", response.headers.get("content-type", "").encode())
    return response.status, response.body.replace(request_id, b"ID"), kept.decode()


@pytest.mark.parametrize("name", CORPUS)
async def test_both_answer_alike(ports: tuple[int, int], name: str) -> None:
    front, app = [comparable(await exchange(port, CORPUS[name])) for port in ports]
    if name in _STATUS_ONLY:
        assert front[0] == app[0] == 400
    else:
        assert front == app


async def test_both_answer_malformed_requests_alike(ports: tuple[int, int]) -> None:
    generated = malformed.requests(seed=7, operations=tuple(malformed.READ_ONLY))
    for _, made in zip(range(150), generated, strict=False):
        request = post(made.operation, made.body)
        if "\r" in made.operation or "\n" in made.operation:
            continue
        front, app = [comparable(await exchange(port, request)) for port in ports]
        assert front == app, made
