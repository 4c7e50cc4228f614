"""Identifiers derived from a seed: the engine draws no random numbers, and yet needs fresh ids in any turn.

The seed is a random UUID that arrives in CreateCluster or CreateService, so ids of two owners never meet; what is
joined to it (a counter, a time, a container's name) keeps the ids of one owner apart.
"""

from __future__ import annotations

from hashlib import blake2b


def derived_hex(*parts: str) -> str:
    """32 lower-case hex digits: a task's id."""
    return blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def derived_uuid(*parts: str) -> str:
    """A UUID in its usual form: containers, attachments, events."""
    digits = derived_hex(*parts)
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def derived_digits(*parts: str) -> str:
    """19 decimal digits, as in `ecs-svc/1234567890123456789`."""
    return str(10**18 + int(derived_hex(*parts), 16) % (9 * 10**18))


def digest(value: object) -> str:
    """A fingerprint of a frozen value: equal requests have equal ones."""
    return derived_hex(repr(value))
