"""Recurrence rules have the slots that dateutil finds, in bounded time, or are refused."""

from __future__ import annotations

import itertools
import time
from datetime import UTC, datetime

import pytest
from dateutil.rrule import rrulestr

from redlock_beat import InvalidSchedule, RRule, next_due
from redlock_beat.clock import micros, moment
from redlock_beat.recurrence import Rules, slots

from ..values import T0, S


def test_rrules():
    rule = "DTSTART:20200131T023000\nRRULE:FREQ=MONTHLY;COUNT=3"
    spec = RRule.parse(rule)
    found = list(itertools.islice(slots(spec, Rules(), 0), 9))
    assert [moment(at).isoformat()[:10] for at in found] == ["2020-01-31", "2020-03-31", "2020-05-31"]
    for text in (
        "FREQ=DAILY;INTERVAL=3",
        "FREQ=MONTHLY;BYDAY=-1FR",
        "FREQ=MONTHLY;BYMONTHDAY=-2",
        "FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO",
        "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU;WKST=SU",
        "FREQ=MINUTELY;INTERVAL=7",
        "FREQ=SECONDLY;INTERVAL=90",
        "FREQ=HOURLY;BYDAY=MO",
        "FREQ=MINUTELY;INTERVAL=90;BYMONTHDAY=-1,3",
        "FREQ=HOURLY;INTERVAL=5;BYMONTH=2;BYMONTHDAY=29",
        "FREQ=MINUTELY;BYHOUR=9;BYMINUTE=0,30;BYDAY=SU",
        "FREQ=YEARLY;INTERVAL=2;BYMONTH=3",
    ):
        start = datetime(2023, 2, 3, 4, 5, 6)
        theirs = rrulestr(text, dtstart=start)
        after = datetime(2023, 7, 8, 9, 10)
        ours = list(itertools.islice(slots(RRule(text, start), Rules(), micros(after.replace(tzinfo=UTC))), 5))
        expected = list(itertools.islice(theirs.xafter(after), 5))
        assert [moment(at).replace(tzinfo=None) for at in ours] == expected, text
    gap = RRule("FREQ=DAILY", datetime(2026, 3, 1, 2, 30))
    at = datetime(2026, 3, 28, 12, tzinfo=UTC)
    assert next_due(gap, at, timezone="Europe/Berlin") == datetime(2026, 3, 29, 1, tzinfo=UTC)
    assert next_due(gap, at, timezone="Europe/Berlin", dst_gap="skip") == datetime(2026, 3, 30, 0, 30, tzinfo=UTC)
    fold = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert next_due(gap, fold, timezone="Europe/Berlin", dst_fold="both") == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    assert next_due(gap, fold, timezone="Europe/Berlin") == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)
    aware = RRule("FREQ=DAILY;UNTIL=20260105T000000Z", datetime(2026, 1, 1, 12, tzinfo=UTC))
    assert next_due(aware, datetime(2026, 1, 4, 13, tzinfo=UTC)) is None
    until = RRule("FREQ=DAILY;UNTIL=20260105", datetime(2026, 1, 1, 12))
    assert next_due(until, datetime(2026, 1, 4, 13, tzinfo=UTC)) == datetime(2026, 1, 5, 12, tzinfo=UTC)
    hourly = RRule("FREQ=HOURLY", datetime(2026, 10, 24, 0, 0))
    passes = list(
        itertools.islice(slots(hourly, Rules("Europe/Berlin"), micros(datetime(2026, 10, 24, 23, 30, tzinfo=UTC))), 3)
    )
    assert [b - a for a, b in itertools.pairwise(passes)] == [3600 * S] * 2  # the repeated hour is not skipped


def test_an_rrule_below_a_day_that_never_comes_is_found_out_at_once():
    for text in ("FREQ=MINUTELY;BYMONTH=2;BYMONTHDAY=30", "FREQ=SECONDLY;BYMONTH=4;BYMONTHDAY=31"):
        assert next_due(RRule(text, datetime(2026, 1, 1)), datetime(2026, 1, 1, tzinfo=UTC)) is None


@pytest.mark.parametrize("text", ["rubbish", "FREQ=DAILY;COUNT=1000000", "FREQ=SOMETIMES", "x" * 5000, 7])
def test_rrules_that_cannot_be_used(text):
    with pytest.raises(InvalidSchedule):
        RRule(text, datetime(2026, 1, 1))


def test_rrule_sets_and_missing_starts_are_refused():
    with pytest.raises(InvalidSchedule, match="sets"):
        RRule.parse("DTSTART:20200131T023000\nRRULE:FREQ=MONTHLY\nEXDATE:20200131T023000")
    with pytest.raises(InvalidSchedule, match="cannot be read"):
        RRule.parse("nonsense")
    with pytest.raises(InvalidSchedule, match="start"):
        RRule("FREQ=DAILY", "yesterday")


def test_an_old_rrule_is_not_slower_than_a_young_one():
    import dateutil.rrule

    steps = []
    real = dateutil.rrule.rrule._iter

    def counting(self):
        for one in real(self):
            steps.append(1)
            yield one

    dateutil.rrule.rrule._iter = counting
    try:
        RRule("FREQ=MINUTELY", datetime(1990, 1, 1)).next(T0, Rules())
    finally:
        dateutil.rrule.rrule._iter = real
    assert len(steps) < 1000


@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=WEEKLY;BYDAY=MO;BYSETPOS=9",
        "FREQ=DAILY;BYHOUR=1;BYSETPOS=5",
        "FREQ=MINUTELY;BYHOUR=3;BYSETPOS=5",
        "FREQ=DAILY;BYMONTH=4;BYMONTHDAY=-31",
    ],
)
def test_an_rrule_that_never_comes_is_refused_and_not_looked_for_until_the_year_9999(rule, untraced):
    began = time.thread_time()
    with pytest.raises(InvalidSchedule, match="never comes"):
        RRule(rule, datetime(2026, 1, 1, 3))
    assert time.thread_time() - began < 10


def test_that_an_rrule_has_no_further_slot_is_found_out_once():
    spec = RRule("FREQ=YEARLY;BYWEEKNO=53;BYDAY=MO;BYMONTH=6", datetime(2026, 1, 1, 3))
    assert spec.next(T0, Rules()) is None
    began = time.thread_time()
    assert all(spec.next(T0 + i * S, Rules()) is None for i in range(100))
    assert time.thread_time() - began < 1
    last = RRule("FREQ=DAILY;UNTIL=20260105", datetime(2026, 1, 1, 3))
    ends = micros(datetime(2026, 1, 5, 3, tzinfo=UTC))
    assert last.next(ends, Rules()) is None
    assert last.next(ends - 1, Rules()) == ends
