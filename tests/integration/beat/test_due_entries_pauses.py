"""Entries that are paused until a time: nothing is sent before, and nobody needs to be there to resume them."""

from __future__ import annotations

from datetime import timedelta

from redlock_beat import Schedule
from redlock_beat.clock import micros
from redlock_beat.entries.waiting import ManualItem
from redlock_beat.store.keys import Keys
from tests.beats import comes, ledger, messages, occurrences, sent

K = Keys("redlock-beat")


def test_an_entry_goes_on_by_itself_at_the_end_of_its_pause(server, beats, way):
    beat = beats(server).lead()
    schedule, client = Schedule(beat.app), server.client()
    schedule.add("a", "tasks.add", 0.1, missed="all")  # a slow machine misses none
    beat.until(lambda: client.llen("celery") >= 2)
    until = schedule.now() + timedelta(seconds=0.5)
    entry = schedule.pause("a", until=until, note="why", actor="ann")
    assert (entry.paused, entry.paused_until, entry.note, entry.paused_by) == (True, until, "why", "ann")
    assert entry.next_due >= until
    before = client.llen("celery")
    beat.until(lambda: client.llen("celery") >= before + 3)
    late = ledger(client, "sent")[before:]
    assert all(int(row["nominal"]) >= micros(until) for row in late)
    assert int(late[0]["nominal"]) - micros(until) < 100_000
    assert max(occurrences(client).values()) == 1
    assert ledger(client, "missed") == []
    assert not schedule["a"].paused
    assert schedule["a"].note is None
    schedule.update("a", args=(1,))
    assert b"until" not in client.hget(K.entries, "a").encode()


def test_another_beat_goes_on_when_the_one_that_led_has_died_in_the_pause(valkey, beats):
    first = beats(valkey).lead()
    schedule, client = Schedule(first.app), valkey.client()
    schedule.add("a", "tasks.add", 0.2)
    until = schedule.now() + timedelta(seconds=0.6)
    schedule.pause("a", until=until)
    first.tick()
    first.crash()
    client.delete(K.lease)
    second = beats(valkey).lead()
    second.until(lambda: client.llen("celery") >= 2)
    nominals = [round(one["headers"]["redlock_beat_due"] * 1e6) for one in messages(client)]
    assert min(nominals) >= micros(until)
    assert max(occurrences(client).values()) == 1


def test_without_a_beat_at_that_time_it_is_an_outage_from_then_on(valkey, beats):
    schedule, client = Schedule.from_url(valkey.url()), valkey.client()
    schedule.add("all", "tasks.add", 0.1, missed="all")
    schedule.add("once", "tasks.add", 0.1)
    until = schedule.now() + timedelta(seconds=0.5)
    for name in ("all", "once"):
        schedule.pause(name, until=until)
    first = schedule["all"].state.nominal
    comes(schedule, micros(until) + 450_000)
    beat = beats(valkey)
    beat.until(lambda: len(sent(client, "all")) >= 4 and sent(client, "once"))
    nominals = [int(row["nominal"]) for row in sent(client, "all")]
    assert nominals[0] == first
    assert nominals == list(range(first, nominals[-1] + 1, 100_000))
    (missed, *_) = ledger(client, "missed")
    assert (missed["entry"], int(missed["from"]) >= micros(until)) == ("once", True)


def test_a_trigger_is_sent_in_a_pause_and_a_settled_slot_is_not(valkey, beats):
    beat = beats(valkey).lead()
    schedule, client = Schedule(beat.app), valkey.client()
    entry = schedule.add("a", "tasks.add", 3600)
    schedule.pause("a", until=schedule.now() + timedelta(hours=9))
    client.zadd(K.manual, {ManualItem("a", entry.uid, "settled", entry.state.nominal, 1).text(): 1.0})
    id_ = schedule.trigger("a")
    beat.until(lambda: client.llen("celery") and client.zcard(K.manual) == 0)
    assert [one["headers"]["id"] for one in messages(client)] == [id_]
    assert [row["why"] for row in ledger(client, "skipped")] == ["the entry is paused"]


def test_a_configured_entry_stays_paused_through_a_restart_and_goes_on_when_its_configuration_changes(valkey, beats):
    configured = {"a": {"task": "tasks.add", "schedule": 3600.0}}
    first = beats(valkey, configured).lead()
    schedule = Schedule(first.app)
    until = schedule.now() + timedelta(hours=9)
    schedule.pause("a", until=until, note="mine")
    first.close()
    second = beats(valkey, configured).lead()
    assert (schedule["a"].paused_until, schedule["a"].note) == (until, "mine")
    second.close()
    beats(valkey, {"a": {**configured["a"], "args": (1,)}}).lead()
    after = schedule["a"]
    assert (after.paused, after.args) == (False, (1,))
    assert after.next_due < until
