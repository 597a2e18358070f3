"""Questions to the schedule, and backfills."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from celery.schedules import crontab

from redlock_beat import (
    InvalidSchedule,
    InvalidSetting,
    NoSuchEntry,
    Schedule,
    next_due,
)
from redlock_beat.clock import MICROS
from redlock_beat.entries.waiting import ManualItem
from redlock_beat.store.keys import Keys
from tests.beats import ledger, messages, occurrences, somebody_reads

K = Keys("redlock-beat")


def test_what_waits_by_hand_is_shown_and_can_be_cancelled(valkey, beats):
    schedule, client = Schedule.from_url(valkey.url()), valkey.client()
    schedule.add("a", "t", 60)
    entry = schedule.add("b", "t", 60)
    now = datetime.now(UTC)
    count = schedule.backfill("a", now - timedelta(hours=20), now, rate=1)
    schedule.trigger("a")
    schedule.trigger("b")
    client.zadd(K.manual, {"rubbish": 1.0, ManualItem("b", entry.uid, "settled", 7_000_000, 7).text(): 7.0})
    found = {(one.entry, one.source): one for one in schedule.waiting()}
    assert {key: one.count for key, one in found.items()} == {
        ("a", "backfill"): count,
        ("a", "trigger"): 1,
        ("b", "trigger"): 1,
        ("b", "settled"): 1,
    }
    slots = found["a", "backfill"]
    assert slots.last - slots.first == timedelta(minutes=count - 1)
    assert schedule.status().waiting == count + 4
    assert schedule.cancel("a") == count + 1
    assert schedule.cancel("a") == 0
    assert schedule.cancel("b") == 1
    assert [one.source for one in schedule.waiting()] == ["settled"]
    rows = ledger(client, "skipped")
    assert sum(int(row["count"]) for row in rows) == count + 2
    assert all(row["why"].startswith("cancelled by ") for row in rows)
    assert client.zcard(K.manual) == 2


def test_of_a_preview_only_the_slots_that_are_shown_are_computed(valkey, costly):
    schedule = Schedule.from_url(valkey.url())
    for i in range(20):
        schedule.add(f"quick{i}", "t", 0.1)
    far = schedule.add("slow", "t", costly(0.0))
    later = far.state.nominal + 3600 * MICROS
    client = valkey.client()
    client.hset(K.state, "slow", f"{far.uid} 1 {later} - 0 0")
    costly(60.0)
    began = time.monotonic()
    assert len(schedule.preview(n=10)) == 10
    assert time.monotonic() - began < 60


@pytest.fixture
def schedule(server):
    return Schedule.from_url(server.url())


@pytest.fixture
def sched(valkey):
    return Schedule.from_url(valkey.url())


def test_backfill_sends_each_slot_with_its_nominal_time(server, beats):
    beat = beats(server).lead()
    schedule = Schedule(beat.app)
    schedule.add("cron", "t", crontab(minute="0"))
    schedule.add("every", "t", 600)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    assert schedule.backfill("cron", start, start + timedelta(hours=5), rate=1000) == 6
    client = server.client()
    beat.until(lambda: len([row for row in ledger(client, "sent") if row["how"] == "backfill"]) == 6)
    sent = sorted(due for _, due in occurrences(client))
    assert sent[:6] == [start.timestamp() + 3600 * i for i in range(6)]
    assert schedule.backfill("every", start, start + timedelta(hours=1), rate=1000) == 6
    with pytest.raises(InvalidSchedule, match="aware"):
        schedule.backfill("cron", datetime(2026, 1, 1), datetime(2026, 1, 2))
    with pytest.raises(InvalidSchedule, match="rate"):
        schedule.backfill("cron", start, start, rate=0)
    with pytest.raises(InvalidSchedule, match="parts"):
        schedule.add("fast", "t", 0.1) and schedule.backfill("fast", start, start + timedelta(days=1))


def test_preview_and_history(valkey, beats):
    beat = beats(valkey).lead()
    schedule = Schedule(beat.app)
    schedule.add("daily", "t", 86_400)
    schedule.add("fast", "t", 0.2, max_runs=3, missed="all")
    soon = schedule.preview(n=4)
    assert [slot.name for slot in soon] == ["fast", "fast", "fast", "daily"]
    assert soon == sorted(soon, key=lambda slot: slot.nominal)
    with pytest.raises(InvalidSchedule):
        schedule.preview(n=0)
    beat.until(lambda: len(schedule.history("fast")) == 3)
    rows = schedule.history("fast", since=datetime.now(UTC) - timedelta(minutes=1))
    assert [row.what for row in rows] == ["sent"] * 3
    assert 0 <= rows[0].lateness < 60
    assert schedule["fast"].total_run_count == 3
    assert schedule["fast"].next_due is None  # finished, and kept to be looked at
    assert schedule["fast"].last_sent is not None
    assert len(schedule.history(n=1)) == 1


def test_the_history_of_a_name_nobody_knows_is_an_error(valkey, beats):
    beat = beats(valkey).lead()
    sched = Schedule(beat.app)
    sched.add("a", "t", 3600)
    assert sched.history("a") == []  # nothing yet
    for ask in (lambda: sched.history("typo"), lambda: next(sched.follow("typo"))):
        with pytest.raises(NoSuchEntry, match="typo"):
            ask()
    sched.trigger("a")
    beat.until(lambda: sched.history("a"))
    sched.remove("a")
    assert len(sched.history("a")) == 1  # what is gone keeps its history
    assert sched.history("a", since=datetime.now(UTC) + timedelta(hours=1)) == []


def test_naive_times_are_refused_wherever_an_instant_is_meant(sched):
    sched.add("a", "t", 3600)
    naive = datetime(2026, 1, 1)
    for ask in (
        lambda: sched.history(since=naive),
        lambda: sched.preview(after=naive),
        lambda: sched.simulate(outage=(naive, naive)),
        lambda: sched.backfill("a", naive, naive),
        lambda: sched.history(since="yesterday"),
    ):
        with pytest.raises(InvalidSchedule, match="aware datetime"):
            ask()


def test_a_bound_that_is_no_number_is_refused(sched):
    for bound in (float("nan"), -1):
        with pytest.raises(InvalidSetting, match="max_lag"):
            sched.health(bound)
    sched.add("a", "t", 60)
    with pytest.raises(InvalidSchedule, match="actor is '5'"):
        sched.pause("a", actor=5)


def test_following_an_entry_begins_with_its_own_last_rows(valkey):
    sched = Schedule.from_url(valkey.url())
    client = valkey.client()
    for i in range(1, 1200):
        client.xadd(
            K.ledger, {"is": "sent", "entry": "rare" if i in (3, 5, 7) else "often", "at": str(i), "nominal": str(i)}
        )
    rows = sched.follow("rare", last=2)
    assert [next(rows).nominal.microsecond for _ in range(2)] == [5, 7]
    client.xadd(K.ledger, {"is": "sent", "entry": "often", "at": "1", "nominal": "1"})
    client.xadd(K.ledger, {"is": "sent", "entry": "rare", "at": "9", "nominal": "9"})
    assert next(rows).nominal.microsecond == 9


def test_entries_are_filtered_and_paged(sched):
    with sched.batch() as batch:
        for i in range(1200):
            batch.add(f"bill[{i}]", "billing.send" if i % 2 else "billing.count", 60)
        for i in range(50):
            batch.add(f"mail-{i}", "mail.send", 60, enabled=bool(i % 2))
    assert len(list(sched.entries())) == len({entry.name for entry in sched}) == 1250
    assert len(list(sched.entries(task="billing.*"))) == 1200
    assert len(list(sched.entries(task="billing.send", prefix="bill["))) == 600
    assert len(list(sched.entries(prefix="mail", enabled=False))) == 25
    assert list(sched.entries(prefix="*")) == []
    assert len(list(sched.entries(origin="api"))) == 1250
    assert list(sched.entries(origin="config")) == []


def test_following_the_ledger(sched, valkey, beats):
    beat, client = beats(valkey).lead(), valkey.client()
    sched.add("a", "tasks.add", 3600)
    sched.add("b", "tasks.add", 3600)
    sched.trigger("a")
    beat.until(lambda: messages(client))
    rows: list = []
    follower = threading.Thread(target=lambda: rows.append(next(sched.follow("b"))))
    follower.start()
    somebody_reads(client)
    sched.trigger("a")
    sched.trigger("b")
    beat.until(lambda: rows, "it is told")
    follower.join(10)
    assert (rows[0].entry, rows[0].what, rows[0].source) == ("b", "sent", "trigger")


def test_entries_are_found_by_their_labels_everywhere(sched):
    with sched.batch() as batch:
        for i in range(600):
            batch.add(f"e{i}", "tasks.add", 3600, labels={"team": "billing" if i % 3 else "ops", "tenant": str(i)})
        batch.add("plain", "tasks.add", 3600)
    ops = {f"e{i}" for i in range(0, 600, 3)}
    assert {entry.name for entry in sched.entries(labels={"team": "ops"})} == ops
    few = sched.entries(labels={"team": "ops", "tenant": "59?"})
    assert {entry.name for entry in few} == {"e591", "e594", "e597"}
    assert {slot.name for slot in sched.preview(n=1000, labels={"team": "ops"})} <= ops
    outage = (sched.now() + timedelta(hours=1), sched.now() + timedelta(hours=2))
    assert {row.name for row in sched.simulate(outage=outage, labels={"tenant": "7"})} == {"e7"}
    with pytest.raises(InvalidSchedule, match="labels: the label team"):
        next(sched.entries(labels={"team": 7}))


def test_the_history_of_entries_with_a_label(valkey, beats):
    beat = beats(valkey).lead()
    schedule = Schedule(beat.app)
    for name, labels in (("a", {"team": "ops"}), ("b", {"team": "billing"}), ("c", {})):
        schedule.add(name, "tasks.add", 3600, labels=labels)
        schedule.trigger(name)
    beat.until(lambda: len(messages(valkey.client())) == 3)
    assert {row.entry for row in schedule.history(labels={"team": "*"})} == {"a", "b"}
    assert {row.entry for row in schedule.history(labels={"team": "ops"})} == {"a"}
    assert schedule.history(labels={"team": "none"}) == []
    rows = schedule.follow(last=1, labels={"team": "ops"})
    assert next(rows).entry == "a"
    schedule.trigger("b")
    schedule.trigger("a")
    beat.until(lambda: len(messages(valkey.client())) == 5)
    assert next(rows).entry == "a"


def test_what_is_of_a_wrong_type_is_named_and_raises_nothing_of_pythons(valkey):
    schedule = Schedule.from_url(valkey.url())
    schedule.add("a", "t", 60)
    now, half = schedule.now(), "\ud800"  # as a command line makes it of bytes that are no UTF-8
    for wrong in (None, "3", 1.5, True, -1):
        for ask in (schedule.preview, schedule.history, schedule.log):
            with pytest.raises(InvalidSchedule, match=r"n is .*, but must be a whole number from"):
                ask(n=wrong)
    for wrong in (None, "3", float("nan")):
        with pytest.raises(InvalidSetting, match="max_lag is"):
            schedule.health(max_lag=wrong)
        with pytest.raises(InvalidSchedule, match="rate is"):
            schedule.backfill("a", now, now, rate=wrong)
        with pytest.raises(InvalidSetting, match="retry_for is"):
            Schedule.from_url(valkey.url(), retry_for=wrong)
    for name in (half, 5, ["a"]):
        for edit in (schedule.pause, schedule.resume, schedule.skip, schedule.trigger, schedule.remove, schedule.entry):
            with pytest.raises(NoSuchEntry):
                edit(name)
        with pytest.raises(InvalidSchedule, match="the new name is"):
            schedule.copy("a", name)
        assert name not in schedule
        assert schedule.cancel(name) == 0
    with pytest.raises(InvalidSchedule, match="outage is 5"):
        schedule.simulate(outage=5)
    with pytest.raises(InvalidSchedule, match="ids is 5"):
        schedule.cancel_countdowns(5)
    with pytest.raises(InvalidSchedule, match="after is 5"):
        next_due(60, 5)


def test_a_lock_that_says_absurd_times_is_shown(valkey):
    schedule, client = Schedule.from_url(valkey.url()), valkey.client()
    for i, ends in enumerate(("1e300", "Infinity", "9999999999999999999")):
        lock = '{"id": "7", "phase": "waiting", "since": -1e300, "ends": %s, "task": "t"}'
        client.hset(K.locks, f"d{i}", lock % ends)
    client.hset(K.locks, "nan", '{"id": "7", "phase": "waiting", "ends": NaN}')
    assert [(lock.ends.year, lock.since.year) for lock in schedule.locks()] == [(9999, 1970)] * 3
