"""The clock and the source of identifiers of a running instance: the real ones behind the actors' ports."""

from __future__ import annotations

import secrets
import uuid
from datetime import UTC, datetime


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present time, aware UTC."""
        return datetime.now(UTC)


class RandomIds:
    """Identifiers that nobody has had before."""

    def task_id(self) -> str:
        """32 lower-case hex digits."""
        return secrets.token_hex(16)

    def uuid(self) -> str:
        """A random UUID in its usual form."""
        return str(uuid.uuid4())

    def deployment_id(self) -> str:
        """`ecs-svc/` and 19 digits."""
        return f"ecs-svc/{secrets.randbelow(9 * 10**18) + 10**18}"
