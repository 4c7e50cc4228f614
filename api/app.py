"""The Quart app behind the AWS endpoint's address: everything that is not the hot path.

It answers the same AWS requests as the front, from the same `Endpoint`, and says in JSON what lives here to whoever
comes with a browser or a wrong path.
"""

from __future__ import annotations

from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from api.dispatch import BODY_LIMIT, Endpoint, Request
from api.protocol import faults
from api.protocol.faults import Answer

_MOST_DROPPED = 16 * BODY_LIMIT


def create_app(endpoint: Endpoint) -> QuartTrio:
    """A new app; it can be served once."""
    app = QuartTrio("kecs", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = None  # bounded here: Quart's own check would reset the connection
    app.config["BODY_TIMEOUT"] = 60

    async def aws(operation: str = "") -> Response:  # noqa: ARG001  (Quart passes the path's last part by name)
        return _response(await _answer(endpoint))

    async def welcome() -> Response:
        return _json({"service": "KECS", "api": "Amazon ECS (AWS JSON 1.1): POST / or POST /v1/<Operation>"}, 200)

    async def refuse(error: HTTPException) -> Response:
        message = f"{request.method} {request.path} is nothing that KECS serves."
        return _json({"__type": "NotFoundException", "message": message}, error.code or 404)

    app.add_url_rule("/", "aws", aws, methods=["POST"])
    app.add_url_rule("/v1/<path:operation>", "aws_operation", aws, methods=["POST"])
    app.add_url_rule("/", "welcome", welcome, methods=["GET"])
    app.register_error_handler(HTTPException, refuse)
    return app


async def _answer(endpoint: Endpoint) -> Answer:
    body = await _body()
    if body is None:
        return endpoint.refuse(faults.too_large(BODY_LIMIT))
    outcome = endpoint.answer(
        Request(
            request.method,
            request.path,
            request.headers.get("x-amz-target", ""),
            request.headers.get("authorization", ""),
            request.headers.get("content-type", ""),
            body,
            request.headers.get("origin", ""),
        )
    )
    return outcome if isinstance(outcome, Answer) else await outcome


async def _body() -> bytes | None:
    """The request's body; None when it is too long. What is too long is read and dropped, so that the client hears."""
    kept, size = bytearray(), 0
    async for data in request.body:
        size += len(data)
        if size <= BODY_LIMIT:
            kept += data
        elif size > _MOST_DROPPED:
            break
    return bytes(kept) if size <= BODY_LIMIT else None


def _response(answer: Answer) -> Response:
    headers = {"x-amzn-RequestId": answer.request_id}
    if answer.close:
        headers["Connection"] = "close"
    return Response(answer.body, answer.status, headers, content_type=answer.content_type)


def _json(body: dict[str, str], status: int) -> Response:
    text = faults.dumps(body)
    return Response(text, status, {"x-amzn-RequestId": faults.new_request_id()}, content_type="application/json")
