"""Whose request it is: account, region and service from the SigV4 credential scope. Signatures are not verified.

An access key id of twelve digits is the account id; any other key belongs to the default account.
"""

from __future__ import annotations

import re
from functools import lru_cache

from attrs import frozen

from engine.arn import DEFAULT_ACCOUNT, DEFAULT_REGION, Scope

_CREDENTIAL = re.compile(
    r"Credential=([^/,\s]{1,128})/\d{8}/([a-z0-9-]{1,32})/([A-Za-z0-9_.-]{1,64})/aws4_request", re.ASCII
)
_ACCOUNT = re.compile(r"\d{12}", re.ASCII)


@frozen
class Credentials:
    """What a request's signature says. `service` is empty when it says nothing."""

    scope: Scope = Scope()
    service: str = ""


_ANONYMOUS = Credentials()


def credentials_of(authorization: str) -> Credentials:
    """What an Authorization header says; the defaults for a missing or odd one."""
    match = _CREDENTIAL.search(authorization, 0, 1024) if authorization else None
    return _ANONYMOUS if match is None else _credentials(*match.groups())


@lru_cache(maxsize=4096)
def _credentials(key: str, region: str, service: str) -> Credentials:
    account = key if _ACCOUNT.fullmatch(key) else DEFAULT_ACCOUNT
    return Credentials(Scope(account, region or DEFAULT_REGION), service)
