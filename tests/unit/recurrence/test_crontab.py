"""``next_due`` of a crontab against a brute-force oracle, and against Celery where no clock changes.

The oracle walks every minute of the zone's real timeline and applies the table of
``redlock_beat.recurrence.crontab`` literally; within a minute that fits it walks the seconds.
"""

from __future__ import annotations

import os
import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from zoneinfo import ZoneInfo, available_timezones

import pytest
from celery.schedules import crontab

from redlock_beat import Crontab, InvalidSchedule, crontab6, next_due
from redlock_beat.clock import moment
from redlock_beat.recurrence import Rules, as_spec, from_data
from redlock_beat.recurrence.zones import changes

ZONES = sorted(name for name in available_timezones() if name not in ("localtime", "Factory"))
MINUTE = timedelta(minutes=1)


def field(rng: random.Random, low: int, high: int, wide: float) -> str:
    if rng.random() < wide:
        return "*"
    kind = rng.randrange(5)
    first = rng.randint(low, high)
    if kind == 0:
        return str(first)
    if kind == 1:
        return f"*/{rng.randint(2, max(2, (high - low) // 2))}"
    if kind == 2:
        return f"{first}-{rng.randint(first, high)}"
    if kind == 3:
        return ",".join(str(one) for one in sorted({rng.randint(low, high) for _ in range(rng.randint(2, 4))}))
    return f"{low}-{high}/{rng.randint(1, 7)}" if rng.random() < 0.5 else f"{low}-{high}"


def any_crontab(rng: random.Random) -> Crontab:
    return Crontab(
        minute=field(rng, 0, 59, 0.2),
        hour=field(rng, 0, 23, 0.4) if rng.random() < 0.6 else f"{rng.choice([0, 1, 2, 3, 23])}",
        day_of_month=field(rng, 1, 28, 0.85),
        month_of_year="*" if rng.random() < 0.9 else field(rng, 1, 12, 0.5),
        day_of_week=field(rng, 0, 6, 0.85),
        second="0" if rng.random() < 0.6 else field(rng, 0, 59, 0.2),
    )


class Timeline:
    """Every minute of a zone's real timeline around one instant: instant, wall clock, second pass, what was lost."""

    def __init__(self, name: str, start: datetime, hours: int) -> None:
        tz = ZoneInfo(name)
        self.first = start.replace(second=0, microsecond=0) - timedelta(hours=26)
        self.minutes: list[tuple[datetime, int, date, bool, list[tuple[int, date]]]] = []
        self.whole = True
        previous = (self.first - MINUTE).astimezone(tz).replace(tzinfo=None)
        seen: dict[datetime, int] = {}
        for i in range((26 + hours) * 60):
            at = self.first + i * MINUTE
            wall = at.astimezone(tz).replace(tzinfo=None)
            self.whole = self.whole and not wall.second  # an offset of odd seconds: no whole minute begins here
            step = wall - previous if i else MINUTE
            seen[wall] = seen.get(wall, 0) + 1
            lost = [previous + k * MINUTE for k in range(1, int(step / MINUTE))]
            self.minutes.append((at, *_split(wall), seen[wall] > 1, [_split(one) for one in lost]))
            previous = wall
        #: The days of them, one after the other: the day, whether minutes were lost in it, its first and last minute.
        self.days: list[tuple[date, bool, int, int]] = []
        for day, group in groupby(range(len(self.minutes)), lambda i: self.minutes[i][2]):
            numbers = list(group)
            self.days.append((day, any(self.minutes[i][4] for i in numbers), numbers[0], numbers[-1]))

    def next(self, spec: Crontab, after: datetime, gap: str, fold: str) -> datetime | None:
        plan = spec.plan
        minutes = set(plan.minutes)
        days: dict[date, bool] = {}

        def fits(day: date) -> bool:
            if day not in days:
                days[day] = day.day in plan.days and day.month in plan.months and day.isoweekday() % 7 in plan.weekdays
            return days[day]

        both = fold == "both" or (fold == "auto" and plan.wild)
        merge = gap == "after" and not plan.every_hour
        begin = (after - self.first) // MINUTE  # the minute that it is in
        for day, something_lost, first, last in self.days:
            if last < begin or not (something_lost or fits(day)):
                continue
            for at, minute, day, again, lost in self.minutes[max(begin, first) : last + 1]:
                if lost and merge and at > after and any(minute in minutes and fits(day) for minute, day in lost):
                    return at
                if minute in minutes and (both or not again) and fits(day):
                    for second in range(60):
                        if second in plan.seconds and at + timedelta(seconds=second) > after:
                            return at + timedelta(seconds=second)
        return None


def _split(wall: datetime) -> tuple[int, date]:
    return wall.hour * 60 + wall.minute, wall.date()


def all_changes(name: str) -> list[int]:
    found = []
    for year in range(1990, 2038):
        found += list(changes(name, year)[0][1:])
    return found


def test_the_oracle_agrees_over_all_zones_dense_around_clock_changes(untraced):
    """A fixed seed here; REDLOCK_BEAT_ORACLE=N runs that many triples."""
    want = int(os.environ.get("REDLOCK_BEAT_ORACLE", "20000"))
    rng = random.Random(20261121)
    done = 0
    specs = [any_crontab(rng) for _ in range(min(want, 20_000))]
    while done < want:
        name = rng.choice(ZONES)
        when = changes(name, rng.randint(1990, 2037))[0][1:]
        if not when:
            continue
        at = datetime.fromtimestamp(rng.choice(when), UTC)
        start = at - timedelta(hours=rng.choice([1, 2, 4, 26]))
        timeline = Timeline(name, start, 40)
        if not timeline.whole:
            continue
        for _ in range(250):
            spec = rng.choice(specs)
            after = start + timedelta(seconds=rng.randint(0, 6 * 3600))
            gap, fold = rng.choice(["after", "after", "skip"]), rng.choice(["auto", "auto", "first", "both"])
            expected = timeline.next(spec, after, gap, fold)
            found = next_due(spec, after, timezone=name, dst_gap=gap, dst_fold=fold)
            if expected is None:
                assert found is None or found >= timeline.minutes[-1][0] + MINUTE, (spec, name, after, gap, fold, found)
            else:
                assert found == expected, (str(spec), name, str(after), gap, fold, str(found), str(expected))
            done += 1


# Celery's own bugs, each with its example: (crontab, zone, after, what Celery says). None is known where no clock
# change is near.
KNOWN_BUGS: list[tuple[str, str, str]] = []


def test_agreement_with_celery_where_no_clock_change_is_near(untraced):
    want = int(os.environ.get("REDLOCK_BEAT_ORACLE", "20000"))
    rng = random.Random(7)
    names = [name for name in ZONES if not name.startswith(("Etc/", "right/", "posix/"))]
    by_zone = {name: all_changes(name) for name in rng.sample(names, 30)}
    specs = [replace(any_crontab(rng), second="0") for _ in range(min(want, 10_000))]  # Celery has no seconds
    done = 0
    while done < want:
        name = rng.choice(list(by_zone))
        tz = ZoneInfo(name)
        after = datetime(1995, 1, 1, tzinfo=UTC) + timedelta(seconds=rng.randint(0, 40 * 365 * 86400))
        if any(abs(after.timestamp() - at) < 3 * 86400 for at in by_zone[name]):
            continue
        for _ in range(20):
            done += 1
            spec = rng.choice(specs)
            found = next_due(spec, after, timezone=name)
            if any(after.timestamp() - 86400 < at < found.timestamp() + 2 * 86400 for at in by_zone[name]):
                continue
            theirs = crontab(spec.minute, spec.hour, spec.day_of_week, spec.day_of_month, spec.month_of_year)
            local = after.astimezone(tz)
            theirs.nowfun = lambda local=local: local
            theirs.__dict__["tz"] = tz
            estimate = after + theirs.remaining_estimate(local)
            assert estimate.replace(microsecond=0) == found, (str(spec), name, str(after), str(estimate), str(found))


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected", "policies"),
    [
        # The table, on the days of change of Europe/Berlin.
        ("*/20 * * * *", "Europe/Berlin", "2026-03-29T00:40Z", "2026-03-29T01:00Z", {}),
        ("0 0-23 * * *", "Europe/Berlin", "2026-03-29T00:00Z", "2026-03-29T01:00Z", {}),
        ("30 * * * *", "Europe/Berlin", "2026-03-29T00:30Z", "2026-03-29T01:30Z", {}),
        ("30 2 * * *", "Europe/Berlin", "2026-03-29T00:00Z", "2026-03-29T01:00Z", {}),
        ("30 2 * * *", "Europe/Berlin", "2026-03-29T00:00Z", "2026-03-30T00:30Z", {"dst_gap": "skip"}),
        ("*/20 2 * * *", "Europe/Berlin", "2026-03-29T01:00Z", "2026-03-30T00:00Z", {}),
        ("0 */2 * * *", "Europe/Berlin", "2026-10-25T00:00Z", "2026-10-25T01:00Z", {}),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30Z", "2026-10-26T01:30Z", {}),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30Z", "2026-10-25T01:30Z", {"dst_fold": "both"}),
        ("*/20 * * * *", "Europe/Berlin", "2026-10-25T00:40Z", "2026-10-25T02:00Z", {"dst_fold": "first"}),
        # A day that was skipped, half an hour, midnight, and changed law.
        ("0 12 30 12 *", "Pacific/Apia", "2011-12-01T00:00Z", "2011-12-30T10:00Z", {}),
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T15:00Z", "2026-10-03T15:30Z", {}),
        ("0 0 * * *", "America/Sao_Paulo", "2018-11-03T03:00Z", "2018-11-04T03:00Z", {}),
        ("0 0 * * *", "Asia/Beirut", "2026-03-27T23:00Z", "2026-03-28T22:00Z", {}),
        # With seconds: the same table, and the end of a gap is one slot.
        ("*/10 * * * * *", "UTC", "2026-03-29T00:40:50Z", "2026-03-29T00:41:00Z", {}),
        ("5,50 30 7 * * *", "Europe/Berlin", "2026-01-01T06:30:05Z", "2026-01-01T06:30:50Z", {}),
        ("5,50 30 7 * * *", "Europe/Berlin", "2026-01-01T06:30:50Z", "2026-01-02T06:30:05Z", {}),
        ("20 30 2 * * *", "Europe/Berlin", "2026-03-29T00:00Z", "2026-03-29T01:00Z", {}),
        ("20 0-30 2-3 * * *", "Europe/Berlin", "2026-03-29T01:00Z", "2026-03-29T01:00:20Z", {}),
        ("59 59 2 * * *", "Europe/Berlin", "2026-10-25T00:59:59Z", "2026-10-26T01:59:59Z", {}),
        ("59 59 2 * * *", "Europe/Berlin", "2026-10-25T00:59:59Z", "2026-10-25T01:59:59Z", {"dst_fold": "both"}),
        # Rare ones are as cheap as any other.
        ("0 0 29 2 1", "UTC", "2027-01-01T00:00Z", "2044-02-29T00:00Z", {}),
    ],
)
def test_examples(cron, zone, after, expected, policies):
    at = next_due(Crontab.parse(cron), datetime.fromisoformat(after.replace("Z", "+00:00")), timezone=zone, **policies)
    assert at == datetime.fromisoformat(expected.replace("Z", "+00:00"))


@pytest.mark.parametrize(
    "text", ["0 0 30 2 *", "0 0 31 4,6 *", "60 * * * *", "* * *", "a b c d e", "*/0 * * * *", "-1 * * * *"]
)
def test_one_that_never_comes_or_cannot_be_read_is_an_error_at_once(text):
    with pytest.raises(InvalidSchedule):
        Crontab.parse(text)


def test_ints_and_sets_are_never_wild():
    fixed = Crontab.of(crontab(minute=set(range(0, 60, 5)), hour=list(range(6))))
    assert not fixed.plan.wild
    assert Crontab.of(crontab(minute="*/5", hour="0-5")).plan.wild
    assert Crontab.of(crontab(hour=set(range(24)), minute=0)).plan.every_hour


def test_the_end_of_time_is_none():
    assert Crontab.parse("0 0 * * *").next(253_000_000_000 * 1_000_000, Rules()) is None
    assert moment(0).year == 1970


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 7 * * mon#1", "day_of_month='1-7' and day_of_week='mon'"),
        ("0 7 * * fri#5", "'29-31'"),
        ("0 7 * * sundae", "did you mean 'sun'"),
        ("0 7 * * mo", "not a name"),
        ("0 7 * foo *", "not a name"),
        ("mon feb * * *", "this field takes numbers"),
        ("0 0 mon * *", "this field takes numbers"),
        ("0 0 * mon *", "not a name"),
        ("0 0 * * feb", "not a name"),
        ("0 0 L * *", "FREQ=MONTHLY;BYMONTHDAY=-1"),
        ("0 0 15W * *", "rrule"),
        ("0 0 * * friL", "BYDAY=-1FR"),
        ("0 0 ? * *", "write '\\*'"),
        ("0 0 * * 7", "Sunday is 0"),
        ("0 0 * * 1-7", "Sunday is 0"),
        ("5/15 * * * *", "5-59/15"),
        ("*/90 * * * *", "interval"),
        ("*/0 * * * *", "cannot be used"),
        ("1-5#2 * * * *", "not a number"),
        ("1_0 * * * *", "not a number"),
        ("٥ * * * *", "not a number"),
        ("mon 0 7 * * *", "this field takes numbers"),
        ("60 0 7 * * *", "second='60'"),
        ("*/90 0 7 * * *", "interval"),
        ("0 0 7 * * * 2027", "7 fields"),
        ("0 7 * *", "five"),
        ("@reboot", "five"),
        (",1 * * * *", "not a number"),
    ],
)
def test_a_crontab_that_means_something_else_than_it_says_is_refused(text, said):
    with pytest.raises(InvalidSchedule, match=said):
        Crontab.parse(text)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("0 7 * * Monday,TUES,thurs", "0 7 * * 1,2,4"),
        ("0 7 * sept-dec sat-mon", "0 7 * 9-12 6,0,1"),
        ("*/60 * * * *", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        (" @Weekly ", "0 0 * * 0"),
        ("55-5/5 * * * *", "0,5,55 * * * *"),
    ],
)
def test_a_crontab_says_the_same_in_other_words(text, same):
    assert Crontab.parse(text).plan == Crontab.parse(same).plan


def test_spaces_join_no_numbers():
    from celery.schedules import crontab

    assert Crontab.of(crontab(minute="1 , 2", hour=" 3 ")).minute == "1,2"
    with pytest.raises(InvalidSchedule):
        Crontab(minute="1 2")


def test_a_crontab_of_six_fields_is_itself_wherever_it_goes():
    ten = crontab6("*/10 0 7 * * mon")
    assert str(ten) == "*/10 0 7 * * mon"
    assert from_data("crontab", ten.data()) == ten == as_spec("*/10 0 7 * * mon")
    assert str(crontab6("0 0 7 * * mon")) == "0 7 * * mon"
    for text in ("0 7 * * *", "10s", 7):
        with pytest.raises(InvalidSchedule, match="six fields"):
            crontab6(text)


@pytest.mark.parametrize("value", [5, [1, 2], None])
def test_a_field_that_is_no_text_is_refused(value):
    with pytest.raises(InvalidSchedule, match="must be a text"):
        Crontab(second=value)
