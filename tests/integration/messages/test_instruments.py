"""Sentry, OpenTelemetry and Datadog see what they see of Celery's own beat, and messages carry what they add.

Each runs in a process of its own: they put their functions into Celery's classes. See ``tests/instruments.py``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from importlib.util import find_spec

import pytest
from celery import Celery, Task

from redlock_beat.messages.instruments import Foreign, around, instruments_of, own_of
from tests.beats import messages
from tests.instruments import SCHEDULES

#: Headers that only our messages have (``celery_beat_task`` with Celery 5.5), and those that each has for itself.
OURS = {"periodic_task_name", "redlock_beat_entry", "redlock_beat_due", "redlock_beat_epoch", "celery_beat_task"}
OWN = {"id", "root_id", "origin", "sentry-trace", "baggage", "sentry-task-enqueued-time", "traceparent"}
OWN |= {"sentry-monitor-check-in-id", "sentry-monitor-start-timestamp-s", "headers"}


def process(server, instrument, scheduler, **env):
    """What a process says that has sent with an instrument."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.instruments", server.url(), instrument, scheduler],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def sent(server, instrument, scheduler, **env):
    """The same, and its messages by the name of their entry."""
    server.client().flushall()
    said = process(server, instrument, scheduler, **env)
    found = {one["headers"]["mine"]: one for one in messages(server.client())}
    assert found.keys() == SCHEDULES.keys()
    return said, found


def both(server, instrument, **env):
    """The same by us, all filled in, and by Celery's own scheduler."""
    ours, our_messages = sent(server, instrument, "ours", **env)
    celerys, celery_messages = sent(server, instrument, "celery", **env)
    assert ours["rendered"] == {}
    assert ours["filled"] == len(SCHEDULES)
    for name, message in celery_messages.items():
        assert alike(our_messages[name], message), name
    return ours["told"], our_messages, celerys["told"], celery_messages


def alike(ours, celerys):
    """Whether two messages have the same headers, and the same values but for those that each has for itself."""
    one, other = ({k: v for k, v in each["headers"].items() if k not in OURS} for each in (ours, celerys))
    nested, nested_too = (set(each.get("headers") or ()) - OURS for each in (one, other))
    assert (one.keys(), nested) == (other.keys(), nested_too)
    return all(one[name] == other[name] for name in one.keys() - OWN) and ours["body"] == celerys["body"]


def test_sentry_watches_each_entry_that_it_can_watch(valkey):
    told, ours, told_of_celery, _ = both(valkey, "sentry")
    watched = {"minutes", "hours", "cron", "unknown"}
    assert {one["monitor_slug"] for one in told} == {one["monitor_slug"] for one in told_of_celery} == watched
    for one in told:
        headers = ours[one["monitor_slug"]]["headers"]
        assert (one["status"], one["monitor_config"]) == ("in_progress", headers["sentry-monitor-config"])
        assert headers["sentry-monitor-check-in-id"] == headers["headers"]["sentry-monitor-check-in-id"]
        assert headers["sentry-monitor-check-in-id"] == one["check_in_id"]
        assert float(headers["sentry-monitor-start-timestamp-s"]) > 1.7e9
    assert ours["cron"]["headers"]["sentry-monitor-config"]["schedule"]["value"] == "30 7 * * 1-5"
    for name in ours.keys() - watched:
        assert "sentry-monitor-slug" not in ours[name]["headers"]
    traces = {one["headers"]["sentry-trace"].split("-")[0] for one in ours.values()}
    assert len(traces) == len(ours)


def test_sentry_without_crons_gives_each_message_a_trace_of_its_own_and_events_may_be_on(valkey):
    said, found = sent(valkey, "sentry", "ours", CRONS="0", EVENTS="1")
    assert (said["filled"], said["rendered"], said["told"]) == (len(SCHEDULES), {}, [])
    traces = {one["headers"]["headers"]["sentry-trace"].split("-")[0] for one in found.values()}
    assert len(traces) == len(found)


def test_a_worker_tells_sentry_how_a_watched_run_has_ended(valkey):
    valkey.client().flushall()
    said = process(valkey, "sentry", "ours", WORK="3")  # of the tasks that it knows
    begun, ended = ([one for one in said["told"] if one["status"] == status] for status in ("in_progress", "ok"))
    assert {one["monitor_slug"] for one in ended} == {"minutes", "hours", "cron"}
    assert {one["check_in_id"] for one in ended} < {one["check_in_id"] for one in begun}
    assert all(one["duration"] > 0 for one in ended)


def test_sentry_watches_what_is_rendered_too(valkey):
    ours, found = sent(valkey, "sentry", "ours", CONF=json.dumps({"task_compression": "gzip"}))
    assert ours["filled"] == 0
    assert found["cron"]["headers"]["sentry-monitor-slug"] == "cron"
    assert {one["monitor_slug"] for one in ours["told"]} == {"minutes", "hours", "cron", "unknown"}


def test_opentelemetry_has_a_span_for_each_message_whose_trace_it_carries(valkey):
    told, ours, told_of_celery, _ = both(valkey, "opentelemetry")
    assert len(told) == len(told_of_celery) == len(ours)
    by_id = {one["attributes"]["messaging.message.id"]: one for one in told}
    for message in ours.values():
        span = by_id[message["headers"]["id"]]
        assert message["headers"]["traceparent"].split("-")[1] == span["trace"]
        assert span["name"] == f"apply_async/{message['headers']['task']}"
    assert len({one["trace"] for one in told}) == len(told)
    assert [kinds(one) for one in told] == [kinds(told_of_celery[0])] * len(told)


def kinds(span):
    """The attributes of a span, but for those of its message."""
    own = ("messaging.message.id", "celery.task_name")
    return {name: value for name, value in span["attributes"].items() if name not in own}


@pytest.mark.skipif(find_spec("ddtrace") is None, reason="pip install 'redlock-beat[test-instruments]'")
def test_datadog_has_the_spans_that_it_has_of_celerys_beat(valkey):
    told, ours, told_of_celery, _ = both(valkey, "datadog")
    spans = sorted((one["name"], one["resource"]) for one in told)
    assert spans == sorted((one["name"], one["resource"]) for one in told_of_celery)
    traces = {one["resource"]: one["trace"] for one in told if one["name"] == "celery.beat.apply_entry"}
    assert traces.keys() == ours.keys()
    assert len(set(traces.values())) == len(ours)
    for name, message in ours.items():
        assert message["headers"]["headers"]["traceparent"].split("-")[1] == traces[name]


# --- how they are opened up ------------------------------------------------------------------------


def made(code, where="sentry_sdk.integrations.celery", **names):
    """A function of a package of that name."""
    module = types.ModuleType(where)
    exec(f"def make({', '.join(names)}):\n{code}", vars(module))
    return module.make(**names)


WRAPPER = """
    def wrapper(*args, key=1, **options):
        calls.append((args, key))
        return function(*args, **options)
    return wrapper
"""


def test_a_known_wrapper_is_put_around_another_function():
    calls = []
    wrapper = made(WRAPPER, calls=calls, function=Task.apply_async)
    assert own_of(wrapper) is Task.apply_async
    assert around(wrapper, lambda *args: args)(1, 2) == (1, 2)
    twice = made(WRAPPER, calls=calls, function=wrapper)
    assert own_of(twice) is Task.apply_async
    assert around(twice, lambda *args: args)(3) == (3,)
    assert calls == [((1, 2), 1), ((3,), 1), ((3,), 1)]
    assert wrapper.__closure__[1].cell_contents is Task.apply_async  # the wrapper itself is as it was


@pytest.mark.parametrize(
    ("code", "where", "names"),
    [
        (WRAPPER, "another.package", {"function": Task.apply_async}),
        (WRAPPER, "sentry_sdk.integrations.celery", {"function": len}),
        (
            "    return lambda *args: (function or other)(*args)",
            "sentry_sdk.integrations.celery",
            {"function": Task.apply_async, "other": Celery.send_task},
        ),
        ("    return lambda *args: None", "sentry_sdk.integrations.celery", {}),
    ],
    ids=["of another package", "around something else", "around two", "around nothing"],
)
def test_a_wrapper_of_another_form_is_not_opened(monkeypatch, code, where, names):
    wrapper = made(code, where, **({"calls": [], **names} if code is WRAPPER else names))
    with pytest.raises(Foreign):
        own_of(wrapper)
    app = Celery(set_as_current=False)
    assert not instruments_of(app)
    monkeypatch.setattr(Task, "apply_async", wrapper)
    with pytest.raises(Foreign, match=r"Task\.apply_async is not Celery's own"):
        instruments_of(app)
