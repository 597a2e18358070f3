"""The same schedule on an event loop."""

from __future__ import annotations

import asyncio
import inspect
from datetime import timedelta

import pytest

from redlock_beat import (
    AsyncBatch,
    AsyncSchedule,
    Batch,
    EntryExists,
    RedisUnavailable,
    Schedule,
    StaleRevision,
)
from redlock_beat.store.keys import Keys
from tests.beats import LASTING, somebody_reads
from tests.proxy import Proxy

K = Keys("redlock-beat")


@pytest.fixture
def schedule(valkey):
    return Schedule.from_url(valkey.url())


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
    assert edits == {
        "add",
        "add_periodic_task",
        "update",
        "remove",
        "pause",
        "resume",
        "skip",
        "trigger",
        "copy",
        "rename",
    }
    assert {name: shape(Batch)[name] for name in edits} == {name: shape(Schedule)[name] for name in edits}
    assert shape(Batch) == shape(AsyncBatch)


def test_one_step_and_a_whole_operation_are_asked_in_the_same_way(schedule, valkey):
    schedule.add("a", "tasks.add", 60)
    operations = schedule.operations
    seconds, before = valkey.client().time()[0], schedule.now()
    assert seconds <= before.timestamp() <= valkey.client().time()[0] + 1
    assert schedule.ask(operations.size()) == 1
    assert schedule.ask(operations.entry("a"))[1].name == "a"

    async def ask():
        async with AsyncSchedule.from_url(valkey.url()) as same:
            return await same.now(), await same.ask(operations.size()), (await same.ask(operations.entry("a")))[1]

    now, size, entry = asyncio.run(ask())
    assert now >= before
    assert (size, entry) == (1, schedule["a"])


def test_the_whole_schedule_on_an_event_loop(valkey, beats):
    from datetime import UTC, datetime

    beat = beats(valkey, **LASTING).lead()

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
            await asyncio.to_thread(somebody_reads, valkey.client())
            sent = await schedule.trigger("a")
            while not await schedule.history("a"):
                await asyncio.to_thread(beat.tick)
            row = await waiting
            await news.aclose()
            assert (row.task_id, row.source) == (sent, "trigger")
            day = datetime(2026, 1, 1, tzinfo=UTC)
            assert await schedule.backfill("a", day, day + timedelta(minutes=10)) in (10, 11)
            assert (await schedule.status()).leader
            return await schedule.entry("a")

    entry = asyncio.run(edit())
    assert entry.args == (2,)


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
