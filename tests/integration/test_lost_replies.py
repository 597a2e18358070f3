"""A lost reply after each script: nothing is sent twice, and no edit reports a failure it did not have."""

from __future__ import annotations

import asyncio
import collections
import hashlib
import uuid

import pytest
import redis

from redlock_beat import AsyncSchedule, EntryExists, RedisUnavailable, Schedule, hooks
from redlock_beat.schedule import base
from redlock_beat.store import locks, lua
from redlock_beat.store.client import Target
from redlock_beat.store.store import Store
from tests.beats import duplicates, ledger, make_app, messages
from tests.brokers import taken
from tests.proxy import Proxy


@pytest.fixture
def proxy(server):
    proxy = Proxy(server.port)
    yield proxy
    proxy.close()


def through(proxy: Proxy) -> str:
    return f"redis://127.0.0.1:{proxy.port}/0"


EDITS = {
    "add": lambda s: s.add("new", "t", 3600),
    "replace": lambda s: s.add("a", "t", 1800, replace=True),
    "update": lambda s: s.update("a", args=(9,)),
    "remove": lambda s: s.remove("a"),
    "pause": lambda s: s.pause("a"),
    "resume": lambda s: s.resume("a"),
    "trigger": lambda s: s.trigger("a"),
}


def plainly(url, edit, before):
    """The edit through a Schedule."""
    schedule = Schedule.from_url(url)
    schedule.update("warm", args=(1,))
    before()
    return edit(schedule)


def awaited(url, edit, before):
    """The edit through an AsyncSchedule."""

    async def run():
        async with AsyncSchedule.from_url(url) as schedule:
            await schedule.update("warm", args=(1,))
            before()
            return await edit(schedule)

    return asyncio.run(run())


@pytest.mark.parametrize("what", EDITS)
@pytest.mark.parametrize("skip", [0, 1])
@pytest.mark.parametrize("door", [plainly, awaited], ids=lambda door: door.__name__)
def test_an_edit_whose_reply_is_lost_takes_effect_once(server, beats, proxy, what, skip, door):
    direct = Schedule.from_url(server.url())
    direct.add("a", "t", 3600, enabled=what != "resume")
    direct.add("warm", "t", 3600)
    answer = door(through(proxy), EDITS[what], lambda: proxy.lose_reply("EVALSHA", skip))
    assert proxy.lost == 1  # of the script that reads, or of the one that writes
    found = {entry.name: entry for entry in direct}
    assert ("new" in found) == (what == "add")
    assert ("a" in found) == (what != "remove")
    if what in ("replace", "update", "pause", "resume"):
        assert found["a"].revision == 2
    if what == "trigger":
        beat = beats(server, redlock_beat_lease_ttl=0.5).lead()
        beat.until(lambda: server.client().llen("celery"))
        beat.tick(3)
        assert server.client().llen("celery") == 1
        assert messages(server.client())[0]["headers"]["id"] == answer


def test_an_add_that_failed_is_still_reported_after_a_lost_reply(server, proxy):
    schedule = Schedule.from_url(through(proxy))
    schedule.add("a", "t", 3600)
    proxy.lose_reply("EVALSHA")
    with pytest.raises(EntryExists):
        schedule.add("a", "t", 3600)
    assert proxy.lost == 1


@pytest.mark.parametrize("skip", [0, 1])
def test_a_batch_whose_reply_is_lost_takes_effect_once(server, proxy, skip):
    direct = Schedule.from_url(server.url())
    direct.add("a", "t", 3600)
    schedule = Schedule.from_url(through(proxy))
    schedule.update("a", args=(1,))
    proxy.lose_reply("EVALSHA", skip)
    with schedule.batch() as batch:
        batch.update("a", args=(2,))
        batch.trigger("a")
        batch.add("b", "t", 60)
    assert proxy.lost == 1
    assert (direct["a"].revision, direct["b"].revision) == (3, 1)
    assert server.client().zcard("{redlock-beat}:manual") == 1


@pytest.mark.parametrize("door", ["plain", "awaited"])
def test_what_redis_may_have_forgotten_is_not_asked_again(valkey, beats, monkeypatch, door):
    """The process was frozen after the answer was lost: minutes later Redis no longer knows the request."""
    monkeypatch.setattr(base, "REPEATED", 0.0)
    client, beat = valkey.client(), beats(valkey).lead()
    Schedule.from_url(valkey.url()).add("a", "tasks.add", 3600)
    asked = []

    def minutes_pass(request):
        if request.script == "edit":
            asked.append(request)
            if len(asked) == 1:
                beat.until(lambda: client.llen("celery"))
                client.delete(*client.scan_iter("{redlock-beat}:request:*"))
                raise redis.ConnectionError("the answer is lost")

    if door == "plain":
        schedule = Schedule.from_url(valkey.url())
        run = schedule._store.run

        def running(request):
            answer = run(request)
            minutes_pass(request)
            return answer

        schedule._store.run = running
        with pytest.raises(RedisUnavailable) as caught:
            schedule.trigger("a")
    else:

        async def trigger():
            async with AsyncSchedule.from_url(valkey.url()) as schedule:
                run = schedule._store.run

                async def running(request):
                    answer = await run(request)
                    minutes_pass(request)
                    return answer

                schedule._store.run = running
                await schedule.trigger("a")

        with pytest.raises(RedisUnavailable) as caught:
            asyncio.run(trigger())
    assert caught.value.unknown
    beat.tick(3)
    assert (len(asked), client.llen("celery")) == (1, 1)


def cut(proxy: Proxy, request):
    """The answer of the next such request is lost."""
    proxy.lose_reply(hashlib.sha1(lua.source(request).encode()).hexdigest())


def test_a_cancel_whose_reply_is_lost_says_how_many_there_were(server, proxy):
    schedule = Schedule.from_url(through(proxy))
    schedule.add("a", "t", 3600)
    for _ in range(3):
        schedule.trigger("a")
    cut(proxy, "cancel")
    assert (schedule.cancel("a"), proxy.lost) == (3, 1)
    assert len(ledger(server.client(), "skipped")) == 1


@pytest.mark.parametrize("retry_for", [10.0, 0.0])
def test_a_lock_that_is_freed_by_hand_is_said_to_be_free_or_unknown_and_the_next_one_stands(server, proxy, retry_for):
    schedule = Schedule(make_app(through(proxy), redlock_beat_url=through(proxy)), retry_for=retry_for)
    store = Store(Target(Schedule.from_url(server.url()).settings))
    who = locks.Who("digest", "id", "t")

    def take(call):
        ms = {"sending_ms": 60_000, "remember_ms": 60_000}
        return store.run(locks.take(store.keys, who, call, cools=False, takes=True, replaces=False, **ms)).word

    assert take("first") == "taken"
    (found,) = schedule.locks()
    run, asked = schedule._store.run, []

    def running(request):
        try:
            return run(request)
        finally:
            if request.script == "lock_end":
                asked.append(request)
                assert len(asked) > 1 or take("second") == "taken"  # it is free, and another call has its id

    schedule._store.run = running
    cut(proxy, "lock_end")
    if retry_for:
        assert schedule.unlock(found)
    else:
        with pytest.raises(RedisUnavailable) as caught:
            schedule.unlock(found)
        assert caught.value.unknown
        assert "unknown" in str(caught.value)
    assert proxy.lost == 1
    assert take("third") == "held"


@pytest.mark.parametrize("skip", range(0, 24, 2))
def test_a_beat_that_loses_any_reply_goes_on_and_sends_nothing_twice(server, beats, proxy, skip):
    entries = {f"e{i}": {"task": "tasks.add", "schedule": 0.05} for i in range(3)}
    beat = beats(server, entries, redlock_beat_url=through(proxy), redlock_beat_socket_timeout=0.5)
    proxy.lose_reply("EVALSHA", skip)
    client = server.client()
    beat.until(lambda: proxy.lost == 1 and len(ledger(client, "sent")) > 12)
    assert duplicates(client) == 0
    assert len(ledger(client, "sent")) == client.llen("celery")
    assert client.get("{redlock-beat}:epoch") == "1"  # it never lost its term to it


@pytest.mark.parametrize("skip", range(0, 24, 2))
def test_a_claim_whose_reply_is_lost_is_published_all_the_same(server, beats, proxy, skip):
    """The beat does not know that the outbox has it; it has to look there again, and not at its next term only."""
    entries = {f"e{i}": {"task": "tasks.add", "schedule": 0.05} for i in range(3)}
    queue = f"q-{uuid.uuid4().hex}"
    beat = beats(
        "memory://", entries, task_default_queue=queue, redlock_beat_url=through(proxy), redlock_beat_socket_timeout=0.5
    )
    proxy.lose_reply("EVALSHA", skip)
    client = server.client()
    beat.until(lambda: proxy.lost == 1 and len(ledger(client, "sent")) > 12)
    for entry in entries:  # and nothing new is due
        Schedule.from_url(server.url()).pause(entry)
    beat.until(lambda: client.hlen("{redlock-beat}:outbox") == 0)
    found = [(one.headers["redlock_beat_entry"], one.headers["redlock_beat_due"]) for one in taken("memory://", queue)]
    assert (
        len(found) == len(set(found)) == sum(one.total_run_count for one in Schedule.from_url(server.url()).entries())
    )
    assert client.get("{redlock-beat}:epoch") == "1"


@pytest.mark.parametrize("what", ["schedule", "trigger"])
def test_what_a_lost_answer_had_sent_is_told_once(valkey, beats, way, what):
    proxy = Proxy(valkey.port)
    events: list[hooks.Event] = []

    def hook(event):
        events.append(event)

    hooks.add_hook(hook)
    entries = {f"e{i}": {"task": "tasks.add", "schedule": 0.05 if what == "schedule" else 3600.0} for i in range(3)}
    beat = beats(through(proxy), entries, redlock_beat_url=through(proxy)).lead()
    client, schedule = valkey.client(), Schedule.from_url(valkey.url())
    try:
        for skip in range(8):
            lost = proxy.lost
            proxy.lose_reply(skip=skip)
            if what == "trigger":
                schedule.trigger("e0")
            beat.until(lambda lost=lost: proxy.lost > lost, "an answer is lost")
        sent = len(ledger(client, "sent"))
        schedule.trigger("e0")
        beat.until(lambda: len(ledger(client, "sent")) > sent)
        beat.tick(2)
    finally:
        hooks.remove_hook(hook)
        proxy.close()
    told = collections.Counter(event.task_id for event in events if isinstance(event, hooks.Sent))
    assert told == collections.Counter(row["id"] for row in ledger(client, "sent"))
    assert beat.parts.dispatcher.sent_total == sum(told.values())
