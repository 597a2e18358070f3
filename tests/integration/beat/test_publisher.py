"""A broker that is not this Redis: claimed in one step, published by a thread, removed by id."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import uuid

import pytest
from celery import group
from kombu import Connection, Exchange, Queue

from redlock_beat import Schedule
from redlock_beat.beat import senders as outbox
from redlock_beat.store.keys import Keys
from tests.beats import ledger
from tests.brokers import conf, taken
from tests.proxy import Proxy
from tests.publishing import item, term
from tests.servers import eventually, happens, rabbitmq

K = Keys("redlock-beat")


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
    first.parts.publisher.submit = lambda items: None  # it dies between the claim and the publish
    first.until(lambda: client.hlen(K.outbox) >= 3)
    claimed = {item_id.split(":")[0] for item_id in client.hkeys(K.outbox)}
    first.crash()
    client.delete(K.lease)
    # A broker that is slow to confirm is asked again, with the same id.
    patient = conf(valkey, queue, redlock_beat_publish_timeout=60.0)
    second = beats(url, {"a": {"task": "tasks.add", "schedule": 0.1}}, **patient)
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
    second.until(lambda: len(ledger(client, "sent")) > 3)
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
    beat.parts.lease.trust = lambda term, *a, **more: setattr(term, "trusted_until", 0.0)
    term.trusted_until = 0.0
    schedule.add("a", "tasks.add", 3600, run_now=True)
    beat.until(lambda: client.hlen(K.outbox))
    beat.tick(3)
    assert taken(url, queue) == []
    assert publisher.waiting() == 1
    beat.parts.lease.trust = trust
    beat.until(lambda: client.hlen(K.outbox) == 0)
    assert len(taken(url, queue)) == 1


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
        **conf(valkey, queue, redlock_beat_outbox_limit=65),
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
        go.set()
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
        beat.leader.begun = False  # as when Redis was restarted
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


def test_a_publish_that_hangs_does_not_hang_the_loop_and_a_stop_waits_for_it(valkey, beats, monkeypatch):
    began, real, ended = threading.Event(), outbox.publish_call, []

    def publish(producer, call):
        began.set()
        eventually(lambda: beat.parts.publisher.stopping, "it is told to stop")
        ended.append(happens(lambda: client.get(K.lease) is None, 0.2))
        real(producer, call)

    monkeypatch.setattr(outbox, "publish_call", publish)
    queue = f"q-{uuid.uuid4().hex}"
    more = conf(valkey, queue, redlock_beat_lease_ttl=60.0, redlock_beat_render_limit=60.0)
    beat = beats("memory://", {"a": {"task": "t", "schedule": 0.1}}, **more)
    client = valkey.client()
    beat.until(began.is_set)
    claimed = client.hlen(K.outbox)
    beat.until(lambda: client.hlen(K.outbox) > claimed + 2)  # the loop goes on claiming
    beat.close()
    assert ended == [False]  # the term was not given back before
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


def test_a_signal_that_ends_beat_while_it_wakes_the_publisher_waits_for_nothing():
    script = """if True:
        import signal
        from redlock_beat.beat.publisher import Publisher

        publisher = Publisher(None, None, 1.0)
        signal.signal(signal.SIGALRM, lambda *_: publisher.close())
        for _ in range(1_000):
            signal.setitimer(signal.ITIMER_REAL, 0.0001)
            for _ in range(100):
                publisher.hasten("a")
        signal.setitimer(signal.ITIMER_REAL, 0)  # Python has no handler any more while it ends
    """
    subprocess.run([sys.executable, "-c", script], timeout=20, check=True)


def test_a_removal_that_fails_is_repeated_and_an_error_does_not_end_the_thread(publisher, valkey):
    client = valkey.client()
    one = item(publisher.app, False)
    client.hset(K.outbox, one.id, one.stamped)
    done, calls, said = publisher.store.outbox_done, [], []

    def failing(rows):
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("nobody expected this")
        if len(calls) == 2:
            raise ConnectionError("away")
        if len(calls) == 3:
            done(rows)
            raise ConnectionError("the reply is lost")
        return done(rows)

    publisher.store.outbox_done = failing
    publisher.outcomes.on_published = lambda item: said.append(item) or 1 / 0
    publisher.lead(term(publisher.store))
    publisher.submit([one])
    eventually(lambda: len(calls) >= 4 and client.hlen(K.outbox) == 0)
    assert said == [one]
    assert len(ledger(client, "sent")) == 1
    publisher.submit([one])  # held back: it was accepted
    publisher.lead(None)
    assert publisher.waiting() == 0
