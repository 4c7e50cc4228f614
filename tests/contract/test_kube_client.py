"""What a KubeClient promises, over each implementation and each kind of server."""

import os
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from k8s.client import MERGE_PATCH, JsonObject, KubeClient, KubeError, UnreachableError
from k8s.kr8s_client import Kr8sClient
from tests.contract.kubernetes import SERVERS, SERVERS_OVER_SOCKETS, a_client_of


@pytest.fixture(params=SERVERS)
async def client(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[KubeClient]:
    async with a_client_of(request.param, tmp_path) as client:
        yield client


@pytest.fixture
async def namespace(client: KubeClient) -> AsyncIterator[str]:
    name = f"kecs-contract-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    await client.request("POST", "/api/v1/namespaces", body={"metadata": {"name": name}})
    await _when_it_takes_pods(client, name)
    yield f"/api/v1/namespaces/{name}"
    await client.request("DELETE", f"/api/v1/namespaces/{name}")


async def _when_it_takes_pods(client: KubeClient, name: str) -> None:
    """A cluster with controllers makes a namespace's service account a moment later."""
    with trio.fail_after(10):
        while True:
            try:
                await client.request("POST", f"/api/v1/namespaces/{name}/pods", body=_pod("probe"))
                break
            except KubeError as error:
                if error.status != 403:
                    raise
                await trio.sleep(0.1)
    await client.request("DELETE", f"/api/v1/namespaces/{name}/pods/probe", body={"gracePeriodSeconds": 0})


def _pod(name: str, **metadata: Any) -> JsonObject:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "x"}, **metadata},
        "spec": {"containers": [{"name": "main", "image": "nowhere.example/none"}]},
    }


async def _version_of(client: KubeClient, namespace: str) -> str:
    listed = await client.request("GET", f"{namespace}/pods")
    version: str = listed["metadata"]["resourceVersion"]
    return version


async def test_what_is_created_can_be_read(client: KubeClient, namespace: str) -> None:
    created = await client.request("POST", f"{namespace}/pods", body=_pod("a"))
    read = await client.request("GET", f"{namespace}/pods/a")
    assert created["metadata"]["uid"] == read["metadata"]["uid"]
    assert read["spec"]["containers"][0]["image"] == "nowhere.example/none"


async def test_what_is_not_there_is_refused_with_its_reason(client: KubeClient, namespace: str) -> None:
    with pytest.raises(KubeError) as refused:
        await client.request("GET", f"{namespace}/pods/nope")
    assert (refused.value.status, refused.value.reason) == (404, "NotFound")
    assert refused.value.details.get("name") == "nope"
    assert "nope" in refused.value.message


async def test_the_same_name_twice_is_refused(client: KubeClient, namespace: str) -> None:
    await client.request("POST", f"{namespace}/pods", body=_pod("a"))
    with pytest.raises(KubeError) as refused:
        await client.request("POST", f"{namespace}/pods", body=_pod("a"))
    assert (refused.value.status, refused.value.reason) == (409, "AlreadyExists")


async def test_nothing_is_created_in_a_namespace_that_is_not_there(client: KubeClient) -> None:
    with pytest.raises(KubeError) as refused:
        await client.request("POST", "/api/v1/namespaces/kecs-not-there/pods", body=_pod("a"))
    assert refused.value.status == 404


async def test_an_invalid_object_is_refused(client: KubeClient, namespace: str) -> None:
    with pytest.raises(KubeError) as refused:
        await client.request("POST", f"{namespace}/pods", body=_pod("Not A Name"))
    assert (refused.value.status, refused.value.reason) == (422, "Invalid")


async def test_a_label_selector_chooses(client: KubeClient, namespace: str) -> None:
    await client.request("POST", f"{namespace}/pods", body=_pod("a", labels={"app": "x"}))
    await client.request("POST", f"{namespace}/pods", body=_pod("b", labels={"app": "y"}))
    listed = await client.request("GET", f"{namespace}/pods", params={"labelSelector": "app=y"})
    assert [one["metadata"]["name"] for one in listed["items"]] == ["b"]


async def test_a_list_comes_in_pages(client: KubeClient, namespace: str) -> None:
    for name in "abc":
        await client.request("POST", f"{namespace}/pods", body=_pod(name))
    first = await client.request("GET", f"{namespace}/pods", params={"limit": "2"})
    rest = await client.request(
        "GET", f"{namespace}/pods", params={"limit": "2", "continue": first["metadata"]["continue"]}
    )
    assert [one["metadata"]["name"] for page in (first, rest) for one in page["items"]] == ["a", "b", "c"]
    assert first["metadata"]["resourceVersion"] == rest["metadata"]["resourceVersion"]
    assert not rest["metadata"].get("continue")


async def test_a_merge_patch_sets_and_removes(client: KubeClient, namespace: str) -> None:
    await client.request("POST", f"{namespace}/pods", body=_pod("a", annotations={"one": "1", "two": "2"}))
    change = {"metadata": {"annotations": {"one": None, "three": "3"}}}
    patched = await client.request("PATCH", f"{namespace}/pods/a", body=change, content_type=MERGE_PATCH)
    annotations = patched["metadata"]["annotations"]
    assert {"two": "2", "three": "3"}.items() <= annotations.items()
    assert "one" not in annotations


async def test_a_finalizer_keeps_what_was_deleted(client: KubeClient, namespace: str) -> None:
    await client.request("POST", f"{namespace}/pods", body=_pod("a", finalizers=["kecs.dev/task-record"]))
    await client.request("DELETE", f"{namespace}/pods/a", body={"gracePeriodSeconds": 0})
    kept = await client.request("GET", f"{namespace}/pods/a")
    assert kept["metadata"]["deletionTimestamp"]
    assert kept["metadata"]["deletionGracePeriodSeconds"] == 0
    await client.request(
        "PATCH", f"{namespace}/pods/a", body={"metadata": {"finalizers": None}}, content_type=MERGE_PATCH
    )
    with pytest.raises(KubeError) as refused:
        await client.request("GET", f"{namespace}/pods/a")
    assert refused.value.status == 404


async def _until(batches: AsyncIterator[Sequence[JsonObject]], count: int) -> list[tuple[str, str]]:
    """(type, name) of so many events."""
    events: list[tuple[str, str]] = []
    while len(events) < count:
        batch = await anext(batches)
        assert batch
        events += [(event["type"], event["object"]["metadata"].get("name", "")) for event in batch]
    return events


async def _drained(
    client: KubeClient, path: str, params: Mapping[str, str], read_timeout_s: float = 90
) -> list[JsonObject]:
    """All events of a watch that ends by itself."""
    with trio.fail_after(20):
        async with client.stream(path, params=params, read_timeout_s=read_timeout_s) as batches:
            return [event async for batch in batches for event in batch]


async def test_a_watch_tells_what_happens_in_order(client: KubeClient, namespace: str) -> None:
    version = await _version_of(client, namespace)
    await client.request("POST", f"{namespace}/pods", body=_pod("a"))
    params = {"watch": "true", "resourceVersion": version, "timeoutSeconds": "30"}
    with trio.fail_after(20):
        async with client.stream(f"{namespace}/pods", params=params) as batches:
            assert ("ADDED", "a") in await _until(batches, 1)
            await client.request("POST", f"{namespace}/pods", body=_pod("b", finalizers=["kecs.dev/task-record"]))
            await client.request("DELETE", f"{namespace}/pods/b", body={"gracePeriodSeconds": 0})
            without = {"metadata": {"finalizers": None}}
            await client.request("PATCH", f"{namespace}/pods/b", body=without, content_type=MERGE_PATCH)
            told: list[tuple[str, str]] = []
            while ("DELETED", "b") not in told:
                told += await _until(batches, 1)
    kinds = [kind for kind, name in told if name == "b"]
    assert kinds[0] == "ADDED"
    assert set(kinds) == {"ADDED", "MODIFIED", "DELETED"}


async def test_a_watch_ends_after_the_time_it_was_given(client: KubeClient, namespace: str) -> None:
    params = {"watch": "true", "resourceVersion": await _version_of(client, namespace), "timeoutSeconds": "1"}
    await _drained(client, f"{namespace}/pods", params)


async def test_a_watch_of_nothing_that_exists_is_refused_on_entering(client: KubeClient) -> None:
    with pytest.raises(KubeError) as refused:
        async with client.stream("/api/v1/unheardofs", params={"watch": "true"}):
            pass
    assert refused.value.status == 404


async def test_a_watch_may_be_left_at_any_time(client: KubeClient, namespace: str) -> None:
    params = {"watch": "true", "timeoutSeconds": "30"}
    async with client.stream(f"{namespace}/pods", params=params):
        pass
    await client.request("POST", f"{namespace}/pods", body=_pod("a"))
    async with client.stream(f"{namespace}/pods", params=params) as batches:
        async for _ in batches:
            break
    with trio.move_on_after(0.2):
        async with client.stream(f"{namespace}/pods", params=params) as batches:
            async for _ in batches:
                pass


async def test_an_expired_version_is_told_as_410(client: KubeClient, namespace: str) -> None:
    version = await _version_of(client, namespace)
    params = {"watch": "true", "resourceVersion": "1", "timeoutSeconds": "1"}
    assert int(version) > 1
    try:
        events = await _drained(client, f"{namespace}/pods", params)
    except KubeError as error:
        told = error.status
    else:  # a server that still remembers everything may tell it instead
        told = next((event["object"]["code"] for event in events if event["type"] == "ERROR"), 410)
    assert told == 410


async def test_many_watches_starve_no_call(client: KubeClient, namespace: str) -> None:
    open_watches = 0

    async def watch(task_status: trio.TaskStatus[None]) -> None:
        nonlocal open_watches
        params = {"watch": "true", "timeoutSeconds": "30"}
        async with client.stream(f"{namespace}/pods", params=params) as batches:
            open_watches += 1
            task_status.started()
            async for _ in batches:
                pass

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for _ in range(120):
                await nursery.start(watch)
            await client.request("POST", f"{namespace}/pods", body=_pod("a"))
            assert open_watches == 120
            nursery.cancel_scope.cancel()


async def test_calls_side_by_side_do_not_mix_their_answers(client: KubeClient, namespace: str) -> None:
    async def create(name: str) -> None:
        created = await client.request("POST", f"{namespace}/pods", body=_pod(name))
        assert created["metadata"]["name"] == name

    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(create, f"p{number}")
    listed = await client.request("GET", f"{namespace}/pods")
    assert len(listed["items"]) == 100


@pytest.mark.parametrize("client", SERVERS_OVER_SOCKETS, indirect=True)
async def test_a_silent_watch_is_a_dead_peer(client: KubeClient, namespace: str) -> None:
    params = {"watch": "true", "resourceVersion": await _version_of(client, namespace), "timeoutSeconds": "30"}
    with pytest.raises(UnreachableError):
        await _drained(client, f"{namespace}/pods", params, read_timeout_s=0.3)


async def test_a_server_that_is_not_there_is_unreachable() -> None:
    async with Kr8sClient.connect(url="http://127.0.0.1:1") as client:
        with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1"):
            await client.request("GET", "/version")
        with pytest.raises(UnreachableError):
            async with client.stream("/api/v1/pods"):
                pass


async def test_a_server_that_does_not_answer_is_unreachable() -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    port = listener.socket.getsockname()[1]
    async with listener, Kr8sClient.connect(url=f"http://127.0.0.1:{port}") as client:
        with pytest.raises(UnreachableError, match="did not answer in time"):
            await client.request("GET", "/version", timeout_s=0.1)
        with pytest.raises(UnreachableError, match="did not answer in time"):
            async with client.stream("/api/v1/pods", read_timeout_s=0.1):
                pass


async def test_what_is_no_kubernetes_is_unreachable() -> None:
    async def web_page(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n<html")

    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(trio.serve_tcp, web_page, 0)
        port = listeners[0].socket.getsockname()[1]
        async with Kr8sClient.connect(url=f"http://127.0.0.1:{port}") as client:
            with pytest.raises(UnreachableError, match="not a Kubernetes API server"):
                await client.request("GET", "/version")
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("text", ["", "not: [yaml", "apiVersion: v1\nkind: Config\ncontexts: []\n"])
async def test_a_kubeconfig_that_says_nothing_is_a_sentence(tmp_path: Path, text: str) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(text)
    with pytest.raises(UnreachableError, match="no usable Kubernetes configuration in"):
        async with Kr8sClient.connect(kubeconfig):
            pass


async def test_a_context_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: a\nusers: [{name: a, user: {}}]\n"
        "clusters: [{name: a, cluster: {server: 'http://127.0.0.1:1'}}]\n"
        "contexts: [{name: a, context: {cluster: a, user: a}}]\n"
    )
    with pytest.raises(UnreachableError, match="nowhere"):
        async with Kr8sClient.connect(kubeconfig, context="nowhere"):
            pass
    async with Kr8sClient.connect(kubeconfig) as client:
        assert client.server == "http://127.0.0.1:1"
