"""User code that takes longer than the lease."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime

import pytest
from celery.beat import BeatLazyFunc
from dateutil.rrule import rrulestr

from redlock_beat import Schedule, register_schedule
from redlock_beat.clock import MICROS, micros, moment
from redlock_beat.store.keys import Keys
from tests.beats import duplicates, ledger, messages
from tests.servers import eventually

K = Keys("redlock-beat")


def lazily(function, **more):
    return {"task": "tasks.add", "schedule": 0.3, "args": (BeatLazyFunc(function), 0), **more}


def test_an_entry_that_renders_longer_than_the_ttl_does_not_stop_the_messages(server, beats):
    def slow() -> int:
        time.sleep(0.9)
        return 1

    entries = {"slow": lazily(slow), "quick": {"task": "tasks.add", "schedule": 0.1}}
    conf = {"redlock_beat_lease_ttl": 0.6, "redlock_beat_render_limit": 20.0}
    for _ in range(2):
        beats(server, entries, **conf).start()
    client = server.client()

    def flows():
        rows = ledger(client, "sent")
        return [row["entry"] for row in rows].count("slow") >= 3 and [row["entry"] for row in rows].count("quick") >= 6

    eventually(flows, "both entries are sent", 40)
    assert duplicates(client) == 0
    epoch = int(client.get(K.epoch))
    count = len(ledger(client, "sent"))
    eventually(lambda: len(ledger(client, "sent")) > count + 4, "and go on", 40)
    assert int(client.get(K.epoch)) == epoch  # and nobody is deposed for it any more
    assert client.hget(K.slow, "slow")


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
    before = len([row for row in ledger(client, "sent") if row["entry"] == "quick"])
    beat.until(lambda: len([row for row in ledger(client, "sent") if row["entry"] == "quick"]) > before)
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


# --- schedules that are costly to compute --------------------------------------------------------------


class Costly:
    """A slot every second, each found in *seconds*, as by a look into a table."""

    seconds = 0.0

    def next_slot(self, after):
        time.sleep(Costly.seconds)
        return moment((micros(after) // MICROS + 1) * MICROS)


register_schedule("costly to compute", Costly, dump=lambda _: {})


@pytest.fixture
def costly():
    """A schedule whose every slot takes so long to compute."""

    def taking(seconds):
        Costly.seconds = seconds
        return Costly()

    yield taking
    Costly.seconds = 0.0


def put_back(client, name, seconds):
    """As if nothing had run for a while."""
    uid, rev, nominal, *rest = client.hget(K.state, name).split(" ")
    then = int(nominal) - seconds * MICROS
    client.hset(K.state, name, " ".join([uid, rev, str(then), *rest]))
    client.zadd(K.due, {name: then / MICROS})


def sent(client, name):
    return [row for row in ledger(client, "sent") if row["entry"] == name]


def test_an_entry_that_is_costly_to_count_does_not_stop_the_messages(valkey, beats):
    """A rule of weekdays takes milliseconds a slot: after days of outage there are tens of thousands to count."""
    schedule = Schedule.from_url(valkey.url())
    start = datetime(2026, 1, 1, tzinfo=UTC)
    schedule.add("old", "tasks.add", rrulestr("FREQ=MINUTELY;BYDAY=MO,TU,WE,TH,FR,SA,SU", dtstart=start))
    client = valkey.client()
    put_back(client, "old", 20 * 86400)
    schedule.add("good", "tasks.add", 0.2)
    for _ in range(2):
        beats(valkey, redlock_beat_lease_ttl=1.0).start()
    eventually(lambda: sent(client, "old") and len(sent(client, "good")) >= 5, "both are sent")
    (row,) = ledger(client, "missed")
    assert row["least"] == "1"
    assert 1 <= int(row["count"]) < 28_800
    assert client.get(K.epoch) == "1"
    assert schedule.history("old")[-1].at_least


def test_an_entry_that_computes_longer_than_the_ttl_does_not_stop_the_messages(valkey, beats, costly):
    schedule = Schedule.from_url(valkey.url())
    schedule.add("slow", "tasks.add", costly(0.0))
    schedule.add("quick", "tasks.add", 0.1)
    costly(0.7)
    for _ in range(2):
        beats(valkey, redlock_beat_lease_ttl=0.6, redlock_beat_render_limit=20.0).start()
    client = valkey.client()
    eventually(lambda: len(sent(client, "slow")) >= 3 and len(sent(client, "quick")) >= 6, "both are sent", 40)
    epoch, count = client.get(K.epoch), len(sent(client, "slow"))
    eventually(lambda: len(sent(client, "slow")) > count, "and go on", 40)
    assert client.get(K.epoch) == epoch  # nobody is deposed for it any more
    assert client.hget(K.slow, "slow")
    assert duplicates(client) == 0


def test_after_three_overruns_of_computing_it_is_set_aside_and_an_edit_gives_it_another_chance(valkey, beats, costly):
    schedule = Schedule.from_url(valkey.url())
    schedule.add("slow", "tasks.add", costly(0.0))
    schedule.add("quick", "tasks.add", 0.2)
    costly(0.7)
    beat = beats(valkey, redlock_beat_lease_ttl=0.5, redlock_beat_render_limit=0.6).lead()
    client = valkey.client()
    beat.until(lambda: "another" in (client.hget(K.quarantine, "slow") or ""), "it is in quarantine", 30)
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
    beat.until(lambda: len(sent(client, "slow")) >= 3)
    assert client.hget(K.slow, "slow") == "1"  # noted once, and alone ever since


def test_a_configured_entry_that_computes_longer_than_the_ttl_comes_into_force_and_stops_nobody(valkey, beats, costly):
    """Each new leader would compute it, and lose its term by that."""
    entries = {"slow": {"task": "tasks.add", "schedule": costly(0.9)}, "quick": {"task": "tasks.add", "schedule": 0.1}}
    for _ in range(2):
        beats(valkey, entries, redlock_beat_lease_ttl=0.6, redlock_beat_render_limit=20.0).start()
    client = valkey.client()
    eventually(lambda: client.zscore(K.due, "slow") and len(sent(client, "quick")) >= 3, "both are in force", 30)


def test_of_a_preview_only_the_slots_that_are_shown_are_computed(valkey, costly):
    schedule = Schedule.from_url(valkey.url())
    for i in range(20):
        schedule.add(f"quick{i}", "t", 0.1)
    far = schedule.add("slow", "t", costly(0.0))
    later = far.state.nominal + 3600 * MICROS
    client = valkey.client()
    client.hset(K.state, "slow", f"{far.uid} 1 {later} - 0 0")
    costly(5.0)
    began = time.monotonic()
    assert len(schedule.preview(n=10)) == 10
    assert time.monotonic() - began < 4


def test_missed_slots_by_each_policy(valkey, beats):
    schedule = Schedule.from_url(valkey.url())
    for missed in ("once", "skip", "all"):
        schedule.add(missed, "t", 0.1, missed=missed, grace=0.0001 if missed == "skip" else None)
    store = schedule._store
    start = store.now()
    while store.now() < start + MICROS:
        pass
    beat = beats(valkey, redlock_beat_catchup_limit=4).lead()
    client = valkey.client()
    beat.until(lambda: {row["entry"] for row in ledger(client, "missed")} == {"once", "skip", "all"})
    rows = {row["entry"]: row for row in ledger(client, "missed")}
    first = {name: schedule[name].anchor + 100_000 for name in rows}
    assert all(int(rows[name]["from"]) == first[name] for name in rows)
    assert int(rows["once"]["count"]) >= 8
    caught = [one for one in messages(client) if one["headers"]["redlock_beat_entry"] == "all"]
    dues = [round(one["headers"]["redlock_beat_due"] * 1e6) for one in caught]
    assert dues[:4] == sorted(dues[:4])
    assert dues[0] == int(rows["all"]["to"]) + 100_000
    assert json.dumps(rows["all"]["why"]) == '"catchup_limit"'
