"""A request and a response as the embedded API server sees them: no sockets, no ASGI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import parse_qsl

import orjson
from attrs import field, frozen

from k8s.client import JsonObject
from k8s.embedded.apiserver.errors import StatusError

if TYPE_CHECKING:
    from k8s.embedded.apiserver.watch import Watch

JSON: Final = "application/json"

SendBytes: TypeAlias = Callable[[bytes], Awaitable[None]]
Producer: TypeAlias = Callable[[SendBytes], Awaitable[None]]
"""Writes a long answer piece by piece, until it is complete or cancelled because the client left.

The first piece, which may be empty, says that the answer is a success; before that it may raise StatusError."""


@frozen
class Request:
    """One request. `params` has the last value of each parameter; `query` the text, for those given several times."""

    method: str
    path: str
    params: Mapping[str, str] = field(factory=dict)
    query: str = ""
    accept: str = JSON
    content_type: str = JSON
    body: bytes = b""
    parsed: object | None = None  # of a caller in this process: the body before it is JSON; not to be changed

    @classmethod
    def of_query(cls, method: str, path: str, query: str, accept: str, content_type: str, body: bytes) -> Request:
        """A request whose parameters come as the text of a URL."""
        params = dict(parse_qsl(query, keep_blank_values=True)) if query else {}
        return cls(method, path, params, query, accept, content_type, body)


@frozen
class Response:
    """One response: `body`, or `producer` for one that goes on."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()
    producer: Producer | None = None
    watch: Watch | None = None  # for readers in this process, who need no bytes


def json_response(body: object, status: int = 200, content_type: str = JSON) -> Response:
    """A response with a JSON body."""
    return Response(status, orjson.dumps(body), content_type)


def error_response(error: StatusError) -> Response:
    """The response that tells a refusal."""
    return json_response(error.as_object(), error.status)


def success(details: JsonObject | None = None, status: int = 200) -> Response:
    """The `Status` of something that was done and has no object to show."""
    body: JsonObject = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    if details:
        body["details"] = details
    if status == 201:
        body["code"] = 201
    return json_response(body, status)
