"""Slots on open days against an oracle that lists all slots around a clock change and moves each by itself."""

from __future__ import annotations

import os
import random
from bisect import bisect_right
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import pytest

from redlock_beat import Crontab, Interval, InvalidSchedule, Once
from redlock_beat.clock import micros, moment
from redlock_beat.errors import Uncomputable
from redlock_beat.recurrence import Calendars, OnOpenDays, Rules, days_of
from redlock_beat.recurrence.zones import changes
from tests.unit.recurrence.test_crontab import any_crontab

ZONES = sorted(name for name in available_timezones() if name not in ("localtime", "Factory"))
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
NAMES = {"odd": lambda day: day.day % 2 == 1, "weekends": lambda day: day.weekday() > 4}


class Oracle:
    """One schedule in one zone around one instant: all of its slots."""

    def __init__(self, spec, rules: Rules, around: datetime, days: int = 9) -> None:
        self.tz = ZoneInfo(rules.zone)
        self.slots = []
        at, end = micros(around - days * DAY), micros(around + days * DAY)
        while (at := spec.next(at, rules)) is not None and at < end and len(self.slots) < 2500:
            self.slots.append((moment(at), self.wall(moment(at))))
        self.whole = len(self.slots) < 2500

    def wall(self, when: datetime) -> datetime:
        return when.astimezone(self.tz).replace(tzinfo=None)

    def first(self, wall: datetime) -> datetime:
        """The first instant at which the clock reads so, or the first minute after it."""
        near = wall.replace(tzinfo=UTC)
        for fold in (0, 1):
            when = wall.replace(tzinfo=self.tz, fold=fold).astimezone(UTC)
            if self.wall(when) == wall:
                near = when
                break
        else:
            at = near.replace(second=0, microsecond=0) - 15 * 60 * MINUTE
            while self.wall(at) < wall:
                at += MINUTE
            return at
        return near

    def on_open_days(self, is_open, shift: str) -> list[datetime]:
        found = set()
        for slot, wall in self.slots:
            day = wall.date()
            if is_open(day):
                found.add(slot)
            elif shift != "skip":
                step = DAY if shift == "next" else -DAY
                moved = next((i for i in range(1, 40) if is_open(day + i * step)), None)
                if moved is not None:
                    found.add(self.first(wall + moved * step))
        return sorted(found)


def some_days(rng: random.Random, near: date) -> list[str]:
    """A list of days that meets the days around *near*."""

    def day() -> date:
        return near + rng.randint(-4, 4) * DAY

    kinds = (
        lambda: day().isoformat(),
        lambda: "..".join(sorted((day().isoformat(), day().isoformat()))),
        lambda: day().strftime("%m-%d"),
        lambda: f"{day():%m-%d}..{day() + 2 * DAY:%m-%d}",
        lambda: rng.choice(("mon", "tue", "wed", "thu", "fri", "sat", "sun")),
        lambda: rng.choice(tuple(NAMES)),
    )
    return [rng.choice(kinds)() for _ in range(rng.randint(1, 3))]


def holds(item: str, day: date) -> bool:
    """Whether an item of a list holds a day, as the table says it."""
    if item in NAMES:
        return NAMES[item](day)
    if item == day.strftime("%a").lower():
        return True
    first, _, last = item.partition("..")
    last = last or first
    if len(first) == 5:
        this = day.strftime("%m-%d")
        return first <= this <= last if first <= last else this >= first or this <= last
    return first <= day.isoformat() <= last


def specs(rng: random.Random):
    if rng.random() < 0.3:
        return Interval.of(rng.choice([1801, 5400, 7 * 3600, 86400, 13 * 3600.5]))
    return any_crontab(rng)


@pytest.mark.parametrize("shift", ["skip", "next", "previous"])
def test_the_oracle_agrees_dense_around_clock_changes(shift, untraced):
    want = int(os.environ.get("REDLOCK_BEAT_ORACLE", "12000")) // 3
    rng = random.Random(f"calendar {shift}")
    calendars, done = Calendars(NAMES), 0
    while done < want:
        name = rng.choice(ZONES)
        when = changes(name, rng.randint(1990, 2037))[0][1:]
        if not when:
            continue
        change = datetime.fromtimestamp(rng.choice(when), UTC)
        rules = Rules(name, micros(change - 30 * DAY), rng.choice(["after", "skip"]), rng.choice(["auto", "both"]))
        spec = specs(rng)
        oracle = Oracle(spec, rules, change)
        if not oracle.whole or not oracle.slots or oracle.wall(change).second:
            continue
        for _ in range(4):
            exclude = some_days(rng, oracle.wall(change).date()) if rng.random() < 0.8 else []
            only = some_days(rng, oracle.wall(change).date()) if rng.random() < 0.3 or not exclude else []
            closed = OnOpenDays(spec, calendars.open_days(days_of(exclude, ""), days_of(only, ""), shift))

            @cache
            def is_open(
                day: date, exclude: tuple[str, ...] = tuple(exclude), only: tuple[str, ...] = tuple(only)
            ) -> bool:
                out = any(holds(item, day) for item in exclude)
                return not out and (not only or any(holds(item, day) for item in only))

            near = [oracle.wall(change).date() + i * DAY for i in range(-9, 9)]
            if shift != "skip" and any(not any(map(is_open, near[i : i + 5])) for i in range(14)):
                continue  # slots that are not listed might move here
            slots = oracle.on_open_days(is_open, shift)
            for _ in range(40 if slots else 1):
                after = change + timedelta(seconds=rng.randint(-50 * 3600, 50 * 3600))
                expected = next(iter(slots[bisect_right(slots, after) :]), None)
                at = closed.next(micros(after), rules)
                found = None if at is None else moment(at)
                done += 1
                if expected is None or expected > change + 4 * DAY:  # what is listed ends: others may come before
                    assert found is None or found > change + 4 * DAY, (str(spec), rules, exclude, only, str(after))
                else:
                    assert found == expected, (
                        str(spec),
                        rules,
                        exclude,
                        only,
                        shift,
                        str(after),
                        str(found),
                        str(expected),
                    )


BERLIN = Rules("Europe/Berlin")


@pytest.mark.parametrize(
    ("cron", "exclude", "shift", "after", "expected"),
    [
        # Pay on the first, or the working day after it, or the one before.
        ("0 7 1 * *", ["sat", "sun"], "next", "2026-07-31T12:00Z", "2026-08-03T05:00Z"),
        ("0 7 1 * *", ["sat", "sun"], "previous", "2026-07-30T12:00Z", "2026-07-31T05:00Z"),
        ("0 7 1 * *", ["sat", "sun"], "skip", "2026-07-31T12:00Z", "2026-09-01T05:00Z"),
        # Saturday's and Sunday's are one with Monday's.
        ("0 7 * * *", ["sat", "sun"], "next", "2026-07-31T05:00Z", "2026-08-03T05:00Z"),
        # A day of every year, and a range over the turn of the year.
        ("0 7 * * *", ["12-24..01-06"], "skip", "2026-12-23T07:00Z", "2027-01-07T06:00Z"),
        ("0 7 29 2 *", ["02-29"], "next", "2027-12-01T00:00Z", "2028-03-01T06:00Z"),
        # Once in forty years.
        ("0 7 25 12 *", ["mon", "tue", "wed", "thu", "fri", "sat"], "skip", "2026-01-01T00:00Z", "2033-12-25T06:00Z"),
        # The time of day does not come on the day it moves to, or comes twice.
        ("30 2 28 3 *", ["2026-03-28"], "next", "2026-03-01T00:00Z", "2026-03-29T01:00Z"),
        ("30 2 24 10 *", ["2026-10-24"], "next", "2026-10-01T00:00Z", "2026-10-25T00:30Z"),
    ],
)
def test_examples(cron, exclude, shift, after, expected):
    days = Calendars().open_days(days_of(exclude, "exclude"), (), shift)
    at = OnOpenDays(Crontab.parse(cron), days).next(micros(_instant(after)), BERLIN)
    assert moment(at) == _instant(expected)


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def test_only_on_a_day_far_off_is_found_and_then_there_is_none():
    days = Calendars().open_days((), ("2090-05-05",), "skip")
    spec = OnOpenDays(Interval.of(3600), days)
    at = spec.next(0, BERLIN)
    assert moment(at) == _instant("2090-05-04T22:00Z")
    assert spec.next(at + 24 * 3600 * 10**6, BERLIN) is None


def test_a_day_that_never_comes_is_known_in_a_moment():
    for spec, exclude in ((Crontab.parse("0 7 * * 6"), ["sat"]), (Interval.of(1), ["01-01..12-31"])):
        for shift in ("skip", "next", "previous"):
            found = OnOpenDays(spec, Calendars().open_days(days_of(exclude, ""), (), shift)).next(0, BERLIN)
            assert found is None or shift != "skip"


@pytest.mark.parametrize("shift", ["next", "previous"])
def test_a_slot_moves_31_days_at_most(shift):
    for days, found in ((31, True), (32, False)):
        at = _instant("2026-05-05T07:00Z")
        ends = (at, at + (days - 1) * DAY) if shift == "next" else (at - (days - 1) * DAY, at)
        closed = Calendars().open_days(("..".join(end.date().isoformat() for end in ends),), (), shift)
        moved = at + days * DAY if shift == "next" else at - days * DAY
        assert OnOpenDays(Once(micros(at)), closed).next(0, Rules()) == (micros(moved) if found else None)


def test_a_calendar_that_is_not_known_or_raises_is_said_by_name():
    with pytest.raises(Uncomputable, match=r"'holidays_de' is not known to this process \(it knows odd\)"):
        Calendars({"odd": NAMES["odd"]}).open_days(("holidays_de",), (), "skip")
    broken = Calendars({"broken": lambda day: day.nothing}).open_days(("broken",), (), "skip")
    with pytest.raises(Uncomputable, match="'broken' raised AttributeError"):
        broken.is_open(0)


@pytest.mark.parametrize(
    ("days", "said"),
    [
        (["2026-02-30"], "is not a date"),
        (["2026-12-24..12-26"], "a year at one end"),
        (["2026-12-26..2026-12-24"], "ends before it begins"),
        (["24.12."], "takes a date or 2026-12-24"),
        ([datetime(2026, 12, 24)], "takes days"),
        (7, "must be a list of days"),
        (iter(["sat"]), "must be a list of days"),
        ([None], "takes a date"),
        ([date(2026, 1, 1) + timedelta(days=i) for i in range(1001)], "more than the 1000 allowed"),
        (["x" * 101], "takes a date"),
    ],
)
def test_what_is_no_day_is_refused(days, said):
    with pytest.raises(InvalidSchedule, match=said):
        days_of(days, "exclude")


def test_a_day_that_begins_ends_and_goes_on_has_all_of_its_slots():
    # Newfoundland, 2006: a minute after midnight the clock went back to 23:01 of the day before.
    days = Calendars().open_days(("2006-10-29",), (), "skip")
    spec, rules = OnOpenDays(Crontab.parse("*/30 * * * *"), days), Rules("America/St_Johns")
    assert moment(spec.next(micros(_instant("2006-10-29T02:15Z")), rules)) == _instant("2006-10-29T03:00Z")
