"""Defaults are loaded once, and then left to whoever edits them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from dateutil.rrule import DAILY, rrule

from redlock_beat import InvalidSchedule, Schedule
from redlock_beat.schedule.defaults import default_of, load_defaults
from tests.beats import make_app


@pytest.fixture
def schedule(valkey):
    return Schedule(make_app(valkey.url()))


@pytest.fixture
def load(schedule):
    """Loads defaults; what became of each."""

    def loading(given, **how):
        found = [default_of(schedule, name, one, "orders.schedule") for name, one in given.items()]
        return {one.name: one.what for one in load_defaults(schedule, found, **how)}

    return loading


A = {"task": "tasks.add", "schedule": 60, "args": (1,)}


def test_a_default_is_added_once(schedule, load):
    assert load({"a": A}) == {"a": "added"}
    due = schedule["a"].next_due
    assert load({"a": A}) == {"a": "unchanged"}
    assert schedule["a"].next_due == due
    (row,) = schedule.log("a")
    assert (row.what, row.why) == ("added", "default of orders.schedule")


def test_a_default_that_changes_is_followed(schedule, load):
    load({"a": A})
    assert load({"a": {**A, "args": (2,)}}) == {"a": "changed"}
    assert schedule["a"].args == (2,)


def test_an_edit_stays_whatever_the_default_says_later(schedule, load):
    load({"a": A})
    schedule.update("a", args=(7,))
    assert load({"a": A}) == {"a": "kept"}
    assert load({"a": {**A, "args": (2,)}}) == {"a": "kept"}
    assert schedule["a"].args == (7,)
    assert load({"a": {**A, "args": (2,)}}, renew=True) == {"a": "changed"}
    assert schedule["a"].args == (2,)
    assert load({"a": {**A, "args": (3,)}}) == {"a": "changed"}


def test_a_removal_stays(schedule, load):
    load({"a": A})
    schedule.remove("a")
    assert load({"a": A}) == {"a": "kept"}
    assert load({"a": {**A, "args": (2,)}}) == {"a": "kept"}
    assert load({"a": A}, renew=True) == {"a": "added"}


def test_a_pause_stays_and_the_rest_follows(schedule, load):
    load({"a": A})
    schedule.pause("a", note="provider is down")
    assert load({"a": A}) == {"a": "unchanged"}
    assert load({"a": {**A, "args": (2,)}}) == {"a": "changed"}
    entry = schedule["a"]
    assert (entry.enabled, entry.note, entry.args) == (False, "provider is down", (2,))


def test_an_entry_that_somebody_made_is_no_default(schedule, load):
    schedule.add("a", "tasks.add", 30)
    assert load({"a": A}) == {"a": "kept"}
    schedule.add("b", "tasks.add", 60, args=(1,))
    assert load({"b": A}) == {"b": "unchanged"}  # it says the same
    assert load({"b": {**A, "args": (2,)}}) == {"b": "changed"}


def test_a_configured_entry_is_never_touched(valkey, beats, load):
    beats(valkey, {"a": {"task": "tasks.add", "schedule": 30}}).lead()
    assert load({"a": A}, renew=True) == {"a": "kept"}


def test_what_was_lost_between_the_entries_and_their_notes_is_made_good(schedule, load, valkey):
    load({"a": A})
    valkey.client().delete(schedule.keys.loaded)
    assert load({"a": A}) == {"a": "unchanged"}
    assert load({"a": {**A, "args": (2,)}}) == {"a": "changed"}


def test_a_dry_run_changes_nothing(schedule, load):
    assert load({"a": A}, dry_run=True) == {"a": "added"}
    assert len(schedule) == 0


def test_many_are_loaded_in_pages(schedule, load):
    assert set(load({f"e{i}": A for i in range(600)}).values()) == {"added"}
    assert len(schedule) == 600


def test_a_rule_that_starts_now_is_the_same_rule_tomorrow(schedule, load):
    load({"a": {**A, "schedule": rrule(DAILY)}})
    start = schedule["a"].schedule.start
    found = default_of(schedule, "a", {**A, "schedule": rrule(DAILY)}, "x")
    moved = replace(
        found, entry=replace(found.entry, schedule=replace(found.entry.schedule, start=start + timedelta(days=1)))
    )
    assert [one.what for one in load_defaults(schedule, [moved])] == ["unchanged"]
    assert schedule["a"].schedule.start == start


@pytest.mark.parametrize("given", [7, {"task": "t"}, {**A, "missd": "skip"}, {**A, "args": (object(),)}])
def test_what_is_no_entry_is_refused(schedule, given):
    with pytest.raises(InvalidSchedule):
        default_of(schedule, "a", given, "x")
