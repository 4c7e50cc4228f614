"""Ranges and addresses."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest

from k8s.embedded.driver import SandboxError
from k8s.embedded.process.addresses import SPACE, AddressRange, free_range


def test_addresses_are_lent_once_and_not_again_soon() -> None:
    lender = AddressRange(IPv4Network("10.0.0.0/29"))
    lent = [lender.lend() for _ in range(5)]
    assert len(set(lent)) == 5
    assert not {"10.0.0.0", lender.gateway, "10.0.0.7"} & set(lent)
    lender.give_back(lent[3])
    lender.give_back(lent[0])
    assert [lender.lend(), lender.lend()] == [lent[0], lent[3]]
    with pytest.raises(SandboxError, match="no address is left"):
        lender.lend()


def test_a_claimed_address_is_not_lent() -> None:
    lender = AddressRange(IPv4Network("10.0.0.0/29"))
    for claimed in ("10.0.0.3", "10.0.0.4", "192.168.0.1", ""):
        lender.claim(claimed)
    assert {lender.lend() for _ in range(3)} == {"10.0.0.2", "10.0.0.5", "10.0.0.6"}


def test_a_range_overlaps_nothing_that_is_taken() -> None:
    first = free_range("0", [])
    assert first.subnet_of(SPACE)
    second = free_range("0", [first])
    assert not second.overlaps(first)
    half = IPv4Network("100.64.0.0/11")
    assert not free_range("0", [half]).overlaps(half)
    with pytest.raises(SandboxError, match="no range is left"):
        free_range("7f", [SPACE])
