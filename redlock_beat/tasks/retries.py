"""Pauses between retries, as a list."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from ..errors import InvalidTask
from .rules import seconds


def delays_of(task: Any) -> tuple[float, ...]:
    """The pauses of a task in seconds, checked; empty for none.

    >>> from datetime import timedelta
    >>> class Mail:
    ...     name, default_retry_delays, default_retry_jitter = "mail", (60, timedelta(minutes=2)), 0
    >>> delays_of(Mail)
    (60.0, 120.0)
    """
    given = task.default_retry_delays
    jitter = task.default_retry_jitter
    if not isinstance(jitter, (int, float)) or isinstance(jitter, bool) or not 0 <= jitter <= 10:
        raise InvalidTask(f"{task.name}: default_retry_jitter is {jitter!r}, but must be a number from 0 to 10.")
    if given is None:
        return ()
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise InvalidTask(
            f"{task.name}: default_retry_delays is {given!r}, but must be a list, such as (60, 120, 180)."
        )
    return tuple(seconds(task.name, "default_retry_delays", one) for one in given)


def pause(delays: Sequence[float], retries: int, jitter: float) -> float:
    """The pause before the next retry: its place in the list, the last for all after it, longer by chance.

    >>> [pause((60, 120), retries, 0) for retries in range(3)]
    [60.0, 120.0, 120.0]
    >>> 60 <= pause((60,), 0, 0.5) <= 90
    True
    """
    delay = delays[min(retries, len(delays) - 1)]
    return float(delay * (1 + random.uniform(0, jitter)))  # noqa: S311 - it spreads load, and keeps no secret
