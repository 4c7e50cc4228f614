"""JSON answers of the admin server: keys in the order they were given, indented for people."""

from __future__ import annotations

import orjson
from quart import Response


def json_answer(body: object, status: int = 200) -> Response:
    """`body` as indented JSON; what orjson does not know is shown by its `str`."""
    text = orjson.dumps(body, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return Response(text, status, content_type="application/json")
