"""What Kr8sClient adds to a session: credentials, statuses, slots. Against small servers of the test's own."""

import base64
import datetime
import ipaddress
import ssl
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import orjson
import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from k8s import kr8s_client
from k8s.client import JsonObject, KubeError, UnreachableError
from k8s.kr8s_client import REQUESTS_IN_FLIGHT, Kr8sClient


def _answer(status: int, body: JsonObject) -> bytes:
    data = orjson.dumps(body)
    return b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(data), data)


@asynccontextmanager
async def _server(answer: Callable[[bytes], bytes]) -> AsyncIterator[str]:
    """A server without bodies in its requests; `answer` sees each request's head."""

    async def serve(stream: trio.SocketStream) -> None:
        data = b""
        async with stream:
            async for more in stream:
                data += more
                while b"\r\n\r\n" in data:
                    head, _, data = data.partition(b"\r\n\r\n")
                    await stream.send_all(answer(head))

    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


def _kubeconfig(path: Path, server: str, **user: str) -> Path:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "a",
        "clusters": [{"name": "a", "cluster": {"server": server}}],
        "users": [{"name": "a", "user": user}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
    }
    path.write_bytes(orjson.dumps(config))
    return path


async def test_a_token_is_sent_and_read_again_when_it_is_refused(tmp_path: Path) -> None:
    def answer(head: bytes) -> bytes:
        return _answer(200, {}) if b"authorization: Bearer new" in head else _answer(401, {"kind": "Status"})

    async with _server(answer) as url:
        kubeconfig = _kubeconfig(tmp_path / "kubeconfig", url, token="old")
        async with Kr8sClient.connect(kubeconfig) as client:
            with pytest.raises(KubeError) as refused:
                await client.request("GET", "/api/v1/pods")
            assert refused.value.status == 401
            _kubeconfig(kubeconfig, url, token="new")
            assert await client.request("GET", "/api/v1/pods") == {}


async def test_an_address_gets_no_credentials_of_a_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heads: list[bytes] = []

    def answer(head: bytes) -> bytes:
        heads.append(head)
        return _answer(200, {})

    monkeypatch.setenv("KUBECONFIG", str(_kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:1", token="hunter2")))
    async with _server(answer) as url, Kr8sClient.connect(url=url) as client:
        await client.request("GET", "/api/v1/pods")
    assert b"hunter2" not in heads[0]


async def test_a_refusal_leaves_other_calls_and_watches_alone() -> None:
    def answer(head: bytes) -> bytes:
        if b"watch=true" in head:
            return b'HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n10\r\n{"type":"ADDED"}\r\n'
        return _answer(403, {"kind": "Status", "reason": "Forbidden", "message": "no", "code": 403})

    async with (
        _server(answer) as url,
        Kr8sClient.connect(url=url) as client,
        client.stream("/api/v1/pods", params={"watch": "true"}, read_timeout_s=0.3),
    ):
        session = client._api._session
        with pytest.raises(KubeError, match="403 Forbidden: no"):
            await client.request("GET", "/api/v1/pods")
        assert client._api._session is session


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [(502, b"<html>bad gateway", "502 Unknown: <html>bad gateway"), (503, b"", "503 Unknown: HTTP status 503")],
)
async def test_a_proxys_answer_is_a_refusal_too(status: int, body: bytes, message: str) -> None:
    whole = b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)
    async with _server(lambda _head: whole) as url, Kr8sClient.connect(url=url) as client:
        with pytest.raises(KubeError) as refused:
            await client.request("GET", "/api/v1/pods")
        assert str(refused.value) == message


async def test_events_cut_anywhere_are_put_together() -> None:
    lines = b'{"type":"ADDED","object":{"a":1}}\n{"type":"MODIFIED","object":{"a":2}}\n'

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n")
            for byte in lines:
                await stream.send_all(b"1\r\n%c\r\n" % byte)
                await trio.lowlevel.checkpoint()
            await stream.send_all(b"0\r\n\r\n")

    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        told: list[Sequence[JsonObject]] = []
        async with Kr8sClient.connect(url=url) as client, client.stream("/x", params={"watch": "true"}) as batches:
            told = [batch async for batch in batches]
        nursery.cancel_scope.cancel()
    assert [event["object"]["a"] for batch in told for event in batch] == [1, 2]
    assert all(told)


async def test_an_event_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kr8s_client, "MOST_OF_AN_EVENT", 1000)
    endless = b"HTTP/1.1 200 X\r\ncontent-length: 5000\r\n\r\n" + b"x" * 2000
    async with (
        _server(lambda _head: endless) as url,
        Kr8sClient.connect(url=url) as client,
        client.stream("/x", params={"watch": "true"}) as batches,
    ):
        with pytest.raises(UnreachableError, match="without an end"):
            await anext(batches)


async def test_no_more_calls_are_in_flight_than_there_are_slots() -> None:
    now, most = 0, 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal now, most
        async with stream:
            async for _ in stream:
                now += 1
                most = max(most, now)
                await trio.sleep(0.001)
                now -= 1
                await stream.send_all(_answer(200, {}))

    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        async with Kr8sClient.connect(url=url) as client, trio.open_nursery() as calls:
            for _ in range(REQUESTS_IN_FLIGHT * 10):
                calls.start_soon(client.request, "GET", "/version")
        nursery.cancel_scope.cancel()
    assert most <= REQUESTS_IN_FLIGHT


async def test_no_key_is_left_in_a_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    certificate, key = _self_signed()
    kubeconfig = _kubeconfig(
        tmp_path / "kubeconfig",
        "https://127.0.0.1:1",
        **{
            "client-certificate-data": base64.b64encode(certificate).decode(),
            "client-key-data": base64.b64encode(key).decode(),
        },
    )
    async with Kr8sClient.connect(kubeconfig) as client:
        assert list((tmp_path / "temporary").iterdir()) == []
        with pytest.raises(UnreachableError):
            await client.request("GET", "/version")


async def test_a_bad_kubeconfig_quotes_no_secret(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text("users: [{user: {token: hunter2}}\nclusters: {")
    with pytest.raises(UnreachableError) as refused:
        async with Kr8sClient.connect(kubeconfig):
            pass
    assert "hunter2" not in refused.value.message


async def test_a_proxy_is_refused_in_a_sentence(tmp_path: Path) -> None:
    kubeconfig = _kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:1")
    config = orjson.loads(kubeconfig.read_bytes())
    config["clusters"][0]["cluster"]["proxy-url"] = "http://127.0.0.1:2"
    kubeconfig.write_bytes(orjson.dumps(config))
    with pytest.raises(UnreachableError, match="proxy-url"):
        async with Kr8sClient.connect(kubeconfig):
            pass


def _self_signed() -> tuple[bytes, bytes]:
    """A certificate for 127.0.0.1 and its key, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kecs")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(pem), private


@asynccontextmanager
async def _tls_server(tmp_path: Path) -> AsyncIterator[tuple[str, Path]]:
    certificate, key = _self_signed()
    (tmp_path / "server.pem").write_bytes(certificate + key)
    (tmp_path / "ca.pem").write_bytes(certificate)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "server.pem")

    async def serve(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            async for _ in stream:
                await stream.send_all(_answer(200, {"secure": True}))
        except trio.BrokenResourceError:
            return  # the client did not like the certificate
        finally:
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        listeners: list[trio.SSLListener[trio.SocketStream]] = await nursery.start(
            partial(trio.serve_ssl_over_tcp, serve, 0, context, host="127.0.0.1", https_compatible=True)
        )
        transport = listeners[0].transport_listener
        assert isinstance(transport, trio.SocketListener)
        yield f"https://127.0.0.1:{transport.socket.getsockname()[1]}", tmp_path / "ca.pem"
        nursery.cancel_scope.cancel()


async def test_a_certificate_authority_of_ones_own_is_trusted_and_no_other(tmp_path: Path) -> None:
    async with _tls_server(tmp_path) as (url, authority):
        kubeconfig = _kubeconfig(tmp_path / "kubeconfig", url)
        async with Kr8sClient.connect(kubeconfig) as client:
            with pytest.raises(UnreachableError, match="no TLS"):
                await client.request("GET", "/version")
        config = orjson.loads(kubeconfig.read_bytes())
        config["clusters"][0]["cluster"]["certificate-authority"] = str(authority)
        kubeconfig.write_bytes(orjson.dumps(config))
        async with Kr8sClient.connect(kubeconfig) as client:
            for _ in range(3):
                assert await client.request("GET", "/version") == {"secure": True}


def test_kr8s_is_imported_only_when_a_client_is_opened() -> None:
    code = (
        "import sys, k8s.kr8s_client, k8s.orchestrator, k8s.reflector\n"
        "sys.exit(bool({'kr8s', 'httpx'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
