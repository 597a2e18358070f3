"""A broker that is away, blocks or comes back: nothing is doubled, nothing is lost, and it is said."""

from __future__ import annotations

import logging
import threading
import time
import uuid

import pytest
from kombu import Connection

from redlock_beat import Schedule
from redlock_beat.beat import senders as outbox
from redlock_beat.store.client import LONGEST_PAUSE
from redlock_beat.store.keys import Keys
from tests.beats import ledger
from tests.brokers import conf, drained, every, taken
from tests.proxy import Proxy
from tests.servers import eventually, free_port, rabbitmq

K = Keys("redlock-beat")


def test_a_broker_that_refuses_is_probed_and_nothing_beyond_the_limit_is_claimed(valkey, beats):
    url = rabbitmq()
    queue = f"redlock-test-{uuid.uuid4().hex}"
    proxy = Proxy(1)  # nothing listens there
    beat = beats(
        f"amqp://guest:guest@127.0.0.1:{proxy.port}//",
        {"a": {"task": "tasks.add", "schedule": 0.1}},
        **conf(valkey, queue, redlock_beat_outbox_limit=3, redlock_beat_publish_timeout=0.5),
    )
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


def test_an_alarm_of_the_broker_doubles_nothing(valkey, beats, own_rabbitmq):
    name = f"redlock-test-{uuid.uuid4().hex}"
    url, client = own_rabbitmq.url(), valkey.client()
    more = conf(valkey, name, redlock_beat_publish_timeout=1.0)  # as long as a busy broker may take to answer
    beat = beats(url, {f"e{i}": every(0.1) for i in range(5)}, **more).lead()
    beat.until(lambda: len(ledger(client, "sent")) > 5)
    own_rabbitmq.alarm(True)
    try:
        beat.until(lambda: client.hlen(K.outbox) > 150, "three times as long as one attempt would wait")
        assert "alarm" in beat.parts.publisher.failing
    finally:
        own_rabbitmq.alarm(False)
    beat.until(lambda: beat.parts.publisher.failing is None and len(ledger(client, "sent")) > 160, seconds=30)
    beat.close()
    ids = drained(url, name)
    assert len(ids) == len(set(ids))
    assert {row["id"] for row in ledger(client, "sent")} <= set(ids)


def test_a_broker_that_is_away_is_tried_as_often_as_the_longest_pause_says(valkey, beats):
    url = f"amqp://guest:guest@127.0.0.1:{free_port()}//"  # nothing listens there
    beat = beats(url, {"a": every(0.2)}, **conf(valkey, "q")).lead()
    outcomes, late, pauses = beat.parts.publisher.outcomes, [], []
    link = beat.parts.publisher.link
    connect, pause = link.open, outcomes._pauses.next
    link.open = lambda: late.append(time.monotonic() - outcomes.retry_at) or connect()
    outcomes._pauses.next = lambda: pauses.append(pause()) or pauses[-1]
    beat.until(lambda: len(pauses) >= 8)
    assert pauses[-1] > 2 * pauses[1]  # they grow
    assert max(pauses) <= LONGEST_PAUSE
    assert min(late) >= 0
    assert sorted(late)[len(late) // 2] < 0.5  # a slow machine is late once or twice


@pytest.mark.parametrize("error", [ConnectionResetError("the broker went away"), ValueError("refused")], ids=repr)
def test_what_fails_after_its_term_ended_and_came_back_is_published_all_the_same(valkey, beats, monkeypatch, error):
    """It was under way when the new term read the outbox, and belongs to none when it fails."""
    name, client = f"q-{uuid.uuid4().hex}", valkey.client()
    beat = beats("memory://", **conf(valkey, name, redlock_beat_lease_ttl=0.5)).lead()
    real, calls = outbox.publish_call, []
    began, fails = threading.Event(), threading.Event()

    def publish(producer, call):
        calls.append(call)
        if len(calls) == 1:
            began.set()
            fails.wait(20)
            raise error
        real(producer, call)

    monkeypatch.setattr(outbox, "publish_call", publish)
    Schedule(beat.app).add("a", "tasks.add", 3600, run_now=True)
    beat.until(began.is_set)
    beat.replica.stand_down()
    client.delete(K.lease)
    beat.until(lambda: beat.begun and beat.epoch > 1)
    fails.set()
    beat.until(lambda: ledger(client, "sent"))
    assert len(calls) == 2
    assert client.hlen(K.outbox) == 0
    assert ledger(client, "failed") == []  # nobody's fault: the new term tries it anew


def test_sending_is_logged_when_the_broker_has_taken_it(valkey, beats, caplog, way):
    caplog.set_level(logging.INFO, "redlock_beat")
    name = f"redlock-test-{uuid.uuid4().hex}"
    proxy = Proxy(1)  # nothing listens there
    beat = beats(
        f"amqp://guest:guest@127.0.0.1:{proxy.port}//",
        {"a": every(0.2)},
        **conf(valkey, name),
    )
    client = valkey.client()
    beat.until(lambda: client.hlen(K.outbox) >= 2 and beat.parts.publisher.failing)
    assert "Sending due task" not in caplog.text
    proxy.upstream = 5672
    beat.until(lambda: ledger(client, "sent"))
    eventually(lambda: "Sending due task a (tasks.add)" in caplog.text)
    proxy.close()
    with Connection(rabbitmq()) as connection:
        connection.default_channel.queue_delete(name)
