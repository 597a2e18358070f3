"""Intervals never drift, and ``relative`` is what Celery means by it."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from celery.schedules import schedule as celery_schedule

from redlock_beat import Interval, next_due
from redlock_beat.recurrence import Rules, slots

from ..values import T0


def test_an_interval_never_drifts():
    spec, rules = Interval.of(0.1), Rules(anchor=T0)
    assert list(itertools.islice(slots(spec, rules, T0), 3)) == [T0 + 100_000, T0 + 200_000, T0 + 300_000]
    assert spec.next(T0 + 10**15, rules) == T0 + 10**15 + 100_000


def test_relative_intervals_as_celery_means_them():
    anchor = datetime(2026, 3, 27, 15, 42, 7, tzinfo=UTC)
    days = Interval.of(timedelta(days=1), relative=True)
    found = next_due(days, anchor, anchor=anchor, timezone="Europe/Berlin")
    assert found.astimezone(ZoneInfo("Europe/Berlin")) == datetime(2026, 3, 28, tzinfo=ZoneInfo("Europe/Berlin"))
    at = anchor
    for _ in range(4):  # midnight stays midnight across the clock change
        at = next_due(days, at, anchor=anchor, timezone="Europe/Berlin")
        assert at.astimezone(ZoneInfo("Europe/Berlin")).hour == 0
    hours = Interval.of(7200, relative=True)
    assert next_due(hours, anchor, anchor=anchor) == datetime(2026, 3, 27, 17, 0, tzinfo=UTC)
    assert next_due(Interval.of(120, relative=True), anchor, anchor=anchor).second == 0
    assert next_due(Interval.of(5, relative=True), anchor, anchor=anchor).microsecond == 0
    assert next_due(celery_schedule(7200, relative=True), anchor, anchor=anchor).hour == 17
