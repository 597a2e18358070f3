"""Many edits in few round trips, paging and filters; and the same schedule on an event loop."""

from __future__ import annotations

import asyncio
import inspect
import json
from datetime import timedelta

import pytest

from redlock_beat import (
    AsyncBatch,
    AsyncSchedule,
    Batch,
    BatchFailed,
    EntryExists,
    InvalidSchedule,
    NoSuchEntry,
    RedisUnavailable,
    Schedule,
    ScheduleBusy,
    StaleRevision,
)
from redlock_beat.schedule import operations
from redlock_beat.store.keys import Keys
from redlock_beat.store.requests import PAGE
from tests.beats import messages
from tests.proxy import Proxy

K = Keys("redlock-beat")


@pytest.fixture
def schedule(valkey):
    return Schedule.from_url(valkey.url())


def test_many_edits_in_one_batch_each_as_if_made_alone(schedule):
    schedule.add("old", "t", 60)
    schedule.add("gone", "t", 60)
    with schedule.batch() as batch:
        batch.add("new", "t", 60, args=(1,))
        batch.update("new", args=(2,))
        batch.pause("new", note="later")
        batch.update("old", when=30)
        batch.remove("gone")
        batch.add("gone", "other", 90)
        batch.trigger("old")
        batch.trigger("old")
        batch.add_periodic_task(5.0, "tasks.p", name="periodic")
        assert len(batch) == 9
        assert "new" not in schedule  # nothing is in force before the block ends
    assert schedule["new"].args == (2,)
    assert (schedule["new"].enabled, schedule["new"].note, schedule["new"].revision) == (False, "later", 3)
    assert (schedule["old"].revision, str(schedule["old"].schedule)) == (2, "every 30 s")
    assert schedule["gone"].task == "other"
    assert "periodic" in schedule
    assert schedule._store.client.zcard(K.manual) == 2
    assert batch.results[0].name == "new"
    assert len({*batch.results[6:8]}) == 2  # the ids of two tasks


def test_a_removed_entry_cannot_be_edited_in_the_same_batch(schedule):
    schedule.add("a", "t", 60)
    with pytest.raises(BatchFailed) as failed, schedule.batch() as batch:
        batch.remove("a")
        batch.resume("a")
    assert isinstance(failed.value.cause, NoSuchEntry)
    assert "a" in schedule


def test_up_to_a_page_is_all_or_nothing_and_an_error_says_what_is_in_force(schedule):
    schedule.add("there", "t", 60)
    none = r"at 'there'.*exists already.*none of 3 changes is in force"
    with pytest.raises(BatchFailed, match=none) as failed, schedule.batch() as batch:
        batch.add("a", "t", 60)
        batch.add("there", "t", 60)
        batch.add("b", "t", 60)
    assert isinstance(failed.value.cause, EntryExists)
    assert (failed.value.done, failed.value.total, failed.value.name) == (0, 3, "there")
    assert len(schedule) == 1
    some = f"the first {PAGE} of {PAGE + 2} changes are in force"
    with pytest.raises(BatchFailed, match=some) as failed, schedule.batch() as batch:
        for i in range(PAGE + 1):
            batch.add(f"n{i}", "t", 60)
        batch.add("there", "t", 60)
    assert failed.value.done == PAGE
    assert len(schedule) == PAGE + 1


def test_an_exception_in_the_block_applies_nothing(schedule):
    with pytest.raises(InvalidSchedule), schedule.batch() as batch:
        batch.add("a", "t", 60)
        batch.add("b", "t", -1)
    assert len(schedule) == 0


def test_stale_revisions_in_a_batch(schedule):
    read = schedule.add("a", "t", 60)
    schedule.update("a", args=(1,))
    with pytest.raises(BatchFailed) as failed, schedule.batch() as batch:
        batch.update("a", args=(2,), revision=read.revision)
    assert isinstance(failed.value.cause, StaleRevision)


def test_a_batch_that_redis_does_not_answer_says_that_it_does_not_know(valkey):
    proxy = Proxy(valkey.port)
    schedule = Schedule.from_url(f"redis://127.0.0.1:{proxy.port}/0", socket_timeout=0.2)
    schedule.retry_for = 0.5
    schedule.add("warm", "t", 60)
    try:
        with pytest.raises(BatchFailed, match="is unknown") as failed, schedule.batch() as batch:
            batch.add("a", "t", 60)
            proxy.lose_reply("EVALSHA", 1, for_good=True)
        assert failed.value.unsure == 1
        assert isinstance(failed.value.cause, RedisUnavailable)
        with pytest.raises(BatchFailed, match="none of 1 changes is in force") as failed, schedule.batch() as batch:
            batch.add("a", "t", 60)
        assert failed.value.unsure == 0
    finally:
        proxy.close()


def test_an_edit_of_an_entry_that_a_leader_keeps_moving_meets_no_conflict(schedule, valkey, beats, monkeypatch):
    """Only what decides when an entry is due is compared with how far it has come."""
    monkeypatch.setattr(operations, "ATTEMPTS", 1)
    schedule.add("a", "t", 60)
    read = schedule._store.run

    def moved(step):
        answer = read(step)
        if step.script == "read":
            uid, rev, nominal, last, count, attempts = valkey.client().hget(K.state, "a").split(" ")
            valkey.client().hset(K.state, "a", f"{uid} {rev} {nominal} {last} {int(count) + 1} {attempts}")
        return answer

    monkeypatch.setattr(schedule._store, "run", moved)
    schedule.update("a", args=(1,))
    schedule.pause("a")
    assert schedule["a"].total_run_count == 2  # what the leader did is not undone
    with pytest.raises(ScheduleBusy):
        schedule.update("a", when=30)
    schedule.remove("a")
    monkeypatch.undo()
    assert "a" not in schedule


def test_entries_are_filtered_and_paged(schedule):
    with schedule.batch() as batch:
        for i in range(1200):
            batch.add(f"bill[{i}]", "billing.send" if i % 2 else "billing.count", 60)
        for i in range(50):
            batch.add(f"mail-{i}", "mail.send", 60, enabled=bool(i % 2))
    assert len(list(schedule.entries())) == len({entry.name for entry in schedule}) == 1250
    assert len(list(schedule.entries(task="billing.*"))) == 1200
    assert len(list(schedule.entries(task="billing.send", prefix="bill["))) == 600
    assert len(list(schedule.entries(prefix="mail", enabled=False))) == 25
    assert list(schedule.entries(prefix="*")) == []
    assert len(list(schedule.entries(origin="api"))) == 1250
    assert list(schedule.entries(origin="config")) == []


def test_following_the_ledger(schedule, valkey, beats):
    beat = beats(valkey).lead()
    schedule.add("a", "tasks.add", 3600)
    schedule.add("b", "tasks.add", 3600)
    schedule.trigger("a")
    beat.until(lambda: messages(valkey.client()))
    rows = schedule.follow("b", last=100)  # also what may have happened before the first look
    beat.start()
    import threading

    threading.Timer(0.2, lambda: (Schedule.from_url(valkey.url()).trigger("a"), schedule_b.trigger("b"))).start()
    schedule_b = Schedule.from_url(valkey.url())
    row = next(rows)
    assert (row.entry, row.what, row.how) == ("b", "sent", "trigger")


# --- on an event loop ------------------------------------------------------------------------------


def test_both_schedules_have_the_same_methods_with_the_same_arguments():
    def methods(cls):
        return {
            name: list(inspect.signature(member).parameters.values())
            for name, member in inspect.getmembers(cls, inspect.isfunction)
            if not name.startswith("_")
        }

    def shape(cls):
        return {name: [(p.name, p.kind, p.default) for p in found] for name, found in methods(cls).items()}

    assert shape(Schedule) == shape(AsyncSchedule)
    edits = shape(Batch).keys() - {"record"}
    assert edits == {"add", "add_periodic_task", "update", "remove", "pause", "resume", "trigger",
                     "copy", "rename"}  # fmt: skip
    assert {name: shape(Batch)[name] for name in edits} == {name: shape(Schedule)[name] for name in edits}
    assert shape(Batch) == shape(AsyncBatch)


def test_one_step_and_a_whole_operation_are_asked_in_the_same_way(schedule, valkey):
    schedule.add("a", "tasks.add", 60)
    operations = schedule.operations
    before, seconds = schedule.now(), valkey.client().time()[0]
    assert abs(before.timestamp() - seconds) <= 2
    assert schedule.ask(operations.size()) == 1
    assert schedule.ask(operations.entry("a"))[1].name == "a"

    async def ask():
        async with AsyncSchedule.from_url(valkey.url()) as same:
            return await same.now(), await same.ask(operations.size()), (await same.ask(operations.entry("a")))[1]

    now, size, entry = asyncio.run(ask())
    assert now >= before
    assert (size, entry) == (1, schedule["a"])


def test_a_schedule_that_never_reached_its_cluster_is_closed_without_asking_it():
    Schedule.from_url("redis+cluster://127.0.0.1:1").close()


def test_the_whole_schedule_on_an_event_loop(valkey, beats):
    from datetime import UTC, datetime

    beat = beats(valkey).lead()

    async def edit():
        async with AsyncSchedule.from_url(valkey.url()) as schedule:
            entry = await schedule.add("a", "tasks.add", 60, args=(1,))
            assert await schedule.has("a")
            assert await schedule.count() == 1
            assert (await schedule.get("none", 7)) == 7
            with pytest.raises(EntryExists):
                await schedule.add("a", "tasks.add", 60)
            await schedule.update("a", args=(2,), revision=entry.revision)
            with pytest.raises(StaleRevision):
                await schedule.update("a", args=(3,), revision=entry.revision)
            assert not (await schedule.pause("a", note="n")).enabled
            assert (await schedule.resume("a")).enabled
            async with schedule.batch() as batch:
                for i in range(700):
                    batch.add(f"b{i}", "tasks.add", 60)
            assert len(batch.results) == 700
            assert len([entry async for entry in schedule.entries(prefix="b")]) == 700
            assert len([entry async for entry in schedule]) == 701
            assert await schedule.add_periodic_task(60, "tasks.add", name="p") == "p"
            await schedule.remove("p")
            assert len(await schedule.preview("a", n=3)) == 3
            start = datetime.now(UTC) + timedelta(minutes=2)
            assert await schedule.simulate(outage=(start, start + timedelta(minutes=5)), name="a")
            news = schedule.follow("a")
            waiting = asyncio.ensure_future(anext(news))
            await asyncio.sleep(0)
            sent = await schedule.trigger("a")
            while not await schedule.history("a"):
                await asyncio.to_thread(beat.tick)
            row = await waiting
            await news.aclose()
            assert (row.task_id, row.how) == (sent, "trigger")
            day = datetime(2026, 1, 1, tzinfo=UTC)
            assert await schedule.backfill("a", day, day + timedelta(minutes=10)) in (10, 11)
            assert (await schedule.status()).leader
            return await schedule.entry("a")

    entry = asyncio.run(edit())
    assert entry.args == (2,)
    assert json.loads(json.dumps(entry.name)) == "a"


def test_an_edit_on_an_event_loop_whose_reply_is_lost_takes_effect_once(valkey):
    proxy = Proxy(valkey.port)

    async def edit():
        async with AsyncSchedule.from_url(f"redis://127.0.0.1:{proxy.port}/0", socket_timeout=1.0) as schedule:
            await schedule.add("warm", "t", 60)
            proxy.lose_reply("EVALSHA", 1)
            return await schedule.trigger("warm")

    try:
        assert asyncio.run(edit())
        assert proxy.lost == 1
        assert valkey.client().zcard(K.manual) == 1
    finally:
        proxy.close()


def test_a_redis_that_is_away_is_said_on_an_event_loop_too():
    async def ask():
        schedule = AsyncSchedule.from_url("redis://:s3cret@127.0.0.1:1/0")
        schedule.retry_for = 0.2
        async with schedule:
            await schedule.count()

    with pytest.raises(RedisUnavailable, match="did not answer") as error:
        asyncio.run(ask())
    assert "s3cret" not in str(error.value)
