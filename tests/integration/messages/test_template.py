"""What is filled in is what Celery sends, and what cannot be filled in is rendered."""

from __future__ import annotations

import base64
import json
import random
import types
import uuid
from datetime import UTC, datetime
from pathlib import Path

import celery
import pytest
from celery import Task, signals
from celery.schedules import crontab
from celery.utils.saferepr import saferepr
from hypothesis import given, settings
from hypothesis import strategies as st
from kombu import Exchange, Queue

from redlock_beat import Schedule
from redlock_beat.entries.build import make_entry
from redlock_beat.entries.occurrence import Ids
from redlock_beat.messages import messages as making
from redlock_beat.messages.refusals import fingerprint, refusal
from redlock_beat.messages.template import prove, shown, template_of
from redlock_beat.messages.trials import Unfillable
from tests.beats import Beat, duplicates, ledger, messages


@pytest.fixture
def leading(valkey, beats):
    def lead(**conf):
        return beats(valkey, **conf).lead()

    return lead


def filled(beat: Beat) -> int:
    """How many messages were filled in so far."""
    return beat.parts.dispatcher.messages.filled


NUMBERS = st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.sampled_from(["it's", 'say "x"', "a\\b", "ä", "日本", "🎉", "\x00", "%s %b", "x" * 2000])
PLAIN = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=30) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.lists(PLAIN, max_size=5) | st.dictionaries(st.text(max_size=5), PLAIN, max_size=4))
def test_arguments_are_shown_as_celery_shows_them(value):
    for longest in (1024, 40):
        whole = value or ({} if isinstance(value, dict) else ())
        assert shown(value or whole, longest, 3) == saferepr(whole, longest, maxlevels=3)


ENTRIES = {
    "nothing": {},
    "arguments": {"args": (1, 2)},
    "keywords": {"args": (1,), "kwargs": {"y": None}},
    "texts": {"args": ("it's", 'ä"日本🎉')},
    "deep": {"args": ([1, [2, {"a": [3, "b"]}]], {"k": 1.5})},
    "queue": {"options": {"queue": "other"}},
    "priority": {"options": {"priority": 7}},
    "expires": {"expires": 90},
    "expires half": {"expires": 0.5},
    "headers": {"options": {"headers": {"tenant": "a%b", "n": 1}}},
    "a name of its own": {"options": {"headers": {"periodic_task_name": "another"}}},
    "limits": {"options": {"time_limit": 5, "soft_time_limit": 4, "ignore_result": True, "shadow": "other name"}},
    "links": {"options": {"link": [], "group_id": "g", "reply_to": "r"}},
    "percent": {"args": ("100 %d %%", "%b"), "options": {"headers": {"%b": "%"}}},
}


@pytest.fixture(params=["list", "outbox"])
def leading_either(request, valkey, beats):
    """A leader whose messages go to a list of this Redis, or into the outbox for another broker."""

    def lead(**conf):
        away = {"redlock_beat_url": valkey.url()} if request.param == "outbox" else {}
        return beats("memory://" if away else valkey, **conf, **away).lead()

    return lead


@pytest.mark.parametrize("what", ENTRIES)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_what_is_filled_in_is_byte_for_byte_what_celery_sends(leading_either, what, zone):
    beat = leading_either(timezone=zone, task_queues=[Queue("celery"), Queue("other")])
    app, renderer = beat.app, beat.parts.renderer
    entry = make_entry(app, f"{what} 🎉 %b", "tasks.add", 30, **ENTRIES[what])
    now = beat.parts.store.now()
    template = template_of(renderer, entry, now, 0.0)
    chance = random.Random(7)
    for i in range(20):
        nominal, at = now - chance.randrange(10**12), now + chance.randrange(10**9)
        one = make_entry(app, f"entry {i} \"'\\", "tasks.add", 30, **ENTRIES[what])
        id_ = Ids("p").of(one.uid, nominal)
        key, text = renderer.render(one, nominal, id_, at).single()
        tag = json.loads(text)["properties"].get("delivery_tag")
        message = template.fill(list(one.args), dict(one.kwargs), one.name, id_, nominal, tag or "", at)
        assert (key, text.encode()) == (template.key, message)
        assert json.loads(message)["headers"]["periodic_task_name"] == one.name
        assert bool(key) == bool(tag) == renderer.direct


def test_all_that_share_a_shape_are_what_celery_sends(leading_either):
    """Entries of one task, each with arguments of its own, out of one template."""
    beat = leading_either()
    app, renderer = beat.app, beat.parts.renderer
    now = beat.parts.store.now()
    template = template_of(renderer, make_entry(app, "a", "tasks.add", 30, (1, 2)), now, 0.0)
    positional = ((), (1,), ("x" * 3000,), (None, True), ([], {}), ([[[[1]]]],), ("\n\t\x00",), (10**30, -0.0))
    named = (((1.5,), {"y": "é"}), ((), {"x": {"a": {"b": {"c": {"d": 1}}}}}))
    for args, kwargs in (*((args, {}) for args in positional), *named):
        entry = make_entry(app, "b", "tasks.add", 30, args, kwargs)
        id_ = str(uuid.uuid4())
        _, text = renderer.render(entry, now, id_, now).single()
        tag = json.loads(text)["properties"].get("delivery_tag", "")
        assert template.fill(list(entry.args), dict(entry.kwargs), "b", id_, now, tag, now) == text.encode()


def test_arguments_are_shown_as_deep_as_this_celery_shows_them(leading):
    """The setting came with Celery 5.7; one that does not know it does not heed it."""
    beat = leading(task_repr_maxlevels=1)
    app, renderer = beat.app, beat.parts.renderer
    entry = make_entry(app, "a", "tasks.add", 30, ([1, [2, [3]]],), {"y": {"a": {"b": 1}}})
    now, id_ = beat.parts.store.now(), str(uuid.uuid4())
    template = template_of(renderer, entry, now, 0.0)
    _, text = renderer.render(entry, now, id_, now).single()
    tag = json.loads(text)["properties"]["delivery_tag"]
    assert template.fill(list(entry.args), dict(entry.kwargs), "a", id_, now, tag, now) == text.encode()


def test_what_arrives_by_the_quick_way_is_what_arrives_by_the_other(valkey, beats, way):
    """The same entries sent both ways differ in times and tags alone."""
    schedule = Schedule.from_url(valkey.url())
    schedule.add("a", "tasks.add", crontab(0, 4), args=(1, "x"), kwargs={}, options={"priority": 3}, run_now=True)
    schedule.add("b", "unknown.task", 3600, kwargs={"k": [1]}, expires=60, run_now=True)
    beat = beats(valkey).lead()
    client = valkey.client()
    beat.until(lambda: len(messages(client, "celery")) + len(messages(client, "celery\x06\x163")) >= 2)
    assert (filled(beat) > 0) == (way == "filled")
    found = {one["headers"]["task"]: one for one in (*messages(client), *messages(client, "celery\x06\x163"))}
    for task, entry in (("tasks.add", "a"), ("unknown.task", "b")):
        one = found[task]
        nominal = round(one["headers"]["redlock_beat_due"] * 1e6)
        assert one["headers"]["id"] == Ids("redlock-beat").of(schedule[entry].uid, nominal)
        assert one["headers"]["id"] == one["headers"]["root_id"] == one["properties"]["correlation_id"]
        assert uuid.UUID(one["properties"]["delivery_tag"]).version == 4
        row = next(row for row in ledger(client, "sent") if row["entry"] == entry)
        assert list(row) == ["at", "is", "entry", "nominal", "epoch", "by", "id"]
        assert (row["id"], row["nominal"]) == (one["headers"]["id"], str(nominal))
        assert schedule[entry].total_run_count == 1
    assert json.loads(base64.b64decode(found["tasks.add"]["body"]))[:2] == [[1, "x"], {}]
    assert datetime.fromisoformat(found["unknown.task"]["headers"]["expires"]) > datetime.now(UTC)


def test_protocol_1_hides_the_id_in_its_body_and_is_rendered(leading):
    beat = leading(task_protocol=1)
    assert refusal(beat.app, make_entry(beat.app, "a", "tasks.add", 30)) == "task_protocol is not 2"


@pytest.mark.parametrize("signal", ["before_task_publish", "after_task_publish", "task_sent"])
def test_a_receiver_of_a_publish_signal_is_called_for_each_message(valkey, beats, signal):
    seen = []

    def receiver(**kwargs):
        seen.append(1)

    # Receivers of other tests that are gone are cleared away now: a sender of Celery's before 5.7 knows nobody who
    # comes after that.
    getattr(signals, signal).disconnect(receiver)
    beat = beats(valkey).lead()
    schedule = Schedule.from_url(valkey.url())
    schedule.add("a", "tasks.add", 0.1)
    client = valkey.client()
    beat.until(lambda: filled(beat) >= 2, "messages are filled in")
    getattr(signals, signal).connect(receiver)  # while it runs
    try:
        sent = client.llen("celery")
        beat.until(lambda: client.llen("celery") >= sent + 3)
        assert len(seen) >= 3
        assert duplicates(client) == 0
    finally:
        getattr(signals, signal).disconnect(receiver)


def test_settings_that_refuse_everything(leading):
    beat = leading()
    app = beat.app
    entry = make_entry(app, "a", "tasks.add", 30)
    assert refusal(app, entry) is None
    for name, value in (
        ("task_always_eager", True),
        ("task_routes", [lambda *args, **kwargs: None]),
        ("task_routes", {"tasks.*": lambda *args: None}),
    ):
        before = fingerprint(app)
        app.conf[name] = value
        assert fingerprint(app) != before
        assert refusal(app, entry), name
        app.conf[name] = None if name == "task_routes" else False
    assert refusal(app, entry) is None
    app.conf.task_routes = {"tasks.*": {"queue": "routed"}}
    assert refusal(app, entry) is None


def test_instrumented_code_is_not_frozen_into_a_template(leading, monkeypatch):
    """An instrumented apply_async would write one trace id for ever."""
    beat = leading()
    app = beat.app
    entry = make_entry(app, "a", "tasks.add", 30)
    original = Task.apply_async

    def traced(self, *args, **kwargs):
        headers = {**(kwargs.get("headers") or {}), "traceparent": str(uuid.uuid4())}
        return original(self, *args, **{**kwargs, "headers": headers})

    with monkeypatch.context() as patch:
        patch.setattr(Task, "apply_async", traced)
        assert "apply_async" in refusal(app, entry)
    with monkeypatch.context() as patch:
        patch.setattr(app.tasks["tasks.add"], "apply_async", types.MethodType(traced, app.tasks["tasks.add"]))
        assert "apply_async" in refusal(app, entry)
    with monkeypatch.context() as patch:
        patch.setattr(app, "send_task", lambda *args, **kwargs: None)
        assert "send_task" in refusal(app, entry)
    with monkeypatch.context() as patch:
        patch.setattr(app.amqp, "create_task_message", lambda *args, **kwargs: None, raising=False)
        assert "create_task_message" in refusal(app, entry)
    # Instrumentation lives in files named after what it instruments.
    for where in (
        "/site-packages/tracing/integrations/celery/__init__.py",
        f"{Path(celery.__file__).parent}_more/a.py",
    ):
        made: dict = {"original": original}
        exec(compile("def apply_async(self, *a, **k): return original(self, *a, **k)", where, "exec"), made)
        before = fingerprint(app)
        with monkeypatch.context() as patch:
            patch.setattr(Task, "apply_async", made["apply_async"])
            assert "apply_async" in refusal(app, entry), where
            assert fingerprint(app) != before
    assert refusal(app, entry) is None


def test_entries_that_refuse_themselves(leading):
    beat = leading()
    app = beat.app

    class Own(Task):
        name = "tasks.own"

        def apply_async(self, *args, **kwargs):
            return super().apply_async(*args, **kwargs)

    class Shadowed(Task):
        name = "tasks.shadowed"

        def shadow_name(self, args, kwargs, options):
            return f"add {args}"

    app.register_task(Own())
    app.register_task(Shadowed())
    for name, given_ in {
        "countdown": {"options": {"countdown": 5}},
        "eta": {"options": {"eta": datetime(2090, 1, 1, tzinfo=UTC)}},
        "stamps": {"options": {"stamped_headers": ["a"], "a": 1}},
    }.items():
        assert refusal(app, make_entry(app, name, "tasks.add", 30, **given_)), name
    assert refusal(app, make_entry(app, "a", "tasks.own", 30))
    assert refusal(app, make_entry(app, "a", "tasks.shadowed", 30))
    chain = app.signature("tasks.add", (1,)) | app.signature("tasks.add", (2,))
    assert refusal(app, make_entry(app, "a", chain, 30)) == "it is a canvas"


TOPICS = {"task_default_exchange": "topics", "task_default_exchange_type": "topic"}
TOPICS |= {"task_queues": [Queue("celery", Exchange("topics", type="topic"), "a.#")]}


@pytest.mark.parametrize(
    ("conf", "why"),
    [
        ({"task_serializer": "pickle", "accept_content": ["pickle"]}, "body"),
        ({"task_compression": "gzip"}, "body"),
        (TOPICS, "exchange|message"),
    ],
)
def test_messages_that_cannot_be_cut_are_rendered(leading, valkey, conf, why):
    beat = leading(**conf)
    entry = make_entry(beat.app, "a", "tasks.add", 30)
    with pytest.raises(Unfillable, match=why):
        template_of(beat.parts.renderer, entry, beat.parts.store.now(), 0.0)
    Schedule.from_url(valkey.url()).add("a", "tasks.add", 3600, run_now=True)
    beat.until(lambda: ledger(valkey.client(), "sent") or ledger(valkey.client(), "published nothing"))
    assert filled(beat) == 0


def test_a_shape_that_no_longer_holds_is_found_out(leading, valkey, monkeypatch):
    """It is rendered again and compared from time to time."""
    monkeypatch.setattr(making, "PROVE_MESSAGES", 3)
    beat = leading()
    schedule = Schedule.from_url(valkey.url())
    schedule.add("a", "tasks.add", 0.1, args=(123456, 7890))
    client = valkey.client()
    beat.until(lambda: filled(beat) >= 2)
    entry = schedule["a"]
    stale = template_of(beat.parts.renderer, entry, 10**15, 0.0)
    beat.app.amqp.argsrepr_maxsize = 5  # nothing tells of that
    beat.until(lambda: messages(client)[-1]["headers"]["argsrepr"] == saferepr([123456, 7890], 5))
    assert duplicates(client) == 0
    with pytest.raises(Unfillable, match="differ"):
        prove(beat.parts.renderer, stale, entry, 10**15)
