"""What Celery would have sent, captured on its way."""

from __future__ import annotations

import base64
import json
import uuid
from base64 import b64decode
from datetime import UTC, datetime, timedelta

import pytest
from celery import chain, chord, group
from celery.beat import BeatLazyFunc
from kombu import Exchange, Queue
from kombu.transport import redis as kombu_redis

from redlock_beat import Schedule
from redlock_beat.messages.calls import publish_call, read_call
from redlock_beat.messages.connections import bounded_connection
from redlock_beat.messages.headers import HEADER_ENTRY
from redlock_beat.store.keys import Keys
from tests.beats import duplicates, flows, ledger, make_app, messages
from tests.brokers import conf, taken

ENTRY = {"a": {"task": "tasks.add", "schedule": 0.1}}


def test_a_captured_command_a_push_cannot_express_goes_through_the_outbox(valkey, beats, monkeypatch):
    beat = beats(valkey, ENTRY)
    beat.until(lambda: beat.begun)
    channel = type(beat.parts.renderer.channel())
    real = channel.__mro__[2]._put

    def odd(self, queue, message, **kwargs):
        with self.conn_or_acquire() as client:
            client.setnx("x", 1)
        real(self, queue, message, **kwargs)

    monkeypatch.setattr(channel.__mro__[2], "_put", odd)
    client = valkey.client()
    beat.until(lambda: client.llen("celery") >= 2)
    assert beat.parts.renderer.direct
    beat.until(lambda: len(ledger(client, "sent")) >= 2)
    assert duplicates(client) == 0
    assert messages(client)[0]["headers"][HEADER_ENTRY] == "a"


def test_binary_bodies_and_exchanges_survive_the_outbox(valkey, beats):

    queue = f"q-{uuid.uuid4().hex}"
    beat = beats("memory://", **conf(valkey, queue, task_serializer="pickle", task_compression="zlib")).lead()
    options = {"declare": [Exchange("ex")]}
    renderer = beat.parts.renderer
    from redlock_beat.entries.entry import Entry
    from redlock_beat.recurrence import Interval

    rendered = renderer.render(Entry("a", "t", Interval.of(1), args=(b"x",), options=options), 0, "id", 0)
    with beat.app.connection_for_write() as connection:
        producer = beat.app.amqp.Producer(connection, auto_declare=False)
        publish_call(producer, read_call(rendered.calls[0]))
    assert len(taken("memory://", queue)) == 1


def test_what_is_sent_while_rendering_is_part_of_the_occurrence(valkey, beats):
    from celery.beat import BeatLazyFunc

    beat = beats(valkey)
    beat.app.conf.beat_schedule = {
        "a": {
            "task": "tasks.add",
            "schedule": 0.2,
            "args": (BeatLazyFunc(lambda: beat.app.tasks["tasks.add"].delay(9, 9).id), 1),
        }
    }
    client = valkey.client()
    beat.until(lambda: client.llen("celery") >= 2)
    assert {one["headers"].get(HEADER_ENTRY) for one in messages(client)} == {"a", None}


def test_protocol_one_messages_are_sent_with_their_own_ids(valkey, beats):
    beat = beats(valkey, ENTRY, task_protocol=1)
    client = valkey.client()
    flows(beat, client)
    ids = [json.loads(b64decode(one["body"]))["id"] for one in messages(client)]
    assert len(ids) == len(set(ids)) >= 3
    assert ids == [row["id"] for row in ledger(client, "sent")]


def test_connections_to_a_broker_are_bounded(valkey):
    redis_like = bounded_connection(make_app(valkey.url()), 1.5)
    assert redis_like.transport_options["socket_timeout"] == 1.5
    assert redis_like.transport_options["max_retries"] == 1
    amqp = bounded_connection(make_app("amqp://localhost", redlock_beat_url=valkey.url()), 1.5)
    assert amqp.transport_options["read_timeout"] == 1.5
    assert amqp.transport_options["confirm_publish"] is True
    assert amqp.connect_timeout == 1.5


K = Keys("redlock-beat")


def test_the_message_is_byte_for_byte_what_celery_sends(server, beats):
    options = {"queue": "other", "priority": 5, "expires": 60, "headers": {"mine": 1}, "ignore_result": True}
    beat = beats(server)
    client = server.client()
    beat.lead()
    Schedule(beat.app).add("a", "tasks.anything", 60, (1, {"b": [2]}), {"y": "ü"}, options=options, run_now=True)
    keys = ("celery", "other", "other\x06\x165", "other\x06\x163")
    beat.until(lambda: any(client.llen(key) for key in keys))
    (key,) = [key for key in keys if client.llen(key)]
    ours = json.loads(client.lindex(key, 0))
    id_ = ours["headers"]["id"]
    names = ("periodic_task_name", "redlock_beat_entry", "redlock_beat_due", "redlock_beat_epoch")
    own = {name: ours["headers"][name] for name in names}
    assert own["periodic_task_name"] == "a"  # where django-celery-results looks for it
    client.delete(key)
    beat.app.send_task(
        "tasks.anything",
        [1, {"b": [2]}],
        {"y": "ü"},
        task_id=id_,
        **{**options, "headers": {"mine": 1, "celery_beat_task": True, **own}},
    )
    theirs = json.loads(client.lindex(key, 0))
    for message in (ours, theirs):
        assert message["properties"].pop("delivery_tag")
        assert message["properties"].pop("reply_to")
        assert datetime.fromisoformat(message["headers"].pop("expires"))
        message["headers"].pop("origin")
    assert json.dumps(ours) == json.dumps(theirs)


def test_expires_is_by_the_clock_of_redis(valkey, beats, monkeypatch):
    beat = beats(valkey)
    beat.lead()
    Schedule(beat.app).add("a", "tasks.add", 60, expires=30, run_now=True)
    wrong = datetime.now(UTC) - timedelta(days=3)
    monkeypatch.setattr(beat.app, "now", lambda: wrong)
    client = valkey.client()
    beat.until(lambda: client.llen("celery"))
    expires = datetime.fromisoformat(messages(client)[0]["headers"]["expires"])
    assert abs((expires - datetime.now(UTC)).total_seconds() - 30) < 5


def test_lazy_arguments_and_queue_objects_are_rendered_from_the_configuration(server, beats):
    queue = Queue("own", Exchange("own", type="direct"), routing_key="own")
    beat = beats(
        server,
        {
            "a": {
                "task": "tasks.add",
                "schedule": 0.2,
                "args": (BeatLazyFunc(lambda: 41), 1),
                "options": {"queue": queue},
            }
        },
    )
    client = server.client()
    beat.until(lambda: client.llen("own"))
    assert messages(client, "own")[0]["headers"]["argsrepr"] == "[41, 1]"
    assert json.loads(client.hget(K.entries, "a"))["ref"] is True


def test_options_declared_on_the_task_apply(valkey, beats):
    beat = beats(valkey)

    @beat.app.task(name="tasks.declared", queue="declared", expires=77)
    def declared() -> None: ...

    beat.lead()
    Schedule(beat.app).add("a", "tasks.declared", 60, run_now=True)
    client = valkey.client()
    beat.until(lambda: client.llen("declared"))
    assert messages(client, "declared")[0]["headers"]["expires"]


def test_canvas_signatures_are_carried(server, beats):
    beat = beats(server)
    add = beat.app.tasks["tasks.add"]
    beat.lead()
    schedule = Schedule(beat.app)
    schedule.add("chain", chain(add.s(1, 1), add.s(2)), 60, run_now=True)
    schedule.add("group", group(add.s(1, 1), add.s(2, 2)), 60, run_now=True)
    client = server.client()
    beat.until(lambda: client.llen("celery") >= 3)
    found = messages(client)
    assert sorted(one["headers"]["redlock_beat_entry"] for one in found) == ["chain", "group", "group"]
    assert all(one["headers"]["task"] == "tasks.add" for one in found)
    assert len({one["headers"]["id"] for one in found}) == 3


def test_a_chord_is_carried(valkey, beats):
    beat = beats(valkey, result_backend=valkey.url(2))
    add = beat.app.tasks["tasks.add"]
    beat.lead()
    Schedule(beat.app).add("chord", chord([add.s(1, 1), add.s(2, 2)], add.s(3)), 60, run_now=True)
    client = valkey.client()
    beat.until(lambda: client.llen("celery") >= 2)
    assert len(messages(client)) == 2
    for one in messages(client):
        assert json.loads(base64.b64decode(one["body"]))[2]["chord"]["task"] == "tasks.add"
        assert one["headers"]["redlock_beat_entry"] == "chord"
    assert client.pubsub_channels("*celery-task-meta*") == []


def test_a_configured_canvas_is_carried(valkey, beats):
    beat = beats(valkey)
    add = beat.app.tasks["tasks.add"]
    beat.app.add_periodic_task(0.2, chain(add.s(1, 1), add.s(2)), name="chained")
    client = valkey.client()
    beat.until(lambda: client.llen("celery"))
    assert messages(client)[0]["headers"]["task"] == "tasks.add"


def test_a_fanout_message_is_published_by_the_commit(server, beats):
    beat = beats(server, {"a": {"task": "tasks.add", "schedule": 0.2}}, task_send_sent_event=True)
    pubsub = server.client().pubsub()
    pubsub.psubscribe("/0.celeryev*")
    assert pubsub.get_message(timeout=5)["type"] == "psubscribe"
    found = beat.until(lambda: pubsub.get_message(timeout=0))
    event = json.loads(base64.b64decode(json.loads(found["data"])["body"]))
    assert event["type"] == "task-sent"
    assert event["uuid"] in {row["id"] for row in ledger(server.client(), "sent")}


@pytest.mark.skipif(not hasattr(kombu_redis.Channel, "_get_queue_expire"), reason="this kombu does not expire queues")
def test_a_queue_with_expiry_is_kept_alive(valkey, beats):
    beat = beats(valkey)
    queue = Queue("short", expires=60.0)
    beat.app.amqp.queues.add(queue)
    beat.lead()
    Schedule(beat.app).add("a", "tasks.add", 60, options={"queue": "short"}, run_now=True)
    client = valkey.client()
    beat.until(lambda: client.llen("short"))
    assert 0 < client.pttl("short") <= 60_000


def test_a_global_key_prefix_is_applied(valkey, beats):
    beat = beats(
        valkey,
        {"a": {"task": "tasks.add", "schedule": 0.2}},
        broker_transport_options={"global_keyprefix": "mine:", "visibility_timeout": 3600},
    )
    client = valkey.client()
    beat.until(lambda: client.llen("mine:celery"))
    assert beat.parts.renderer.direct


def test_results_stay_wanted_but_beat_subscribes_to_none(valkey, beats):
    beat = beats(valkey, {"a": {"task": "tasks.add", "schedule": 0.1}}, result_backend=valkey.url(1))
    client = valkey.client()
    beat.until(lambda: client.llen("celery") >= 3)
    channels = client.pubsub_channels("*")
    assert [one for one in channels if "celery-task-meta" in one] == []
    assert messages(client)[0]["headers"]["ignore_result"] is False
