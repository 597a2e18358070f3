"""Schedules in words: no two meanings have one sentence, and each reads as people say it."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from redlock_beat import Crontab, Interval, InvalidSchedule, RRule, Solar, explain
from redlock_beat.recurrence import days_of, sentence
from redlock_beat.recurrence.sentences import days_in_words
from tests.unit.recurrence.test_crontab import any_crontab


def test_crontabs_of_one_sentence_mean_the_same(untraced):
    rng = random.Random(20261126)
    said: dict[str, tuple[list[int], ...]] = {}
    for _ in range(15_000):
        spec = any_crontab(rng)
        words = explain(spec)
        assert said.setdefault(words, spec.fields()) == spec.fields(), (words, str(spec))
    assert len(said) > 5_000


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("0 7 * * 1-5", "at 07:00, Monday to Friday"),
        ("30 2 * * *", "at 02:30, every day"),
        ("* * * * *", "every minute"),
        ("0 * * * *", "every hour"),
        ("30 * * * *", "every hour, at minute 30"),
        ("0 */2 * * *", "every 2 hours"),
        ("*/15 8-17 * * mon-fri", "every 15 minutes, from 08:00 to 17:59, Monday to Friday"),
        ("*/20 2 * * *", "at 02:00, 02:20 and 02:40, every day"),
        ("10-40/10 * * * *", "at minutes 10, 20, 30 and 40 of every hour"),
        ("*/7 * * * *", "at minutes 0, 7, 14, 21, 28, 35, 42, 49 and 56 of every hour"),
        ("5,20 8,12,15,17 * * *", "at minutes 5 and 20, in the hours 8, 12, 15 and 17"),
        ("7 9,11,13,15,17,19,21 * * *", "at minute 7 of hours 9, 11, 13, 15, 17, 19 and 21"),
        ("*/5 */2 * * *", "every 5 minutes, in every 2nd hour"),
        ("0 7 * * 6,0", "at 07:00, Saturday and Sunday"),
        ("0 7 1 * mon", "at 07:00, on the 1st if it is a Monday"),
        ("0 7 1-7 * mon,tue", "at 07:00, on the 1st to 7th if it is a Monday or Tuesday"),
        ("0 0 29 2 *", "at 00:00, on the 29th of February"),
        ("0 22 * 6-8 fri,sat", "at 22:00, Friday and Saturday, from June to August"),
        ("0 12 * 1,7 *", "at 12:00, in January and July"),
        ("5,50 30 7 * * *", "at 07:30:05 and 07:30:50, every day"),
        ("*/10 3 * * * *", "every 10 seconds in minute 3 of the hour"),
        ("5 */15 * * * *", "at second 5 in every 15th minute"),
        ("5,6 * * * * *", "at seconds 5 and 6 of every minute"),
    ],
)
def test_crontabs(cron, words):
    assert explain(cron, "Europe/Berlin") == f"{words}, Europe/Berlin"


@pytest.mark.parametrize(
    ("when", "words"),
    [
        (30, "every 30 seconds"),
        (5400, "every 90 minutes"),
        (timedelta(days=1), "every day"),
        (7.5, "every 7 s 500 ms"),
        (Interval.of(7200, relative=True), "every 2 hours, counted from a full hour, Europe/Berlin"),
        (Interval.of(timedelta(days=2), relative=True), "every 2 days, counted from midnight, Europe/Berlin"),
        (Solar("dawn_civil", 52.5, 13.4), "at civil dawn, at 52.5, 13.4"),
        (Solar("solar_noon", -37.81, 144.96), "at solar noon, at -37.81, 144.96"),
        (datetime(2027, 1, 1, 7, tzinfo=UTC), "once, at 2027-01-01 08:00:00, Europe/Berlin"),
    ],
)
def test_other_kinds(when, words):
    assert explain(when, "Europe/Berlin") == words


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=7;BYMINUTE=0;BYSECOND=0", "every month, on the last Friday, at 07:00"),
        ("FREQ=MONTHLY;BYDAY=2TU,-2TU", "every month, on the 2nd Tuesday and the 2nd last Tuesday, at 09:30"),
        ("FREQ=MONTHLY;BYMONTHDAY=1,-1", "every month, on the 1st and last day, at 09:30"),
        ("FREQ=MONTHLY;BYMONTHDAY=13;BYDAY=FR", "every month, on the 13th, if it is a Friday, at 09:30"),
        ("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO", "every 2 weeks, on Monday, at 09:30, from 2026-01-05 on"),
        ("FREQ=DAILY;COUNT=3", "every day, at 09:30, 3 times, from 2026-01-05 on"),
        ("FREQ=YEARLY;BYMONTH=3,4,5", "every year, in March to May, at 09:30, from 2026-01-05 on"),
        ("FREQ=DAILY;BYHOUR=8,12;UNTIL=20270101", "every day, at 08:30 and 12:30, until 20270101"),
        ("FREQ=DAILY;BYHOUR=0,1,2,3,4,5,6,7", "every day, 8 times a day"),
        ("FREQ=MINUTELY;BYHOUR=9,10,11,17", "every minute, in hours 9 to 11 and 17"),
        ("FREQ=MONTHLY;BYDAY=MO;BYSETPOS=1", "by the rule FREQ=MONTHLY;BYDAY=MO;BYSETPOS=1, from 2026-01-05 09:30:00"),
    ],
)
def test_rules(rule, words):
    assert explain(RRule(rule, datetime(2026, 1, 5, 9, 30)), "UTC") == f"{words}, UTC"


def test_days():
    daily = Crontab.parse("0 7 * * *")
    assert sentence(daily, "UTC", only=("mon",)) == "at 07:00, every day, UTC, only on Monday"
    away = days_of(["sat", "sun", "12-24..01-06", "2026-05-15", "2026-06-01..2026-06-05", "holidays_de"], "exclude")
    assert days_in_words(away) == (
        "Saturday, Sunday, 24 December to 6 January, 2026-05-15, 2026-06-01 to 2026-06-05 and days of holidays_de"
    )
    assert sentence(daily, "UTC", exclude=("sat",), shift="next").endswith("but not on Saturday: then on the next day")


def test_what_there_are_no_words_for_is_said_as_it_is_written():
    last = datetime(9999, 12, 31, 23, tzinfo=UTC)
    assert explain(last, "Asia/Tokyo") == "once at 9999-12-31T23:00:00+00:00, Asia/Tokyo"


def test_what_is_no_schedule_or_zone_is_refused():
    for given in (("soon", "UTC"), ("0 7 * * *", "Mars/Olympus")):
        with pytest.raises(InvalidSchedule):
            explain(*given)
