"""Times as people write them, by one rule."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from redlock_beat import InvalidSchedule
from redlock_beat.cli.times import instant

NOON = datetime(2027, 1, 1, 12, tzinfo=UTC)  # 13:00 in Berlin


@pytest.mark.parametrize(
    ("text", "past", "expected"),
    [
        ("2027-02-01T07:00", False, "2027-02-01T06:00"),
        ("2027-02-01 07:00", False, "2027-02-01T06:00"),
        ("2027-02-01", False, "2027-01-31T23:00"),
        ("2027-02-01T07:00+05:00", False, "2027-02-01T02:00"),
        ("14:00", False, "2027-01-01T13:00"),
        ("10:00", False, "2027-01-02T09:00"),
        ("10:00", True, "2027-01-01T09:00"),
        ("14:00:30", True, "2026-12-31T13:00:30"),
        ("today 10:00", False, "2027-01-01T09:00"),
        ("tomorrow 07:00", False, "2027-01-02T06:00"),
        ("yesterday", True, "2026-12-30T23:00"),
        ("now", True, "2027-01-01T12:00"),
        ("in 5 min", False, "2027-01-01T12:05"),
        ("in 5 min", True, "2027-01-01T12:05"),
        ("+1h30m", False, "2027-01-01T13:30"),
        ("1h", True, "2027-01-01T11:00"),
        ("1h", False, "2027-01-01T13:00"),
        ("2d ago", False, "2026-12-30T12:00"),
    ],
)
def test_times_are_read_in_the_zone_and_seen_from_now(text, past, expected):
    found = instant(text, "Europe/Berlin", lambda: NOON, past=past)
    assert found == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "in 999999999d",
        *["", "soon", "10", "3600", "25:00", "2027-13-01", "in", "ago", "1x", "2027-03-28T02:30"],
        "0001-01-01T00:00+14:00",
    ],
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(InvalidSchedule):
        instant(text, "Europe/Berlin", lambda: NOON)


@pytest.mark.parametrize("text", ["9999-12-31T23:59", "0001-01-02T00:00"])
def test_the_first_and_the_last_year_are_times_where_they_are_in_utc_too(text):
    assert instant(text, "UTC", lambda: NOON).isoformat() == f"{text}:00+00:00"
    with pytest.raises(InvalidSchedule, match="outside of the years 1 to 9999"):
        instant("9999-12-31T23:59", "America/New_York", lambda: NOON)
