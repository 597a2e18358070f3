"""How long a call waits by its own options: ``countdown``, ``eta`` and ``expires``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any


def left(value: Any) -> float:
    """Seconds until an instant, which is a number of seconds from now, a datetime or its ISO text; never below 0.

    >>> left(5), left(datetime(2000, 1, 1, tzinfo=UTC))
    (5.0, 0.0)
    """
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        if value.tzinfo is None:
            value = value.replace(tzinfo=UTC)  # as a worker reads it, whatever the app's timezone
        value = (value - datetime.now(UTC)).total_seconds()
    return max(0.0, float(value))


def wait_of(options: Mapping[str, Any], longest: float) -> float:
    """Seconds for which a call may wait: so long for a worker, from when it may be run, and not past its expiry.

    >>> wait_of({"countdown": 60}, 3600), wait_of({"expires": 10}, 3600)
    (3660.0, 10.0)
    """
    later = options.get("countdown") or options.get("eta")
    wait = longest + (left(later) if later else 0.0)
    expires = options.get("expires")
    return wait if expires is None else min(wait, max(0.001, left(expires)))
