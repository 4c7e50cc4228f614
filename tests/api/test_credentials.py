from __future__ import annotations

import pytest

from api.protocol.credentials import Credentials, credentials_of
from engine.arn import Scope


def signed(key: str, region: str, service: str = "ecs", date: str = "20260101") -> str:
    return f"AWS4-HMAC-SHA256 Credential={key}/{date}/{region}/{service}/aws4_request, SignedHeaders=host, Signature=0"


def test_a_key_of_twelve_digits_is_the_account() -> None:
    assert credentials_of(signed("123456789012", "eu-west-1")) == Credentials(Scope("123456789012", "eu-west-1"), "ecs")


def test_any_other_key_is_the_default_account() -> None:
    assert credentials_of(signed("AKIAIOSFODNN7EXAMPLE", "cn-north-1")).scope == Scope("000000000000", "cn-north-1")


def test_the_service_is_what_the_client_signed_for() -> None:
    assert credentials_of(signed("x", "us-east-1", "dynamodb")).service == "dynamodb"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer x",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 Credential=",
        signed("x", "US-EAST-1"),
        signed("x", "a" * 33),
        signed("x", "../.."),
        signed("x", "us-east-1", date="now"),
        signed("\u0661" * 12, "us_east_1"),
        "Credential=" * 5000,
    ],
)
def test_a_missing_or_odd_header_means_the_defaults(header: str) -> None:
    assert credentials_of(header) == Credentials(Scope("000000000000", "us-east-1"), "")
