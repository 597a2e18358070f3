"""Pauses with an end, as callers ask for them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from redlock_beat import InvalidSchedule, Schedule
from redlock_beat.schedule.transfer import export, load


@pytest.fixture
def schedule(valkey):
    return Schedule.from_url(valkey.url(), actor="ann")


def test_what_is_no_end_of_a_pause_is_refused_and_nothing_is_paused(schedule):
    schedule.add("a", "t", 60)
    for until, said in (
        (schedule.now(), "has gone by"),
        (datetime(2090, 1, 1, tzinfo=UTC), "ten years"),
        (datetime(2090, 1, 1), "aware"),
        ("tomorrow", "aware"),
    ):
        with pytest.raises(InvalidSchedule, match=said):
            schedule.pause("a", until=until)
    assert (schedule["a"].revision, schedule["a"].paused) == (1, False)


def test_the_edit_log_says_until_when(schedule):
    schedule.add("a", "t", 60)
    until = schedule.now() + timedelta(hours=2)
    schedule.pause("a", "down", until=until)
    schedule.resume("a", why="up")
    resumed, paused, _ = schedule.log("a")
    assert (paused.what, paused.actor, paused.why) == ("paused", "ann", "down")
    assert paused.changes == (("paused_until", None, until.isoformat()),)
    assert (resumed.what, resumed.why) == ("resumed", "up")


def test_a_pause_until_then_is_a_pause_for_who_chooses(schedule):
    for name in ("a", "b", "c"):
        schedule.add(name, "t", 3600)
    schedule.pause("a", until=schedule.now() + timedelta(hours=2))
    schedule.pause("b")
    assert {entry.name for entry in schedule.entries(enabled=False)} == {"a", "b"}
    assert {entry.name for entry in schedule.entries(enabled=True)} == {"c"}


def test_updating_enabled_ends_a_pause(schedule):
    made = schedule.add("a", "t", 3600)
    schedule.pause("a", until=schedule.now() + timedelta(hours=9))
    assert schedule.update("a", jitter=5).paused
    after = schedule.update("a", enabled=True)
    assert (after.paused, after.next_due) == (False, made.next_due)


def test_the_preview_begins_after_the_pause(schedule):
    schedule.add("a", "t", 3600)
    until = schedule.now() + timedelta(hours=9)
    schedule.pause("a", until=until)
    assert [slot.nominal >= until for slot in schedule.preview("a", n=3)] == [True] * 3
    assert schedule.rename("a", "b").paused_until == until
    assert schedule.copy("b", "c").paused_until == until


def test_an_export_brings_a_pause_along(schedule, valkey):
    schedule.add("a", "t", 3600)
    until = schedule.now() + timedelta(hours=9)
    before = schedule.pause("a", "why", until=until)
    lines = list(export(schedule))
    other = Schedule.from_url(valkey.url(), prefix="other")
    assert [one.what for one in load(other, lines)] == ["added"]
    assert other["a"] == before
    assert other["a"].next_due == before.next_due
    other.resume("a")
    other.pause("a", until=until + timedelta(hours=1))
    assert [one.what for one in load(other, lines, dry_run=True)] == ["changed"]
    assert [one.what for one in load(other, lines)] == ["changed"]
    assert (other["a"].paused_until, other["a"].next_due) == (until, before.next_due)
    assert [one.what for one in load(other, lines)] == ["unchanged"]


def test_a_batch_pauses_with_an_end(schedule):
    until = schedule.now() + timedelta(hours=9)
    with schedule.batch() as batch:
        batch.add("a", "t", 3600)
        batch.pause("a", until=until)
    assert schedule["a"].paused_until == until
