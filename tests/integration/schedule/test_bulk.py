"""Edits of all entries that fit: each fitting one once, no other, in pages, and the log says it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from redlock_beat import AsyncSchedule, AsyncSelection, BatchFailed, InvalidSchedule, Schedule, Selection
from redlock_beat.schedule import bulk
from redlock_beat.store.keys import Keys
from tests.beats import ledger

K = Keys("redlock-beat")


@pytest.fixture
def schedule(server):
    return Schedule.from_url(server.url(), actor="ann")


@pytest.fixture
def sched(valkey):
    return Schedule.from_url(valkey.url(), actor="ann")


def fill(schedule: Schedule, many: int = 0) -> None:
    """Some entries of each kind."""
    with schedule.batch() as batch:
        batch.add("bill-1", "billing.send", 3600, labels={"team": "billing"}, options={"queue": "slow"})
        batch.add("bill-2", "billing.close", 3600, labels={"team": "billing", "tenant": "42"})
        batch.add("mail-1", "mail.send", 3600, options={"queue": "slow.eu"})
        batch.add("Mail-2", "mail.send", 3600)
        for i in range(many):
            batch.add(f"many-{i}", "many.send", 3600, labels={"many": "yes"})


def names(schedule: Schedule, **which) -> set[str]:
    return {entry.name for entry in schedule.entries(**which)}


@pytest.mark.parametrize(
    ("which", "meant"),
    [
        ({"labels": {"team": "billing"}}, "bill-1 bill-2"),
        ({"labels": {"team": "*", "tenant": "4*"}}, "bill-2"),
        ({"task": "mail.*"}, "mail-1 Mail-2"),
        ({"prefix": "mail"}, "mail-1"),
        ({"contains": "AIL-"}, "mail-1 Mail-2"),
        ({"queue": "slow*"}, "bill-1 mail-1"),
        ({"queue": "slow", "task": "mail.*"}, ""),
        ({"origin": "config"}, ""),
        ({"state": "active"}, "bill-1 bill-2 mail-1 Mail-2"),
    ],
    ids=str,
)
def test_the_same_words_choose_for_reading_counting_and_editing(sched, which, meant):
    fill(sched)
    meant = set(meant.split())
    chosen = sched.select(**which)
    assert names(sched, **which) == meant
    assert chosen.count() == len(meant)
    assert chosen.pause("why") == len(meant)
    assert names(sched, enabled=False) == meant


def test_states(sched, valkey):
    fill(sched)
    sched.pause("bill-1")
    sched.pause("bill-2", until=sched.now() + timedelta(hours=1))
    sched.add("over", "t", 3600, max_runs=1)
    client = valkey.client()
    uid, rev, _, last, count, attempts = client.hget(K.state, "over").split(" ")
    client.hset(K.state, "over", " ".join((uid, rev, "-", last, count, attempts)))
    client.hset(K.quarantine, mapping={"mail-1": "{}", "gone": "{}", "rubbish": "{}"})
    client.hset(K.entries, "rubbish", "{")
    assert names(sched, state="paused") == {"bill-1", "bill-2"}
    assert names(sched, state="finished") == {"over"}
    assert names(sched, state="active") == {"mail-1", "Mail-2"}
    assert names(sched, state="quarantined") == {"mail-1"}
    assert sched.select(state="quarantined").count() == 2
    assert sched.select(state="quarantined", task="t").remove() == 0
    assert sched.select(state="quarantined").remove() == 2
    assert names(sched) == {"bill-1", "bill-2", "Mail-2", "over"}
    with pytest.raises(InvalidSchedule, match="active, paused, finished, quarantined"):
        sched.select(state="on")


def test_each_verb_of_many(schedule, beats, server):
    beat = beats(server).lead()
    fill(schedule)
    billing = schedule.select(labels={"team": "billing"})
    until = schedule.now() + timedelta(hours=2)
    assert billing.skip(2, why="audit") == 2
    assert {entry.skip.count for entry in schedule.entries(labels={"team": "billing"})} == {2}
    assert billing.trigger(kwargs={"to": 7}, actor="bob") == 2
    assert billing.pause("audit", until=until) == 2
    assert [entry.paused_until for entry in schedule.entries(labels={"team": "billing"})] == [until] * 2
    assert billing.resume(why="done") == 2
    beat.until(lambda: len(ledger(server.client(), "sent")) == 2)
    assert billing.remove() == 2
    assert names(schedule) == {"mail-1", "Mail-2"}
    rows = [(row.what, row.entry, row.actor, row.why) for row in schedule.log() if row.what != "added"]
    assert sorted(rows) == sorted(
        (what, name, actor, why)
        for name in ("bill-1", "bill-2")
        for what, actor, why in (
            ("skipped", "ann", "audit"),
            ("triggered", "bob", None),
            ("paused", "ann", "audit"),
            ("resumed", "ann", "done"),
            ("removed", "ann", None),
        )
    )
    triggered = {row.task_id for row in schedule.log() if row.what == "triggered"}
    assert triggered == {row["id"] for row in ledger(server.client(), "sent")}


def test_nobody_s_pause_becomes_another_one(sched):
    fill(sched)
    sched.pause("bill-1", "broken", actor="bob")
    billing = sched.select(labels={"team": "billing"})
    assert billing.pause("audit", until=sched.now() + timedelta(hours=1)) == 1
    assert (sched["bill-1"].note, sched["bill-1"].paused_until) == ("broken", None)
    assert billing.trigger() == 0
    assert billing.skip() == 0
    assert sched.select(labels={"team": "billing"}, state="paused").trigger() == 2
    assert sched.select(prefix="mail").resume() == 0


def test_many_are_edited_in_pages_each_once_and_the_log_has_a_row_a_page(sched, valkey):
    fill(sched, 1700)
    seen = []
    before = len(sched.log(n=5000))
    assert sched.select(labels={"many": "yes"}).pause("audit", progress=seen.append) == 1700
    assert sum(seen) == 1704
    assert max(seen) <= 500
    revisions = {entry.revision for entry in sched.entries(labels={"many": "yes"})}
    assert revisions == {2}
    rows = sched.log(n=5000)[: -before or None]
    alone = [row for row in rows if row.entry]
    together = [row for row in rows if not row.entry]
    assert len(alone) + sum(row.count for row in together) == 1700
    assert len(together) <= 3
    assert {(row.what, row.actor, row.why) for row in rows} == {("paused", "ann", "audit")}
    assert sched.select(task="many.*", state="paused").remove(why="tidy") == 1700
    assert len(sched) == 4


def test_an_entry_that_no_longer_fits_when_its_page_is_written_is_left_alone(sched, monkeypatch):
    fill(sched)
    asked = bulk.in_quarantine

    def meanwhile(*args):
        sched.update("bill-1", labels={"team": "mail"})
        sched.remove("bill-2")
        return (yield from asked(*args))

    monkeypatch.setattr("redlock_beat.schedule.operations.in_quarantine", meanwhile)
    assert sched.select(labels={"team": "billing"}).pause() == 0
    assert not sched["bill-1"].paused


def test_a_page_that_fails_says_what_is_in_force(sched, monkeypatch):
    fill(sched)
    monkeypatch.setattr(bulk, "PAGE", 2)
    edits = []
    operations = sched.operations
    apply = operations.apply

    def failing(changes):
        edits.append(changes)
        if len(edits) == 2:
            raise InvalidSchedule("no")
        return apply(changes)

    monkeypatch.setattr(operations, "apply", failing)
    with pytest.raises(BatchFailed, match="2 entries are edited, and those after that are not") as raised:
        sched.select(state="active").pause()
    assert (raised.value.done, raised.value.total) == (2, None)
    assert len(names(sched, enabled=False)) == 2


def test_what_cannot_be_read_is_removed_by_name_and_else_left_alone(sched, valkey):
    fill(sched)
    valkey.client().hset(K.entries, "bill-2", "{")
    assert sched.select(prefix="bill").pause() == 1
    assert sched.select(task="billing.*").remove() == 1
    assert sched.select(prefix="bill").remove() == 1


def test_an_end_in_the_past_edits_nothing(sched):
    fill(sched)
    with pytest.raises(BatchFailed, match="has gone by"):
        sched.select(task="mail.*").pause(until=sched.now())
    assert names(sched, enabled=False) == set()


def test_the_same_on_an_event_loop(valkey, sched):
    fill(sched)

    async def edit():
        async with AsyncSchedule.from_url(valkey.url()) as there:
            chosen = there.select(task="mail.*")
            assert isinstance(chosen, AsyncSelection)
            return await chosen.count(), await chosen.skip(), await chosen.pause("n"), await chosen.resume()

    assert asyncio.run(edit()) == (2, 2, 2, 2)
    assert set(vars(Selection)) - {"__module__"} == set(vars(AsyncSelection)) - {"__module__"}
