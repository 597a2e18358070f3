"""Out and in again: nothing twice, nothing half."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from celery.schedules import crontab, solar

from redlock_beat import InvalidSchedule, Schedule
from redlock_beat.schedule import transfer
from redlock_beat.schedule.filters import labelled
from redlock_beat.schedule.transfer import check, export, load
from redlock_beat.store.keys import Keys
from tests.beats import duplicates, messages

K = Keys("redlock-beat")


@pytest.fixture
def here(valkey):
    return Schedule.from_url(valkey.url())


def filled(here, valkey, beats):
    configured = {"conf": {"task": "tasks.add", "schedule": 3600.0}, "gone": {"task": "tasks.add", "schedule": 60.0}}
    beat = beats(valkey, configured).lead()
    here.add("interval", "tasks.add", 3600, args=(1, datetime(2026, 1, 1, tzinfo=UTC)))
    here.add("cron", "tasks.add", crontab(minute=0, hour=7), timezone="Europe/Berlin", missed="all", jitter=3)
    here.update("cron", overlap="buffer_all", queue_limit=60, buffer_limit=5, pause_on_failure=3)
    here.add("ran", "tasks.add", 3600, run_now=True)
    here.add("日本 🎉", "tasks.add", 60)
    here.pause("cron", note="n")
    beat.until(lambda: messages(valkey.client()))
    here.remove("gone")
    return beat


def test_the_whole_schedule_with_its_state_goes_out_and_in(here, valkey, beats):
    beat = filled(here, valkey, beats)
    beat.close()
    lines = list(export(here))
    before = {entry.name: (entry, entry.state) for entry in here}
    client = valkey.client()
    digests = client.hgetall(K.digests)
    client.flushall()
    assert check(lines) == 6
    assert {one.what for one in load(here, lines)} == {"added"}
    assert {entry.name: (entry, entry.state) for entry in here} == before
    assert client.hgetall(K.digests) == digests
    again = beats(
        valkey, {"conf": {"task": "tasks.add", "schedule": 3600.0}, "gone": {"task": "tasks.add", "schedule": 60.0}}
    ).lead()
    again.tick(3)
    assert "gone" not in here  # removed at runtime, and it stays so
    assert here["conf"].state == before["conf"][1]
    assert messages(client) == []  # what was sent before is not sent again


def test_importing_twice_changes_nothing(here, valkey, beats):
    filled(here, valkey, beats).close()
    lines = list(export(here))
    states = valkey.client().hgetall(K.state)
    assert {one.what for one in load(here, lines)} == {"unchanged"}
    assert valkey.client().hgetall(K.state) == states


def test_an_import_never_sets_an_entry_back(here, valkey, beats):
    here.add("a", "tasks.add", 0.1)
    lines = list(export(here))
    beat = beats(valkey).lead()
    beat.until(lambda: here["a"].total_run_count >= 3)
    here.update("a", args=(5,))
    assert [one.what for one in load(here, lines)] == ["changed"]
    beat.until(lambda: here["a"].total_run_count >= 6)
    assert here["a"].args == ()
    assert duplicates(valkey.client()) == 0


def test_a_dry_run_says_what_would_be_changed_and_changes_nothing(here, valkey):
    here.add("a", "tasks.add", 60, args=(1,))
    here.add("b", "tasks.add", 60)
    lines = list(export(here))
    here.update("a", args=(2,), missed="skip")
    here.remove("b")
    states = valkey.client().hgetall(K.state)
    found = {one.name: one for one in load(here, lines, dry_run=True)}
    assert found["b"].what == "added"
    assert found["a"].fields == (("args", [2], [1]), ("missed", "skip", "once"))
    assert valkey.client().hgetall(K.state) == states


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda lines: lines[:-1], "cut off"),
        (lambda lines: lines[:1] + lines[2:], "it is damaged"),
        (lambda lines: lines[1:], "not an export"),
        (lambda lines: [], "cut off"),
        (lambda lines: [*lines[:-1], lines[-1][:-3]], "is not JSON"),
        (lambda lines: [*lines, lines[1]], "more after the end"),
        (lambda lines: [lines[0], "[]", *lines[2:]], "not an object"),
        (lambda lines: [lines[0], "{}", *lines[2:]], "not a line of an export"),
        (lambda lines: [lines[0].replace('"version":1', '"version":9'), *lines[1:]], "version 9"),
        (lambda lines: [lines[0], lines[1].replace('"kind":"interval"', '"kind":"magic"'), *lines[2:]], "magic"),
        (lambda lines: [lines[0], "x" * (transfer.MAX_LINE + 1), *lines[2:]], "is longer than"),
        (lambda lines: [lines[0], lines[1].replace('"state":"', '"state":"other'), *lines[2:]], "does not belong"),
    ],
)
def test_what_is_not_a_whole_export_is_refused_before_anything_is_written(here, spoil, says):
    here.add("a", "tasks.add", 60)
    here.add("b", "tasks.add", 60)
    with pytest.raises(InvalidSchedule, match=says):
        check(spoil(list(export(here))))


def test_a_schedule_of_the_sun_survives_a_trip(here):
    here.add("sun", "tasks.add", solar("sunset", 52.5, 13.4))
    lines = list(export(here))
    here.remove("sun")
    list(load(here, lines))
    assert str(here["sun"].schedule) == "sunset at 52.5, 13.4"


def test_days_and_where_slots_go_survive_a_trip(here):
    here.add(
        "a",
        "tasks.add",
        "*/10 0 7 * * *",
        exclude=["sat", "12-24..01-06"],
        only=["2090-01-01..2091-01-01"],
        shift="next",
    )
    entry, lines = here["a"], list(export(here))
    here.remove("a")
    list(load(here, lines))
    assert here["a"] == entry
    assert [one.what for one in load(here, lines)] == ["unchanged"]


def test_labels_survive_a_trip_and_choose_what_takes_it(here):
    here.add("a", "tasks.add", 60, labels={"team": "billing"})
    here.add("b", "tasks.add", 60, labels={"team": "ops"})
    here.add("c", "tasks.add", 60)
    entry, lines = here["a"], list(export(here, labelled({"team": "b*"})))
    assert check(lines) == 1
    here.remove("a")
    assert [one.name for one in load(here, lines)] == ["a"]
    assert here["a"] == entry
