"""Values that the unit tests share."""

from __future__ import annotations

from datetime import UTC, datetime

from redlock_beat import Interval
from redlock_beat.clock import MICROS, micros
from redlock_beat.entries.build import make_entry
from redlock_beat.entries.entry import Entry

S = MICROS
T0 = micros(datetime(2026, 1, 1, tzinfo=UTC))
AT = datetime(2027, 1, 1, 7, tzinfo=UTC)


def entry(spec=None, **policies) -> Entry:
    return Entry("a", "t", spec or Interval.of(10), anchor=T0, uid="u", **policies)


def made(when=60, **more):
    return make_entry(None, "a", "tasks.add", when, **more)
