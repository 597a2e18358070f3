"""One bad entry is one bad entry: it is set aside, tried again, and mended by an edit."""

from __future__ import annotations

import json
import time

import pytest
from celery.beat import BeatLazyFunc
from redis.exceptions import ConnectionError

from redlock_beat import Schedule
from redlock_beat.store.keys import Keys
from tests.beats import ledger, messages
from tests.servers import eventually

K = Keys("redlock-beat")


@pytest.mark.parametrize(
    "definition",
    ['{"v":1', "[]", '{"v":99}', '{"v":1,"kind":"crontab","s_cron":"0 0 30 2 *","uid":"u","rev":1,"task":"t","at":0}'],
)
def test_a_definition_that_does_not_decode_is_quarantined_and_kept(server, beats, definition):
    beat = beats(server)
    client = server.client()
    beat.lead()
    schedule = Schedule(beat.app)
    schedule.add("bad", "tasks.add", 0.2)
    schedule.add("good", "tasks.add", 0.2)
    whole = client.hget(K.entries, "bad")
    client.hset(K.entries, "bad", definition)
    beat.until(lambda: client.hexists(K.quarantine, "bad"))
    report = json.loads(client.hget(K.quarantine, "bad"))
    assert report["definition"] == definition
    assert client.hget(K.entries, "bad") == definition  # never deleted
    before = client.llen("celery")
    beat.until(lambda: client.llen("celery") > before)
    # Mended, it comes back with the next term.
    client.hset(K.entries, "bad", whole)
    client.delete(K.lease)
    client.incr(K.epoch)
    beat.until(lambda: client.zscore(K.due, "bad") is not None)
    beat.until(lambda: not client.hexists(K.quarantine, "bad"))


def test_a_bad_entry_does_not_survive_an_edit_of_it(valkey, beats):
    beat = beats(valkey)
    client = valkey.client()
    beat.lead()
    schedule = Schedule(beat.app)
    schedule.add("bad", "tasks.add", 0.2)
    client.hset(K.entries, "bad", "rubbish")
    beat.until(lambda: client.hexists(K.quarantine, "bad"))
    schedule.add("bad", "tasks.add", 0.2, replace=True)
    assert not client.hexists(K.quarantine, "bad")
    before = client.llen("celery")
    beat.until(lambda: client.llen("celery") > before)


def test_an_entry_that_is_edited_while_it_is_being_set_aside_is_not(valkey, beats):
    beat, client = beats(valkey).lead(), valkey.client()
    schedule = Schedule(beat.app)
    schedule.add("a", "tasks.add", 3600, run_now=True)
    client.hset(K.entries, "a", "rubbish")
    store, mended = beat.parts.store, []
    quarantine = store.quarantine

    def late(fence, entries):
        if not mended:
            mended.append(schedule.add("a", "tasks.add", 3600, replace=True, run_now=True))
        return quarantine(fence, entries)

    store.quarantine = late
    beat.until(lambda: mended and client.llen("celery"))
    assert not client.hexists(K.quarantine, "a")
    assert ledger(client, "failed") == []


def test_rubbish_in_due_is_set_aside(valkey, beats):
    beat = beats(valkey, {"good": {"task": "tasks.add", "schedule": 0.2}})
    client = valkey.client()
    beat.lead()
    client.zadd(K.due, {"ghost": 1.0, "": 1.0, "half": 2.0})
    client.hset(K.state, "half", "not a state")
    beat.until(lambda: client.hlen(K.quarantine) == 3)
    assert client.zscore(K.due, "ghost") is None
    before = client.llen("celery")
    beat.until(lambda: client.llen("celery") > before)


def test_user_code_that_raises_is_tried_again_and_others_go_on(valkey, beats):
    fail = [True]

    def argument() -> int:
        if fail[0]:
            raise RuntimeError("no database, redis://user:secret@host/0")
        return 7

    beat = beats(
        valkey,
        {
            "a": {"task": "tasks.add", "schedule": 0.2, "args": (BeatLazyFunc(argument), 0)},
            "good": {"task": "tasks.add", "schedule": 0.2},
        },
    )
    client = valkey.client()
    beat.until(lambda: client.hexists(K.quarantine, "a"))
    assert "secret" not in client.hget(K.quarantine, "a")
    before = client.llen("celery")
    beat.until(lambda: client.llen("celery") > before)
    fail[0] = False
    beat.until(lambda: "[7, 0]" in {one["headers"]["argsrepr"] for one in messages(client)})
    beat.until(lambda: not client.hexists(K.quarantine, "a"))
    # What came due meanwhile is accounted for.
    assert ledger(client, "missed")


def test_an_edit_that_mends_a_failing_entry_is_felt_at_once(valkey, beats):
    beat = beats(valkey).lead()
    schedule = Schedule(beat.app)
    client = valkey.client()
    schedule.add("a", "tasks.add", 3600, (1, 2, 3, 4), run_now=True)
    beat.until(lambda: client.hexists(K.quarantine, "a"))
    state = client.hget(K.state, "a")
    client.hset(K.state, "a", f"{state[:-1]}6")  # it failed for a while: the next attempt is far away
    client.zincrby(K.due, 60, "a")
    beat.start()
    began = time.monotonic()
    schedule.update("a", args=(1, 2))
    eventually(lambda: client.llen("celery"), "it is sent")
    assert time.monotonic() - began < 30  # not in a minute


@pytest.mark.parametrize("tail", ["x 0 0", "- 0 x", "x 0 1", "- 0 00", "- 0 "])
@pytest.mark.parametrize("fails", ["render", "queue"])
def test_a_state_with_rubbish_in_it_that_also_fails_stops_nobody(valkey, beats, caplog, tail, fails):
    """Where it is sent, it gets a new state; where it fails, its attempts cannot be counted in this one."""
    beat = beats(valkey).lead()
    client, schedule = valkey.client(), Schedule(beat.app)
    args = (1, 2, 3) if fails == "render" else ()
    schedule.add("a", "tasks.add", 3600, args, options={"queue": "other"})
    schedule.add("good", "tasks.add", 3600)
    client.rpush("other", "a message")
    for name in ("a", "good"):
        come(client, name)
        beat.until(lambda name=name: client.llen("celery") + client.llen("other") > 1 or client.hlen(K.quarantine))
    if fails == "queue":  # its template is known by now, so Redis is the first to see that its list takes nothing
        client.set("other", "a string")
    else:
        client.delete(K.quarantine)
    for _ in range(2):
        come(client, "a", tail)
        come(client, "good")
        before = client.llen("celery")
        beat.until(lambda before=before: client.llen("celery") > before, "the good one is sent")
    beat.until(lambda: client.hexists(K.quarantine, "a") if fails == "render" else ledger(client, "failed"))
    assert not [one for one in caplog.records if one.event == "beat.error"], caplog.text


def test_what_works_again_leaves_quarantine_although_the_turn_failed_after_it_was_sent(valkey, beats, monkeypatch):
    fail = [True]

    def argument() -> int:
        if fail[0]:
            raise RuntimeError("no database")
        return 7

    beat = beats(valkey, {"a": {"task": "tasks.add", "schedule": 3600, "args": (BeatLazyFunc(argument), 0)}}).lead()
    client = valkey.client()
    come(client, "a")
    beat.until(lambda: client.hexists(K.quarantine, "a"))
    fail[0] = False

    def away(term):
        monkeypatch.undo()
        raise ConnectionError("Redis is away for a moment")

    monkeypatch.setattr(beat.parts.dispatcher.manual, "note", away)
    beat.until(lambda: client.llen("celery"), "it is sent")
    beat.until(lambda: not client.hexists(K.quarantine, "a"), "it is out of quarantine")


def come(client, name, tail="- 0 0"):
    """Its slot comes; *tail* is the end of its state: when it was last sent, how often, and attempts."""
    seconds, micros = client.time()
    uid, revision, *_ = client.hget(K.state, name).split(" ")
    client.hset(K.state, name, f"{uid} {revision} {seconds * 10**6 + micros - 1000} {tail}")
    client.zadd(K.due, {name: seconds})
