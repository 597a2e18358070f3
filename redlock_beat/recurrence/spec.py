"""What every kind of schedule is: a frozen value, equal to another that says the same, which knows its next slot.

Instants are microseconds since the epoch (see ``clock``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Protocol, runtime_checkable

from ..clock import micros

#: The kinds there are. A class of a user's own is registered under another name.
KINDS = ("interval", "crontab", "solar", "rrule", "once", "custom")
#: No interval and no crontab has a slot from here on.
LAST = micros(datetime(9990, 1, 1, tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class Rules:
    """What a slot depends on besides the schedule itself."""

    zone: str = "UTC"
    anchor: int = 0
    gap: str = "after"
    fold: str = "auto"


@runtime_checkable
class Spec(Protocol):
    """A kind of schedule: a value that knows the first slot strictly after an instant."""

    kind: ClassVar[str]

    def next(self, after: int, rules: Rules) -> int | None:
        """The first slot strictly after *after*, or None when there is none any more."""
        ...

    def data(self) -> dict[str, Any]:
        """The schedule as JSON-able data, without its kind."""
        ...
