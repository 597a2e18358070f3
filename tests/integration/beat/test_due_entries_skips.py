"""Skipped slots on a running beat: none is sent, each is in the ledger, through edits and failovers."""

from __future__ import annotations

from datetime import timedelta

from redlock_beat import Schedule, hooks
from redlock_beat.clock import micros
from redlock_beat.store.keys import Keys
from tests.beats import comes, ledger, occurrences, of, sent

K = Keys("redlock-beat")


def skipped(client, entry: str, every: int) -> list[int]:
    """The skipped slots of an entry with so many microseconds between two."""
    slots: list[int] = []
    for row in ledger(client, "skipped"):
        if row["entry"] == entry:  # those that came at once, on a slow machine, are one row
            first, last = (int(row.get(part, row.get("nominal", "0"))) for part in ("from", "to"))
            slots += range(first, last + 1, every)
    return slots


def test_the_next_slots_are_skipped_and_in_the_ledger_and_then_it_goes_on(server, beats, way, told, caplog):
    caplog.set_level("INFO", "redlock_beat")
    beat = beats(server).lead()
    schedule, client = Schedule(beat.app), server.client()
    schedule.add("a", "tasks.add", 0.15)
    entry = schedule.skip("a", 3, actor="ann", why="audit")
    first, last = entry.skip.first, entry.skip.last
    beat.until(lambda: len([row for row in sent(client, "a") if int(row["nominal"]) > last]) >= 2)
    assert skipped(client, "a", 150_000) == list(range(first, last + 1, 150_000))
    row = ledger(client, "skipped")[0]
    assert (row["why"], row["by"], "id" in row) == ("skip by ann: audit", beat.parts.lease.owner, False)
    nominals = [int(row["nominal"]) for row in sent(client, "a")]
    assert not any(first <= nominal <= last for nominal in nominals)
    assert max(occurrences(client).values()) == 1
    after = schedule["a"]
    assert (after.skip, after.total_run_count) == (None, len(nominals))
    assert [one.reason for one in of(told, hooks.Skipped)] == ["skip"] * 3
    assert "of its slots skipped, skip by ann: audit" in caplog.text


def test_a_skip_survives_a_failover_and_one_that_nobody_saw_is_skipped_late(valkey, beats):
    first = beats(valkey).lead()
    schedule, client = Schedule(first.app), valkey.client()
    schedule.add("a", "tasks.add", 0.1, missed="all")
    entry = schedule.skip("a", 4)
    first.until(lambda: ledger(client, "skipped"))
    first.crash()
    client.delete(K.lease)
    comes(schedule, entry.skip.last)
    second = beats(valkey).lead()
    second.until(lambda: [row for row in sent(client, "a") if int(row["nominal"]) > entry.skip.last])
    rows = ledger(client, "skipped")
    assert sum(int(row.get("count", 1)) for row in rows) == 4
    assert schedule.history("a", n=50)
    assert not any(entry.skip.first <= int(row["nominal"]) <= entry.skip.last for row in sent(client, "a"))


def test_a_skip_is_taken_back(valkey, beats):
    beat = beats(valkey).lead()
    schedule, client = Schedule(beat.app), valkey.client()
    schedule.add("a", "tasks.add", 0.3)
    entry = schedule.skip("a", 100)
    assert schedule.skip("a", 0).next_due.timestamp() * 1e6 == entry.skip.first
    beat.until(lambda: sent(client, "a"))
    assert ledger(client, "skipped") == []


def test_a_skipped_one_shot_is_finished_and_a_skip_is_no_run(valkey, beats):
    beat = beats(valkey).lead()
    schedule, client = Schedule(beat.app), valkey.client()
    at = schedule.now() + timedelta(seconds=0.3)
    schedule.add("once", "tasks.add", at)
    schedule.add("kept", "tasks.add", at, keep=True)
    schedule.add("runs", "tasks.add", 0.1, max_runs=2, keep=True)
    for name in ("once", "kept", "runs"):
        schedule.skip(name)
    beat.until(lambda: "once" not in schedule and len(sent(client, "runs")) == 2)
    assert schedule["kept"].standing == "finished"
    assert schedule["kept"].total_run_count == 0
    assert len(sent(client, "runs")) == 2
    assert {row["entry"] for row in ledger(client, "skipped")} == {"once", "kept", "runs"}
    assert len(sent(client, "once")) == 0


def test_a_skipped_slot_of_an_entry_with_one_run_at_a_time_holds_up_nothing(valkey, beats):
    beat = beats(valkey).lead()
    schedule, client = Schedule(beat.app), valkey.client()
    schedule.add("a", "tasks.add", 0.2, overlap="buffer_one", queue_limit=0.1)
    schedule.skip("a")
    beat.until(lambda: len(sent(client, "a")) >= 2)
    assert len(ledger(client, "skipped")) == 1


def test_a_trigger_is_sent_though_the_next_slot_is_skipped(valkey, beats):
    beat = beats(valkey).lead()
    schedule, client = Schedule(beat.app), valkey.client()
    made = schedule.add("a", "tasks.add", 3600)
    schedule.skip("a")
    schedule.trigger("a")
    beat.until(lambda: client.llen("celery"))
    assert schedule["a"].skip.first == made.state.nominal


def test_a_change_of_the_configuration_ends_a_skip_and_a_restart_does_not(valkey, beats):
    configured = {"a": {"task": "tasks.add", "schedule": 3600.0}}
    first = beats(valkey, configured).lead()
    schedule = Schedule(first.app)
    skip = schedule.skip("a").skip
    first.close()
    second = beats(valkey, configured).lead()
    assert schedule["a"].skip == skip
    second.close()
    beats(valkey, {"a": {**configured["a"], "schedule": 1800.0}}).lead()
    assert schedule["a"].skip is None


def test_slots_that_jitter_holds_back_are_skipped_at_their_time(valkey, beats):
    beat = beats(valkey).lead()
    schedule, client = Schedule(beat.app), valkey.client()
    schedule.add("a", "tasks.add", 0.2, jitter=0.15)
    entry = schedule.skip("a", 2)
    beat.until(lambda: [row for row in sent(client, "a") if int(row["nominal"]) > entry.skip.last])
    assert skipped(client, "a", 200_000) == [entry.skip.first, entry.skip.last]
    assert micros(entry.next_due) == entry.skip.last + 200_000
