"""One shot at an instant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from ..clock import MICROS, bounded, micros, moment, naive_micros
from ..errors import InvalidSchedule
from .spec import Rules
from .zones import read_wall, zone


@dataclass(frozen=True, slots=True)
class Once:
    """One shot at an instant.

    >>> from datetime import UTC
    >>> Once.of(datetime(2027, 1, 1, 7, tzinfo=UTC))
    Once(at=1798786800000000)
    """

    at: int
    kind: ClassVar[str] = "once"

    @classmethod
    def of(cls, when: datetime, name: str = "UTC") -> Once:
        """A one shot; a naive *when* is a time in the zone *name*, refused when it exists twice or not at all."""
        if when.tzinfo is not None:
            return cls(bounded(micros(when), when))
        local = naive_micros(when)
        reading = read_wall(name, local // MICROS)
        if len(reading.instants) == 1:
            return cls(bounded(reading.instants[0] * MICROS + local % MICROS, when))
        if reading.instants:
            both = " or ".join(moment(at * MICROS).astimezone(zone(name)).isoformat() for at in reading.instants)
            raise InvalidSchedule(f"{when} happens twice in {name} (the clock goes back): say which, {both}.")
        assert reading.gap_end is not None
        end = moment(reading.gap_end * MICROS).astimezone(zone(name))
        early = moment((reading.gap_end - 1) * MICROS).astimezone(zone(name))
        raise InvalidSchedule(
            f"{when} does not exist in {name} (the clock goes forward from {early.isoformat()} "
            f"to {end.isoformat()}): give an instant that does, with its offset."
        )

    def next(self, after: int, rules: Rules) -> int | None:
        return self.at if self.at > after else None

    def data(self) -> dict[str, Any]:
        return {"at": moment(self.at).isoformat()}

    def __str__(self) -> str:
        return f"once at {moment(self.at).isoformat()}"
