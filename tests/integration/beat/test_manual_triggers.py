"""Triggers with other arguments: each message has its own, and none those of another."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from redlock_beat import InvalidSchedule, Schedule
from redlock_beat.clock import MICROS
from redlock_beat.store.keys import Keys
from tests.beats import ledger, messages

K = Keys("redlock-beat")
#: What is otherwise for once: parts of the call.
CALLS = [
    {},
    {"args": (1, 2)},
    {"args": ()},
    {"args": ("it's", 'ä"日本🎉 %b')},
    {"kwargs": {"x": 5}},
    {"kwargs": {}},
    {"args": (1,), "kwargs": {"y": [1, {"a": None}]}},
    {"options": {"queue": "other", "priority": 3}},
    {"args": (7,), "options": {"headers": {"tenant": "a%b"}}},
]


@pytest.fixture(params=["list", "outbox"])
def leading(request, valkey, beats):
    """A leader whose messages go to a list of this Redis, or into the outbox for another broker."""
    away = {"redlock_beat_url": valkey.url()} if request.param == "outbox" else {}
    return beats("memory://" if away else valkey, **away).lead()


def test_each_message_is_byte_for_byte_what_celery_sends_with_these_arguments(valkey, beats):
    beat = beats(valkey).lead()
    schedule, client, renderer = Schedule(beat.app), valkey.client(), beat.parts.renderer
    entries = {name: schedule.add(name, "t", 3600, (3,), {"y": 4}) for name in ("a", "b")}
    expected = {}
    for name, entry in entries.items():
        for call in CALLS:
            expected[schedule.trigger(name, **call)] = replace(entry, **call)
    beat.until(lambda: len(ledger(client, "sent")) == len(expected))
    assert beat.parts.dispatcher.messages.filled >= len(expected) - 3
    found = [text for queue in ("celery", "celery\x06\x163", "other\x06\x163") for text in client.lrange(queue, 0, -1)]
    assert len(found) == len(expected)
    for text in found:
        one = json.loads(text)
        headers, tag = one["headers"], one["properties"]["delivery_tag"]
        nominal = round(headers["redlock_beat_due"] * MICROS)
        _, rendered = renderer.render(expected.pop(headers["id"]), nominal, headers["id"], nominal).single()
        assert rendered.replace(json.loads(rendered)["properties"]["delivery_tag"], tag) == text
    assert expected == {}


def test_the_entry_stays_as_it_is_and_both_ways_send_the_same(valkey, beats, way):
    beat = beats(valkey).lead()
    schedule, client = Schedule(beat.app), valkey.client()
    entry = schedule.add("a", "tasks.add", 3600, (3,))
    at = datetime(2026, 1, 1, tzinfo=UTC)
    ids = [schedule.trigger("a", (5,), {"y": at}), schedule.trigger("a")]
    beat.until(lambda: client.llen("celery") == 2)
    by_id = {one["headers"]["id"]: one["headers"] for one in messages(client)}
    assert [by_id[id_]["argsrepr"] for id_ in ids] == ["[5]", "[3]"]
    assert "datetime.datetime(2026, 1, 1" in by_id[ids[0]]["kwargsrepr"]
    assert schedule["a"] == entry
    row, plain = schedule.log("a", n=2)[::-1]
    assert (row.what, row.task_id, plain.task_id, plain.changes) == ("triggered", *ids, ())
    assert [change[0] for change in row.changes] == ["args", "kwargs"]
    assert row.changes[0] == ("args", [3], [5])


def test_an_item_that_waits_keeps_its_arguments_through_a_failure_and_another_beat(valkey, beats):
    first = beats(valkey).lead()
    schedule, client = Schedule(first.app), valkey.client()
    schedule.add("a", "tasks.add", 3600, (3,))
    client.set("bad", "wrong type")
    schedule.trigger("a", (5,), options={"queue": "bad"})
    first.until(lambda: ledger(client, "failed"))
    first.crash()
    client.delete("bad", K.lease)
    second = beats(valkey).lead()
    second.until(lambda: client.llen("bad"))
    assert [one["headers"]["argsrepr"] for one in messages(client, "bad")] == ["[5]"]


def test_what_the_outbox_renders_anew_has_its_arguments(leading, valkey):
    schedule, client = Schedule(leading.app), valkey.client()
    schedule.add("a", "tasks.add", 3600, (3,))
    id_ = schedule.trigger("a", (5,), {"y": 6})
    leading.until(lambda: ledger(client, "sent"))
    (row,) = ledger(client, "sent")
    assert (row["id"], row["how"]) == (id_, "trigger")


def test_what_cannot_be_sent_is_refused_as_in_an_edit(valkey, beats):
    from celery import chain

    beat = beats(valkey, {"lazy": {"task": "tasks.add", "schedule": 3600.0, "args": (object(),)}}).lead()
    schedule, add = Schedule(beat.app), beat.app.tasks["tasks.add"]
    schedule.add("a", "tasks.add", 3600)
    schedule.add("chain", chain(add.s(1, 1), add.s(2)), 3600)
    for name, call, said in (
        ("a", {"args": (object(),)}, "JSON"),
        ("a", {"args": "text"}, "list or tuple"),
        ("a", {"kwargs": [1]}, "dictionary"),
        ("a", {"options": {"task_id": "x"}}, "given by the scheduler"),
        ("a", {"args": ("x" * 300_000,)}, "more than"),
        ("chain", {"args": (1,)}, "inside its"),
        ("lazy", {"args": (1,)}, "only"),
    ):
        with pytest.raises(InvalidSchedule, match=said):
            schedule.trigger(name, **call)
    assert valkey.client().zcard(K.manual) == 0
    schedule.trigger("chain", options={"queue": "other"})
    beat.until(lambda: valkey.client().llen("other"))


def test_a_batch_triggers_with_other_arguments(valkey, beats):
    beat = beats(valkey).lead()
    schedule, client = Schedule(beat.app), valkey.client()
    with schedule.batch() as batch:
        batch.add("a", "tasks.add", 3600, (3,))
        batch.trigger("a", (5,))
        batch.trigger("a", kwargs={"y": 1})
    beat.until(lambda: client.llen("celery") == 2)
    by_id = {one["headers"]["id"]: one["headers"] for one in messages(client)}
    assert [by_id[id_]["argsrepr"] for id_ in batch.results[1:]] == ["[5]", "[3]"]
