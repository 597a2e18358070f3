"""From items to the queue: in batches, by either script, whole or not at all."""

from __future__ import annotations

import base64
import json
import random
from datetime import UTC, datetime, timedelta

import pytest
from celery import group
from celery.schedules import crontab
from kombu import Queue

from redlock_beat import Schedule, hooks
from redlock_beat.beat import commits as committing
from redlock_beat.beat.lookahead import LookAhead
from redlock_beat.store.keys import Keys
from redlock_beat.store.pipeline import Pipeline
from tests.beats import Beat, before_commit, duplicates, ledger, messages, occurrences, of
from tests.servers import eventually

K = Keys("redlock-beat")


def test_the_broker_in_another_database_of_the_same_server(server, beats):
    beat = beats(server.url(3), {"a": {"task": "tasks.add", "schedule": 0.2}}, redlock_beat_url=server.url(0))
    queue = server.client(3)
    beat.until(lambda: queue.llen("celery") >= 2)
    assert beat.parts.renderer.direct
    assert server.client(0).llen("celery") == 0
    assert server.client(0).zscore(K.due, "a")


def test_a_queue_key_of_the_wrong_type_loses_nothing(server, beats):
    beat = beats(server)
    client = server.client()
    beat.lead()
    client.set("bad", "a string")
    schedule = Schedule(beat.app)
    schedule.add("good", "tasks.add", 0.2)
    schedule.add("bad", "tasks.add", 60, options={"queue": "bad"}, run_now=True)
    beat.until(lambda: ledger(client, "failed"))
    (row, *_) = ledger(client, "failed")
    assert row["entry"] == "bad"
    assert "WRONGTYPE" in row["why"]
    before = client.llen("celery")
    beat.until(lambda: client.llen("celery") > before)  # the others go on
    client.delete("bad")
    beat.until(lambda: client.type("bad") == "list")
    assert messages(client, "bad")[0]["headers"]["redlock_beat_due"] == int(row["nominal"]) / 1e6


def test_a_failed_push_takes_back_the_others_of_its_occurrence(server, beats):
    beat = beats(server)
    add = beat.app.tasks["tasks.add"]
    client = server.client()
    beat.lead()
    client.set("bad", "a string")
    both = group(add.s(1, 1).set(queue="fine"), add.s(2, 2).set(queue="bad"))
    Schedule(beat.app).add("both", both, 60, run_now=True)
    beat.until(lambda: ledger(client, "failed"))
    assert client.llen("fine") == 0
    client.delete("bad")
    beat.until(lambda: client.type("bad") == "list")
    assert client.llen("fine") == 1


def test_an_acl_that_denies_a_queue(server, beats):
    client = server.client()
    client.execute_command("ACL", "SETUSER", "beat", "on", "nopass", "+@all", "~{redlock-beat}:*", "~celery", "&*")
    try:
        beat = beats(server.url(), redlock_beat_url=server.url(user="beat:x"))
        beat.lead()
        assert beat.parts.renderer.direct
        schedule = Schedule(beat.app)
        schedule.add("good", "tasks.add", 0.2)
        schedule.add("denied", "tasks.add", 60, options={"queue": "secret"}, run_now=True)
        beat.until(lambda: ledger(client, "failed"))
        before = client.llen("celery")
        beat.until(lambda: client.llen("celery") > before)
        client.execute_command("ACL", "SETUSER", "beat", "~secret")
        beat.until(lambda: client.llen("secret"))
        assert client.llen("secret") == 1
    finally:
        client.execute_command("ACL", "DELUSER", "beat")


def test_a_refused_select_goes_through_the_outbox(server, beats):
    client = server.client()
    client.execute_command("ACL", "SETUSER", "beat", "on", "nopass", "+@all", "-select", "~*", "&*")
    try:
        beat = beats(
            server.url(3), {"a": {"task": "tasks.add", "schedule": 0.2}}, redlock_beat_url=server.url(0, "beat:x")
        )
        queue = server.client(3)
        beat.until(lambda: queue.llen("celery") >= 2)
        assert not beat.parts.renderer.direct
        assert duplicates(queue) == 0
    finally:
        client.execute_command("ACL", "DELUSER", "beat")


def test_a_select_refused_in_mid_term_loses_nothing(server, beats):
    client = server.client()
    client.execute_command("ACL", "SETUSER", "beat", "on", "nopass", "+@all", "~*", "&*")
    try:
        beat = beats(server.url(3), redlock_beat_url=server.url(0, "beat:x"))
        beat.lead()
        assert beat.parts.renderer.direct
        client.execute_command("ACL", "SETUSER", "beat", "-select")
        Schedule(beat.app).add("a", "tasks.add", 60, run_now=True)
        queue = server.client(3)
        beat.until(lambda: queue.llen("celery") or ledger(client, "failed"))
        client.execute_command("ACL", "SETUSER", "beat", "+select")
        beat.until(lambda: queue.llen("celery"))
        assert queue.llen("celery") == 1
    finally:
        client.execute_command("ACL", "DELUSER", "beat")


def test_a_server_at_its_memory_limit_loses_nothing(server, beats):
    beat = beats(server, {"a": {"task": "tasks.add", "schedule": 0.2}})
    client = server.client()
    beat.until(lambda: client.llen("celery") >= 2)
    epoch = client.get(K.epoch)
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", "1")
    try:
        before = client.llen("celery")
        beat.tick(5)
        full = client.llen("celery")
    finally:
        client.config_set("maxmemory", "0")
    if server.kind != "redis6":  # its libc build counts no memory at so small a limit
        assert full == before
    beat.until(lambda: client.llen("celery") > before + 1)
    assert duplicates(client) == 0
    assert client.get(K.epoch) == epoch  # and the leader was not lost to it


def filled(beat: Beat) -> int:
    """How many messages were filled in so far."""
    return beat.parts.dispatcher.messages.filled


def overdue(valkey, count, **more):
    schedule = Schedule.from_url(valkey.url())
    with schedule.batch() as batch:
        for i in range(count):
            batch.add(f"e{i}", "tasks.add", 3600, args=(i,), run_now=True, **more)
    return schedule


@pytest.mark.parametrize("batch", [1, 7, 100, 2000])
def test_a_burst_is_sent_once_each_whatever_the_batch(server, beats, batch):
    schedule = overdue(server, 1500)
    beat = beats(server).lead()
    beat.parts.dispatcher.commits.size = batch
    client = server.client()
    beat.until(lambda: client.llen("celery") >= 1500)
    beat.tick(2)
    assert client.llen("celery") == len(occurrences(client)) == 1500
    assert {json.loads(base64.b64decode(one["body"]))[0][0] for one in messages(client)} == set(range(1500))
    assert {entry.total_run_count for entry in schedule} == {1}
    rows = ledger(client, "sent")
    assert sorted(row["id"] for row in rows) == sorted(one["headers"]["id"] for one in messages(client))
    assert beat.parts.dispatcher.sent_total == 1500


def test_the_ledger_stays_as_short_as_it_was_set_to(valkey, beats, way):
    with Schedule.from_url(valkey.url()).batch() as batch:
        for i in range(1500):
            batch.add(f"e{i}", "tasks.add", 3600, run_now=True)
    beat = beats(valkey, redlock_beat_ledger_size=100)
    client = valkey.client()
    beat.until(lambda: client.llen("celery") == 1500)
    assert 100 <= client.xlen(K.ledger) < 300  # Redis cuts whole blocks off


def test_a_mixed_burst(valkey, beats):
    """Quick ones, those with policies, one shots, several due, unreadable and unfitting ones, all due at once."""
    schedule = overdue(valkey, 100)
    client = valkey.client()
    at = datetime.now(UTC)
    with schedule.batch() as batch:
        for i in range(20):
            batch.add(f"jitter{i}", "tasks.add", 3600, jitter=5, run_now=True)
            batch.add(f"cron{i}", "tasks.add", crontab(0, 4), run_now=True, timezone="Europe/Berlin")
            batch.add(f"twice{i}", "tasks.add", 3600, max_runs=1, keep=True, run_now=True)
            batch.add(f"shot{i}", "tasks.add", at + timedelta(seconds=0.3), args=(i,))
            batch.add(f"kept{i}", "tasks.add", at + timedelta(seconds=0.3), keep=True)
            batch.add(f"late{i}", "tasks.add", 7200, missed="once", starts=at - timedelta(hours=21))
            batch.add(f"date{i}", "tasks.add", 3600, args=(datetime(2026, 1, 1, tzinfo=UTC),), run_now=True)
        batch.add("unfit", "tasks.add", 3600, args=(1, 2, 3, 4), run_now=True)
        batch.add("rubbish", "tasks.add", 3600, run_now=True)
    for i in range(20):
        uid, rev, nominal, *rest = client.hget(K.state, f"late{i}").split(" ")
        client.hset(K.state, f"late{i}", " ".join([uid, rev, str(int(nominal) - 72_000_000_000), *rest]))
        client.zadd(K.due, {f"late{i}": int(nominal) / 1e6 - 72_000})
    client.hset(K.entries, "rubbish", '{"v": 9}')
    beat = beats(valkey).lead()
    beat.until(lambda: client.llen("celery") >= 240)
    beat.until(lambda: client.hlen(K.quarantine) == 2)
    beat.tick(2)
    sent = {one["headers"]["redlock_beat_entry"] for one in messages(client)}
    assert client.llen("celery") == len(sent) == 240
    assert duplicates(client) == 0
    assert filled(beat) >= 180
    assert len(ledger(client, "missed")) == 20
    dates = [one for one in messages(client) if one["headers"]["redlock_beat_entry"].startswith("date")]
    assert all(one["headers"]["argsrepr"].startswith("[datetime.datetime(2026") for one in dates)
    assert set(client.hkeys(K.quarantine)) == {"unfit", "rubbish"}
    assert not any(f"shot{i}" in schedule for i in range(20))
    assert all(schedule[f"kept{i}"].next_due is None and schedule[f"twice{i}"].next_due is None for i in range(20))
    assert beat.parts.dispatcher.sent_total == 240


def test_several_queues_in_one_batch_and_one_that_takes_nothing(valkey, beats):
    client = valkey.client()
    client.set("bad", "no list")
    schedule = Schedule.from_url(valkey.url())
    with schedule.batch() as batch:
        for i in range(60):
            queue = ("one", "two", "bad")[i % 3]
            batch.add(f"e{i}", "tasks.add", 3600, args=(i,), options={"queue": queue}, run_now=True)
    beat = beats(valkey, task_queues=[Queue(name) for name in ("one", "two", "bad")]).lead()
    beat.until(lambda: client.llen("one") == client.llen("two") == 20 and len(ledger(client, "failed")) >= 20)
    assert client.get("bad") == "no list"
    client.delete("bad")
    beat.until(lambda: client.llen("bad") == 20)
    assert duplicates(client, "one") + duplicates(client, "two") + duplicates(client, "bad") == 0
    assert {entry.total_run_count for entry in schedule} == {1}


def test_another_database_of_the_same_server(valkey, beats):
    schedule = overdue(valkey, 50)
    beat = beats(valkey.url(3), redlock_beat_url=valkey.url()).lead()
    client = valkey.client(3)
    beat.until(lambda: client.llen("celery") == 50)
    assert filled(beat) == 50
    assert valkey.client().llen("celery") == 0
    assert {entry.total_run_count for entry in schedule} == {1}


def test_edits_while_a_burst_runs_are_in_force_and_nothing_is_sent_twice(valkey, beats):
    schedule = Schedule.from_url(valkey.url())
    with schedule.batch() as batch:
        for i in range(300):
            batch.add(f"e{i}", "tasks.add", 0.2, args=(0,))
    beat = beats(valkey, redlock_beat_ledger_size=1_000_000).lead().start()
    client = valkey.client()
    chance = random.Random(3)
    removed = set()
    for turn in range(60):
        name = f"e{chance.randrange(300)}"
        if name not in removed:
            if turn % 5 == 0:
                schedule.remove(name)
                removed.add(name)
            else:
                schedule.update(name, args=(turn,))
    edited = list(schedule)

    def every_edit_arrived():
        last = {one["headers"]["redlock_beat_entry"]: one["body"] for one in messages(client)}
        return all(tuple(json.loads(base64.b64decode(last[entry.name]))[0]) == entry.args for entry in edited)

    eventually(every_edit_arrived, "each entry is sent as it was edited", 60)
    beat.close()
    assert duplicates(client) == 0
    assert len(ledger(client, "sent")) == client.llen("celery")
    assert not removed & {entry.name for entry in schedule}


def test_a_full_redis_sends_nothing_and_loses_nothing(own_server, beats):
    server = own_server("valkey")
    beat = beats(server).lead()
    schedule = overdue(server, 30)
    client = server.client()
    client.config_set("maxmemory", "1")
    beat.tick(2)
    assert client.llen("celery") == 0
    client.config_set("maxmemory", "0")
    beat.until(lambda: client.llen("celery") == 30)
    assert duplicates(client) == 0
    assert {entry.total_run_count for entry in schedule} == {1}


def test_scripts_flushed_in_the_middle_of_a_burst(valkey, beats):
    overdue(valkey, 500)
    beat = beats(valkey).lead()
    beat.parts.dispatcher.commits.size = 20
    client = valkey.client()
    times = iter(range(1000))
    before_commit(beat, lambda: client.script_flush() if next(times) % 5 == 0 else None)
    beat.until(lambda: client.llen("celery") >= 500)
    assert client.llen("celery") == len(occurrences(client)) == 500


def test_a_commit_that_did_not_run_renews_nothing(valkey, beats):
    """Its script was forgotten: the term must not be trusted the longer for it."""
    Schedule.from_url(valkey.url()).add("a", "tasks.add", 3600, run_now=True)
    beat = beats(valkey)
    beat.until(lambda: beat.term is not None)
    client, trusted = valkey.client(), []
    beat.leader.begin()
    before_commit(beat, lambda: trusted.clear() or client.script_flush())
    beat.parts.lease.trust = lambda term, started, **more: trusted.append(started)
    beat.parts.dispatcher.turn(beat.term)
    assert client.llen("celery") == 0
    assert trusted == []


@pytest.mark.parametrize("size", [20_000, 200_000])
def test_large_arguments_make_small_batches(valkey, beats, way, size):
    schedule = Schedule.from_url(valkey.url())
    with schedule.batch() as batch:
        for i in range(40):
            batch.add(f"e{i}", "tasks.add", 3600, args=(i, "x" * size), run_now=True)
    client = valkey.client()
    beat = beats(valkey).lead()
    client.config_set("slowlog-log-slower-than", "0")
    client.config_set("slowlog-max-len", "1000")
    beat.until(lambda: client.llen("celery") >= 40)
    assert len(occurrences(client)) == 40
    commits = client.info("commandstats")["cmdstat_lpush"]["calls"]
    assert commits >= 40 * size * 4 // 3 // (committing.BYTES + size * 2)


def test_the_batch_follows_the_time_redis_takes(valkey, beats):
    one = beats(valkey).lead().parts.dispatcher.commits
    for _ in range(20):
        one.measured(one.size, 0.001)
    assert one.size == committing.MOST
    one.measured(one.size, 0.02)
    assert one.size == committing.MOST // 2
    for _ in range(20):
        one.measured(one.size, 1.0)
    assert one.size == committing.FEWEST


@pytest.mark.parametrize("source", ["schedule", "trigger"])
def test_what_never_arrived_is_not_told_as_sent(valkey, beats, told, source):
    lost = []

    class Losing(Pipeline):
        def send(self, *commands):
            if lost:
                lost.pop()
                raise ConnectionError("cut before it was sent")
            super().send(*commands)

    beat, client = beats(valkey).lead(), valkey.client()
    beat.parts.dispatcher.commits.pipeline = Losing
    schedule = Schedule(beat.app)
    schedule.add("a", "tasks.add", 3600, run_now=source == "schedule")
    if source == "trigger":
        schedule.trigger("a")
    lost.append(1)
    beat.until(lambda: ledger(client, "sent"))
    beat.tick()
    assert not lost
    assert len(of(told, hooks.Sent)) == client.llen("celery") == 1


@pytest.mark.parametrize("source", ["schedule", "trigger"])
def test_what_never_arrived_and_is_withdrawn_then_is_not_told_as_sent(valkey, beats, told, source):
    """It is gone from where it was due, as if it had been sent."""
    lost = []

    class Losing(Pipeline):
        def send(self, *commands):
            if lost:
                lost.pop()()
                raise ConnectionError("cut before it was sent")
            super().send(*commands)

    beat, client = beats(valkey).lead(), valkey.client()
    beat.parts.dispatcher.commits.pipeline = Losing
    schedule = Schedule(beat.app)
    schedule.add("other", "tasks.add", 3600)
    if source == "schedule":
        schedule.add("a", "tasks.add", schedule.now() + timedelta(seconds=0.2))
        lost.append(lambda: schedule.remove("a"))
    else:
        schedule.add("a", "tasks.add", 3600)
        schedule.trigger("a")
        lost.append(lambda: schedule.cancel("a"))
    beat.until(lambda: not lost)
    other = schedule.trigger("other")
    beat.until(lambda: of(told, hooks.Sent))
    beat.tick(2)
    assert [event.task_id for event in of(told, hooks.Sent)] == [other]
    assert beat.parts.dispatcher.sent_total == client.llen("celery") == 1


def test_scripts_that_cannot_be_loaded_take_no_connection(valkey, beats):
    beat = beats(valkey).lead()
    client, pool = valkey.client(), beat.parts.store.client.connection_pool
    Schedule(beat.app).add("a", "tasks.add", 3600, run_now=True)
    beat.parts.dispatcher.commits._loaded.clear()
    in_use = len(pool._in_use_connections)
    client.execute_command("ACL", "SETUSER", "default", "-script|load")
    try:
        beat.tick(4)
        assert len(pool._in_use_connections) == in_use
    finally:
        client.execute_command("ACL", "SETUSER", "default", "+script|load")
    beat.until(lambda: client.llen("celery"), "it is sent")


def test_a_burst_reads_nothing_twice_while_its_batches_grow(valkey, beats, monkeypatch):
    """What is put off stays due: a question that skipped too little would read it again, and miss others."""
    overdue(valkey, 2000)
    beat, client = beats(valkey), valkey.client()
    for name in sorted(client.hkeys(K.entries))[::2]:  # an attempt of it has failed: the burst puts it off
        client.hset(K.state, name, client.hget(K.state, name)[:-1] + "1")
    again, fresh = [], LookAhead.fresh

    def watched(self, due, pages, items):
        page = fresh(self, due, pages, items)
        again.append(len(due.entries) - len(page.entries))
        return page

    def grow(self, size, took):
        self.size += 50

    monkeypatch.setattr(LookAhead, "fresh", watched)
    monkeypatch.setattr(committing.Commits, "measured", grow)
    beat.until(lambda: client.llen("celery") >= 2000)
    assert len(again) > 3
    assert not any(again)
