"""Why messages are rendered one by one, which is slower: no reason is hidden."""

from __future__ import annotations

import json
import logging

import pytest
from celery import chain, signals
from prometheus_client import CollectorRegistry

from redlock_beat import Schedule, hooks
from redlock_beat.beat.metrics import PrometheusHook
from redlock_beat.messages import template
from redlock_beat.messages.reasons import MOST, OTHERS, Reasons
from redlock_beat.store.keys import Keys
from tests.beats import ledger, messages

K = Keys("redlock-beat")


@pytest.fixture
def said(caplog):
    """What was logged that holds some words."""
    caplog.set_level(logging.INFO, "redlock_beat")
    return lambda words: [one for one in caplog.records if words in one.getMessage()]


def overdue(valkey, count, **more):
    schedule = Schedule.from_url(valkey.url())
    for i in range(count):
        schedule.add(f"e{i}", "tasks.add", 3600, args=(i,), run_now=True, **more)
    return schedule


def rendered(beat):
    """How many messages were rendered by themselves, for which reasons."""
    return beat.parts.dispatcher.express.reasons.summary()


def test_an_error_in_the_quick_way_is_said_once_with_its_traceback_and_counted(valkey, beats, monkeypatch, said):
    """A Celery that lacks a setting was such an error: everything was fifteen times as slow, and nobody knew."""

    def broken(app):
        raise AttributeError("'Settings' object has no attribute 'task_repr_maxlevels'")

    monkeypatch.setattr(template, "repr_levels", broken)
    beat = beats(valkey).lead()
    schedule = overdue(valkey, 3)
    client = valkey.client()
    beat.until(lambda: client.llen("celery") == 3)
    (record,) = said("please report it")
    assert record.levelno == logging.WARNING
    assert "no attribute 'task_repr_maxlevels'" in record.getMessage()
    ((why, many),) = rendered(beat).items()
    assert why.startswith("an unexpected AttributeError in test_reasons.py, line ")
    assert many == 3
    beat.until(lambda: any(one.rendered == {why: 3} and one.sent == 3 for one in schedule.status().replicas))


def test_an_error_while_a_message_is_filled_in_is_said_once(valkey, beats, monkeypatch, said):
    def broken(*args):
        raise KeyError("nobody foresaw this")

    beat = beats(valkey).lead()
    monkeypatch.setattr(beat.parts.dispatcher.express, "_following", broken)
    overdue(valkey, 3)
    beat.until(lambda: valkey.client().llen("celery") == 3)
    assert len(said("please report it")) == 1
    assert list(rendered(beat).values()) == [3]


def test_what_a_receiver_of_a_signal_costs_is_shown_by_status(valkey, beats, said):
    def receiver(**kwargs):
        """It does nothing."""

    signals.before_task_publish.connect(receiver)
    try:
        beat = beats(valkey).lead()
        schedule = overdue(valkey, 2)
        beat.until(lambda: valkey.client().llen("celery") == 2)
    finally:
        signals.before_task_publish.disconnect(receiver)
    assert rendered(beat) == {"a receiver of a publish signal is connected": 2}
    assert len(said("Each message is rendered by itself, which is slower: a receiver")) == 1
    beat.until(lambda: any(one.rendered for one in schedule.status().replicas))
    assert schedule.status().json()["replicas"][0]["rendered"] == {"a receiver of a publish signal is connected": 2}


def test_each_way_past_the_quick_one_has_its_reason(valkey, beats, said):
    beat = beats(valkey).lead()
    app, client = beat.app, valkey.client()
    schedule = Schedule(app)
    add = app.signature("tasks.add", (1,))
    schedule.add("canvas", chain(add, add), 3600, run_now=True)
    schedule.add("late", "tasks.add", 0.02)
    schedule.add("good", "tasks.add", 3600, run_now=True)
    schedule.add("by hand", "tasks.add", 3600)
    schedule.trigger("by hand")
    beat.until(lambda: {"canvas", "good", "by hand"} <= {row["entry"] for row in ledger(client, "sent")})
    found = rendered(beat)
    assert found["it is a canvas"] == 1
    assert found["it is sent by hand (trigger)"] == 1
    assert not any("unexpected" in why for why in found)
    assert len(said("Entry 'canvas' is rendered by itself, which is slower: it is a canvas.")) == 1


def test_arguments_of_one_entry_do_not_slow_down_the_others_of_its_task(valkey, beats, said):
    """One entry whose arguments do not fit, or hold a date, refused the template of its whole task for a minute."""
    schedule = Schedule.from_url(valkey.url())
    client = valkey.client()
    schedule.add("a misfit", "tasks.add", 3600, args=(1, 2, 3), run_now=True)
    for i in range(5):
        schedule.add(f"b{i}", "tasks.add", 3600, args=(i,), run_now=True)
    client.zadd(K.due, {"a misfit": 1})  # it is the first of them all
    beat = beats(valkey).lead()
    beat.until(lambda: client.llen("celery") == 5)
    beat.until(lambda: client.hexists(K.quarantine, "a misfit"))
    assert rendered(beat) == {}
    assert said("Entry 'a misfit' could not be rendered")


def test_a_task_none_of_whose_entries_can_be_filled_in_is_tried_no_further(valkey, beats, said, monkeypatch):
    tried = []
    shape_of = template._message
    monkeypatch.setattr(template, "_message", lambda *args: tried.append(1) or shape_of(*args))
    schedule = Schedule.from_url(valkey.url())
    for i in range(20):
        schedule.add(f"e{i:02d}", "tasks.add", 3600, args=(1, 2, i), run_now=True)
    beat = beats(valkey).lead()
    beat.until(lambda: valkey.client().hlen(K.quarantine) == 20)
    assert len(tried) == 5
    assert len(said("Messages of tasks.add are rendered one by one")) == 1


def test_rubbish_in_redis_is_no_fault_of_the_code(valkey, beats, said):
    schedule = overdue(valkey, 2)
    client = valkey.client()
    client.hset(K.entries, "e0", "rubbish")
    client.hset(K.state, "e1", "rubbish")
    beat = beats(valkey).lead()
    beat.until(lambda: client.hlen(K.quarantine) == 2)
    assert not said("please report it")
    assert schedule.status().quarantine.keys() == {"e0", "e1"}


def test_reasons_are_bounded_and_none_is_lost():
    reasons = Reasons()
    for i in range(MOST + 30):
        reasons.count(f"reason {i}")
    assert len(reasons.summary()) == MOST + 1
    assert reasons.summary()[OTHERS] == 30
    assert len(json.dumps(reasons.summary())) < (MOST + 1) * 250


def test_prometheus_counts_what_was_rendered_by_reason(valkey, beats):
    registry = CollectorRegistry()
    hook = PrometheusHook(registry)
    hooks.add_hook(hook)
    try:
        beat = beats(valkey, task_compression="gzip").lead()
        overdue(valkey, 2)
        beat.until(lambda: len(messages(valkey.client())) == 2)
    finally:
        hooks.remove_hook(hook)
    (why,) = rendered(beat)
    assert "compressed" in why or "not JSON" in why
    assert registry.get_sample_value("redlock_beat_rendered_total", {"reason": why}) == 2
