"""User code that takes longer than the lease."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime

from celery import Task
from celery.beat import BeatLazyFunc
from dateutil.rrule import rrulestr

from redlock_beat import Schedule
from redlock_beat.clock import MICROS, micros
from redlock_beat.store.keys import Keys
from tests.beats import duplicates, ledger, messages, sent
from tests.servers import eventually

K = Keys("redlock-beat")


def lazily(function, **more):
    return {"task": "tasks.add", "schedule": 0.3, "args": (BeatLazyFunc(function), 0), **more}


def test_an_entry_that_renders_longer_than_the_ttl_does_not_stop_the_messages(server, beats):
    client, left = server.client(), []

    def slow() -> int:
        left.append(client.pttl(K.lease))
        time.sleep(0.7)
        return 1

    entries = {"slow": lazily(slow), "quick": {"task": "tasks.add", "schedule": 0.1}}
    conf = {"redlock_beat_lease_ttl": 0.5, "redlock_beat_render_limit": 20.0}
    for _ in range(2):
        beats(server, entries, **conf).start()

    eventually(lambda: len(sent(client, "slow")) >= 2 and len(sent(client, "quick")) >= 4, "both are sent")
    assert duplicates(client) == 0
    runs, count = len(left), len(sent(client, "slow"))
    eventually(lambda: len(left) > runs and len(sent(client, "slow")) > count, "and go on")
    assert min(left[runs:]) > 10_000  # and nobody is deposed for it any more
    assert client.hget(K.slow, "slow")


def test_a_trigger_of_a_slow_entry_waits_until_what_is_ready_is_sent(valkey, beats):
    client, seen = valkey.client(), []

    def costly() -> int:
        seen.append(client.llen("celery"))
        return 1

    beat = beats(valkey, {"slow": lazily(costly, options={"queue": "other"}) | {"schedule": 3600.0}}).lead()
    schedule = Schedule(beat.app)
    client.hset(K.slow, "slow", 1)
    beat.parts.dispatcher.code.learn()
    schedule.trigger("slow")
    for i in range(5):
        schedule.add(f"good{i}", "tasks.add", 3600, run_now=True)
    beat.until(lambda: client.llen("other"))
    assert seen == [5]


def test_slots_that_are_ready_do_not_wait_for_those_that_render_after_them(valkey, beats):
    client, seen, beat = valkey.client(), [], beats(valkey)

    class Costly(Task):
        def apply_async(self, *args, **kwargs):
            time.sleep(0.11)
            seen.append(client.llen("celery"))
            return super().apply_async(*args, **kwargs)

    @beat.app.task(name="tasks.costly", shared=False, base=Costly)
    def costly() -> None:
        pass

    beat.lead()
    schedule = Schedule(beat.app)
    schedule.add("a", "tasks.costly", 600, missed="all")
    now, state = micros(schedule.now()), client.hget(K.state, "a").split(" ")
    first, text = now - 2999 * MICROS, client.hget(K.entries, "a")
    client.hset(K.state, "a", " ".join([*state[:2], str(first), *state[3:]]))
    client.hset(K.entries, "a", json.dumps({**json.loads(text), "at": first}))
    client.zadd(K.due, {"a": first / MICROS})
    beat.until(lambda: client.llen("celery") >= 5)
    assert all(after - before <= 2 for before, after in zip(seen, range(5), strict=False)), seen


def test_a_slow_entry_is_noted_while_it_hangs_even_by_a_beat_that_never_comes_back(valkey, beats):
    go = threading.Event()
    beat = beats(valkey, {"hangs": lazily(lambda: go.wait(30))}, redlock_beat_lease_ttl=0.5)
    beat.start()
    client = valkey.client()
    eventually(lambda: client.hget(K.slow, "hangs"), "it is noted by a thread")
    assert client.llen("celery") == 0
    go.set()


def test_after_three_overruns_it_is_set_aside_and_an_edit_gives_it_another_chance(valkey, beats):
    hang = [True]

    def slow() -> int:
        if hang[0]:
            time.sleep(0.7)
        return 3

    conf = {"redlock_beat_lease_ttl": 0.5, "redlock_beat_render_limit": 0.6}
    entries = {"slow": lazily(slow), "quick": {"task": "tasks.add", "schedule": 0.2}}
    beat = beats(valkey, entries, **conf).lead()
    client = valkey.client()
    beat.until(lambda: "another" in (client.hget(K.quarantine, "slow") or ""), "it is in quarantine")
    assert int(client.hget(K.slow, "slow")) == 4
    before = len(sent(client, "quick"))
    beat.until(lambda: len(sent(client, "quick")) > before)
    hang[0] = False
    Schedule(beat.app).update("slow", note="mended", when=0.4)
    assert not client.hexists(K.slow, "slow")
    done = len(messages(client))
    beat.until(lambda: "[3, 0]" in {one["headers"]["argsrepr"] for one in messages(client)[done:]})


def test_an_entry_that_was_slow_once_renders_with_the_others_again(valkey, beats):
    hang = [True]

    def slow() -> int:
        if hang[0]:
            hang[0] = False
            time.sleep(0.4)
        return 1

    beat = beats(valkey, {"slow": lazily(slow)}, redlock_beat_lease_ttl=0.6).lead()
    client = valkey.client()
    beat.until(lambda: client.hget(K.slow, "slow"))
    beat.until(lambda: not client.hexists(K.slow, "slow"))
    assert beat.parts.dispatcher.code.slow == {}


def put_back(client, name, seconds):
    """As if nothing had run for a while."""
    uid, rev, nominal, *rest = client.hget(K.state, name).split(" ")
    then = int(nominal) - seconds * MICROS
    client.hset(K.state, name, " ".join([uid, rev, str(then), *rest]))
    client.zadd(K.due, {name: then / MICROS})


def test_an_entry_that_is_costly_to_count_does_not_stop_the_messages(valkey, beats):
    """A rule of weekdays takes milliseconds a slot: after days of outage there are tens of thousands to count."""
    schedule = Schedule.from_url(valkey.url())
    start = datetime(2026, 1, 1, tzinfo=UTC)
    schedule.add("old", "tasks.add", rrulestr("FREQ=MINUTELY;BYDAY=MO,TU,WE,TH,FR,SA,SU", dtstart=start))
    client = valkey.client()
    put_back(client, "old", 20 * 86400)
    schedule.add("good", "tasks.add", 0.2)
    for _ in range(2):
        beats(valkey, redlock_beat_lease_ttl=10.0, redlock_beat_render_limit=10.0).start()
    eventually(lambda: sent(client, "old") and len(sent(client, "good")) >= 5, "both are sent")
    (row,) = [row for row in ledger(client, "missed") if row["entry"] == "old"]
    assert row["least"] == "1"
    assert 1 <= int(row["count"]) < 28_800
    assert client.get(K.epoch) == "1"
    assert schedule.history("old")[-1].at_least


def test_an_entry_that_computes_longer_than_the_ttl_does_not_stop_the_messages(valkey, beats, costly, monkeypatch):
    schedule, client, left = Schedule.from_url(valkey.url()), valkey.client(), []
    schedule.add("slow", "tasks.add", costly(0.0))
    schedule.add("quick", "tasks.add", 0.1)
    kind = type(costly(0.6))
    next_slot = kind.next_slot

    def noted(self, after):
        left.append(client.pttl(K.lease))
        return next_slot(self, after)

    monkeypatch.setattr(kind, "next_slot", noted)
    for _ in range(2):
        beats(valkey, redlock_beat_lease_ttl=0.5, redlock_beat_render_limit=20.0).start()
    eventually(lambda: len(sent(client, "slow")) >= 2 and len(sent(client, "quick")) >= 4, "both are sent")
    runs, count = len(left), len(sent(client, "slow"))
    eventually(lambda: len(left) > runs and len(sent(client, "slow")) > count, "and go on")
    assert min(left[runs:]) > 10_000  # nobody is deposed for it any more
    assert client.hget(K.slow, "slow")
    assert duplicates(client) == 0


def test_after_three_overruns_of_computing_it_is_set_aside_and_an_edit_gives_it_another_chance(valkey, beats, costly):
    schedule = Schedule.from_url(valkey.url())
    schedule.add("slow", "tasks.add", costly(0.0))
    schedule.add("quick", "tasks.add", 0.2)
    costly(0.7)
    beat = beats(valkey, redlock_beat_lease_ttl=0.5, redlock_beat_render_limit=0.6).lead()
    client = valkey.client()
    beat.until(lambda: "another" in (client.hget(K.quarantine, "slow") or ""), "it is in quarantine")
    count = len(sent(client, "quick"))
    beat.until(lambda: len(sent(client, "quick")) > count)
    costly(0.0)
    schedule.update("slow", note="mended")
    count = len(sent(client, "slow"))
    beat.until(lambda: len(sent(client, "slow")) > count + 1)
    assert not client.hexists(K.quarantine, "slow")


def test_what_computes_slowly_but_renders_quickly_stays_slow(valkey, beats, costly):
    schedule = Schedule.from_url(valkey.url())
    schedule.add("slow", "tasks.add", costly(0.0))
    costly(0.4)
    beat = beats(valkey, redlock_beat_lease_ttl=0.6, redlock_beat_render_limit=10.0).lead()
    client = valkey.client()
    beat.until(lambda: len(sent(client, "slow")) >= 2)
    assert client.hget(K.slow, "slow") == "1"  # noted once, and alone ever since


def test_a_configured_entry_that_computes_longer_than_the_ttl_comes_into_force_and_stops_nobody(valkey, beats, costly):
    """Each new leader would compute it, and lose its term by that."""
    entries = {"slow": {"task": "tasks.add", "schedule": costly(0.7)}, "quick": {"task": "tasks.add", "schedule": 0.1}}
    for _ in range(2):
        beats(valkey, entries, redlock_beat_lease_ttl=0.5, redlock_beat_render_limit=20.0).start()
    client = valkey.client()
    eventually(lambda: client.zscore(K.due, "slow") and len(sent(client, "quick")) >= 3, "both are in force")
