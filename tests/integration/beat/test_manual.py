"""Triggers, backfills and settled slots that fail: nobody waits for them, and none is lost."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from redlock_beat import Schedule
from redlock_beat.clock import micros
from redlock_beat.entries.policies import act_at
from redlock_beat.entries.waiting import ManualItem
from redlock_beat.store.keys import Keys
from tests.beats import comes, duplicates, ledger, messages, occurrences, sent

K = Keys("redlock-beat")


def test_a_manual_item_whose_entry_no_longer_decodes_is_skipped(valkey, beats):
    beat = beats(valkey).lead()
    schedule = Schedule(beat.app)
    schedule.add("a", "t", 3600)
    schedule.trigger("a")
    client = valkey.client()
    client.hset(K.entries, "a", "rubbish")
    beat.until(lambda: ledger(client, "skipped"))
    assert client.zcard(K.manual) == 0


def test_more_items_than_a_turn_reads_at_once_are_each_dropped_once(valkey, beats, caplog):
    beat = beats(valkey).lead()
    schedule = Schedule(beat.app)
    schedule.add("a", "t", 3600)
    schedule.add("good", "tasks.add", 3600)
    client = valkey.client()
    client.hset(K.entries, "a", "rubbish")
    uid = client.hget(K.state, "a").split(" ")[0]
    items = [ManualItem("a", uid, "trigger", i + 10**6, i + 10**6, str(i)).text() for i in range(900)]
    client.zadd(K.manual, dict.fromkeys(items, 1.0))
    schedule.trigger("good")
    beat.until(lambda: client.llen("celery") == 1 and client.zcard(K.manual) == 0)
    assert len(ledger(client, "skipped")) == 900
    assert len([one for one in caplog.records if "drops a manual item" in one.getMessage()]) == 900
    assert beat.parts.dispatcher.sent_total == 1


def test_a_trigger_that_cannot_be_rendered_is_failed_in_the_ledger(valkey, beats):
    beat = beats(valkey).lead()
    schedule = Schedule(beat.app)
    schedule.add("a", "tasks.add", 3600, (1, 2, 3, 4))
    schedule.trigger("a")
    client = valkey.client()
    beat.until(lambda: ledger(client, "failed"))
    assert client.zcard(K.manual) == 1
    (text,) = client.zrange(K.manual, 0, -1)
    old = json.dumps({**json.loads(text), "at": 1})
    client.delete(K.manual)
    client.zadd(K.manual, {old: 1.0})
    beat.until(lambda: client.zcard(K.manual) == 0)  # after an hour it is given up


def test_a_trigger_whose_push_fails_is_kept_and_sent_later(valkey, beats):
    beat = beats(valkey).lead()
    schedule = Schedule(beat.app)
    schedule.add("a", "t", 3600, options={"queue": "bad"})
    client = valkey.client()
    client.set("bad", "wrong type")
    schedule.trigger("a")
    beat.until(lambda: ledger(client, "failed"))
    assert client.zcard(K.manual) == 1
    client.delete("bad")
    beat.until(lambda: client.exists("bad"))
    assert client.zcard(K.manual) == 0


def test_settled_slots_with_nothing_to_send_still_note_what_was_missed(valkey, beats):
    schedule = Schedule.from_url(valkey.url())
    schedule.add("a", "t", 0.1, missed="skip", grace=0.01)
    comes(schedule, schedule["a"].anchor + 350_000)
    schedule.update("a", when=3600)
    beat = beats(valkey)
    client = valkey.client()
    beat.until(lambda: ledger(client, "missed"))
    assert client.llen("celery") == 0


def test_a_backfill_of_an_entry_that_does_not_render_is_one_retry_and_one_row(valkey, beats):
    beat = beats(valkey).lead()
    schedule, client = Schedule(beat.app), valkey.client()
    schedule.add("bad", "tasks.add", 60, (1, 2, 3, 4))
    schedule.add("good", "tasks.add", 60)
    now = datetime.now(UTC)
    assert schedule.backfill("bad", now - timedelta(hours=5), now, rate=100_000) >= 299
    schedule.backfill("good", now - timedelta(minutes=5), now, rate=100_000)
    waiting = client.zcard(K.manual) - 5
    beat.until(lambda: len(sent(client, "good")) >= 5)
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


@pytest.mark.parametrize(
    "rubbish",
    [{"nominal": "soon"}, {"nominal": 10**40}, {"at": "yesterday"}, {"missed": [1, 2, "x", 3]}, {"entry": 7}],
    ids=str,
)
def test_a_manual_item_with_rubbish_in_it_stops_nothing_and_is_in_the_ledger(valkey, beats, rubbish, caplog):
    beat = beats(valkey).lead()
    schedule = Schedule(beat.app)
    entry = schedule.add("a", "tasks.add", 3600)
    client = valkey.client()
    good = {"entry": "a", "uid": entry.uid, "how": "trigger", "nominal": 1_000_000, "req": "1", "at": 1}
    client.zadd(K.manual, {json.dumps({**good, **rubbish}): 1.0, "[": 1.0, json.dumps(good): 2.0})
    beat.until(lambda: client.llen("celery"))
    assert client.zcard(K.manual) == 0
    rows = ledger(client, "skipped")
    assert len(rows) == 2
    assert all("cannot be read" in row["why"] for row in rows)
    assert "drops a manual item that cannot be read" in caplog.text


def test_a_slot_that_jitter_holds_back_survives_an_edit_of_its_jitter(valkey, beats):
    """A deploy within the jitter of a nightly entry must not drop the night."""
    schedule = Schedule.from_url(valkey.url())
    schedule.add("a", "tasks.add", 3600, jitter=600)
    client = valkey.client()
    uid, rev, _, *rest = client.hget(K.state, "a").split(" ")
    now = micros(schedule.now())
    nominal = next(n for n in range(now - 1000, 0, -1) if 1_500_000 < act_at(schedule["a"], n) - now < 3_000_000)
    client.hset(K.state, "a", " ".join([uid, rev, str(nominal), *rest]))
    due = act_at(schedule["a"], nominal)
    client.zadd(K.due, {"a": due / 1e6})
    schedule.update("a", jitter=300)
    beat = beats(valkey).lead()
    beat.until(lambda: client.llen("celery"))
    assert round(messages(client)[0]["headers"]["redlock_beat_due"] * 1e6) == nominal
    (row,) = ledger(client, "sent")
    assert row["how"] == "settled"
    assert int(row["at"]) >= due


def test_a_settled_slot_of_an_entry_that_is_paused_meanwhile_is_not_sent(valkey, beats):
    schedule = Schedule.from_url(valkey.url())
    entry = schedule.add("a", "tasks.add", 3600)
    text = ManualItem("a", entry.uid, "settled", entry.state.nominal, entry.state.nominal).text()
    client = valkey.client()
    client.zadd(K.manual, {text: 1.0})
    schedule.pause("a")
    beat = beats(valkey).lead()
    beat.until(lambda: ledger(client, "skipped"))
    assert ledger(client, "skipped")[0]["why"] == "the entry is paused"
    assert client.llen("celery") == 0


def test_a_trigger_of_an_entry_is_not_for_another_of_its_name(valkey, beats):
    beat, client = beats(valkey).lead(), valkey.client()
    schedule = Schedule(beat.app)
    schedule.add("a", "tasks.add", 3600)
    schedule.trigger("a")
    schedule.remove("a")
    schedule.add("a", "tasks.other", 3600)
    beat.until(lambda: ledger(client, "skipped"))
    assert client.llen("celery") == 0
