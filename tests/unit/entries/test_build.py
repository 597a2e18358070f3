"""What users write is taken as it says, or refused with what to write instead; nothing is taken for something else."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest

from redlock_beat import Crontab, Interval, InvalidSchedule, next_due
from redlock_beat.entries.codec import encode

from ..values import AT, made


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"enabled": "no"}, "true or false"),
        ({"enabled": 0}, "true or false"),
        ({"keep": "yes"}, "true or false"),
        ({"relative": "no"}, "true or false"),
        ({"note": 5}, "note"),
        ({"args": {"a": 1}}, "list or tuple"),
        ({"args": {1, 2}}, "list or tuple"),
        ({"args": (math.inf,)}, "no infinity"),
        ({"kwargs": {"deep": [{"x": -math.inf}]}}, "no infinity"),
        ({"options": {"countdown": math.nan}}, "no NaN"),
        ({"grace": math.nan}, "grace"),
        ({"grace": math.inf}, "grace"),
        ({"jitter": math.nan}, "jitter"),
        ({"jitter": "soon"}, "span of time"),
        ({"grace": "-5"}, "0 or more"),
        ({"expires": math.nan}, "expires"),
        ({"expires": math.inf}, "expires"),
        ({"expires": "soon"}, "span of time"),
        ({"expires": True}, "expires"),
        ({"expires": -1}, "expires"),
        ({"options": {"expires": "soon"}}, "span of time"),
        ({"max_runs": 1.0}, "whole number"),
        ({"when": math.inf}, "number"),
        ({"when": timedelta(0)}, "cannot be used"),
        ({"when": Crontab(), "relative": True}, "for intervals"),
        ({"args": ("\ud800",)}, "half a character"),
        ({"exclude": ["24.12."]}, "entry 'a': exclude holds '24.12.', but takes a date"),
        ({"only": 7}, "entry 'a': only is '7', but must be a list of days"),
        ({"shift": "following"}, "skip, next, previous"),
    ],
)
def test_what_is_no_value_of_a_part_is_refused(given, said):
    with pytest.raises(InvalidSchedule, match=said):
        encode(made(**given))


def test_spans_are_taken_as_text_and_as_timedelta():
    entry = made(grace="10m", jitter="1h30m", expires="2d")
    assert (entry.grace, entry.jitter, entry.options["expires"]) == (600.0, 5400.0, 172800)
    assert made(expires=timedelta(seconds=1.5)).options["expires"] == 1.5
    assert made(options={"expires": timedelta(minutes=1)}).options["expires"] == 60
    assert made(expires=AT).options["expires"] == AT
    assert made(expires="2027-01-01T07:00:00+00:00").options["expires"] == "2027-01-01T07:00:00+00:00"
    with pytest.raises(InvalidSchedule, match="not a span"):
        made(grace="9" * 300 + "d")


def test_a_text_is_a_schedule_wherever_one_is_taken():
    after = datetime(2026, 11, 27, 12, tzinfo=UTC)  # a Friday
    assert next_due("0 7 * * 1-5", after) == datetime(2026, 11, 30, 7, tzinfo=UTC)
    assert next_due("10m", after) == after + timedelta(minutes=10)
    assert made("0 7 * * 1-5").schedule == Crontab.parse("0 7 * * 1-5")
    for wrong in ("soon", "", "7", "FREQ=DAILY", "2027-01-01T07:00"):
        if wrong == "7":
            assert made(wrong).schedule == Interval.of(7)
            continue
        with pytest.raises(InvalidSchedule, match="write a crontab of five fields"):
            made(wrong)
