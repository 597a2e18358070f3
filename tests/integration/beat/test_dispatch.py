"""What is due is sent once, in a turn of the beat."""

from __future__ import annotations

import time

import pytest

from redlock_beat import Schedule
from redlock_beat.store.keys import Keys
from tests.beats import duplicates, ledger, messages, occurrences


def test_a_configured_entry_is_sent_once_per_slot(server, beats):
    beat = beats(server, {"a": {"task": "tasks.add", "schedule": 0.2, "args": (1, 2)}})
    client = server.client()
    beat.until(lambda: client.llen("celery") >= 4)
    slots = [round(due * 1e6) for _, due in occurrences(client)]
    for row in ledger(client, "missed"):  # those for which a slow machine came too late
        slots += range(int(row["from"]), int(row["to"]) + 1, 200_000)
    assert duplicates(client) == 0
    assert sorted(slots) == list(range(min(slots), max(slots) + 1, 200_000))
    headers = messages(client)[0]["headers"]
    assert headers["celery_beat_task"] is True
    assert headers["redlock_beat_entry"] == "a"
    sent = ledger(client, "sent")
    assert sent[0]["id"] == headers["id"]
    assert int(sent[0]["nominal"]) == round(headers["redlock_beat_due"] * 1e6)


def test_a_task_that_does_not_send_is_in_the_ledger(valkey, beats):
    beat = beats(valkey)

    from celery import Task

    class Shy(Task):
        name = "tasks.shy"

        def apply_async(self, *args, **kwargs):
            return None

    beat.app.register_task(Shy())
    beat.lead()
    Schedule(beat.app).add("a", "tasks.shy", 60, run_now=True)
    client = valkey.client()
    beat.until(lambda: ledger(client, "published nothing"))
    assert client.llen("celery") == 0


def test_names_in_emoji_and_odd_bytes(server, beats):
    beat = beats(server)
    beat.lead()
    schedule = Schedule(beat.app)
    names = ["🚀 Ünï", "a b\nc", "x" * 500, "{braces}:*[?]"]
    for name in names:
        schedule.add(name, "tasks.add", 60, run_now=True)
    client = server.client()
    beat.until(lambda: client.llen("celery") >= len(names))
    assert {one["headers"]["redlock_beat_entry"] for one in messages(client)} == set(names)


K = Keys("redlock-beat")


ENTRY = {"a": {"task": "tasks.add", "schedule": 0.1}}


def test_without_a_ledger(server, beats):
    beat = beats(server, ENTRY, redlock_beat_ledger_size=0)
    client = server.client()
    beat.until(lambda: client.llen("celery") >= 3)
    assert client.exists(K.ledger) == 0
    assert duplicates(client) == 0


@pytest.mark.parametrize("missed", ["once", "all"])
def test_an_answer_that_was_long_on_its_way_makes_no_slot_come_early(valkey, beats, missed):
    beat = beats(valkey).lead()
    schedule, client = Schedule(beat.app), valkey.client()
    schedule.add("a", "tasks.add", 0.05, missed=missed)
    store = beat.parts.store
    due = store.due

    def slowly(*args):
        """Redis is busy before it hears the question."""
        time.sleep(0.4)
        return due(*args)

    store.due = slowly
    beat.tick(3)
    rows = [row for row in client.xrange(K.ledger) if row[1]["is"] in ("sent", "missed")]
    assert rows
    for row_id, row in rows:  # its id is when Redis wrote it
        assert int(row.get("to", row.get("nominal"))) // 1000 <= int(row_id.split("-")[0])
