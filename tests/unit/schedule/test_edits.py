"""Edits never move, lose or repeat a slot that they should not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from redlock_beat import Crontab, Interval, InvalidSchedule, Once
from redlock_beat.clock import from_score
from redlock_beat.entries.codec import decode
from redlock_beat.entries.entry import Entry, State
from redlock_beat.entries.policies import act_at
from redlock_beat.entries.waiting import ManualItem
from redlock_beat.schedule.edits import created, paused, resumed, updated

from ..values import T0, S, entry


def stored(e: Entry) -> Entry:
    edit = created(e, T0)
    return decode("a", edit.definition, State.parse(edit.state))


def test_editing_arguments_never_moves_the_next_slot():
    old = stored(entry(Crontab.parse("0 * * * *")))
    edit = updated(old, Entry("a", "t", old.schedule, args=(1,)), T0 + 999 * S, old.state.text(), 100)
    assert edit.score == "="
    assert State.parse(edit.state).nominal == old.state.nominal
    assert State.parse(edit.state).revision == 2


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(0, 20_000))
def test_changing_an_interval_counts_on_from_the_last_nominal_and_is_never_early(before, after, elapsed):
    assume(before != after)
    old = stored(entry(Interval.of(before)))
    now = T0 + elapsed * S
    edit = updated(old, Entry("a", "t", Interval.of(after)), now, old.state.text(), 100)
    state = State.parse(edit.state)
    assert state.nominal > now
    settled = [item for item, _ in edit.manual]
    assert bool(settled) == (old.state.nominal <= now)
    anchor = decode("a", edit.definition).anchor
    assert anchor <= now
    assert (state.nominal - anchor) % (after * S) == 0
    assert state.nominal - anchor >= after * S or not settled


def held_back(**more) -> tuple[Entry, int, int]:
    """A nightly entry whose slot has come, but is held back by jitter; when it would be sent, and an instant before."""
    e = stored(entry(Crontab.parse("0 3 * * *"), jitter=3600.0, **more))
    when = act_at(e, e.state.nominal)
    assert when > e.state.nominal + 60 * S
    return e, when, e.state.nominal + 30 * S


@pytest.mark.parametrize(
    "change",
    [
        {"jitter": 0.0},
        {"timezone": "Asia/Tokyo"},
        {"schedule": Interval.of(60)},
        {"ends": T0 + 400 * 86400 * S},
        {"dst_gap": "skip"},
        {"schedule": Crontab.parse("0 4 * * *")},
        {"enabled": False, "jitter": 1.0},
    ],
)
def test_an_edit_does_not_lose_a_slot_that_jitter_holds_back(change):
    old, when, now = held_back()
    edit = updated(old, replace(old, **change), now, old.state.text(), 100)
    ((text, at),) = edit.manual
    item = ManualItem.parse(text)
    assert (item.source, item.nominal, from_score(at)) == ("settled", old.state.nominal, when)
    after = State.parse(edit.state)
    assert after.nominal > now
    assert after.count == 1


def test_after_an_outage_an_edit_settles_what_is_due_and_what_jitter_still_holds_back():
    e = stored(entry(Interval.of(10), jitter=9.0, missed="all"))
    slots_ = range(e.state.nominal, e.state.nominal + 3000 * S, 10 * S)
    now = next(at + 1 for at in slots_ if act_at(e, at) > at + 1 and at > T0 + 35 * S)
    edit = updated(e, replace(e, jitter=0.0), now, e.state.text(), 100)
    items = [ManualItem.parse(text) for text, _ in edit.manual]
    assert [item.nominal for item in items] == list(range(e.state.nominal, now, 10 * S))
    assert from_score(edit.manual[-1][1]) == act_at(e, items[-1].nominal) > now


def test_pausing_and_resuming_does_not_lose_a_slot_that_jitter_holds_back():
    old, when, now = held_back()
    edit = paused(old, None, None, old.state.text(), now)
    resting = decode("a", edit.definition, replace(old.state, revision=old.revision + 1))
    for again in (resumed(resting, now, "*"), updated(resting, replace(resting, enabled=True), now, "*", 100)):
        assert State.parse(again.state).nominal == old.state.nominal
        assert from_score(again.score) == when
    late = resumed(resting, when + S, "*")
    assert State.parse(late.state).nominal > when  # its time has passed while it was paused
    days = resumed(resting, old.state.nominal + 3 * 86400 * S, "*")
    assert from_score(days.score) > old.state.nominal + 3 * 86400 * S


def test_an_edit_of_an_entry_that_fails_is_tried_at_once():
    old = stored(entry(Crontab.parse("0 3 * * *")))
    now = old.state.nominal + 3600 * S
    failing = old.with_state(replace(old.state, attempts=7))
    edit = updated(failing, replace(failing, args=(1,)), now, failing.state.text(), 100)
    assert State.parse(edit.state) == replace(old.state, revision=2)
    assert from_score(edit.score) == old.state.nominal


def test_an_entry_whose_state_is_lost_can_be_edited_and_goes_on_from_now():
    e = entry()
    for edit in (
        updated(e, replace(e, args=(1,)), T0 + 5 * S, "*", 100),
        resumed(e, T0 + 5 * S, "*"),
        paused(e, None, None, "*", T0 + 5 * S),
        updated(e, replace(e, schedule=Interval.of(7)), T0 + 5 * S, "*", 100),
    ):
        assert State.parse(edit.state).nominal > T0 + 5 * S


def test_a_one_shot_that_is_just_past_is_sent_at_once_and_an_older_one_never():
    assert State.parse(created(entry(Once(T0 - 59 * S)), T0).state).nominal == T0 - 59 * S
    assert State.parse(created(entry(Once(T0 - 61 * S)), T0).state).nominal is None
    old = stored(entry())
    edit = updated(old, replace(old, schedule=Once(T0 + 4 * S)), T0 + 5 * S, "*", 100)
    assert State.parse(edit.state).nominal == T0 + 4 * S


def test_a_one_shot_that_was_sent_is_not_sent_again_by_an_edit():
    sent = entry(Once(T0), keep=True).with_state(State("u", 1, None, T0, 1))
    for change in ({"timezone": "Asia/Tokyo"}, {"jitter": 5.0}, {"args": (1,)}, {"ends": T0 + S}):
        assert State.parse(updated(sent, replace(sent, **change), T0 + 5 * S, "*", 100).state).nominal is None


def test_an_interval_that_kept_away_from_days_counts_on_in_its_own_phase():
    # Every 7 hours, the slots of a closed day moved: what was moved is no place to count on from.
    old = stored(entry(Interval.of(7 * 3600), exclude=("2026-01-02",), shift="next"))
    old = old.with_state(State("u", 1, T0 + 49 * 3600 * S))
    new = replace(old, schedule=Interval.of(3600), exclude=(), state=None)
    edit = updated(old, new, T0 + 48 * 3600 * S, old.state.text(), 100)
    assert (decode("a", edit.definition).anchor - T0) % (7 * 3600 * S) == 0


def test_a_change_of_its_days_moves_the_next_slot_of_an_entry():
    old = stored(entry(Crontab.parse("0 7 * * *")))
    edit = updated(old, replace(old, exclude=("2026-01-01..2026-01-03",)), T0, old.state.text(), 100)
    assert State.parse(edit.state).nominal == T0 + (3 * 24 + 7) * 3600 * S


def test_nothing_is_sent_at_once_on_a_closed_day():
    with pytest.raises(InvalidSchedule, match="trigger it"):
        created(entry(exclude=("2026-01-01",)), T0 + S, run_now=True)
    assert State.parse(created(entry(exclude=("2026-01-02",)), T0 + S, run_now=True).state).nominal == T0 + S
