"""The schedule of a project, and its edits on commit."""

from __future__ import annotations

import pytest
from celery import signature

from redlock_beat import EntryExists, InvalidSchedule


@pytest.fixture
def schedule(app):
    from redlock_beat.django import Schedule

    return Schedule()


def atomic():
    from django.db import transaction

    return transaction.atomic()


def test_it_finds_the_app_of_the_project(app, schedule):
    assert schedule.app is app
    schedule.add("a", "orders.none", 60)
    assert schedule["a"].timezone == "Europe/Berlin"


def test_an_edit_happens_when_the_transaction_commits(schedule):
    with atomic():
        schedule.on_commit().add("a", "reminders.tasks.report", 60, args=("paid",), actor="ann", why="month's end")
        assert "a" not in schedule
    assert schedule["a"].args == ("paid",)
    (row,) = schedule.log("a")
    assert (row.what, row.actor, row.why) == ("added", "ann", "month's end")


def test_every_edit_waits_for_the_commit(schedule):
    schedule.add("a", "t", 60)
    schedule.add("gone", "t", 60)
    later = schedule.on_commit()
    with atomic():
        later.update("a", args=(1,))
        later.copy("a", "b")
        later.rename("b", "c")
        later.pause("c", note="not yet")
        later.resume("c")
        later.trigger("a")
        later.remove("gone")
        later.add_periodic_task(30, signature("t"), name="d")
        assert {entry.name for entry in schedule} == {"a", "gone"}
        assert schedule["a"].args == ()
    assert {entry.name for entry in schedule} == {"a", "c", "d"}
    assert schedule["a"].args == (1,)
    assert [one.source for one in schedule.waiting()] == ["trigger"]


def test_a_roll_back_takes_the_edits_with_it(schedule):
    schedule.add("a", "t", 60)
    with pytest.raises(KeyError), atomic():
        schedule.on_commit().remove("a")
        raise KeyError
    with atomic():
        schedule.on_commit().add("kept", "t", 60)
        with pytest.raises(KeyError), atomic():
            schedule.on_commit().add("b", "t", 60)
            raise KeyError
    assert {entry.name for entry in schedule} == {"a", "kept"}


def test_what_is_wrong_with_an_edit_is_said_at_once_and_what_redis_says_by_the_commit(schedule):
    with atomic(), pytest.raises(InvalidSchedule):
        schedule.on_commit().add("a", "t", -1)
    schedule.add("a", "t", 60)
    with pytest.raises(EntryExists), atomic():
        schedule.on_commit().add("a", "t", 30)
    with atomic():
        schedule.on_commit(robust=True).add("a", "t", 30)
    assert schedule["a"].schedule.every == 60_000_000


def test_a_block_is_one_batch(schedule):
    with atomic():
        with schedule.on_commit() as batch:
            batch.add("a", "t", 60)
            batch.add("b", "t", 60)
        assert len(schedule) == 0
    assert {entry.name for entry in schedule} == {"a", "b"}
    with atomic(), pytest.raises(KeyError), schedule.on_commit() as batch:
        batch.remove("a")
        raise KeyError
    with pytest.raises(Exception, match="none of 2 changes is in force"), atomic(), schedule.on_commit() as batch:
        batch.remove("a")
        batch.add("b", "t", 60)
    assert len(schedule) == 2
