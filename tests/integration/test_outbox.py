"""A broker that is not this Redis: claimed in one step, published by a thread, removed by id."""

from __future__ import annotations

import contextlib
import json
import threading
import uuid

import pytest
from celery import group
from kombu import Connection, Exchange, Queue

from redlock_beat import Schedule
from redlock_beat.beat import confirms
from redlock_beat.beat import senders as outbox
from redlock_beat.messages.renderer import bounded_connection
from redlock_beat.store.keys import Keys
from tests.beats import ledger, make_app
from tests.proxy import Proxy
from tests.servers import eventually, rabbitmq

K = Keys("redlock-beat")


@pytest.fixture(params=["memory", "rabbitmq"])
def broker(request):
    """A broker URL and a queue of one's own, drained by `taken`."""
    url = "memory://" if request.param == "memory" else rabbitmq()
    queue = f"redlock-test-{uuid.uuid4().hex}"
    yield url, queue
    if request.param == "rabbitmq":
        with Connection(url) as connection, contextlib.suppress(Exception):
            connection.default_channel.queue_delete(queue)


def conf(server, queue, **more):
    return {"redlock_beat_url": server.url(), "task_default_queue": queue, "task_create_missing_queues": True, **more}


def taken(url: str, queue: str) -> list:
    """What is in the broker's queue, taken out; kept across calls by the caller."""
    found = []
    with Connection(url, transport_options={"polling_interval": 0.01}) as connection:
        simple = connection.SimpleQueue(queue)
        while True:
            try:
                message = simple.get(block=False)
            except simple.Empty:
                break
            found.append(message)
            message.ack()
        simple.close()
    return found


def test_messages_arrive_once_with_everything_that_celery_gives_them(valkey, beats, broker):
    url, queue = broker
    entries = {"a": {"task": "tasks.add", "schedule": 0.2, "args": (1, 2), "options": {"priority": 3, "expires": 60}}}
    beat = beats(url, entries, **conf(valkey, queue))
    client = valkey.client()
    beat.until(lambda: len(ledger(client, "sent")) >= 3)
    assert not beat.parts.renderer.direct
    found = taken(url, queue)
    assert [one.payload[0] for one in found] == [[1, 2]] * len(found)
    headers = found[0].headers
    assert headers["redlock_beat_entry"] == "a"
    assert headers["celery_beat_task"] is True
    assert headers["periodic_task_name"] == "a"
    assert headers["expires"]
    assert len({one.headers["redlock_beat_due"] for one in found}) == len(found)
    assert {one.headers["id"] for one in found} >= {row["id"] for row in ledger(client, "sent")[:3]}
    eventually(lambda: client.hlen(K.outbox) == 0)


def test_a_group_and_a_declared_queue(valkey, beats):
    url, name = rabbitmq(), f"redlock-test-{uuid.uuid4().hex}"
    beat = beats(url, **conf(valkey, name))
    queue = Queue(
        name, Exchange(name, type="direct"), routing_key="k", max_priority=5, queue_arguments={"x-max-length": 9}
    )
    beat.app.amqp.queues.add(queue)
    beat.lead()
    add = beat.app.tasks["tasks.add"]
    Schedule(beat.app).add("g", group(add.s(1, 1), add.s(2, 2)), 3600, run_now=True)
    client = valkey.client()
    beat.until(lambda: len(ledger(client, "sent")) == 2)
    with Connection(url) as connection:
        assert connection.default_channel.queue_declare(name, passive=True).message_count == 2
        connection.default_channel.queue_delete(name)


def test_a_trigger_through_the_outbox(valkey, beats, broker):
    url, queue = broker
    beat = beats(url, **conf(valkey, queue)).lead()
    schedule = Schedule(beat.app)
    schedule.add("a", "tasks.add", 3600)
    id_ = schedule.trigger("a")
    client = valkey.client()
    beat.until(lambda: ledger(client, "sent"))
    assert [row["how"] for row in ledger(client, "sent")] == ["trigger"]
    assert [one.headers["id"] for one in taken(url, queue)] == [id_]


def test_a_new_leader_publishes_what_the_old_one_had_claimed(valkey, beats, broker):
    url, queue = broker
    first = beats(url, {"a": {"task": "tasks.add", "schedule": 0.1}}, **conf(valkey, queue)).lead()
    client = valkey.client()
    first.parts.dispatcher.express.claimed = lambda items: None  # it dies between the claim and the publish
    first.until(lambda: client.hlen(K.outbox) >= 3)
    claimed = {item_id.split(":")[0] for item_id in client.hkeys(K.outbox)}
    first.crash()
    client.delete(K.lease)
    second = beats(url, {"a": {"task": "tasks.add", "schedule": 0.1}}, **conf(valkey, queue))
    second.until(lambda: {row["id"] for row in ledger(client, "sent")} >= claimed)
    found = [one.headers["id"] for one in taken(url, queue)]
    assert claimed <= set(found)
    assert len(found) == len(set(found))


def test_items_are_restamped_and_rubbish_stays_where_it_is(valkey, beats, caplog):
    client = valkey.client()
    client.hset(K.outbox, "bad", "1 rubbish")
    beat = beats("memory://", **conf(valkey, "q")).lead()
    assert "cannot be read" in caplog.text
    assert client.hget(K.outbox, "bad").startswith(f"{beat.epoch} ")


@pytest.mark.parametrize(
    "row", [["is", ["sent"]], {"is": "sent"}, ["is"], ["is", None], ["is", "\ud800"], "is"], ids=str
)
def test_an_item_with_rubbish_in_it_holds_up_no_other(valkey, beats, row, caplog):
    """What cannot go to the ledger must not reach the publisher: it would try to note it for ever, and nothing else."""
    client, queue = valkey.client(), f"q-{uuid.uuid4().hex}"
    first = beats("memory://", **conf(valkey, queue)).lead()
    first.parts.publisher.stop()
    Schedule(first.app).add("a", "tasks.add", 3600, run_now=True)
    first.until(lambda: client.hlen(K.outbox))
    (text,) = client.hvals(K.outbox)
    head, call = text.split("\n", 1)
    words = json.loads(head.split(" ", 1)[1])
    client.hset(K.outbox, "bad:0", f"1 {json.dumps([*words[:4], row, *words[5:]])}\n{call}")
    first.close()
    second = beats("memory://", {"b": {"task": "tasks.add", "schedule": 0.1}}, **conf(valkey, queue)).lead()
    second.until(lambda: len(ledger(client, "sent")) > 3, seconds=5)
    assert client.hexists(K.outbox, "bad:0")
    assert "cannot be read" in caplog.text
    assert "goes on after an error" not in caplog.text


def test_a_term_that_is_over_publishes_nothing(valkey, beats, broker):
    url, queue = broker
    beat = beats(url, **conf(valkey, queue)).lead()
    schedule = Schedule(beat.app)
    client = valkey.client()
    publisher, term = beat.parts.publisher, beat.term
    trust = beat.parts.lease.trust
    beat.parts.lease.trust = lambda term, *a: setattr(term, "trusted_until", 0.0)
    term.trusted_until = 0.0
    schedule.add("a", "tasks.add", 3600, run_now=True)
    beat.until(lambda: client.hlen(K.outbox))
    beat.tick(3)
    assert taken(url, queue) == []
    assert publisher.waiting() == 1
    beat.parts.lease.trust = trust
    beat.until(lambda: client.hlen(K.outbox) == 0)
    assert len(taken(url, queue)) == 1


def test_a_broker_that_refuses_is_probed_and_nothing_beyond_the_limit_is_claimed(valkey, beats):
    url = rabbitmq()
    queue = f"redlock-test-{uuid.uuid4().hex}"
    proxy = Proxy(1)  # nothing listens there
    beat = beats(
        f"amqp://guest:guest@127.0.0.1:{proxy.port}//", {"a": {"task": "tasks.add", "schedule": 0.1}},
        **conf(valkey, queue, redlock_beat_outbox_limit=3, redlock_beat_publish_timeout=0.5),
    )  # fmt: skip
    client = valkey.client()
    beat.until(lambda: client.hlen(K.outbox) == 3 and beat.parts.publisher.failing)
    overdue = client.zscore(K.due, "a")
    beat.tick(4)
    assert client.hlen(K.outbox) == 3
    assert client.zscore(K.due, "a") == overdue  # it stays due
    proxy.upstream = 5672
    beat.until(lambda: ledger(client, "missed") and len(ledger(client, "sent")) > 5)
    found = [one.headers["redlock_beat_due"] for one in taken(url, queue)]
    assert len(found) == len(set(found))
    assert beat.parts.publisher.failing is None
    proxy.close()
    with Connection(url) as connection:
        connection.default_channel.queue_delete(queue)


def test_a_burst_claims_no_more_than_the_limit_and_loses_nothing(valkey, beats, way):
    """Two batches are under way at a time, and triggers besides."""
    queue = f"redlock-test-{uuid.uuid4().hex}"
    schedule, client = Schedule.from_url(valkey.url()), valkey.client()
    with schedule.batch() as batch:
        for i in range(200):
            batch.add(f"e{i}", "tasks.add", 3600, args=(i,), run_now=True)
    for i in range(10):
        schedule.trigger(f"e{i}")
    proxy = Proxy(1)  # nothing listens there
    beat = beats(
        f"amqp://guest:guest@127.0.0.1:{proxy.port}//",
        **conf(valkey, queue, redlock_beat_outbox_limit=65, redlock_beat_batch_size=25),
    )
    try:
        beat.until(lambda: client.hlen(K.outbox) >= 65)
        beat.tick(4)
        assert client.hlen(K.outbox) == 65
        proxy.upstream = 5672
        beat.until(lambda: len(ledger(client, "sent")) >= 210 and client.hlen(K.outbox) == 0)
        found = [one.headers["id"] for one in taken(rabbitmq(), queue)]
        assert len(found) == len(set(found)) == 210
    finally:
        proxy.close()
        with Connection(rabbitmq()) as connection:
            connection.default_channel.queue_delete(queue)


def test_the_outbox_read_again_publishes_nothing_twice(valkey, beats):
    """What the publisher finishes while the outbox is read has been read, and is not published once more."""
    queue = f"q-{uuid.uuid4().hex}"
    client = valkey.client()
    beat = beats("memory://", **conf(valkey, queue)).lead()
    store = beat.parts.store
    load, read = store.outbox_load, []

    def slowly(fence):
        found = list(load(fence))
        read.append(len(found))
        eventually(lambda: client.hlen(K.outbox) == 0)  # all of it is published and removed meanwhile
        return iter(found)

    store.outbox_load = slowly
    with Schedule.from_url(valkey.url()).batch() as batch:
        for i in range(50):
            batch.add(f"e{i}", "tasks.add", 3600, run_now=True)
    go, publish_call = threading.Event(), outbox.publish_call

    def waiting(*args):
        go.wait(10)
        publish_call(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outbox, "publish_call", waiting)
        beat.until(lambda: client.hlen(K.outbox) == 50)
        beat.parts.dispatcher._unsure = True
        threading.Timer(0.1, go.set).start()
        beat.tick()
    assert read == [50]
    Schedule.from_url(valkey.url()).add("last", "tasks.add", 3600, run_now=True)
    beat.until(lambda: len(ledger(client, "sent")) >= 51)
    found = [one.headers["redlock_beat_entry"] for one in taken("memory://", queue)]
    assert len(found) == len(set(found)) == 51


@pytest.mark.parametrize("many", [1, 20])
def test_what_the_publisher_has_in_hand_when_its_term_ends_is_left_to_the_next(valkey, beats, many):
    """The same process leads again before a slow connection to the broker is made."""
    queue = f"redlock-test-{uuid.uuid4().hex}"
    client = valkey.client()
    beat = beats(rabbitmq(), **conf(valkey, queue)).lead()
    publisher = beat.parts.publisher
    link, waits, go = publisher.link, threading.Event(), threading.Event()
    connect = link.open

    def slowly():
        waits.set()
        go.wait(10)
        return connect()

    link.open = slowly
    try:
        with Schedule.from_url(valkey.url()).batch() as batch:
            for i in range(many):
                batch.add(f"e{i}", "tasks.add", 3600, run_now=True)
        beat.until(lambda: client.hlen(K.outbox) == many and waits.wait(1))
        beat.replica.stand_down()
        client.delete(K.lease)
        beat.until(lambda: beat.begun and beat.epoch == 2)
        go.set()
        beat.until(lambda: client.hlen(K.outbox) == 0)
        Schedule.from_url(valkey.url()).add("last", "tasks.add", 3600, run_now=True)
        beat.until(lambda: len(ledger(client, "sent")) > many)
        found = [one.headers["redlock_beat_entry"] for one in taken(rabbitmq(), queue)]
        assert len(found) == len(set(found)) == many + 1
    finally:
        with Connection(rabbitmq()) as connection:
            connection.default_channel.queue_delete(queue)


def test_a_message_the_broker_refuses_waits_alone(valkey, beats):
    url, name = rabbitmq(), f"redlock-test-{uuid.uuid4().hex}"
    with Connection(url) as connection:
        connection.default_channel.queue_declare(f"{name}-bad", durable=False, auto_delete=False)
    beat = beats(url, {"good": {"task": "tasks.add", "schedule": 0.2}}, **conf(valkey, name)).lead()
    Schedule(beat.app).add("bad", "tasks.add", 3600, options={"queue": f"{name}-bad"}, run_now=True)
    client = valkey.client()
    beat.until(lambda: ledger(client, "failed"))
    assert ledger(client, "failed")[0]["entry"] == "bad"
    before = len(ledger(client, "sent"))
    beat.until(lambda: len(ledger(client, "sent")) > before + 2)
    with Connection(url) as connection:
        connection.default_channel.queue_delete(f"{name}-bad")
    beat.until(lambda: any(row["entry"] == "bad" for row in ledger(client, "sent")))
    with Connection(url) as connection:
        connection.default_channel.queue_delete(name)
        connection.default_channel.queue_delete(f"{name}-bad")


def test_at_most_once_is_taken_out_before_it_is_published(valkey, beats, monkeypatch):
    seen = []
    client = valkey.client()
    real = outbox.publish_call

    def publish(producer, call):
        seen.append(client.hlen(K.outbox))
        real(producer, call)

    monkeypatch.setattr(outbox, "publish_call", publish)
    queue = f"q-{uuid.uuid4().hex}"
    beat = beats("memory://", {"a": {"task": "t", "schedule": 0.1, "delivery": "at_most_once"}}, **conf(valkey, queue))
    beat.until(lambda: len(ledger(client, "sent")) >= 2)
    assert 0 in seen
    assert len(taken("memory://", queue)) >= 2


def test_at_most_once_among_others_in_a_burst(valkey, beats, way):
    queue = f"q-{uuid.uuid4().hex}"
    with Schedule.from_url(valkey.url()).batch() as batch:
        for i in range(60):
            batch.add(f"e{i}", "tasks.add", 3600, delivery=("at_least_once", "at_most_once")[i % 2], run_now=True)
    beat = beats("memory://", **conf(valkey, queue))
    client = valkey.client()
    beat.until(lambda: len(ledger(client, "sent")) == 60 and client.hlen(K.outbox) == 0)
    found = [one.headers["redlock_beat_entry"] for one in taken("memory://", queue)]
    assert len(found) == len(set(found)) == 60


def test_at_most_once_with_an_unclear_outcome_is_unknown_and_not_repeated(valkey, beats, monkeypatch):
    calls = []

    def publish(producer, call):
        calls.append(call)
        raise OSError("the broker went away in the middle")

    monkeypatch.setattr(outbox, "publish_call", publish)
    beat = beats("memory://", **conf(valkey, "q")).lead()
    Schedule(beat.app).add("a", "t", 3600, delivery="at_most_once", run_now=True)
    client = valkey.client()
    beat.until(lambda: ledger(client, "unknown"))
    beat.tick(2)
    assert len(calls) == 1
    assert client.hlen(K.outbox) == 0


def test_at_least_once_is_repeated_with_the_same_id_until_accepted(valkey, beats, monkeypatch):
    real, tries = outbox.publish_call, []

    def publish(producer, call):
        tries.append(call["headers"]["id"])
        if len(tries) < 3:
            raise ConnectionResetError("cut")
        real(producer, call)

    monkeypatch.setattr(outbox, "publish_call", publish)
    queue = f"q-{uuid.uuid4().hex}"
    beat = beats("memory://", **conf(valkey, queue)).lead()
    Schedule(beat.app).add("a", "t", 3600, run_now=True)
    client = valkey.client()
    beat.until(lambda: ledger(client, "sent"))
    assert len(tries) == 3
    assert len(set(tries)) == 1
    assert len(taken("memory://", queue)) == 1


def test_a_publish_that_hangs_does_not_hang_the_loop_and_a_stop_waits_for_it(valkey, beats, monkeypatch):
    go, real = threading.Event(), outbox.publish_call
    began = threading.Event()

    def publish(producer, call):
        began.set()
        go.wait(20)
        real(producer, call)

    monkeypatch.setattr(outbox, "publish_call", publish)
    queue = f"q-{uuid.uuid4().hex}"
    beat = beats("memory://", {"a": {"task": "t", "schedule": 0.1}}, **conf(valkey, queue))
    client = valkey.client()
    beat.until(began.is_set)
    claimed = client.hlen(K.outbox)
    beat.until(lambda: client.hlen(K.outbox) > claimed + 2)  # the loop goes on claiming
    threading.Timer(0.3, go.set).start()
    beat.close()
    assert len(taken("memory://", queue)) == 1  # that one, and nothing after it
    assert client.get(K.lease) is None


def test_a_lost_reply_to_the_removal_publishes_nothing_twice(valkey, beats):
    proxy = Proxy(valkey.port)
    queue = f"q-{uuid.uuid4().hex}"
    more = conf(valkey, queue, redlock_beat_socket_timeout=0.5)
    more["redlock_beat_url"] = f"redis://127.0.0.1:{proxy.port}/0"
    beat = beats("memory://", {"a": {"task": "t", "schedule": 0.1}}, **more).lead()
    client = valkey.client()
    for _ in range(5):
        lost = proxy.lost
        proxy.lose_reply("EVALSHA", skip=1)
        beat.until(lambda lost=lost: proxy.lost > lost)
    beat.until(lambda: len(ledger(client, "sent")) > 10)
    found = [one.headers["redlock_beat_due"] for one in taken("memory://", queue)]
    assert len(found) == len(set(found))
    proxy.close()


def test_another_redis_as_broker_goes_through_the_outbox(valkey, own_server, beats):
    other = own_server("valkey")
    beat = beats(other.url(), {"a": {"task": "t", "schedule": 0.1}}, redlock_beat_url=valkey.url())
    beat.until(lambda: other.client().llen("celery") >= 3)
    assert not beat.parts.renderer.direct
    assert valkey.client().llen("celery") == 0


def test_a_broker_that_is_away_at_the_start_is_proved_later(valkey, beats):
    proxy = Proxy(1)
    beat = beats(f"redis://127.0.0.1:{proxy.port}/0", {"a": {"task": "t", "schedule": 0.1}},
                 redlock_beat_url=valkey.url(), redlock_beat_socket_timeout=0.3)  # fmt: skip
    beat.lead()
    assert not beat.parts.renderer.direct
    proxy.upstream = valkey.port
    client = valkey.client()
    beat.until(lambda: client.llen("celery") >= 2)
    proxy.close()


def test_connections_to_a_broker_are_bounded(valkey):
    redis_like = bounded_connection(make_app(valkey.url()), 1.5)
    assert redis_like.transport_options["socket_timeout"] == 1.5
    assert redis_like.transport_options["max_retries"] == 1
    amqp = bounded_connection(make_app("amqp://localhost", redlock_beat_url=valkey.url()), 1.5)
    assert amqp.transport_options["read_timeout"] == 1.5
    assert amqp.transport_options["confirm_publish"] is True
    assert amqp.connect_timeout == 1.5


def burst(valkey, beats, queue, many):
    schedule = Schedule.from_url(valkey.url())
    with schedule.batch() as batch:
        for i in range(many):
            batch.add(f"e{i}", "tasks.add", 3600, args=(i,), run_now=True)
    return beats(rabbitmq(), redlock_beat_url=valkey.url(), task_default_queue=queue)


def test_a_burst_behind_rabbitmq_is_published_in_batches_once_each(valkey, beats, way):
    from kombu import Connection, Exchange, Queue

    queue = f"redlock-test-{uuid.uuid4().hex}"
    url, client = rabbitmq(), valkey.client()
    with Connection(url) as connection:  # one entry's queue exists otherwise than Celery declares it
        other = Queue(f"{queue}-other", Exchange(queue), queue, queue_arguments={"x-max-length": 9}, auto_delete=True)
        other(connection.default_channel).declare()
    schedule = Schedule.from_url(valkey.url())
    schedule.add("bad", "tasks.add", 3600, options={"queue": f"{queue}-other"}, run_now=True)
    beat = burst(valkey, beats, queue, 700)
    try:
        beat.until(lambda: len(ledger(client, "sent")) >= 700 and client.hlen(K.outbox) == 1)
        assert ledger(client, "failed")
        got = taken(url, queue)
        assert len(got) == len({one.headers["id"] for one in got}) == 700
    finally:
        with Connection(url) as connection:
            for name in (queue, f"{queue}-other"):
                connection.default_channel.queue_delete(name)
            connection.default_channel.exchange_delete(queue)


@pytest.mark.parametrize(
    "poison",
    [{"headers": {"n": 2**70}}, {"headers": {"k" * 300: 1}}, {"priority": 300}, {"queue": "q" * 300}],
    ids=["a number too large", "a header's name too long", "a priority of no byte", "a queue's name too long"],
)
def test_a_message_that_cannot_be_written_holds_up_no_other(valkey, beats, poison):
    """It is found among the many it was published with, and waits by itself."""
    queue = f"redlock-test-{uuid.uuid4().hex}"
    schedule, client = Schedule.from_url(valkey.url()), valkey.client()
    schedule.add("bad", "tasks.add", 3600, options=poison, run_now=True)
    beat = burst(valkey, beats, queue, 150)
    try:
        beat.until(lambda: len(ledger(client, "sent")) >= 150 and ledger(client, "failed"))
        assert {row["entry"] for row in ledger(client, "failed")} == {"bad"}
        found = [one.headers["id"] for one in taken(rabbitmq(), queue)]
        assert len(found) == len(set(found)) == 150
    finally:
        with Connection(rabbitmq()) as connection:
            connection.default_channel.queue_delete(queue)


def test_what_a_broken_batch_leaves_is_published_again_with_the_same_ids(valkey, beats, monkeypatch):
    from kombu import Connection

    real, times = confirms.publish_call, []

    def publish(producer, call):
        times.append(call["headers"]["id"])
        if len(times) == 30:
            raise ConnectionResetError("cut")
        real(producer, call)

    monkeypatch.setattr(confirms, "publish_call", publish)
    queue = f"redlock-test-{uuid.uuid4().hex}"
    beat = burst(valkey, beats, queue, 200)
    client = valkey.client()
    try:
        beat.until(lambda: len(ledger(client, "sent")) >= 200 and client.hlen(K.outbox) == 0)
        got = taken(rabbitmq(), queue)
        assert len({one.headers["id"] for one in got}) == 200
        assert len(ledger(client, "sent")) == 200
    finally:
        with Connection(rabbitmq()) as connection:
            connection.default_channel.queue_delete(queue)
