"""Pages of lists: `maxResults`, and the opaque `nextToken` that says where the next page begins.

A token holds the last key of the page before, bound to the list it came from. It is not secret, only checked: one that
was not given out for this list is refused.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, TypeAlias

from engine.errors import AwsError, invalid_parameter

Fetch: TypeAlias = "Callable[[str | None, int], list[tuple[str, bool]]]"

Listing: TypeAlias = "tuple[object, ...]"
"""What names a list and its filters: a token is good for the list it came from only."""

_DIGEST_BYTES = 9


def page_size(members: Mapping[str, Any], default: int = 100, most: int = 100) -> int:
    """The page size that is asked for. Raises InvalidParameterException outside 1 to `most`."""
    size: int = members.get("max_results", default)
    if not 1 <= size <= most:
        raise invalid_parameter(f"MaxResults must be between 1 and {most}.")
    return size


def token(listing: Listing, last: str) -> str:
    """The token for the page after the one that ended with `last` in the list that `listing` names."""
    key = last.encode()
    return base64.urlsafe_b64encode(_digest(listing, key) + key).decode()


def after(listing: Listing, members: Mapping[str, Any]) -> str | None:
    """The key after which the page begins, None for the first page. Raises InvalidParameterException."""
    text: str | None = members.get("next_token")
    if not text:
        return None
    try:
        decoded = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
        last = decoded[_DIGEST_BYTES:].decode()
    except (binascii.Error, UnicodeError, ValueError):
        raise _invalid() from None
    if decoded[:_DIGEST_BYTES] != _digest(listing, decoded[_DIGEST_BYTES:]):
        raise _invalid()
    return last


def filtered(
    listing: Listing, members: Mapping[str, Any], fetch: Fetch, default: int = 100
) -> tuple[list[str], str | None]:
    """A page of keys, and the token of the next page (None: there is none).

    `fetch(after, limit)` gives the keys in order that follow `after`, each with whether it belongs in the list.
    """
    size = page_size(members, default)
    last = after(listing, members)
    page: list[str] = []
    while True:
        found = fetch(last, size + 1)
        for key, wanted in found:
            if wanted and len(page) == size:
                return page, token(listing, page[-1])
            if wanted:
                page.append(key)
            last = key
        if len(found) <= size:
            return page, None


def _digest(listing: Listing, key: bytes) -> bytes:
    return blake2b(repr(listing).encode() + b"\0" + key, digest_size=_DIGEST_BYTES).digest()


def _invalid() -> AwsError:
    return invalid_parameter("Invalid token.")
