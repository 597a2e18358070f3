"""Skips as edits make them, and edits that meet a skip."""

from __future__ import annotations

from dataclasses import replace

import pytest

from redlock_beat import Crontab, Interval, InvalidSchedule, Once
from redlock_beat.clock import from_score
from redlock_beat.entries.codec import decode
from redlock_beat.entries.entry import Entry
from redlock_beat.entries.policies import act_at
from redlock_beat.entries.state import State
from redlock_beat.entries.waiting import ManualItem
from redlock_beat.schedule.edits import created, paused, resumed, skipped, updated
from redlock_beat.store.values import KEEP, Edit

from ..values import T0, S, entry


def left(edit: Edit) -> Entry:
    return decode("a", edit.definition, State.parse(edit.state))


def made(schedule=None, **more) -> Entry:
    return left(created(entry(schedule or Interval.of(3600), **more), T0))


def skip(one: Entry, n: int, now: int = T0 + 60 * S) -> Edit:
    return skipped(one, n, "ann", "why", one.state.text(), now, 100)


def test_a_skip_names_its_slots_and_moves_nothing():
    one = made()
    edit = skip(one, 3)
    after = left(edit)
    assert (after.skip.first, after.skip.last, after.skip.count) == (T0 + 3600 * S, T0 + 3 * 3600 * S, 3)
    assert (edit.score, edit.in_place, after.state.nominal, after.state.revision) == (KEEP, False, one.state.nominal, 2)
    assert after.next_due.timestamp() * S == T0 + 4 * 3600 * S
    assert left(skip(after, 1)).skip.last == T0 + 3600 * S
    assert left(skip(after, 0)).skip is None


def test_a_slot_that_is_late_is_not_the_next():
    one = made()
    assert left(skip(one, 1, T0 + 3700 * S)).skip.first == T0 + 7200 * S


def test_slots_of_a_skip_that_no_beat_has_seen_stay_skipped_and_what_is_late_after_them_does_not():
    earlier = left(skip(made(), 2))
    undone = left(skip(earlier, 0, T0 + 3700 * S))
    assert (undone.skip.first, undone.skip.last, undone.skip.count) == (T0 + 3600 * S, T0 + 3600 * S, 1)
    for now in (3700, 4 * 3600 + 1):  # the second slot of the skip has not come; or it has, and others after it
        edit = skip(earlier, 1, T0 + now * S)
        (skips, *others), again = [ManualItem.parse(text) for text, _ in edit.manual], left(edit)
        assert (skips.missed.what, skips.missed.first) == ("skipped", T0 + 3600 * S)
        assert [one.nominal for one in others] == ([] if now == 3700 else [None, T0 + 4 * 3600 * S])
        assert (again.skip.first, again.skip.count, again.state.nominal) == (again.state.nominal, 1, again.skip.last)
        assert edit.score != KEEP


def test_fewer_slots_than_asked_for():
    after = left(skip(made(Once(T0 + 3600 * S)), 5))
    assert (after.skip.count, after.skip.then, after.next_due) == (1, None, None)
    bounded = left(skip(made(ends=T0 + 9000 * S), 9))
    assert (bounded.skip.count, bounded.skip.last) == (2, T0 + 7200 * S)


def test_what_has_no_next_slot_is_not_skipped():
    one = made()
    halted = left(paused(one, None, "ann", one.state.text(), T0 + S))
    with pytest.raises(InvalidSchedule, match="is paused"):
        skip(halted, 1)
    assert left(skip(halted, 0)).skip is None
    with pytest.raises(InvalidSchedule, match="no further slot"):
        skip(one.with_state(replace(one.state, nominal=None)), 1)
    with pytest.raises(InvalidSchedule, match="no further slot"):
        skip(made(Once(T0 + 30 * S)), 1)


def test_the_next_slot_of_a_pause_with_an_end_is_the_one_after_it():
    one = made()
    halted = left(paused(one, None, "ann", one.state.text(), T0 + S, T0 + 7200 * S))
    after = left(skip(halted, 1))
    assert after.skip.first == T0 + 7200 * S
    assert left(resumed(after, T0 + 100 * S, after.state.text())).next_due.timestamp() * S == T0 + 3600 * S


def test_a_pause_keeps_a_skip_for_who_resumes_before_it_is_over():
    one = left(skip(made(), 2))
    halted = left(paused(one, None, "ann", one.state.text(), T0 + S, T0 + 86_400 * S))
    assert halted.next_due.timestamp() * S == T0 + 86_400 * S
    assert left(resumed(halted, T0 + 100 * S, halted.state.text())).skip == one.skip


def test_an_edit_keeps_a_skip_unless_it_moves_the_slots():
    one = left(skip(made(), 2))
    now = T0 + 90 * S
    for change in ({"args": (1,)}, {"jitter": 5.0}, {"missed": "all"}):
        assert left(updated(one, replace(one, **change), now, one.state.text(), 100)).skip == one.skip
    for change in ({"schedule": Crontab.parse("0 7 * * *")}, {"timezone": "Europe/Berlin"}):
        assert left(updated(one, replace(one, **change), now, one.state.text(), 100)).skip is None


def test_a_skipped_slot_that_jitter_holds_back_is_not_sent_by_an_edit_either():
    one = left(skip(made(Crontab.parse("0 3 * * *"), jitter=3600.0), 1))
    now = one.state.nominal + S
    assert act_at(one, one.state.nominal) > now
    edit = updated(one, replace(one, jitter=5.0), now, one.state.text(), 100)
    ((text, _),) = edit.manual
    item = ManualItem.parse(text)
    assert (item.nominal, item.missed.what, item.missed.first) == (None, "skipped", one.state.nominal)


def test_an_edit_of_the_schedule_settles_slots_that_are_skipped_as_skipped():
    one = left(skip(made(Interval.of(10)), 3, T0 + S))
    edit = updated(one, replace(one, schedule=Interval.of(7200)), T0 + 55 * S, one.state.text(), 100)
    items = [(ManualItem.parse(text), from_score(when)) for text, when in edit.manual]
    assert [(item.missed and (item.missed.what, item.missed.count), item.nominal) for item, _ in items] == [
        (("skipped", 3), None),
        (("missed", 1), None),
        (None, T0 + 50 * S),
    ]
    assert left(edit).skip is None
