"""The edit log: each edit that takes effect has its row, in the same step; one that does not has none."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from redlock_beat import AsyncSchedule, BatchFailed, InvalidSchedule, Schedule
from redlock_beat.errors import RedisUnavailable, RedlockBeatError
from redlock_beat.schedule.edit_log import MOST_CHANGES
from redlock_beat.schedule.transfer import export, load
from redlock_beat.store.keys import Keys
from tests.beats import messages
from tests.proxy import Proxy

K = Keys("redlock-beat")


@pytest.fixture
def schedule(server):
    return Schedule.from_url(server.url(), actor="ann")


def said(schedule, *names):
    """What the log says, oldest first."""
    return [(row.what, row.entry, row.actor, row.why) for row in reversed(schedule.log(*names))]


def test_every_edit_says_who_and_why(schedule):
    schedule.add("a", "t", 60, why="ticket 7")
    schedule.add("a", "t", 90, replace=True)
    schedule.update("a", args=(1,), actor="bob", why="ticket 8")
    schedule.pause("a", "down", actor="bob")
    schedule.pause("a", "down", why="ticket 9")
    schedule.resume("a", why="up again")
    schedule.copy("a", "b", why="another")
    schedule.rename("b", "c", actor="bob")
    schedule.trigger("a", why="by hand")
    now = schedule.now()
    schedule.backfill("a", now - timedelta(minutes=10), now, rate=0.001, why="lost")
    schedule.cancel("a", actor="bob", why="not needed")
    schedule.remove("c", why="gone")
    assert said(schedule) == [
        ("added", "a", "ann", "ticket 7"),
        ("changed", "a", "ann", None),
        ("changed", "a", "bob", "ticket 8"),
        ("paused", "a", "bob", "down"),
        ("paused", "a", "ann", "ticket 9"),
        ("resumed", "a", "ann", "up again"),
        ("copied", "b", "ann", "another"),
        ("renamed", "c", "bob", None),
        ("triggered", "a", "ann", "by hand"),
        ("backfilled", "a", "ann", "lost"),
        ("cancelled", "a", "bob", "not needed"),
        ("cancelled", "a", "bob", "not needed"),
        ("removed", "c", "ann", "gone"),
    ]
    assert schedule["a"].paused_by is None
    assert {row.what: row.source for row in schedule.log("b")} == {"copied": "a", "renamed": "b"}
    assert [row.revision for row in schedule.log("a") if row.what == "changed"] == [3, 2]
    assert {row.count for row in schedule.log("a") if row.what == "backfilled"} <= {6, 7}


def test_it_says_what_has_changed_from_what_to_what(schedule):
    schedule.add("a", "t", 60, missed="skip", labels={"team": "ops"})
    schedule.update("a", when="0 7 * * *", kwargs={"text": "x" * 1000}, missed="once", exclude=["sat"], labels=None)
    schedule.update("a", grace=None)
    (nothing, row, added) = schedule.log("a")
    changes = {field: (before, after) for field, before, after in row.changes}
    assert changes.pop("kwargs")[1].startswith('{"text": "xxx')
    assert changes == {
        "when": ({"kind": "interval", "every": 60}, {"kind": "crontab", "cron": "0 7 * * *"}),
        "missed": ("skip", "once"),
        "exclude": ([], ["sat"]),
        "labels": ({"team": "ops"}, {}),
    }
    assert (nothing.changes, added.changes) == ((), ())
    assert schedule.ask(schedule.operations.size()) == 1


def test_many_long_changes_make_a_row_of_bounded_length(schedule):
    long = {str(i): "ü" * 500 for i in range(50)}
    schedule.add("a", "t", 60, tuple(long), long, options={"headers": long})
    schedule.update(
        "a", args=(), kwargs={}, options={}, note="n" * 1000, exclude=[f"2026-01-{i:02}" for i in range(1, 32)]
    )
    row = schedule.log("a")[0]
    assert {field for field, *_ in row.changes} == {"args", "kwargs", "options", "note", "exclude"}
    assert sum(len(str(value)) for _, *values in row.changes for value in values) < MOST_CHANGES


def test_an_edit_that_does_not_take_effect_has_no_row(schedule):
    schedule.add("a", "t", 60)
    for edit in (
        lambda: schedule.add("a", "t", 60),
        lambda: schedule.update("a", missed="never"),
        lambda: schedule.update("a", missed="skip", revision=7),
        lambda: schedule.remove("none"),
        lambda: schedule.rename("a", "a" * 501),
    ):
        with pytest.raises(RedlockBeatError):
            edit()
    assert said(schedule) == [("added", "a", "ann", None)]
    with pytest.raises(BatchFailed, match="none of 2 changes is in force"), schedule.batch() as batch:
        batch.remove("a")
        batch.update("a")
    assert len(schedule.log()) == 1


def test_a_batch_signs_each_of_its_edits(schedule):
    with schedule.batch() as batch:
        batch.add("a", "t", 60, why="one")
        batch.update("a", missed="skip", actor="bob")
        batch.pause("a", "off")
        batch.trigger("a", why="now")
        batch.copy("a", "b", actor="bob")
        batch.resume("b")
        batch.remove("b", why="no")
    assert said(schedule) == [
        ("added", "a", "ann", "one"),
        ("changed", "a", "bob", None),
        ("paused", "a", "ann", "off"),
        ("triggered", "a", "ann", "now"),
        ("copied", "b", "bob", None),
        ("resumed", "b", "ann", None),
        ("removed", "b", "ann", "no"),
    ]


def test_an_edit_whose_reply_is_lost_has_one_row(valkey):
    proxy = Proxy(valkey.port)
    try:
        schedule = Schedule.from_url(f"redis://127.0.0.1:{proxy.port}/0", socket_timeout=1.0, actor="ann")
        schedule.add("warm", "t", 60)
        proxy.lose_reply("EVALSHA", 1)
        schedule.update("warm", missed="skip")
        assert proxy.lost == 1
        assert said(schedule) == [("added", "warm", "ann", None), ("changed", "warm", "ann", None)]
    finally:
        proxy.close()


def test_it_keeps_as_many_rows_as_it_may_and_none_where_it_may_not(valkey):
    client = valkey.client()
    short = Schedule.from_url(valkey.url(), edit_log_size=100)
    with short.batch() as batch:
        for i in range(2000):
            batch.add(f"a{i}", "t", 60)
    assert client.xlen(K.edit_log) < 400
    none = Schedule.from_url(valkey.url(), prefix="other", edit_log_size=0)
    none.add("a", "t", 60)
    none.trigger("a")
    none.cancel("a")
    assert none.log() == []
    assert not client.exists(Keys("other").edit_log)


def test_a_full_server_loses_no_removal_for_want_of_a_row(own_server):
    server = own_server("valkey")
    schedule, client = Schedule.from_url(server.url(), retry_for=1.0), server.client()
    schedule.add("a", "t", 60)
    client.config_set("maxmemory", "1")
    with pytest.raises(RedisUnavailable, match="is full"):
        schedule.update("a", missed="skip")
    schedule.remove("a")
    assert "a" not in schedule


def test_an_import_says_what_it_has_changed(schedule):
    schedule.add("a", "t", 60)
    schedule.add("b", "t", 60)
    lines = list(export(schedule))
    schedule.update("a", missed="skip")
    schedule.remove("b")
    before = len(schedule.log())
    list(load(schedule, lines))
    new = schedule.log()[:-before]
    assert {(row.what, row.entry, row.changes) for row in new} == {
        ("imported", "a", (("missed", "skip", "once"),)),
        ("imported", "b", ()),
    }
    list(load(schedule, lines))
    assert len(schedule.log()) == before + 2  # nothing was changed


def test_what_the_configuration_brings_is_signed_by_it(valkey, beats):
    one = {"task": "tasks.add", "schedule": 60}
    beat = beats(valkey, {"a": one, "b": one}).lead()
    beat.close()
    beat = beats(valkey, {"a": {**one, "missed": "skip"}}, redlock_beat_config_version=7).lead()
    rows = Schedule(beat.app).log()
    assert [(row.what, row.entry) for row in reversed(rows)] == [
        ("configured", "a"),
        ("configured", "b"),
        ("configured", "a"),
        ("removed", "b"),
    ]
    assert rows[1].changes == (("missed", "once", "skip"),)
    assert rows[1].actor == f"beat_schedule at {beat.parts.lease.owner}"
    assert rows[1].why == "version 7"


def test_a_large_configuration_leaves_room_for_the_edits_of_people(valkey, beats):
    beat = beats(valkey, {f"e{i}": {"task": "tasks.add", "schedule": 3600} for i in range(1200)}).lead()
    assert [(row.what, row.entry, row.count) for row in Schedule(beat.app).log()] == [
        ("configured", "", 200),
        ("configured", "", 500),
        ("configured", "", 500),
    ]


def test_rows_are_found_by_entry_actor_and_time_also_behind_many_others(schedule):
    schedule.add("a", "t", 60, actor="bob@web-1")
    with schedule.batch() as batch:
        for i in range(1200):
            batch.add(f"x{i}", "t", 60)
    middle = schedule.now()
    schedule.update("a", missed="skip", actor="carl@web-2")
    assert [row.what for row in schedule.log("a")] == ["changed", "added"]
    assert [row.entry for row in schedule.log(actor="*@web-*", n=10)] == ["a", "a"]
    assert [row.actor for row in schedule.log(actor="bob*")] == ["bob@web-1"]
    assert [row.what for row in schedule.log(since=middle)] == ["changed"]
    assert len(schedule.log(n=7)) == 7


@pytest.mark.parametrize(
    "bad", [{"actor": ""}, {"actor": "x" * 201}, {"why": 7}, {"why": "x" * 1001}, {"why": "\ud800"}]
)
def test_who_and_why_are_texts(valkey, bad):
    schedule = Schedule.from_url(valkey.url())
    with pytest.raises(InvalidSchedule, match=f"{next(iter(bad))} is .*must be a text"):
        schedule.add("a", "t", 60, **bad)
    assert "a" not in schedule


def test_the_same_on_an_event_loop(valkey):
    async def edit():
        async with AsyncSchedule.from_url(valkey.url()) as schedule:
            await schedule.add("a", "t", 60, actor="ann", why="ticket 7")
            await schedule.trigger("a", actor="bob")
            return await schedule.log("a")

    assert [(row.what, row.actor, row.why) for row in asyncio.run(edit())] == [
        ("triggered", "bob", None),
        ("added", "ann", "ticket 7"),
    ]


def test_rubbish_in_the_log_is_shown_as_far_as_it_can_be_read(valkey):
    client = valkey.client()
    client.xadd(K.edit_log, {"at": "soon", "rev": "x", "changes": "[[1]]"})
    client.xadd(K.edit_log, {"at": str(10**30), "is": "added", "entry": "a", "changes": "not JSON"})
    rows = Schedule.from_url(valkey.url()).log()
    assert [(row.what, row.entry, row.changes) for row in rows] == [("added", "a", ()), ("?", "", ())]


def test_what_is_sent_is_no_edit(valkey, beats):
    beat, client = beats(valkey).lead(), valkey.client()
    schedule = Schedule(beat.app)
    schedule.add("a", "tasks.add", 0.2)
    beat.until(lambda: len(messages(client)) >= 3)
    assert [row.what for row in schedule.log()] == ["added"]
