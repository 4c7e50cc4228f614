"""botocore as the oracle: it serialises requests and parses answers, and its model says what an answer may hold."""

from __future__ import annotations

from functools import cache
from typing import Any

import botocore.loaders
import botocore.model
import botocore.parsers
import botocore.serialize
import orjson

from api.dispatch import Endpoint, Request
from api.protocol.faults import Answer

COMMON_ERRORS = frozenset(
    {"SerializationException", "UnknownOperationException", "UnsupportedFeatureException", "ThrottlingException"}
)


class FaultError(Exception):
    """An error answer, as botocore parsed it."""

    def __init__(self, code: str, message: str, status: int) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.code = code
        self.message = message
        self.status = status


@cache
def service_model() -> botocore.model.ServiceModel:
    description = botocore.loaders.Loader().load_service_model("ecs", "service-2")
    return botocore.model.ServiceModel(description, "ecs")


def serialized(operation: str, members: dict[str, Any]) -> dict[str, Any]:
    """The request that botocore would send."""
    serializer = botocore.serialize.create_serializer("json")
    request: dict[str, Any] = serializer.serialize_to_request(members, service_model().operation_model(operation))
    return request


def request_for(operation: str, members: dict[str, Any], authorization: str = "") -> Request:
    made = serialized(operation, members)
    headers = made["headers"]
    body = made["body"]
    return Request(
        made["method"],
        made["url_path"],
        headers["X-Amz-Target"],
        authorization,
        headers["Content-Type"],
        body if isinstance(body, bytes) else body.encode(),
    )


def parsed(operation: str, answer: Answer) -> dict[str, Any]:
    """The answer as botocore reads it. Raises FaultError; fails on what the model does not allow."""
    assert answer.request_id
    model = service_model().operation_model(operation)
    assert model.output_shape is not None
    body: dict[str, Any] = botocore.parsers.create_parser("json").parse(
        {"status_code": answer.status, "headers": {"x-amzn-requestid": answer.request_id}, "body": answer.body},
        model.output_shape,
    )
    if answer.status >= 300:
        error = body["Error"]
        declared = {shape.name for shape in model.error_shapes}
        assert error["Code"] in declared | COMMON_ERRORS, error
        raise FaultError(error["Code"], error["Message"], answer.status)
    assert_allowed(orjson.loads(answer.body), model.output_shape, operation)
    assert body.pop("ResponseMetadata")["RequestId"] == answer.request_id
    return body


def assert_allowed(value: Any, shape: Any, where: str) -> None:
    """Fail if `value` holds a member, type or enum value that the shape does not have."""
    match shape.type_name:
        case "structure":
            assert isinstance(value, dict), where
            assert value.keys() <= shape.members.keys(), (where, value.keys() - shape.members.keys())
            for name, item in value.items():
                assert_allowed(item, shape.members[name], f"{where}.{name}")
        case "list":
            assert isinstance(value, list), where
            for item in value:
                assert_allowed(item, shape.member, where)
        case "map":
            assert isinstance(value, dict), where
            for item in value.values():
                assert_allowed(item, shape.value, where)
        case "string":
            assert isinstance(value, str), (where, value)
            assert not shape.enum or value in shape.enum, (where, value)
        case "boolean":
            assert isinstance(value, bool), (where, value)
        case "integer" | "long":
            assert type(value) is int, (where, value)
        case _:
            assert isinstance(value, int | float), (where, value)


class Client:
    """Calls an endpoint in the process: no socket, everything else as over the wire."""

    def __init__(self, endpoint: Endpoint, access_key: str = "test", region: str = "us-east-1") -> None:
        self.endpoint = endpoint
        self.authorization = f"AWS4-HMAC-SHA256 Credential={access_key}/20260101/{region}/ecs/aws4_request, Signature=0"

    async def __call__(self, operation: str, **members: Any) -> dict[str, Any]:
        """The parsed output. Raises FaultError."""
        outcome = self.endpoint.answer(request_for(operation, members, self.authorization))
        answer = outcome if isinstance(outcome, Answer) else await outcome
        return parsed(operation, answer)
