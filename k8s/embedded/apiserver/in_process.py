"""The `KubeClient` for callers in the API server's own process: the same requests and answers, without sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final

import orjson
import trio

from k8s.client import JSON, JsonObject, KubeError
from k8s.embedded.apiserver.messages import Request, Response

_NO_PARAMS: Final[Mapping[str, str]] = {}


class InProcessClient:
    """Calls the server's handlers directly. Answers are private copies; a watch's objects are shared: read only."""

    def __init__(self, answer: Callable[[Request], Response]) -> None:
        self._answer = answer

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] = _NO_PARAMS,
        body: object | None = None,
        content_type: str = JSON,
        timeout_s: float = 30,  # noqa: ARG002  # the port's; an answer here takes no time to wait for
    ) -> JsonObject:
        """As `KubeClient.request`; never unreachable."""
        await trio.lowlevel.checkpoint()
        response = self._answer(Request(method, path, params, content_type=content_type, parsed=body))
        return _parsed(response)

    @asynccontextmanager
    async def stream(
        self,
        path: str,
        *,
        params: Mapping[str, str] = _NO_PARAMS,
        read_timeout_s: float = 90,  # noqa: ARG002  # the port's; there is no peer that could be dead
    ) -> AsyncIterator[AsyncIterator[Sequence[JsonObject]]]:
        """As `KubeClient.stream`."""
        await trio.lowlevel.checkpoint()
        response = self._answer(Request("GET", path, params))
        watch = response.watch
        if watch is None:
            _parsed(response)
            raise KubeError(400, "BadRequest", f"{path} with {dict(params)} is no watch")
        async with aclosing(watch.batches(watch.parsed)) as batches:
            yield batches


def _parsed(response: Response) -> JsonObject:
    if response.producer is not None:
        raise KubeError(400, "BadRequest", "a stream is not read with request()")
    parsed: Any = orjson.loads(response.body) if response.content_type.startswith(JSON) else {}
    if response.status >= 400:
        raise KubeError.of_status(parsed, response.status)
    answer: JsonObject = parsed
    return answer
