"""What users write, and what is stored, is a schedule of one of the kinds, or refused."""

from __future__ import annotations

from datetime import datetime

import pytest
from celery.schedules import crontab
from hypothesis import given, settings

from redlock_beat import Crontab, Interval, InvalidSchedule, Once, RRule, Solar, next_due
from redlock_beat.entries.codec import decode, encode
from redlock_beat.recurrence import as_spec, from_data

from ..values import AT, entry
from .specs import SPECS


@settings(max_examples=100, deadline=None)
@given(SPECS)
def test_every_kind_goes_through_json_and_comes_back_equal(spec):
    e = entry(spec)
    # A crontab counts from nothing, and is stored so.
    assert decode("a", encode(e)) == (e.with_anchor(0) if isinstance(spec, Crontab) else e)
    assert from_data(spec.kind, spec.data()) == spec
    assert str(spec)
    assert hash(spec) == hash(from_data(spec.kind, spec.data()))


def test_the_parts_of_each_kind_come_back():
    for spec in (
        Interval.of(30, True),
        Crontab.parse("0 7 * * 1-5"),
        Solar("sunset", 52.5, 13.4),
        Once.of(AT),
        RRule("FREQ=DAILY", datetime(2027, 1, 1)),
    ):
        assert from_data(spec.kind, spec.data()) == spec


def test_what_is_no_schedule_is_refused():
    for wrong in ("*/5 * * *", None, crontab, object(), True):
        with pytest.raises(InvalidSchedule):
            as_spec(wrong)
    for kind, data in (
        ("nothing", {}),
        ("interval", {}),
        ("once", {"at": "x"}),
        ("solar", {"event": "x"}),
        ("interval", {"every": -1}),
    ):
        with pytest.raises(InvalidSchedule):
            from_data(kind, data)
    with pytest.raises(InvalidSchedule, match="aware"):
        next_due(Interval.of(1), datetime(2026, 1, 1))
    for text, said in (("x" * 600, "500"), ("", "500")):
        with pytest.raises(InvalidSchedule, match=said):
            Crontab(minute=text)
