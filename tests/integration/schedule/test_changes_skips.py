"""Skips, as callers ask for them."""

from __future__ import annotations

import pytest

from redlock_beat import InvalidSchedule, Schedule, StaleRevision
from redlock_beat.schedule.transfer import export, load


@pytest.fixture
def schedule(valkey):
    return Schedule.from_url(valkey.url(), actor="ann")


@pytest.mark.parametrize("n", [-1, 1001, True, 1.5, "2", None])
def test_how_many_is_bounded(schedule, n):
    schedule.add("a", "t", 60)
    with pytest.raises(InvalidSchedule, match="from 0 to 1000"):
        schedule.skip("a", n)
    assert schedule["a"].revision == 1


def test_the_preview_marks_what_is_skipped_and_goes_on(schedule):
    schedule.add("a", "t", 60, max_runs=2)
    schedule.skip("a", 2)
    assert [slot.skipped for slot in schedule.preview("a", n=9)] == [True, True, False, False]
    schedule.skip("a", 0)
    assert [slot.skipped for slot in schedule.preview("a")] == [False, False]


def test_the_edit_log_says_who_skips_what(schedule):
    schedule.add("a", "t", 60)
    entry = schedule.skip("a", 2, why="audit", actor="bob")
    with pytest.raises(StaleRevision):
        schedule.skip("a", revision=1)
    schedule.skip("a", 0)
    undone, row, _ = schedule.log("a")
    assert (row.what, row.actor, row.why, row.count, row.revision) == ("skipped", "bob", "audit", 2, 2)
    ((part, before, after),) = row.changes
    assert (part, before, after["count"], after["by"]) == ("skip", None, 2, "bob")
    assert (undone.what, undone.count, undone.changes[0][2]) == ("skipped", 0, None)
    assert entry.skip.by == "bob"


def test_a_copy_skips_nothing_and_a_rename_and_an_export_keep_it(schedule, valkey):
    schedule.add("a", "t", 3600)
    skip = schedule.skip("a").skip
    assert schedule.copy("a", "c").skip is None
    assert schedule.rename("a", "b").skip == skip
    lines = list(export(schedule))
    other = Schedule.from_url(valkey.url(), prefix="other")
    list(load(other, lines))
    assert other["b"].skip == skip
    other.skip("b", 0)
    assert "changed" in {one.what for one in load(other, lines)}
    assert other["b"].skip == skip
    assert {one.what for one in load(other, lines)} == {"unchanged"}


def test_a_batch_skips_too(schedule):
    with schedule.batch() as batch:
        batch.add("a", "t", 3600)
        batch.skip("a", 2, why="audit")
    assert (schedule["a"].skip.count, schedule["a"].skip.by) == (2, "ann")
