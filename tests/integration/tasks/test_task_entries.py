"""Entries whose tasks are unique or cool down: rendered by a beat, which a duplicate never stops."""

from __future__ import annotations

import pytest

from redlock_beat import Schedule
from redlock_beat.store.keys import Keys
from tests.beats import ledger, messages
from tests.servers import eventually

K = Keys("redlock-beat")


def test_a_slot_whose_call_is_a_duplicate_sends_nothing_and_is_noted(project, beats, valkey):
    p = project()
    Schedule(p.app).add("often", "once", 0.2, args=("a",))
    beat = beats(p.app).lead()
    beat.until(lambda: [row for row in ledger(valkey.client()) if "nothing" in str(row)], "a duplicate is noted")
    (message,) = messages(valkey.client())
    (row, *_) = (row for row in ledger(valkey.client()) if row["is"] == "published nothing")
    assert row["why"] == f"duplicate of {message['headers']['id']}"
    (lock,) = Schedule(p.app).locks()
    assert (lock.holder, lock.phase) == (message["headers"]["id"], "waiting")
    assert (lock.ends - lock.since).total_seconds() > 60, "it was committed, so it may wait for a worker"
    p.worker()
    eventually(lambda: p.begun("a") == [message["headers"]["id"]], "the first has run")
    beat.until(lambda: len(p.begun("a")) >= 3, "and the next ones are sent")
    ids = p.begun("a")
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("way", ["raise", "replace"])
def test_a_duplicate_never_raises_into_beat_and_the_last_one_may_replace(project, beats, valkey, way):
    p = project()
    p.once.unique_duplicate = way
    Schedule(p.app).add("often", "once", 0.2, args=("a",))
    beat = beats(p.app).lead()
    if way == "raise":
        beat.until(lambda: [row for row in ledger(valkey.client()) if "nothing" in str(row)], "a duplicate is noted")
        assert len(messages(valkey.client())) == 1
    else:
        beat.until(lambda: len(messages(valkey.client())) >= 3, "all are sent")
        assert valkey.client().zcard(K.aside) >= 2
    assert not [row for row in ledger(valkey.client()) if row.get("is") == "failed"]


def test_an_occurrence_that_is_rendered_and_not_committed_blocks_nobody_for_long(project, beats, valkey, monkeypatch):
    monkeypatch.setattr("redlock_beat.tasks.locks.SENDING", 0.5)
    p = project()
    schedule = Schedule(p.app)
    schedule.add("often", "once", 0.3, args=("a",))
    beat = beats(p.app).lead()
    removed = []

    def remove(*args):
        if not removed:
            removed.append(schedule.remove("often"))

    # The entry goes while it is rendered, so its commit is refused.
    monkeypatch.setattr(type(p.app.tasks["once"]), "on_invocation_trigger", lambda self, *args: remove())
    beat.until(lambda: removed, "it is rendered")
    beat.until(lambda: not p.once.is_processing(("a",)), "the lock has ended")
    assert messages(valkey.client()) == []


def test_a_slot_that_is_skipped_or_a_duplicate_is_in_nobodys_way(project, beats, valkey):
    """An entry's own policy, and the lock of its task: each goes on when the other does not send."""
    p = project()
    p.worker("threads", 4)
    schedule = Schedule(p.app)
    other = p.once.delay("a", wait=True)
    eventually(lambda: p.begun("a"), "a call of somebody else runs")
    schedule.add("often", "once", 0.3, args=("a",), kwargs={"wait": True}, overlap="skip")
    beats(p.app).start()
    client = valkey.client()
    eventually(lambda: [row for row in ledger(client) if row["is"] == "published nothing"], "its slots are duplicates")
    p.go("a")
    other.get(timeout=20)
    eventually(lambda: len(p.begun("a")) >= 4, "its own runs follow")
    (p.directory / "go-a").unlink()
    running = eventually(lambda: len(p.begun("a")) > len(p.lines("end", "a")) and p.begun("a")[-1], "one runs on")
    assert p.once.unlock(("a",), {"wait": True}) == running
    eventually(
        lambda: [row for row in ledger(client) if row["is"] == "skipped"], "its next slot is no duplicate: skipped"
    )
    eventually(lambda: list(schedule.locks()) == [], "and leaves no lock")
    p.go("a")
    eventually(lambda: p.begun("a")[-1] != running, "and it goes on")


def test_an_entry_whose_task_cools_down_sends_one(project, beats, valkey):
    p = project()
    p.worker()
    Schedule(p.app).add("often", "cools", 0.2, args=("a",))
    beat = beats(p.app).lead()
    beat.until(lambda: [row for row in ledger(valkey.client()) if "nothing" in str(row)], "one is ignored")
    eventually(lambda: p.begun("a"), "one has run")


def test_a_task_with_none_of_the_options_is_filled_in_as_celerys_own_is(project, beats, valkey):
    p = project()
    schedule = Schedule(p.app)
    schedule.add("plain", "plain", 0.2)
    beats(p.app).start()
    replica = eventually(lambda: next((one for one in schedule.status().replicas if one.sent >= 2), None), "it is sent")
    assert replica.rendered == {}
    schedule.add("unique", "once", 0.2, args=("a",))
    eventually(lambda: schedule.status().replicas[0].rendered, "the other one is rendered")
