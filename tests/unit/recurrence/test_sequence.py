"""The slots of a schedule of any kind increase, and can be counted."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

from hypothesis import given, settings

from redlock_beat.clock import micros
from redlock_beat.recurrence import Count, Rules, count, newest, slots

from .specs import SPECS, TIMES, ZONES


@settings(max_examples=100, deadline=None)
@given(SPECS, ZONES, TIMES)
def test_slots_increase_and_do_not_depend_on_when_they_are_asked_for(spec, name, after):
    rules = Rules(name, micros(datetime(2023, 6, 1, 12, 34, 56, tzinfo=UTC)))
    first, second, third = itertools.islice(slots(spec, rules, after), 3)
    assert after < first < second < third
    for between in (first, first + 1, (first + second) // 2, second - 1):
        assert spec.next(between, rules) == second  # nothing between two slots
    assert newest(spec, rules, first, third - 1) == second
    assert newest(spec, rules, first, third) == third
    assert count(spec, rules, first, third) == Count(3)
