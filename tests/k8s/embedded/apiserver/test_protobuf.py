"""Protobuf bodies, built by hand by the wire format's rules, and any bytes at all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k8s.embedded.apiserver.protobuf import ProtobufError, parse


def _varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def _field(number: int, value: int | bytes | str) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _envelope(version: str, kind: str, raw: bytes) -> bytes:
    return b"k8s\x00" + _field(1, _field(1, version) + _field(2, kind)) + _field(2, raw) + _field(3, "") + _field(4, "")


def test_metadata_and_maps() -> None:
    label = _field(1, "app") + _field(2, "web")
    metadata = _field(1, "m") + _field(2, "") + _field(8, b"") + _field(11, label)
    data = _field(1, "key") + _field(2, "value")
    parsed = parse(_envelope("v1", "ConfigMap", _field(1, metadata) + _field(2, data)))
    assert parsed == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "m", "labels": {"app": "web"}},
        "data": {"key": "value"},
    }


def test_bytes_become_base64_and_zeros_of_pointers_stay() -> None:
    entry = _field(1, "p") + _field(2, b"q")
    secret = parse(_envelope("v1", "Secret", _field(2, entry)))
    assert secret["data"] == {"p": "cQ=="}
    options = parse(_envelope("v1", "DeleteOptions", _field(1, 0)))
    assert options["gracePeriodSeconds"] == 0


def test_times_quantities_and_numbers_or_text() -> None:
    port = _field(1, "http") + _field(3, 80) + _field(4, _field(1, 1) + _field(3, "web")) + _field(5, 0)
    service = parse(_envelope("v1", "Service", _field(2, _field(1, port))))
    assert service["spec"]["ports"] == [{"name": "http", "port": 80, "targetPort": "web"}]
    when = _field(1, _field(8, _field(1, 1_700_000_000)))
    assert parse(_envelope("v1", "ConfigMap", when))["metadata"]["creationTimestamp"] == "2023-11-14T22:13:20Z"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"k8s\x00",
        _envelope("apps/v1", "Deployment", b""),
        _envelope("v1", "ConfigMap", _field(99, "new")),
        _envelope("v1", "ConfigMap", b"\x0a\xff"),
        _envelope("v1", "ConfigMap", _field(1, _field(1, b"\xff"))),
        _envelope("v1", "ConfigMap", _field(1, 5)),
    ],
)
def test_what_is_not_understood_is_refused(data: bytes) -> None:
    with pytest.raises(ProtobufError):
        parse(data)


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["ConfigMap", "Pod", "Service", "Event", "DeleteOptions"]))
def test_any_bytes_are_an_object_or_refused(raw: bytes, kind: str) -> None:
    for data in (raw, b"k8s\x00" + raw, _envelope("v1", kind, raw)):
        try:
            assert isinstance(parse(data), dict)
        except ProtobufError:
            continue
