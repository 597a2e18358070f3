"""Entries that fail: whose fault it is, and that nobody else waits for it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
import redis
from celery import Task
from celery.beat import BeatLazyFunc

from redlock_beat import Schedule, register_schedule
from redlock_beat.clock import micros
from redlock_beat.entries.policies import act_at
from redlock_beat.errors import Deposed
from redlock_beat.store.keys import Keys
from tests.beats import before_commit, duplicates, ledger, messages, sent

K = Keys("redlock-beat")


@pytest.mark.parametrize("why", ["arguments", "queue", "renders"])
def test_thousands_that_fail_hold_up_nothing_and_are_noted_together(valkey, beats, caplog, why):
    beat = beats(valkey)

    class Own(Task):
        name = "tasks.own"

        def apply_async(self, *args, **kwargs):
            raise RuntimeError("no such tenant")

    beat.app.register_task(Own())
    client = valkey.client()
    client.set("bad", "no list")
    given = {
        "arguments": ("tasks.add", {"args": (1, 2, 3, 4)}),
        "renders": ("tasks.own", {}),
        "queue": ("tasks.add", {"options": {"queue": "bad"}}),
    }
    task, more = given[why]
    schedule = Schedule(beat.app)
    with schedule.batch() as batch:
        for i in range(1500):
            batch.add(f"bad{i}", task, 3600, run_now=True, **more)
    schedule.add("good", "tasks.add", 3600, run_now=True)  # due after all of them
    beat.lead()
    store, calls = beat.parts.store, []
    note = store.quarantine
    store.quarantine = lambda fence, entries: calls.append(len(entries)) or note(fence, entries)
    beat.until(lambda: sent(client, "good"), "what is good is sent", 60)
    assert client.hlen(K.quarantine) < 1000  # what is good did not wait for what is not
    beat.until(lambda: len({row["entry"] for row in ledger(client, "failed")}) == 1500, "all are told", 60)
    assert len(calls) < 1500 / 3  # how many come together depends on how long one takes here
    assert 1 <= caplog.text.count("Traceback") <= 2
    assert len(caplog.records) < 1500 / 3
    assert set(client.hkeys(K.quarantine)) == {f"bad{i}" for i in range(1500)}


def test_a_whole_batch_that_its_queue_refuses_is_tried_again(valkey, beats):
    """The queue was fine when the messages were made, and is not when they are pushed."""
    beat = beats(valkey).lead()
    client = valkey.client()
    schedule = Schedule(beat.app)
    schedule.add("warm", "tasks.add", 3600, options={"queue": "one"}, run_now=True)
    beat.until(lambda: client.llen("one"))
    with schedule.batch() as batch:
        for i in range(100):
            batch.add(f"e{i}", "tasks.add", 3600, options={"queue": "one"}, run_now=True)
    once = iter([1])
    before_commit(beat, lambda: next(once, None) and (client.delete("one"), client.set("one", "no list")))
    beat.until(lambda: len(ledger(client, "failed")) >= 100)
    (row, *_) = ledger(client, "failed")
    assert "WRONGTYPE" in row["why"]
    assert client.hget(K.state, "e7").endswith(" - 0 1")
    client.delete("one")
    beat.until(lambda: client.llen("one") == 100)
    assert duplicates(client, "one") == 0
    assert {schedule[f"e{i}"].total_run_count for i in range(100)} == {1}


def test_a_large_quarantine_does_not_delay_a_new_leader(valkey, beats):
    schedule = Schedule.from_url(valkey.url())
    with schedule.batch() as batch:
        for i in range(1000):
            batch.add(f"e{i}", "t", 3600)
    schedule.add("good", "tasks.add", 3600, run_now=True)
    client = valkey.client()
    # They decode now; before, they did not, and so left `due`.
    client.hset(K.quarantine, mapping={f"e{i}": json.dumps({"error": "x", "step": "decode"}) for i in range(1000)})
    client.hset(K.quarantine, "gone", "{}")
    client.zrem(K.due, *[f"e{i}" for i in range(1000)])
    beat = beats(valkey)
    beat.until(lambda: beat.term is not None)
    store, pages = beat.parts.store, []
    edit = store.edit
    store.edit = lambda edits, **more: pages.append((client.llen("celery"), len(edits))) or edit(edits, **more)
    beat.until(lambda: client.zcard(K.due) == 1001)
    assert pages[0][0] == 1  # it was sent first
    assert all(size <= 200 for _, size in pages)
    assert not client.hexists(K.quarantine, "gone")


@pytest.mark.parametrize("error", [redis.TimeoutError("no answer"), Deposed()], ids=repr)
def test_redis_that_does_not_answer_a_renewal_is_not_the_fault_of_an_entry(valkey, beats, error):
    beat = beats(
        valkey, {f"e{i}": {"task": "tasks.add", "schedule": 0.3, "args": (BeatLazyFunc(int), 0)} for i in range(3)}
    ).lead()
    client, lease = valkey.client(), beat.parts.lease
    real, calls = lease.renew_if_needed, []

    def renew(term):
        calls.append(1)
        if len(calls) == 2:
            raise error
        return real(term)

    lease.renew_if_needed = renew
    beat.until(lambda: len(calls) > 2 and len({row["entry"] for row in ledger(client, "sent")}) == 3)
    assert client.hlen(K.quarantine) == 0
    assert ledger(client, "failed") == []
    assert duplicates(client) == 0


class Table:
    """A schedule that looks into a file, or a Redis of its own."""

    error: Exception | None = None

    def next_slot(self, after):
        if Table.error is not None:
            raise Table.error
        return after.replace(microsecond=0) + timedelta(seconds=1)


register_schedule("table", Table, dump=lambda _: {})


@pytest.mark.parametrize(
    "error", [redis.ConnectionError("their cache is away"), FileNotFoundError("rates.csv"), Deposed()], ids=repr
)
@pytest.mark.parametrize("where", ["argument", "task", "schedule"])
def test_an_error_of_redis_or_of_the_system_in_the_code_of_an_entry_is_its_own(valkey, beats, where, error):
    failing = [True]

    def argument() -> int:
        if failing[0]:
            raise error
        return 7

    class Own(Task):
        name = "tasks.own"

        def apply_async(self, *args, **kwargs):
            argument()
            return super().apply_async(*args, **kwargs)

    entries = {"good": {"task": "tasks.add", "schedule": 0.2}}
    if where == "argument":
        entries["bad"] = {"task": "tasks.add", "schedule": 0.2, "args": (BeatLazyFunc(argument), 0)}
    beat = beats(valkey, entries)
    beat.app.register_task(Own())
    beat.lead()
    schedule, client = Schedule(beat.app), valkey.client()
    if where == "task":
        schedule.add("bad", "tasks.own", 0.2)
    elif where == "schedule":
        schedule.add("bad", "tasks.add", Table())
        Table.error = error
    try:
        beat.until(lambda: client.hexists(K.quarantine, "bad"))
        count, epoch = len(sent(client, "good")), client.get(K.epoch)
        beat.until(lambda: len(sent(client, "good")) > count + 1)
        assert client.get(K.epoch) == epoch
        assert type(error).__name__ in client.hget(K.quarantine, "bad")
    finally:
        failing[0], Table.error = False, None
    beat.until(lambda: sent(client, "bad"))


def test_the_lateness_that_is_logged_does_not_count_the_jitter(valkey, beats, way, caplog):
    schedule = Schedule.from_url(valkey.url())
    schedule.add("a", "tasks.add", 3600, jitter=600, run_now=True)
    client = valkey.client()
    uid, rev, _, *rest = client.hget(K.state, "a").split(" ")
    now = micros(datetime.now(UTC))
    nominal = next(n for n in range(now - 60_000_000, 0, -1) if 0 < act_at(schedule["a"], n) - now < 1_000_000)
    client.hset(K.state, "a", " ".join([uid, rev, str(nominal), *rest]))
    client.zadd(K.due, {"a": act_at(schedule["a"], nominal) / 1e6})
    caplog.set_level("INFO", "redlock_beat")
    beats(valkey).until(lambda: client.llen("celery"))
    assert round(messages(client)[0]["headers"]["redlock_beat_due"] * 1e6) == nominal
    (late,) = re.findall(r"id=\S+ (\S+) ms late", caplog.text)
    assert -100 < float(late) < 10_000


def test_a_state_of_another_revision_is_set_aside(valkey, beats):
    beat = beats(valkey).lead()
    made = Schedule(beat.app).add("a", "t", 3600)
    client = valkey.client()
    client.hset(K.state, "a", f"{made.uid} 7 1 - 0 0")
    client.zadd(K.due, {"a": 1.0})
    beat.until(lambda: client.hexists(K.quarantine, "a"))
    client.hdel(K.entries, "a")
    client.delete(K.lease)
    client.incr(K.epoch)
    beat.until(lambda: not client.hexists(K.quarantine, "a"))


def test_a_schedule_class_that_raises_is_set_aside_and_tried_again(valkey, beats):
    from redlock_beat import register_schedule

    register_schedule("moody", Moody, dump=lambda one: {})
    beat = beats(valkey).lead()
    schedule = Schedule(beat.app)
    schedule.add("a", "t", Moody(), run_now=True)
    Moody.fail = True
    client = valkey.client()
    beat.until(lambda: client.hexists(K.quarantine, "a"))
    Moody.fail = False
    beat.until(lambda: client.llen("celery"))


class Moody:
    fail = False

    def next_slot(self, after):
        if Moody.fail:
            raise RuntimeError("not today")
        from datetime import timedelta

        return after + timedelta(hours=1)
