"""A pause that ends by itself: what goes by in it is never sent, whoever resumes, edits or copies meanwhile."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redlock_beat import Crontab, Interval, Once
from redlock_beat.clock import from_score
from redlock_beat.entries.codec import decode, encode
from redlock_beat.entries.entry import Entry, State
from redlock_beat.entries.policies import act_at, next_slot
from redlock_beat.schedule.configuration import edited
from redlock_beat.schedule.edits import created, paused, resumed, updated
from redlock_beat.store.values import DROP, KEEP, Edit

from ..values import T0, S, entry

DAY = 86_400 * S


def left(edit: Edit) -> Entry:
    """The entry that an edit leaves."""
    return decode("a", edit.definition, State.parse(edit.state))


def made(schedule=None, **more) -> Entry:
    return left(created(entry(schedule or Interval.of(3600), **more), T0))


def pause(one: Entry, until: int, now: int = T0 + 60 * S) -> Edit:
    return paused(one, "why", "ann", one.state.text(), now, until)


@given(st.integers(1, 100_000), st.integers(1, 10**12), st.booleans())
def test_an_entry_goes_on_with_its_first_slot_from_then_on(every, length, jitter):
    one = made(Interval.of(every), jitter=every / 2 if jitter else 0.0)
    edit = pause(one, T0 + 60 * S + length)
    after = left(edit)
    assert after.paused
    assert after.enabled
    assert after.state.nominal >= after.until
    assert (after.state.nominal - T0) % (every * S) == 0
    assert after.state.nominal - after.until < every * S or after.state.nominal == one.state.nominal
    assert from_score(edit.score) == act_at(after, after.state.nominal)
    assert after.state.revision == one.revision + 1


def test_a_slot_at_the_very_end_is_sent():
    assert left(pause(made(), T0 + 7200 * S)).state.nominal == T0 + 7200 * S


def test_a_pause_is_over_at_its_end_and_so_is_its_note():
    one = left(pause(made(), T0 + 7200 * S))
    assert one.as_of(one.until - 1) is one
    over = one.as_of(one.until)
    assert (over.paused, over.note, over.paused_by, over.paused_until, over.standing) == (
        False,
        None,
        None,
        None,
        "active",
    )
    assert decode("a", encode(over), over.state) == over


@pytest.mark.parametrize("catch_up", [False, True])
def test_who_resumes_earlier_sends_nothing_of_the_pause_at_once_unless_it_catches_up(catch_up):
    one = left(pause(made(), T0 + 100 * 3600 * S))
    after = left(resumed(one, T0 + 9000 * S, one.state.text(), catch_up=catch_up))
    assert after.state.nominal == T0 + (3600 if catch_up else 10_800) * S
    assert not after.paused


def test_who_resumes_after_its_end_resumes_an_entry_that_is_not_paused():
    one = left(pause(made(), T0 + 7200 * S))
    edit = resumed(one, T0 + 7300 * S, one.state.text())
    assert (edit.definition, edit.state, edit.score) == (KEEP, KEEP, KEEP)
    assert edit.made.state.nominal == T0 + 7200 * S  # late, and a matter of `missed`
    assert edit.made.note is None


def test_an_entry_that_is_not_paused_stays_as_it_is_when_it_is_resumed():
    one = made(note="ask ann")
    edit = resumed(one, one.state.nominal + 10 * S, one.state.text())
    assert (edit.definition, edit.state, edit.score, edit.made.note) == (KEEP, KEEP, KEEP, "ask ann")


def test_a_pause_may_be_made_longer_shorter_and_endless():
    one = left(pause(made(), T0 + 7200 * S))
    longer = left(pause(one, T0 + 5 * 3600 * S))
    assert longer.state.nominal == T0 + 5 * 3600 * S
    shorter = left(pause(longer, T0 + 1000 * S))
    assert shorter.state.nominal == T0 + 3600 * S
    edit = paused(longer, None, "ann", longer.state.text(), T0 + 90 * S)
    endless = left(edit)
    assert (edit.score, endless.enabled, endless.until, endless.state.nominal) == (DROP, False, None, T0 + 3600 * S)
    assert left(pause(endless, T0 + 7200 * S)).state.nominal == T0 + 7200 * S


def test_one_without_a_slot_after_it_is_finished_then_and_may_be_resumed_before():
    one = left(pause(made(Once(T0 + 3600 * S)), T0 + 7200 * S))
    assert (one.state.nominal, one.standing) == (None, "paused")
    assert one.as_of(one.until).standing == "finished"
    assert left(resumed(one, T0 + 120 * S, one.state.text())).state.nominal == T0 + 3600 * S


def test_a_finished_entry_does_not_come_back_by_a_pause():
    one = made(Interval.of(3600), max_runs=1)
    one = one.with_state(replace(one.state, nominal=None, count=1))
    after = left(pause(one, T0 + 7200 * S))
    assert after.state.nominal is None
    assert left(resumed(after, T0 + 90 * S, after.state.text())).state.nominal is None


def test_editing_its_arguments_leaves_the_pause_and_its_slot():
    one = left(pause(made(), T0 + DAY))
    edit = updated(one, replace(one, args=(1,)), T0 + 90 * S, one.state.text(), 100)
    assert (edit.score, edit.in_place, left(edit).paused_until) == (KEEP, True, one.paused_until)
    assert left(edit).state.nominal == one.state.nominal
    late = updated(one, replace(one, args=(1,), until=None), T0 + DAY + S, one.state.text(), 100)
    assert left(late).until is None


@pytest.mark.parametrize("new", [Crontab.parse("30 * * * *"), Interval.of(1800), Interval.of(5000)])
def test_editing_its_schedule_leaves_the_pause_and_finds_another_slot_after_it(new):
    one = left(pause(made(), T0 + DAY))
    after = left(updated(one, replace(one, schedule=new), T0 + 90 * S, one.state.text(), 100))
    assert after.until == one.until
    assert after.state.nominal == next_slot(after, T0 + DAY - 1)
    resumed_early = left(resumed(after, T0 + 4000 * S, after.state.text()))
    assert resumed_early.state.nominal == next_slot(resumed_early, T0 + 4000 * S)
    if isinstance(new, Interval):
        assert (after.state.nominal - T0) % (new.every if new.every > 3600 * S else 1800 * S) == 0


def test_an_edit_that_resumes_counts_from_now():
    one = left(pause(made(), T0 + DAY))
    new = replace(one, until=None, paused_slot=None, note=None)  # as the configuration says it, or enabled=True
    edit = updated(one, new, T0 + 9000 * S, one.state.text(), 100)
    assert left(edit).state.nominal == T0 + 10_800 * S
    assert from_score(edit.score) == T0 + 10_800 * S
    off = updated(one, replace(new, enabled=False), T0 + 9000 * S, one.state.text(), 100)
    assert (off.score, left(off).state.nominal) == (DROP, T0 + 3600 * S)


def test_a_copy_is_paused_as_long():
    one = left(pause(made(), T0 + 7200 * S))
    copied = left(created(replace(one, name="b", anchor=0), T0 + 100 * S))
    assert copied.until == one.until
    assert copied.state.nominal == T0 + (100 + 2 * 3600) * S


def test_a_pause_is_no_edit_of_a_configured_entry():
    one = replace(made(), origin="config")
    from redlock_beat.schedule.configuration import digest_of

    said = digest_of(one)
    assert not edited(left(pause(one, T0 + DAY)), said)
    assert edited(replace(one, args=(3,)), said)
