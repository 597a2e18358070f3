"""What becomes of slots: sent, missed by their policy, and rubbish among them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from celery.schedules import crontab

from redlock_beat import InvalidSchedule, Schedule
from redlock_beat.entries.waiting import ManualItem
from redlock_beat.store.keys import Keys
from tests.beats import comes, ledger, messages, occurrences


def test_missed_slots_by_each_policy(valkey, beats):
    schedule = Schedule.from_url(valkey.url())
    for missed in ("once", "skip", "all"):
        schedule.add(missed, "t", 0.1, missed=missed, grace=0.0001 if missed == "skip" else None)
    comes(schedule, schedule["all"].anchor + 1_050_000)
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
    assert rows["all"]["why"] == "catchup_limit"


K = Keys("redlock-beat")


def test_names_and_definitions_that_are_no_text_stop_nothing(valkey, beats):
    """With hiredis, which the extra ``speed`` installs, redis-py itself sends no such name."""
    schedule, client = Schedule.from_url(valkey.url()), valkey.client()
    client.hset(K.entries, mapping={b"\xff\xfe": b"\xff{", "odd": b"\xff"})
    client.zadd(K.due, {b"\xff\xfe": 1, "odd": 1})
    client.zadd(K.manual, {b"\xff": 1})
    schedule.add("good", "tasks.add", 0.2)
    beat = beats(valkey).lead()
    beat.until(lambda: len(schedule.history("good")) > 2)
    beat.until(lambda: set(schedule.status().quarantine) == {"odd", "\udcff\udcfe"})


@pytest.mark.parametrize("score", ["-inf", "inf", "1e300", "-1e300"])
def test_a_score_beyond_every_calendar_stops_nothing(valkey, beats, score):
    schedule, client = Schedule.from_url(valkey.url()), valkey.client()
    parked = schedule.add("parked", "tasks.add", 3600)
    trigger = ManualItem("parked", parked.uid, "trigger", 1_000_000, 1_000_000, "r")
    client.zadd(K.due, {"parked": score})
    client.zadd(K.manual, {trigger.text(): score})
    schedule.add("good", "tasks.add", 0.2)
    beat = beats(valkey).lead()
    beat.until(lambda: len([row for row in ledger(client, "sent") if row["entry"] == "good"]) > 2)
    assert schedule.status().entries == 2
    assert schedule.health().why


def test_a_state_beyond_the_calendar_spoils_no_history(valkey, beats):
    """Its slot is in the ledger as it stood there."""
    client = valkey.client()
    client.xadd(K.ledger, {"at": 1, "is": "failed", "entry": "a", "nominal": 10**25, "epoch": 1})
    schedule = Schedule.from_url(valkey.url())
    (row,) = schedule.history()
    assert row.nominal is None
    assert schedule.status().lateness_p50 is None


@pytest.mark.parametrize("age", [1, 50])
def test_a_one_shot_that_is_past_when_it_arrives_is_sent_at_once(valkey, beats, age):
    beat = beats(valkey).lead()
    Schedule(beat.app).add("a", "tasks.add", datetime.now(UTC) - timedelta(seconds=age))
    client = valkey.client()
    beat.until(lambda: client.llen("celery"))
    assert client.llen("celery") == 1
    with pytest.raises(InvalidSchedule, match="never be sent"):
        Schedule(beat.app).add("b", "tasks.add", datetime.now(UTC) - timedelta(seconds=70))


def make_late(client, name, seconds):
    """As if nothing had run since a slot that came so long ago."""
    uid, rev, _, *rest = client.hget(K.state, name).split(" ")
    late = (int(client.time()[0]) - seconds) * 1_000_000
    client.hset(K.state, name, " ".join([uid, rev, str(late), *rest]))
    client.zadd(K.due, {name: late / 1e6})


def test_what_is_later_than_its_grace_is_missed_under_every_policy(valkey, beats, way):
    schedule = Schedule.from_url(valkey.url())
    client = valkey.client()
    cases = {
        "skip": ({"missed": "skip"}, 70, False),
        "skip a little late": ({"missed": "skip"}, 50, True),
        "once": ({"missed": "once", "grace": 5}, 7, False),
        "once in time": ({"grace": 600}, 70, True),
        "all": ({"missed": "all", "grace": 5}, 7, False),
        "no grace": ({}, 3000, True),
        "cron": ({}, 130, False),
        "cron a little late": ({}, 100, True),
        "cron of its own": ({"grace": 900}, 130, True),
    }
    far = (datetime.now(UTC).hour + 12) % 24  # no later slot of the crontabs is due
    for name, (policies, late, _) in cases.items():
        when = crontab(minute=0, hour=far) if name.startswith("cron") else 3600
        schedule.add(name, "tasks.add", when, **policies)
        make_late(client, name, late)
    beat = beats(valkey, beat_cron_starting_deadline=120).lead()
    beat.until(lambda: len(ledger(client, "sent")) + len(ledger(client, "missed")) >= len(cases))
    assert {one["headers"]["redlock_beat_entry"] for one in messages(client)} == {
        name for name, (_, _, sent) in cases.items() if sent
    }
    assert {row["why"] for row in ledger(client, "missed")} == {"grace"}


def test_a_finished_entry_left_in_due_leaves_it(valkey, beats):
    beat = beats(valkey).lead()
    schedule = Schedule(beat.app)
    made = schedule.add("a", "t", 3600)
    client = valkey.client()
    client.hset(K.state, "a", f"{made.uid} 1 - - 3 0")
    client.zadd(K.due, {"a": 1.0})
    beat.until(lambda: client.zscore(K.due, "a") is None)
    assert schedule["a"].next_due is None
    assert client.llen("celery") == 0


def overdue(valkey, count, **more):
    schedule = Schedule.from_url(valkey.url())
    with schedule.batch() as batch:
        for i in range(count):
            batch.add(f"e{i}", "tasks.add", 3600, args=(i,), run_now=True, **more)
    return schedule


def test_one_definition_that_is_no_json_slows_one_look_and_stops_nothing(valkey, beats):
    overdue(valkey, 100)
    client = valkey.client()
    client.hset(K.entries, "e7", '{"half')
    beat = beats(valkey).lead()
    beat.until(lambda: client.llen("celery") >= 99 and client.hexists(K.quarantine, "e7"))
    assert client.llen("celery") == len(occurrences(client)) == 99
