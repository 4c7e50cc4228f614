"""`KubeClient` for any Kubernetes, on kr8s: its configuration, credentials and `call_api`, and dicts only.

kr8s's objects and watch loop are not used: they cost hundreds of microseconds an object, and the loop ends silently,
spins on an expired resourceVersion and knows no bookmarks. kr8s is imported when a client is opened, in a thread, so
that whoever imports this module does not wait for it. Bytes travel over `k8s.http_session` instead of httpx.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson
import trio

from k8s.client import _NO_PARAMS, JSON, JsonObject, KubeError, UnreachableError
from k8s.http_session import Answer, Session, StreamedAnswer, TransportError

if TYPE_CHECKING:
    from kr8s._api import Api

REQUESTS_IN_FLIGHT: Final = 32
"""Calls in flight at once; the rest wait here. More gains nothing, and the server's own queues would refuse them."""

MOST_OF_AN_EVENT: Final = 32 << 20
"""Bytes of one event of a watch: an object has no more than a few megabytes."""

_NOT_NEEDED_BY_KR8S: Final = ("httpx._main", "regex")
"""Optional to what kr8s imports (httpx's command line with rich, an engine for JSONPath): a quarter of its import."""


class Kr8sClient:
    """One API server, reached as its kubeconfig says. Open it with `connect`; one is enough for a process."""

    def __init__(self, api: Api, in_flight: int = REQUESTS_IN_FLIGHT) -> None:
        self._api = api
        self._slots = trio.CapacityLimiter(in_flight)
        self._login = trio.Lock()

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, kubeconfig: str | Path | None = None, *, context: str | None = None, url: str | None = None
    ) -> AsyncIterator[Kr8sClient]:
        """A client for `url`, or for a kubeconfig's (current) context, or for where this pod runs.

        Nothing is asked of the server yet, so it may be down. Raises UnreachableError when there is no usable
        configuration.
        """
        try:
            api = await _open_api(kubeconfig, context, url)
        except Exception as error:
            # kr8s raises whatever a bad file leads to; a parser's message may quote the file, and so a secret.
            why = error if isinstance(error, OSError | KeyError | ValueError) else type(error).__name__
            raise UnreachableError(
                f"no usable Kubernetes configuration in {url or kubeconfig or 'sight'}: {why}"
            ) from error
        client = cls(api)
        try:
            yield client
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 2):
                await client._close_session()

    @property
    def server(self) -> str:
        """The API server's address, for messages."""
        return str(self._api.auth.server)

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] = _NO_PARAMS,
        body: object | None = None,
        content_type: str = JSON,
        timeout_s: float = 30,
    ) -> JsonObject:
        """See KubeClient. Waiting for one of the slots does not count towards `timeout_s`."""
        call = _arguments(path, params) | {"method": method}
        if body is not None:
            call |= {"content": orjson.dumps(body), "headers": {"content-type": content_type}}
        async with self._slots:
            answer = await self._answer(call, timeout_s)
            if answer.status_code == 401:
                await self._log_in_again()
                answer = await self._answer(call, timeout_s)
        if answer.status_code >= 300:
            raise _refusal(answer.status_code, answer.content)
        return _parsed(answer.content)

    @asynccontextmanager
    async def stream(
        self, path: str, *, params: Mapping[str, str] = _NO_PARAMS, read_timeout_s: float = 90
    ) -> AsyncIterator[AsyncIterator[Sequence[JsonObject]]]:
        """See KubeClient. A watch takes no slot, so that watches never starve calls."""
        async with AsyncExitStack() as stack:
            with self._as_unreachable(), trio.fail_after(read_timeout_s):
                # Entering inside a deadline and leaving outside it is safe: what is entered opens no cancel scope.
                answer: Any = await stack.enter_async_context(
                    self._api.call_api(**_arguments(path, params), stream=True)
                )
                refused = await answer.aread() if answer.status_code >= 300 else None
            if refused is not None:
                if answer.status_code == 401:
                    await self._log_in_again()
                raise _refusal(answer.status_code, refused)
            yield await stack.enter_async_context(aclosing(self._batches(answer, read_timeout_s)))

    async def _batches(
        self, answer: StreamedAnswer, read_timeout_s: float
    ) -> AsyncGenerator[Sequence[JsonObject], None]:
        """The events in the lines of an answer; each batch is what one read completed."""
        rest = b""
        while True:
            with self._as_unreachable(), trio.fail_after(read_timeout_s):
                data = await answer.read_some()
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > MOST_OF_AN_EVENT:
                raise UnreachableError("what answered is not a Kubernetes API server: an event without an end")
            if batch := [_parsed(line) for line in lines if line.strip()]:
                yield batch

    async def _answer(self, call: Mapping[str, Any], timeout_s: float) -> Answer:
        with self._as_unreachable(), trio.fail_after(timeout_s):
            async with self._api.call_api(**call) as response:
                answer: Any = response
                return Answer(answer.status_code, answer.content)

    @contextmanager
    def _as_unreachable(self) -> Iterator[None]:
        """Turn every way in which a call can end without an answer into UnreachableError."""
        try:
            yield
        except trio.TooSlowError as error:
            raise UnreachableError(f"the Kubernetes API server at {self.server} did not answer in time") from error
        except TransportError as error:
            raise UnreachableError(f"the Kubernetes API server at {self.server} is out of reach: {error}") from error

    async def _log_in_again(self) -> None:
        """Read the credentials again: a token may have been renewed, an exec plug-in gives a new one."""
        async with self._login:
            try:
                await self._api.auth.reauthenticate()
                await _open_session(self._api)
            except (OSError, KeyError, ValueError, RuntimeError) as error:
                raise UnreachableError(f"no usable Kubernetes credentials: {error}") from error

    async def _close_session(self) -> None:
        session = self._api._session
        if session is not None:
            await session.aclose()


def _arguments(path: str, params: Mapping[str, str]) -> dict[str, Any]:
    # raise_for_status=False: kr8s would answer each 403 (say, a namespace being terminated) by logging in again
    # three times, and each time close the session under every other call and watch.
    base, _, last = path.rpartition("/")
    where = {"base": base, "url": last} if base else {"base": path}
    return {**where, "version": "", "raise_for_status": False, "params": params}


async def _open_api(kubeconfig: str | Path | None, context: str | None, url: str | None) -> Api:
    api_class = await trio.to_thread.run_sync(_load_kr8s)
    where: Any = None if kubeconfig is None else str(kubeconfig)
    # Not `kr8s.asyncio.api()`: that asks for /version at once, and warns of every server newer or older than itself.
    api = api_class(bypass_factory=True, url=url, kubeconfig=where, context=context)
    if url:  # else kr8s would read ~/.kube/config as well, and send its token to this address
        auth: Any = api.auth
        auth._kubeconfig_path_or_dict = False
    await api.auth
    await _open_session(api)
    return api


def _load_kr8s() -> type[Api]:
    with _without(*_NOT_NEEDED_BY_KR8S):
        from kr8s._api import Api  # here, for a thread to import: it takes a third of a second

    return Api


@contextmanager
def _without(*modules: str) -> Iterator[None]:
    """Let imports of these modules fail inside, as if they were not installed."""
    absent = [name for name in modules if name not in sys.modules]
    blocked: dict[str, Any] = dict.fromkeys(absent)
    sys.modules.update(blocked)
    try:
        yield
    finally:
        for name in absent:
            sys.modules.pop(name, None)


async def _open_session(api: Api) -> None:
    """Give kr8s the session that it calls through; the one before is closed once its calls are over."""
    if api.auth.proxy:
        raise ValueError("the kubeconfig names a proxy-url, which is not supported")
    auth: Any = api.auth
    old, tls = api._session, await auth.ssl_context()
    _forget_key_files(api)
    headers = {"accept": JSON, "user-agent": "kecs"}
    if api.auth.token:
        headers["authorization"] = f"Bearer {api.auth.token}"
    session: Any = Session(api.auth.server, headers, None if tls is True else tls, api.auth.tls_server_name)
    api._session = session
    if old is not None:
        await old.aclose()


def _forget_key_files(api: Api) -> None:
    """Remove the copies that kr8s leaves of the keys inside a kubeconfig, now that they are loaded."""
    temporary = Path(tempfile.gettempdir())
    for file in (api.auth.client_key_file, api.auth.client_cert_file, api.auth.server_ca_file):
        if file and Path(str(file)).parent == temporary and Path(str(file)).name.startswith("tmp"):
            Path(str(file)).unlink(missing_ok=True)


def _parsed(data: bytes) -> JsonObject:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise UnreachableError(f"what answered is not a Kubernetes API server: {error}") from error
    if not isinstance(value, dict):
        raise UnreachableError("what answered is not a Kubernetes API server: no JSON object")
    return value


def _refusal(status: int, data: bytes) -> KubeError:
    """The error a response stands for, whether its body is a `Status` or a proxy's text."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        value = None
    if isinstance(value, dict) and value.get("kind") == "Status":
        return KubeError.of_status(value, status)
    return KubeError(status, "Unknown", data[:200].decode(errors="replace").strip() or f"HTTP status {status}")
