"""``redlock_beat_calendars``: what may stand in it, and what it says of what may not."""

from __future__ import annotations

import contextlib
import sys
from datetime import UTC, date, datetime

import holidays
import pytest

from redlock_beat import InvalidSetting
from redlock_beat.schedule.calendars import read_calendars

EVENTS = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//test//
BEGIN:VEVENT
UID:1
SUMMARY:New Year
DTSTART;VALUE=DATE:20200101
RRULE:FREQ=YEARLY
END:VEVENT
BEGIN:VEVENT
UID:2
SUMMARY:Two days over the turn of a month
DTSTART;VALUE=DATE:20260630
DTEND;VALUE=DATE:20260702
END:VEVENT
BEGIN:VEVENT
UID:3
SUMMARY:An evening\\, to midnight
DTSTART:20260703T180000
DTEND:20260704T000000
END:VEVENT
BEGIN:VEVENT
UID:4
SUMMARY:Every Monday in May but one
DTSTART;VALUE=DATE:20260504
RRULE:FREQ=WEEKLY;COUNT=4
EXDATE;VALUE=DATE:20260511
END:VEVENT
BEGIN:VEVENT
UID:5
SUMMARY:Over the turn of the year
DTSTART;VALUE=DATE:20261230
DTEND;VALUE=DATE:20270103
END:VEVENT
END:VCALENDAR
"""


@pytest.fixture
def events(tmp_path):
    path = tmp_path / "events.ics"
    path.write_text(EVENTS.replace("\n", "\r\n"))
    return path


class Computed(dict):
    """As those of the package holidays: a dictionary that knows a date when it is asked."""

    def __contains__(self, day):
        return day == date(2026, 10, 3)


@pytest.mark.parametrize(
    "given",
    [
        ["10-03"],
        "2026-10-03",
        date(2026, 10, 3),
        {date(2026, 10, 3): "Unity"},
        {"2026-10-03": "Unity"},
        {date(2026, 10, 3)},
        lambda day: (day.month, day.day) == (10, 3),
        Computed(),
    ],
    ids=["yearly", "text", "date", "dates as keys", "texts as keys", "set", "function", "collection"],
)
def test_what_a_calendar_may_be(given):
    holds = read_calendars({"unity": given}).known["unity"]
    assert [day for day in range(1, 32) if holds(date(2026, 10, day))] == [3]


def test_a_collection_of_the_package_holidays_is_asked():
    holds = read_calendars({"de": holidays.Germany()}).known["de"]
    assert holds(date(2031, 10, 3))
    assert not holds(date(2031, 10, 4))


def test_a_file_of_events_holds_each_of_their_days(events):
    for path in (events, str(events)):
        holds = read_calendars({"events": path}).known["events"]
        found = {day for day in map(date.fromordinal, range(738_885, 740_000)) if holds(day)}
        assert found == {
            date(2024, 1, 1),
            date(2025, 1, 1),
            date(2026, 1, 1),
            date(2027, 1, 1),
            date(2026, 6, 30),
            date(2026, 7, 1),
            date(2026, 7, 3),
            date(2026, 5, 4),
            date(2026, 5, 18),
            date(2026, 5, 25),
            date(2026, 12, 30),
            date(2026, 12, 31),
            date(2027, 1, 2),
        }


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("sat", ["sun"], "mon to sun are taken"),
        ("12-24", ["sun"], "cannot be the name"),
        ("x", iter(["sun"]), "make it a list"),
        ("x", 7, r"redlock_beat_calendars\['x'\] is '7', but must be a list of days, a function"),
        ("x", ["12-32"], r"redlock_beat_calendars\['x'\].*is not a date"),
        ("x", ["y"], "of no other calendar"),
        ("x", [datetime(2026, 1, 1, tzinfo=UTC)], "takes days"),
        ("x", "/nowhere/at/all.ics", "cannot be read"),
    ],
)
def test_what_it_may_not_be_is_said_by_name(name, given, said):
    with pytest.raises(InvalidSetting, match=said):
        read_calendars({name: given})


@pytest.mark.parametrize(
    "events",
    [
        None,
        ["SUMMARY:no start"],
        ["DTSTART:20270101T000000Z", "RRULE:FREQ=SECONDLY"],
        ["DTSTART:20270101T000000Z", "RRULE:FREQ=YEARLY", "RRULE:FREQ=MINUTELY"],
        ["DTSTART:20270101T000000Z", f"RRULE:FREQ=DAILY;BYHOUR=1,2;BYMINUTE={','.join(map(str, range(60)))}"],
    ],
)
def test_a_file_that_is_no_calendar_of_days_is_said_by_name(tmp_path, events):
    with pytest.raises(InvalidSetting, match=NO_CALENDAR):
        read_calendars({"x": ics(tmp_path, events)})


def test_a_file_of_the_last_day_that_there_is_is_read_or_said_by_name(tmp_path):
    """It depends on the version of the package that reads it; no other error comes out."""
    with contextlib.suppress(InvalidSetting):
        read_calendars({"x": ics(tmp_path, ["DTSTART;VALUE=DATE:99991231"])})


NO_CALENDAR = r"redlock_beat_calendars\['x'\]: the file .* is not a calendar"


def ics(folder, events):
    """A file with one event, or one that is no calendar at all."""
    path = folder / "x.ics"
    lines = ["BEGIN:VCALENDAR", "BEGIN:VEVENT", *(events or ()), "END:VEVENT", "END:VCALENDAR", ""]
    path.write_text("\r\n".join(lines) if events else "nothing of the kind")
    return path


def test_a_file_without_the_package_says_what_to_install(events, monkeypatch):
    monkeypatch.setitem(sys.modules, "recurring_ical_events", None)
    events.touch()
    with pytest.raises(InvalidSetting, match=r"redlock-beat\[ics\]"):
        read_calendars({"x": events})
