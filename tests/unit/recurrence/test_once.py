"""One shots whose wall-clock time reads two ways, or none, are refused with what to write."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from redlock_beat import InvalidSchedule, Once
from redlock_beat.clock import micros
from redlock_beat.recurrence.zones import read_wall


def test_one_shots_say_both_readings():
    with pytest.raises(InvalidSchedule, match=r"02:30:00\+02:00 or .*02:30:00\+01:00"):
        Once.of(datetime(2026, 10, 25, 2, 30), "Europe/Berlin")
    with pytest.raises(InvalidSchedule, match=r"01:59:59\+01:00 to .*03:00:00\+02:00"):
        Once.of(datetime(2026, 3, 29, 2, 30), "Europe/Berlin")
    assert Once.of(datetime(2026, 7, 1, 12), "Europe/Berlin").at == micros(datetime(2026, 7, 1, 10, tzinfo=UTC))
    assert read_wall("Europe/Berlin", 0).gap_end is None


def test_one_shots_at_the_ends_of_the_calendar():
    end = datetime(9999, 12, 31, 23, 59, 59)
    assert Once.of(end, "Europe/Berlin").at == micros(end.replace(hour=22, tzinfo=UTC))
    with pytest.raises(InvalidSchedule, match="outside of the years 1 to 9999"):
        Once.of(end, "America/New_York")
