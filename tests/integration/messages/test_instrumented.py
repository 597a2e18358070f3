"""With instruments a message is what Celery sends with them, and each instrument sees what Celery shows it."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime

import pytest
from celery import signals
from kombu import Queue

from redlock_beat import Schedule
from redlock_beat.entries.build import make_entry
from redlock_beat.entries.codec import encode
from redlock_beat.entries.occurrence import Occurrence
from redlock_beat.messages import quiet
from tests.beats import duplicates, ledger, messages

NAMES = ("before_task_publish", "after_task_publish")


@contextlib.contextmanager
def connected(**receivers):
    """With receivers of these signals."""
    for name, receiver in receivers.items():
        signal = getattr(signals, name)
        signal.disconnect(receiver)  # clears away those that are gone, which a sender of Celery's before 5.6 needs
        signal.connect(receiver, weak=False)
    try:
        yield
    finally:
        for name, receiver in receivers.items():
            getattr(signals, name).disconnect(receiver)


def adds(headers, **named):
    headers["tenant"] = "a%b ü 🎉"
    headers["more"] = {"deep": [1, None, 2.5], "%s": "%"}


def adds_what_only_kombu_writes(headers, **named):
    headers["at"] = datetime(2027, 1, 1, tzinfo=UTC)


def adds_twice(headers, **named):
    headers.setdefault("headers", {})["traceparent"] = "00-1-2-01"
    headers["traceparent"] = "00-1-2-01"


def changes(headers, **named):
    headers["origin"] = "elsewhere"
    headers["retries"] = False  # which is equal to 0


def changes_in_its_place(headers, **named):
    headers["timelimit"][1] = 7
    headers["stamps"]["a"] = 1


def changes_its_entrys(headers, **named):
    headers["redlock_beat_due"] = 1
    headers["mine"]["n"] = True


def removes(headers, **named):
    del headers["origin"], headers["stamps"]


def moves(headers, **named):
    headers["lang"] = headers.pop("lang")


def clears(headers, **named):
    headers.clear()


def changes_arguments(body, **named):
    body[0].append("ü")
    body[1]["y"] = [1]
    body[2]["callbacks"] = []


def changes_deep_arguments(body, **named):
    body[0][0]["k"].append(2)


def changes_properties(properties, **named):
    properties["priority"] = 3
    properties["app_id"] = "x"


def equals(properties, **named):
    properties["reply_to"] = str(properties["reply_to"]) + ""
    properties["correlation_id"] = "another"


def declares(declare, **named):
    declare.append(Queue("another"))


def routes(retry_policy, **named):
    if retry_policy is not None:
        retry_policy["max_retries"] = 0


def raises(headers, **named):
    headers["before"] = 1
    raise RuntimeError("a receiver failed")


CHANGES = (
    *(adds, adds_what_only_kombu_writes, adds_twice, changes, changes_in_its_place, changes_its_entrys, removes, moves),
    *(clears, changes_arguments, changes_deep_arguments, changes_properties, equals, declares, routes, raises),
)


@pytest.fixture(params=["list", "outbox"])
def leading(request, valkey, beats):
    """A leader whose messages go to a list of this Redis, or into the outbox for another broker."""

    def lead(**conf):
        away = {"redlock_beat_url": valkey.url()} if request.param == "outbox" else {}
        return beats("memory://" if away else valkey, **conf, **away).lead()

    return lead


class Both:
    """The message of an entry as a template gives it, and as Celery renders it, with what receivers saw."""

    def __init__(self, beat, entry):
        self.seen = []
        dispatcher, self.entry = beat.parts.dispatcher, entry
        dispatcher.maker.begin(beat.term)
        dispatcher.maker.take_time()
        self.messages, self.renderer = dispatcher.messages, beat.parts.renderer
        self.now = beat.parts.store.now()

    def note(self, **named):
        named.pop("signal")
        self.seen.append(json.loads(json.dumps(named, default=repr)))

    def filled(self):
        """By the template: the commands or calls, without tags and stamps of time."""
        self.messages.prepare()
        data = json.loads(encode(self.entry))
        occurrence = Occurrence(self.entry.name, self.entry.uid, 1, 60_000_000, "an id", data)
        before = self.messages.filled
        key, message, rendered = self.messages.of(occurrence, self.now)
        assert self.messages.filled == before + 1, self.messages.reasons.summary()
        if rendered is None:
            return [plain(["LPUSH", key, message] if key else ["CALL", message])]
        return everything(rendered)

    def rendered(self):
        return everything(self.renderer.render(self.entry, 60_000_000, "an id", self.now))


def everything(rendered):
    return [plain(one) for one in rendered.pushes] or [plain(["CALL", one]) for one in rendered.calls]


def plain(command):
    *words, text = command
    text = text.decode() if isinstance(text, bytes) else text
    tag = json.loads(text)["properties"].get("delivery_tag")
    return (*words, text.replace(tag, "TAG") if tag else text)


def entry_of(app, **more):
    options = {"headers": {"mine": {"n": 1}}, "queue": "other"}
    return make_entry(app, 'a name "ü', "tasks.add", 30, ({"k": [1]},), {}, options, **more)


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_receiver_makes_of_a_message_is_sent_byte_for_byte(leading, change):
    beat = leading(task_queues=[Queue("celery"), Queue("other")])
    both = Both(beat, entry_of(beat.app, expires=60))
    with connected(before_task_publish=change):
        assert both.filled() == both.rendered()
        assert both.filled() == both.filled()  # and nothing of it stays


def test_receivers_see_what_celery_shows_them_and_nothing_is_tried_out_on_them(leading):
    beat = leading(task_queues=[Queue("celery"), Queue("other")])
    both = Both(beat, entry_of(beat.app))

    def before(**named):
        both.note(**named)

    def after(**named):
        both.note(**named)

    with connected(before_task_publish=before, after_task_publish=after):
        both.filled()
        (first, then), both.seen = both.seen, []
        both.rendered()
    assert [first, then] == both.seen
    assert first["sender"] == "tasks.add"
    assert first["routing_key"] == "other"
    assert isinstance(first["headers"], dict)


def test_a_receiver_of_one_task_is_not_called_for_another(leading):
    beat = leading()
    both = Both(beat, make_entry(beat.app, "a", "unknown.task", 30, (1,)))
    signals.before_task_publish.connect(both.note, sender="tasks.add", weak=False)
    try:
        assert both.filled() == both.rendered()
        assert both.seen == []
    finally:
        signals.before_task_publish.disconnect(both.note, sender="tasks.add")


def test_what_no_message_can_carry_is_an_error_of_the_entry_as_it_is_with_celery(leading):
    beat = leading()
    both = Both(beat, make_entry(beat.app, "a", "tasks.add", 30))
    errors = []

    def impossible(headers, **named):
        headers["x"] = object()

    with connected(before_task_publish=impossible):
        for way in (both.filled, both.rendered):
            with pytest.raises(Exception, match="object") as caught:
                way()
            errors.append(getattr(caught.value, "cause", caught.value))
    assert type(errors[0]) is type(errors[1])


def test_what_a_receiver_sends_is_part_of_the_occurrence(leading):
    beat = leading()
    both = Both(beat, make_entry(beat.app, "a", "tasks.add", 30))

    def sends(headers, **named):
        if "celery_beat_task" in headers:
            beat.app.send_task("another", task_id="of another")

    with connected(before_task_publish=sends):
        assert both.filled() == both.rendered()
        assert len(both.filled()) == 2


@pytest.mark.parametrize("change", [None, adds, changes, changes_properties])
def test_the_event_of_a_message_is_the_one_that_celery_sends(leading, change):
    beat = leading(task_send_sent_event=True)
    both = Both(beat, make_entry(beat.app, "a", "tasks.add", 30, (1,), expires=60))
    with connected(**{"before_task_publish": change} if change else {}):
        filled, rendered = both.filled(), both.rendered()
    assert filled[0] == rendered[0]
    (*to, event), (*to_celerys, celerys) = filled[1], rendered[1]
    assert to == to_celerys
    assert told(event) == told(celerys)
    assert told(event)["uuid"] == "an id"


def told(text):
    """What an event says, but for times; and where to."""
    from base64 import b64decode

    message = json.loads(text)
    body = message.pop("body")
    event = json.loads(body if body.startswith("{") else b64decode(body))
    times = [event.pop(name) for name in ("timestamp", "clock", "expires")]
    assert all(times)
    message["properties"].pop("delivery_tag", None)
    return {**event, "message": message}


def test_events_reach_whoever_listens(valkey, beats):
    beat = beats(valkey, task_send_sent_event=True).lead()
    schedule, client, heard = Schedule(beat.app), valkey.client(), []
    with beat.app.connection_for_read() as connection:
        receiver = beat.app.events.Receiver(connection, handlers={"task-sent": heard.append})
        with receiver.consumer_context() as (its_connection, _, _):
            while not client.pubsub_numpat():  # it subscribes as it first waits
                with contextlib.suppress(TimeoutError):
                    its_connection.drain_events(timeout=0.1)
            schedule.add("a", "tasks.add", 3600, args=(1,), run_now=True)
            beat.until(lambda: client.llen("celery") == 1)
            its_connection.drain_events(timeout=10)
    (message,) = messages(client)
    assert (heard[0]["uuid"], heard[0]["name"]) == (message["headers"]["id"], "tasks.add")
    assert beat.parts.dispatcher.messages.filled == 1


def test_many_are_sent_past_a_receiver_each_once(valkey, beats):
    seen = []

    def before(headers, **named):
        seen.append(headers["id"])
        headers["tenant"] = "a"

    beat = beats(valkey).lead()
    schedule, client = Schedule(beat.app), valkey.client()
    with connected(before_task_publish=before):
        with schedule.batch() as batch:
            for i in range(300):
                batch.add(f"e{i}", "tasks.add", 3600, args=(i,), run_now=True)
        beat.until(lambda: client.llen("celery") == 300)
    assert {one["headers"]["tenant"] for one in messages(client)} == {"a"}
    assert sorted(seen) == sorted(one["headers"]["id"] for one in messages(client))
    assert duplicates(client) == 0
    assert len(ledger(client, "sent")) == 300
    assert beat.parts.dispatcher.messages.reasons.summary() == {}


def test_a_receiver_that_changes_something_else_at_each_proof_still_gets_its_template(valkey, beats, monkeypatch):
    """Messages that are tried out are not seen by receivers, so what those change is no difference between them."""
    from redlock_beat.messages import messages as making

    monkeypatch.setattr(making, "PROVE_MESSAGES", 2)
    seen = []

    def before(headers, **named):
        seen.append(headers["id"])
        headers["count"] = len(seen)

    beat = beats(valkey).lead()
    client = valkey.client()
    with connected(before_task_publish=before):
        Schedule(beat.app).add("a", "tasks.add", 0.05)
        beat.until(lambda: client.llen("celery") >= 8)
    assert [one["headers"]["count"] for one in messages(client)] == [*range(1, len(seen) + 1)]
    assert beat.parts.dispatcher.messages.reasons.summary() == {}


def test_a_release_of_celery_that_calls_receivers_in_another_way_renders_each_message(valkey, beats, monkeypatch):
    def loud(*args):
        raise quiet.Loud("this release of Celery calls receivers in a way that is not known")

    monkeypatch.setattr(quiet, "_quiet", loud)
    beat = beats(valkey).lead()
    client = valkey.client()
    with connected(before_task_publish=adds):
        Schedule(beat.app).add("a", "tasks.add", 3600, run_now=True)
        beat.until(lambda: client.llen("celery") == 1)
    assert messages(client)[0]["headers"]["tenant"]
    assert beat.parts.dispatcher.messages.reasons.summary() == {
        str(quiet.Loud("this release of Celery calls receivers in a way that is not known")): 1
    }


def test_an_entry_whose_arguments_do_not_fit_is_rendered_and_the_others_pass(valkey, beats):
    beat = beats(valkey).lead()
    schedule, client = Schedule(beat.app), valkey.client()
    with connected(before_task_publish=adds):
        schedule.add("good", "tasks.add", 3600, args=(1,), run_now=True)
        beat.until(lambda: client.llen("celery") == 1)
        schedule.add("dated", "tasks.add", 3600, args=(datetime(2027, 1, 1, tzinfo=UTC),), run_now=True)
        schedule.add("too many", "tasks.add", 3600, args=(1, 2, 3), run_now=True)
        beat.until(lambda: client.llen("celery") == 2 and client.hexists("{redlock-beat}:quarantine", "too many"))
    assert [one["headers"]["tenant"][:1] for one in messages(client)] == ["a", "a"]
    assert beat.parts.dispatcher.messages.filled == 1
    (why,) = beat.parts.dispatcher.messages.reasons.summary()
    assert "dates" in why
