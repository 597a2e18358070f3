"""An entry is checked as it is made."""

from __future__ import annotations

from dataclasses import replace

import pytest

from redlock_beat import Entry, InvalidSchedule
from redlock_beat.entries.build import make_entry
from redlock_beat.entries.state import State
from redlock_beat.recurrence import Interval


def test_a_name_with_half_a_character_is_refused():
    with pytest.raises(InvalidSchedule, match="half a character"):
        make_entry(None, "a\ud800", "t", 60)


@pytest.mark.parametrize(
    "wrong", [{"enabled": 1}, {"keep": 0}, {"jitter": False}, {"buffer_limit": 100.0}, {"note": 1}]
)
def test_what_only_equals_a_default_is_refused(wrong):
    with pytest.raises(InvalidSchedule):
        Entry("a", "t", Interval.of(30), **wrong)


def test_an_entry_with_another_state_or_anchor_is_the_same_otherwise():
    entry = Entry("a", "t", Interval.of(30), args=(1,), missed="skip", labels={"team": "x"})
    state = State(entry.uid, 1, 5)
    assert entry.with_state(state).with_anchor(7) == replace(entry, anchor=7)
    assert entry.with_state(state).state == state
    assert (entry.state, entry.anchor) == (None, 0)
