"""Intervals, which count from an anchor for ever."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

from ..clock import MICROS, spelled
from ..errors import InvalidSchedule
from .spec import LAST, Rules
from .zones import local_at, read_first

_MIN_EVERY = 1_000  # a millisecond: below it, a schedule is a busy loop


@dataclass(frozen=True, slots=True)
class Interval:
    """An interval. It counts from the anchor for ever: nothing drifts.

    >>> Interval.of(30)
    Interval(every=30000000, relative=False)
    """

    every: int
    relative: bool = False
    kind: ClassVar[str] = "interval"

    @classmethod
    def of(cls, every: float | timedelta, relative: bool = False) -> Interval:
        """An interval of seconds or a timedelta."""
        seconds = every.total_seconds() if isinstance(every, timedelta) else every
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not math.isfinite(seconds):
            raise InvalidSchedule(f"{every!r} is not a number of seconds.")
        if not isinstance(relative, bool):
            raise InvalidSchedule(f"relative is {relative!r}, but must be true or false.")
        length = round(seconds * MICROS)
        if not _MIN_EVERY <= length <= 3_660 * 86400 * MICROS:
            raise InvalidSchedule(
                f"an interval of {seconds:g} seconds cannot be used: it must be from 0.001 seconds to ten years."
            )
        return cls(length, relative)

    def next(self, after: int, rules: Rules) -> int | None:
        if self.relative:
            return self._next_relative(after, rules)
        if after < rules.anchor:
            return rules.anchor + self.every
        at = rules.anchor + ((after - rules.anchor) // self.every + 1) * self.every
        return at if at < LAST else None

    def _next_relative(self, after: int, rules: Rules) -> int:
        day = 86400 * MICROS
        base = self.floored(rules)
        if self.every % day:
            return base + ((max(after, base) - base) // self.every + 1) * self.every
        # Whole days step in the local calendar, so that midnight stays midnight across a clock change.
        step = self.every // day
        first = local_at(rules.zone, base) // (86400 * MICROS)
        today = local_at(rules.zone, max(after, base)) // (86400 * MICROS)
        turn = max(0, (today - first) // step - 1)
        while True:
            at = read_first(rules.zone, (first + turn * step) * 86400) * MICROS
            if at > max(after, base):
                return at
            turn += 1

    def floored(self, rules: Rules) -> int:
        """The anchor, floored to the unit of the interval in the zone, as Celery means ``relative``."""
        for unit in (86400, 3600, 60):
            if self.every >= unit * MICROS:
                local = local_at(rules.zone, rules.anchor)
                floor = local // (unit * MICROS) * unit
                if unit == 86400:
                    return read_first(rules.zone, floor) * MICROS
                return rules.anchor - (local - floor * MICROS)
        return rules.anchor // MICROS * MICROS

    def data(self) -> dict[str, Any]:
        seconds = self.every / MICROS
        data: dict[str, Any] = {"every": int(seconds) if seconds.is_integer() else seconds}
        return {**data, "relative": True} if self.relative else data

    def __str__(self) -> str:
        return f"every {spelled(self.every)}" + (" (relative)" if self.relative else "")
