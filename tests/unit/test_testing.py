"""What a project's tests are given: the schedule at a time that they set."""

from __future__ import annotations

import doctest
from datetime import UTC, datetime

import pytest
from celery import Celery
from celery.schedules import crontab

import redlock_beat.testing
from redlock_beat import InvalidSchedule
from redlock_beat.testing import Timetable, assert_next, problems


@pytest.fixture
def app():
    app = Celery("x", broker="redis://127.0.0.1:1/0", set_as_current=False)
    app.conf.timezone = "Europe/Berlin"
    app.conf.result_expires = None
    app.conf.redlock_beat_calendars = {"shut": ["12-24..01-06"]}
    app.conf.redlock_beat_policies = {"late": {"missed": "skip"}}
    app.conf.beat_schedule = {
        "nightly": {"task": "tasks.add", "schedule": crontab(minute=30, hour=2), "exclude": "shut"},
        "often": {"task": "tasks.add", "schedule": 600},
        "late": {"task": "tasks.add", "schedule": "0 22 * * *", "timezone": "America/New_York"},
        "off": {"task": "tasks.add", "schedule": 1, "enabled": False},
    }

    @app.task(name="tasks.add", shared=False)
    def add(x=0, y=0):
        return x + y

    @app.on_after_finalize.connect(weak=False)
    def more(sender, **kwargs):
        sender.add_periodic_task(3600, add.s(), name="by a signal")

    return app


def test_the_examples_work():
    assert doctest.testmod(redlock_beat.testing).failed == 0


def test_the_next_slots_at_a_time_that_is_set(app):
    timetable = Timetable(app, at="2026-12-23T12:00")
    assert {entry.name for entry in timetable} == {"nightly", "often", "late", "off", "by a signal"}
    assert [at.isoformat() for at in timetable.next("nightly", 2)] == [
        "2027-01-07T02:30:00+01:00",
        "2027-01-08T02:30:00+01:00",
    ]
    assert [at.isoformat() for at in timetable.next("often")] == ["2026-12-23T12:10:00+01:00"]
    assert [at.isoformat() for at in timetable.next("late")] == ["2026-12-23T22:00:00-05:00"]
    assert timetable.next("off") == []
    timetable.at = datetime(2027, 1, 7, 2, tzinfo=UTC)
    assert [at.isoformat() for at in timetable.next("nightly")] == ["2027-01-08T02:30:00+01:00"]
    timetable.at = "2027-01-09"
    assert [at.isoformat() for at in timetable.next("nightly")] == ["2027-01-09T02:30:00+01:00"]
    with pytest.raises(InvalidSchedule, match="5 is not a time"):
        timetable.at = 5
    assert "nightly" in timetable
    assert "nobody" not in timetable


def test_every_slot_until_a_time(app):
    timetable = Timetable(app, at="2026-12-23T22:00")
    found = timetable.until("2026-12-24T04:00")
    assert [slot.nominal for slot in found] == sorted(slot.nominal for slot in found)
    assert {name: sum(slot.name == name for slot in found) for name in ("nightly", "often", "late", "off")} == {
        "nightly": 0,
        "often": 36,
        "late": 1,
        "off": 0,
    }
    assert len(timetable.until("2026-12-24T04:00", "often")) == 36


def test_assert_next_says_what_was_expected_and_what_was_found(app):
    assert_next(app, "nightly", "2027-01-07T02:30", datetime(2027, 1, 8, 1, 30, tzinfo=UTC), after="2026-12-24")
    assert_next(app, "nightly", "2026-03-29T03:00", after="2026-03-29")  # there is no half past two
    assert_next(Timetable(app, "2026-01-01"), "often", "2026-05-05T00:10", after="2026-05-05")
    with pytest.raises(AssertionError) as failed:
        assert_next(app, "nightly", "2026-12-25T02:30", after="2026-12-24")
    assert str(failed.value) == (
        "the next slots of 'nightly' (at 02:30, every day, Europe/Berlin, but not on days of shut) after 2026-12-24 are "
        "not those expected.\n"
        "  expected: 2026-12-25T02:30:00+01:00\n"
        "  found:    2027-01-07T02:30:00+01:00"
    )
    with pytest.raises(AssertionError, match="found:    none"):
        assert_next(app, "off", "2026-12-25", after="2026-12-24")
    with pytest.raises(KeyError, match=r"no entry 'nigthly'. Did you mean 'nightly'\?"):
        assert_next(app, "nigthly", "2026-12-25", after="2026-12-24")
    with pytest.raises(ValueError, match="at least one"):
        assert_next(app, "nightly", after="2026-12-24")


def test_an_entry_that_is_finished_after_so_many_runs_has_no_slot_after_them(app):
    app.conf.beat_schedule["twice"] = {"task": "tasks.add", "schedule": 60, "max_runs": 2}
    assert len(Timetable(app, at="2027-01-01").until("2027-01-02", "twice")) == 2
    with pytest.raises(AssertionError, match="not those expected"):
        assert_next(app, "twice", *(f"2027-01-01T00:0{i}" for i in (1, 2, 3)), after="2027-01-01")


def test_a_configuration_that_cannot_be_used_is_no_timetable(app):
    app.conf.beat_schedule = {"a": {"task": "tasks.add", "schedule": "soon"}}
    with pytest.raises(InvalidSchedule, match=r"beat_schedule\['a'\] cannot be used: 'soon' is not a schedule"):
        Timetable(app, at="2026-01-01")


def test_problems_are_none_where_all_is_well(app):
    assert problems(app) == []
