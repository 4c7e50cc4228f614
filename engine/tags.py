"""Tags and the rules AWS has for them."""

from __future__ import annotations

from attrs import frozen


@frozen
class Tag:
    """One tag. Keys have 1 to 128 characters, values at most 256."""

    key: str
    value: str = ""
