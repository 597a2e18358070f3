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
from redlock_beat.entries.waiting import ManualItem
from redlock_beat.errors import Deposed
from redlock_beat.store.keys import Keys
from tests.beats import before_commit, duplicates, ledger, messages, occurrences

K = Keys("redlock-beat")


def sent(client, name="good"):
    return [row for row in ledger(client, "sent") if row["entry"] == name]


# --- thousands -----------------------------------------------------------------------------------------


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
    given = {"arguments": ("tasks.add", {"args": (1, 2, 3, 4)}), "renders": ("tasks.own", {}),
             "queue": ("tasks.add", {"options": {"queue": "bad"}})}  # fmt: skip
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
    beat.until(lambda: sent(client))
    assert client.hlen(K.quarantine) < 1000  # what is good did not wait for what is not
    beat.until(lambda: len({row["entry"] for row in ledger(client, "failed")}) == 1500)
    assert sum(calls) / len(calls) > 20
    assert 1 <= caplog.text.count("Traceback") <= 2
    assert len(caplog.records) < 200
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
    dispatcher, pages = beat.parts.dispatcher, []
    page = dispatcher._retry_page
    dispatcher._retry_page = lambda term, names: pages.append((client.llen("celery"), len(names))) or page(term, names)
    beat.until(lambda: client.zcard(K.due) == 1001)
    assert pages[0][0] == 1  # it was sent first
    assert all(size <= 200 for _, size in pages)
    assert not client.hexists(K.quarantine, "gone")


# --- whose fault ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [redis.TimeoutError("no answer"), Deposed()], ids=repr)
def test_redis_that_does_not_answer_a_renewal_is_not_the_fault_of_an_entry(valkey, beats, error):
    beat = beats(valkey, {f"e{i}": {"task": "tasks.add", "schedule": 0.3, "args": (BeatLazyFunc(int), 0)}
                          for i in range(3)}).lead()  # fmt: skip
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
        count, epoch = len(sent(client)), client.get(K.epoch)
        beat.until(lambda: len(sent(client)) > count + 1)
        assert client.get(K.epoch) == epoch
        assert type(error).__name__ in client.hget(K.quarantine, "bad")
    finally:
        failing[0], Table.error = False, None
    beat.until(lambda: sent(client, "bad"))


# --- by hand -------------------------------------------------------------------------------------------


def test_a_backfill_of_an_entry_that_does_not_render_is_one_retry_and_one_row(valkey, beats):
    beat = beats(valkey).lead()
    schedule, client = Schedule(beat.app), valkey.client()
    schedule.add("bad", "tasks.add", 60, (1, 2, 3, 4))
    schedule.add("good", "tasks.add", 60)
    now = datetime.now(UTC)
    assert schedule.backfill("bad", now - timedelta(hours=5), now, rate=100_000) >= 299
    schedule.backfill("good", now - timedelta(minutes=5), now, rate=100_000)
    waiting = client.zcard(K.manual) - 5
    beat.until(lambda: len(sent(client)) >= 5)
    beat.until(lambda: len(ledger(client, "failed")) >= 2)
    assert waiting <= client.zcard(K.manual) + 1
    attempts = len(ledger(client, "failed"))
    assert attempts <= 3
    # An edit that mends it is felt at once, by all of them.
    client.zadd(K.manual, dict.fromkeys((), 4000000000.0) or {"x": 4e9})
    schedule.update("bad", args=(1, 2))
    beat.until(lambda: len(sent(client, "bad")) >= 299)
    assert max(occurrences(client).values()) == 1


def test_a_backfill_whose_queue_takes_nothing_is_one_retry_and_one_row(valkey, beats):
    beat = beats(valkey).lead()
    schedule, client = Schedule(beat.app), valkey.client()
    schedule.add("a", "tasks.add", 60, options={"queue": "one"}, run_now=True)
    beat.until(lambda: client.llen("one"))
    client.delete("one")
    now = datetime.now(UTC)
    schedule.backfill("a", now - timedelta(hours=5), now, rate=100_000)
    client.set("one", "no list")
    beat.until(lambda: ledger(client, "failed"))
    first = len(ledger(client, "failed"))
    beat.until(lambda: len(ledger(client, "failed")) > first)
    assert len(ledger(client, "failed")) == first + 1
    client.delete("one")
    beat.until(lambda: client.llen("one") >= 299)
    assert duplicates(client, "one") == 0
    assert client.zcard(K.manual) == 0


def test_what_could_not_be_rendered_for_an_hour_is_given_up_in_one_row(valkey, beats):
    beat = beats(valkey).lead()
    schedule, client = Schedule(beat.app), valkey.client()
    uid = schedule.add("bad", "tasks.add", 3600, (1, 2, 3, 4)).uid
    items = [ManualItem("bad", uid, "backfill", i * 1_000_000, 1, "r").text() for i in range(1, 301)]
    client.zadd(K.manual, dict.fromkeys(items, 1.0))
    beat.until(lambda: client.zcard(K.manual) == 0)
    rows = ledger(client, "failed")
    assert len(rows) <= 2
    assert sum(int(row["count"]) for row in rows) == 300
    assert schedule.history("bad")[0].first is not None


def test_what_waits_by_hand_is_shown_and_can_be_cancelled(valkey, beats):
    schedule, client = Schedule.from_url(valkey.url()), valkey.client()
    schedule.add("a", "t", 60)
    entry = schedule.add("b", "t", 60)
    now = datetime.now(UTC)
    count = schedule.backfill("a", now - timedelta(hours=20), now, rate=1)
    schedule.trigger("a")
    schedule.trigger("b")
    client.zadd(K.manual, {"rubbish": 1.0, ManualItem("b", entry.uid, "settled", 7_000_000, 7).text(): 7.0})
    found = {(one.entry, one.how): one for one in schedule.waiting()}
    assert {key: one.count for key, one in found.items()} == {
        ("a", "backfill"): count, ("a", "trigger"): 1, ("b", "trigger"): 1, ("b", "settled"): 1,
    }  # fmt: skip
    slots = found["a", "backfill"]
    assert slots.last - slots.first == timedelta(minutes=count - 1)
    assert schedule.status().waiting == count + 4
    assert schedule.cancel("a") == count + 1
    assert schedule.cancel("a") == 0
    assert schedule.cancel("b") == 1
    assert [one.how for one in schedule.waiting()] == ["settled"]
    rows = ledger(client, "skipped")
    assert sum(int(row["count"]) for row in rows) == count + 2
    assert all(row["why"].startswith("cancelled by ") for row in rows)
    assert client.zcard(K.manual) == 2


# --- what is said --------------------------------------------------------------------------------------


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
