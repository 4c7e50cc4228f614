"""Answers and errors on the wire: what an `AwsError` looks like in AWS JSON 1.1, and to a client of a query protocol.

Owns: `Answer`, the errors of a request that is not a valid request at all, and their rendering. Knows no operations.
"""

from __future__ import annotations

import uuid
from itertools import count
from xml.sax.saxutils import escape

import orjson
from attrs import frozen

from engine.errors import AwsError

JSON = "application/x-amz-json-1.1"
XML = "text/xml"

# A UUID a request costs more than a read's answer: ids are one random UUID's head and a count from a random start.
_PREFIX = str(uuid.uuid4())[:24]
_COUNT = count(uuid.uuid4().int)


class RequestError(AwsError):
    """What arrived is not a valid request: it could not be read, or names nothing that exists."""


@frozen
class Answer:
    """A complete response. `code` is the error's name, empty for a success; `close` ends the connection after it."""

    status: int
    body: bytes
    request_id: str
    code: str = ""
    content_type: str = JSON
    close: bool = False


def new_request_id() -> str:
    """A fresh `x-amzn-RequestId`."""
    return f"{_PREFIX}{next(_COUNT) & 0xFFFF_FFFF_FFFF:012x}"


def serialization(message: str) -> RequestError:
    """The body is not JSON, or a member has the wrong type."""
    return RequestError("SerializationException", message)


def unknown_operation(name: str) -> RequestError:
    """The target names no operation of the service."""
    return RequestError("UnknownOperationException", f"The operation {_shown(name)} does not exist in Amazon ECS.")


def too_large(limit: int) -> RequestError:
    """The body is larger than the server reads. `limit` in bytes."""
    return RequestError("RequestEntityTooLarge", f"The request body is larger than {limit} bytes.", 413)


def malformed_http(message: str, status: int = 400) -> RequestError:
    """The bytes are not HTTP that the server accepts."""
    return RequestError("MalformedHttpRequestException", message, status)


def other_service(service: str, target: str) -> AwsError:
    """The request is for another AWS service."""
    named = f"{_shown(service)} ({_shown(target)})" if target else _shown(service)
    return AwsError(
        "UnsupportedFeatureException",
        f"KECS answers Amazon ECS requests only; this one is for another service: {named}. See docs/unsupported.md.",
    )


def throttled() -> AwsError:
    """The receiver's mailbox is full: the SDKs retry."""
    return AwsError("ThrottlingException", "Rate exceeded")


def unavailable(message: str) -> AwsError:
    """The receiver is restarting or too slow: the SDKs retry."""
    return AwsError("ServerException", message, 503)


def internal(request_id: str) -> AwsError:
    """A bug of ours. The traceback is in the log, under the request id."""
    return AwsError(
        "ServerException", f"KECS failed to answer. The log has the reason under request id {request_id}.", 500
    )


def fault(error: AwsError, request_id: str, *, xml: bool = False, close: bool = False) -> Answer:
    """The error as an answer; as XML for a client of a query protocol, which could not read JSON."""
    if xml:
        body = (
            f"<ErrorResponse><Error><Type>Sender</Type><Code>{escape(error.code)}</Code>"
            f"<Message>{escape(error.message)}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
        ).encode("utf-8", "replace")
        return Answer(error.status, body, request_id, error.code, XML, close)
    body = orjson.dumps({"__type": error.code, "message": encodable(error.message)})
    return Answer(error.status, body, request_id, error.code, JSON, close)


def dumps(value: object) -> bytes:
    """JSON of a small value of our own making."""
    return orjson.dumps(value)


def encodable(text: str) -> str:
    """`text` with what UTF-8 cannot carry (lone surrogates) replaced."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def _shown(text: str) -> str:
    """A client's text as it may stand in a message: printable, bounded."""
    kept = "".join(character if character.isprintable() else "?" for character in text[:128])
    return kept or "(none)"
