"""What only happens over HTTP: forms of answers, YAML, limits, foreign requests, clients that leave."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
import pytest
import trio

from k8s.embedded.apiserver import ApiServer
from tests.k8s.embedded.apiserver.fake_node import FakeNode
from tests.k8s.embedded.apiserver.objects import PODS, custom_definition, pod

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
AGGREGATED = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)


@pytest.fixture
async def http(url: str) -> Any:
    async with httpx.AsyncClient(base_url=url, timeout=20) as http:
        yield http


async def _until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(10):
        while not condition():  # noqa: ASYNC110  # the server tells nobody
            await trio.sleep(0.01)


async def test_health_and_version(http: httpx.AsyncClient) -> None:
    for path in ("/healthz", "/livez", "/readyz", "/readyz/ping"):
        assert (await http.get(path)).text == "ok"
    version = (await http.get("/version")).json()
    assert (version["major"], version["minor"]) == ("1", "33")


async def test_discovery_in_both_forms_names_the_same_resources(http: httpx.AsyncClient) -> None:
    await http.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", json=custom_definition())
    classic, aggregated = set(), set()
    paths = ["/api/v1"]
    paths += [
        f"/apis/{group['preferredVersion']['groupVersion']}" for group in (await http.get("/apis")).json()["groups"]
    ]
    for path in paths:
        document = (await http.get(path)).json()
        classic |= {(document["groupVersion"], one["name"], tuple(one["verbs"])) for one in document["resources"]}
    for path in ("/api", "/apis"):
        answer = await http.get(path, headers={"accept": AGGREGATED})
        assert answer.headers["content-type"] == AGGREGATED.split(",", maxsplit=1)[0]
        for group in answer.json()["items"]:
            for version in group["versions"]:
                name = "/".join(filter(None, [group["metadata"].get("name"), version["version"]]))
                for one in version["resources"]:
                    aggregated.add((name, one["resource"], tuple(one["verbs"])))
                    for sub in one.get("subresources", ()):
                        aggregated.add((name, f"{one['resource']}/{sub['subresource']}", tuple(sub["verbs"])))
    assert classic == aggregated
    assert any(name == "middlewares" for _, name, _ in classic)


async def test_every_reference_of_the_openapi_documents_is_there(http: httpx.AsyncClient) -> None:
    index = (await http.get("/openapi/v3")).json()["paths"]
    assert "api/v1" in index
    for entry in index.values():
        document = (await http.get(entry["serverRelativeURL"])).json()
        schemas = document["components"]["schemas"]
        for reference in orjson.dumps(document).decode().split('"$ref":"')[1:]:
            assert reference.split('"', 1)[0].removeprefix("#/components/schemas/") in schemas


async def test_a_table_has_rows_for_people(http: httpx.AsyncClient) -> None:
    await http.post(PODS, json=pod())
    table = (await http.get(PODS, headers={"accept": TABLE})).json()
    assert table["kind"] == "Table"
    columns = [column["name"] for column in table["columnDefinitions"]]
    row = dict(zip(columns, table["rows"][0]["cells"], strict=True))
    assert (row["Name"], row["Ready"], row["Status"], row["Node"]) == ("web", "0/1", "Pending", "node-1")
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


async def test_metadata_alone(http: httpx.AsyncClient) -> None:
    await http.post(PODS, json=pod())
    accept = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
    listed = (await http.get(PODS, headers={"accept": accept})).json()
    assert listed["kind"] == "PartialObjectMetadataList"
    assert set(listed["items"][0]) == {"kind", "apiVersion", "metadata"}


async def test_yaml_is_read(http: httpx.AsyncClient) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {when: '2026-01-01', on: 'no', 2: x}\n"
    headers = {"content-type": "application/yaml"}
    created = await http.post("/api/v1/namespaces/default/configmaps", content=text, headers=headers)
    assert created.status_code == 201
    assert created.json()["data"] == {"when": "2026-01-01", "true": "no", "2": "x"}
    broken = await http.post("/api/v1/namespaces/default/configmaps", content="a: [", headers=headers)
    assert broken.status_code == 400


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({}, b"{", 400),
        ({}, b"", 400),
        ({}, b"\xff\xfe", 400),
        ({"content-type": "application/cbor"}, b"{}", 415),
        ({"origin": "http://evil.example"}, b"{}", 403),
        ({"host": "evil.example"}, b"{}", 403),
        ({}, b'"' + b"x" * (3 * 1024 * 1024) + b'"', 413),
    ],
)
async def test_hostile_requests_are_refused_with_a_status(
    http: httpx.AsyncClient, headers: dict[str, str], content: bytes, status: int
) -> None:
    answer = await http.post(PODS, content=content, headers={"content-type": "application/json", **headers})
    assert answer.status_code == status
    assert answer.json()["kind"] == "Status"
    assert (await http.get(PODS)).json()["items"] == []


async def test_unknown_fields_are_told_in_a_warning(http: httpx.AsyncClient) -> None:
    body = pod()
    body["spec"]["nonsense"] = 1
    answer = await http.post(PODS, json=body)
    assert answer.status_code == 201
    assert answer.headers["warning"] == '299 - "unknown field \\"spec.nonsense\\""'


@asynccontextmanager
async def _stream(url: str, path: str) -> AsyncIterator[Callable[[bytes], Awaitable[bytes]]]:
    """A GET over a connection of its own; gives a function that reads until some bytes have come."""
    async with await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2])) as connection:
        await connection.send_all(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        seen = b""

        async def read_until(wanted: bytes) -> bytes:
            nonlocal seen
            with trio.fail_after(10):
                while wanted not in seen:
                    seen += await connection.receive_some() or b"the end"
            return seen

        yield read_until


async def test_a_watch_sends_its_head_at_once_and_then_lines(url: str, http: httpx.AsyncClient) -> None:
    async with _stream(url, f"{PODS}?watch=1&timeoutSeconds=2") as read_until:
        assert b"content-type: application/json" in await read_until(b"\r\n\r\n")
        await http.post(PODS, json=pod())
        assert b'{"type":"ADDED","object":{' in await read_until(b'"name":"web"')
        await read_until(b"0\r\n\r\n")


async def test_logs_are_read_from_the_node(http: httpx.AsyncClient, node: FakeNode) -> None:
    await http.post(PODS, json=pod())
    params = {"tailLines": "5", "timestamps": "true", "sinceSeconds": "60", "limitBytes": "100", "container": "main"}
    answer = await http.get(f"{PODS}/web/log", params=params)
    assert answer.text == "line 0 of main\nline 1 of main\nline 2 of main\n"
    asked = node.logs_asked[-1]
    assert (asked.pod, asked.container, asked.tail_lines, asked.limit_bytes) == ("web", "main", 5, 100)
    assert asked.timestamps
    assert asked.since is not None
    refused = await http.get(f"{PODS}/web/log", params={"previous": "true"})
    assert (refused.status_code, refused.json()["reason"]) == (400, "BadRequest")
    assert (await http.get(f"{PODS}/web/log", params={"container": "other"})).status_code == 400
    assert (await http.get(f"{PODS}/missing/log")).status_code == 404


async def test_a_follower_that_leaves_is_let_go(url: str, http: httpx.AsyncClient, node: FakeNode) -> None:
    body = pod()
    body["spec"]["containers"][0]["name"] = "endless"
    await http.post(PODS, json=body)
    async with _stream(url, f"{PODS}/web/log?follow=true") as read_until:
        await read_until(b"line 2 of endless")
        assert node.followers == 1
    await _until(lambda: node.followers == 0)


async def test_without_a_node_logs_are_unavailable(http: httpx.AsyncClient, server: ApiServer) -> None:
    server.gateway = None
    await http.post(PODS, json=pod())
    assert (await http.get(f"{PODS}/web/log")).status_code == 503


async def test_exec_without_a_websocket_says_so(http: httpx.AsyncClient) -> None:
    await http.post(PODS, json=pod())
    answer = await http.post(f"{PODS}/web/exec", params={"command": "ls", "stdout": "true"})
    assert answer.status_code == 400
    assert "WebSocket" in answer.json()["message"]


async def test_anyone_may_do_anything_and_is_told_so(http: httpx.AsyncClient) -> None:
    review = {"spec": {"resourceAttributes": {"verb": "create", "resource": "pods"}}}
    answer = await http.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", json=review)
    assert answer.status_code == 201
    assert answer.json()["status"]["allowed"] is True
