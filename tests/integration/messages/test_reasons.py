"""Why messages are rendered one by one, which is slower: no reason is hidden."""

from __future__ import annotations

import json
import logging

import pytest
from celery import chain

from redlock_beat import Schedule
from redlock_beat.messages import template
from redlock_beat.messages.reasons import MOST, OTHERS, Reasons
from redlock_beat.messages.template import Template
from redlock_beat.store.keys import Keys
from tests.beats import ledger

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
    return beat.parts.dispatcher.messages.reasons.summary()


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
    monkeypatch.setattr(Template, "fill", broken)
    overdue(valkey, 3)
    beat.until(lambda: valkey.client().llen("celery") == 3)
    assert len(said("please report it")) == 1
    assert list(rendered(beat).values()) == [3]


def test_what_a_router_that_is_code_costs_is_shown_by_status(valkey, beats, said):
    why = "task_routes holds a router that is code"
    beat = beats(valkey, task_routes=[lambda *args, **kwargs: None]).lead()
    schedule = overdue(valkey, 2)
    beat.until(lambda: valkey.client().llen("celery") == 2)
    assert rendered(beat) == {why: 2}
    assert len(said("Celery renders each message by itself, which is slower: task_routes")) == 1
    beat.until(lambda: any(one.rendered for one in schedule.status().replicas))
    assert schedule.status().json()["replicas"][0]["rendered"] == {why: 2}


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
    assert not any("unexpected" in why for why in found)
    assert len(said("Celery renders entry 'canvas' by itself, which is slower: it is a canvas.")) == 1


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


def test_a_task_none_of_whose_entries_can_be_filled_in_is_tried_no_further(valkey, beats, said):
    schedule = Schedule.from_url(valkey.url())
    for i in range(20):
        schedule.add(f"e{i:02d}", "tasks.add", 3600, args=(1, 2, i), run_now=True)
    beat = beats(valkey)
    beat.scheduler.build()
    renderer, tried = beat.parts.renderer, []
    render = renderer.render
    renderer.render = lambda *args: tried.append(1) or render(*args)
    beat.until(lambda: valkey.client().hlen(K.quarantine) == 20)
    assert len(tried) == 5 + 20  # for a template five times, and each by itself
    assert len(said("Celery renders the messages of tasks.add one by one")) == 1


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
