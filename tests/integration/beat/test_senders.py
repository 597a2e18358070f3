"""The connection to the broker: queues that are gone, messages that no queue takes, connections that are cut."""

from __future__ import annotations

import time
import uuid

import pytest
from kombu import Exchange, Queue

from redlock_beat import Schedule
from redlock_beat.beat import faults
from redlock_beat.store.keys import Keys
from tests.beats import ledger, sent
from tests.brokers import conf, drained, every
from tests.proxy import Proxy
from tests.servers import eventually, rabbitmq

K = Keys("redlock-beat")


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    """What the broker refuses is tried again soon."""
    monkeypatch.setattr(faults, "ITEM_PAUSE", 0.2)


def test_a_deleted_queue_is_declared_anew_and_nothing_is_lost(valkey, beats, name, channel, way):
    beat = beats(rabbitmq(), {f"e{i}": every(0.2) for i in range(3)}, **conf(valkey, name)).lead()
    client = valkey.client()
    beat.until(lambda: len(ledger(client, "sent")) >= 6)
    eventually(lambda: client.hlen(K.outbox) == 0, "nothing is under way")
    channel.queue_delete(name)
    before = len(ledger(client, "sent"))
    beat.until(lambda: len(ledger(client, "sent")) >= before + 6)
    later = {row["id"] for row in ledger(client, "sent")[before:]}
    ids = drained(rabbitmq(), name)
    assert later <= set(ids)
    assert len(ids) == len(set(ids))
    assert ledger(client, "failed") == []


def test_a_deleted_queue_behind_an_exchange_is_bound_anew(valkey, beats, name, channel):
    queue = Queue(name, Exchange(name, type="topic"), routing_key="k")
    beat = beats(rabbitmq(), {"a": every(0.2)}, **conf(valkey, name, task_queues=[queue])).lead()
    client = valkey.client()
    beat.until(lambda: ledger(client, "sent"))
    eventually(lambda: client.hlen(K.outbox) == 0, "nothing is under way")
    channel.queue_delete(name)
    before = len(ledger(client, "sent"))
    beat.until(lambda: len(ledger(client, "sent")) >= before + 3)
    assert {row["id"] for row in ledger(client, "sent")[before:]} <= set(drained(rabbitmq(), name))


@pytest.mark.parametrize("delivery", ["at_least_once", "at_most_once"])
def test_a_mandatory_message_that_no_queue_takes_is_not_called_sent(valkey, beats, name, channel, delivery):
    channel.exchange_declare(f"{name}-bad", "fanout")
    beat = beats(rabbitmq(), {"good": every(0.2)}, **conf(valkey, name)).lead()
    client = valkey.client()
    options = {"exchange": f"{name}-bad", "routing_key": "x", "mandatory": True}
    Schedule(beat.app).add("lost", "tasks.add", 3600, options=options, delivery=delivery, run_now=True)
    beat.until(lambda: ledger(client, "failed"))
    assert "NO_ROUTE" in ledger(client, "failed")[0]["why"]
    assert not sent(client, "lost")
    beat.until(lambda: client.hlen(K.outbox) <= 1, "what others send does not pile up behind it")
    channel.queue_declare(f"{name}-bad")
    channel.queue_bind(f"{name}-bad", f"{name}-bad")
    if delivery == "at_least_once":
        beat.until(lambda: sent(client, "lost"))
        assert len(drained(rabbitmq(), f"{name}-bad")) == 1


def test_nobody_listening_is_no_error_where_nobody_need_listen(valkey, beats, name, channel):
    """A fan-out; and a topic that the queue is not bound to."""
    channel.exchange_declare(f"{name}-bad", "fanout")
    queue = Queue(name, Exchange(name, type="topic"), routing_key="k")
    schedule = {"a": every(0.2, exchange=f"{name}-bad", routing_key="x"), "b": every(0.2, routing_key="other")}
    beat = beats(rabbitmq(), schedule, **conf(valkey, name, task_queues=[queue]))
    client = valkey.client()
    beat.until(lambda: len(sent(client, "a")) > 2 and len(sent(client, "b")) > 2)
    assert not ledger(client, "failed")


def test_a_broker_that_vanishes_is_left_without_a_farewell(valkey, beats, name):
    proxy = Proxy(5672)
    more = conf(valkey, name, redlock_beat_publish_timeout=6.0)
    beat = beats(f"amqp://guest:guest@127.0.0.1:{proxy.port}//", {"a": every(0.1)}, **more)
    client = valkey.client()
    beat.until(lambda: len(ledger(client, "sent")) > 2)
    publisher, took = beat.parts.publisher, []
    link = publisher.link
    close = link.close

    def timed(**kwargs):
        began = time.monotonic()
        close(**kwargs)
        took.append((time.monotonic() - began, kwargs))

    link.close = timed
    proxy.freeze()
    beat.until(lambda: publisher.failing and took)
    assert took[0][0] < 5
    assert took[0][1] == {}
    proxy.close()


def test_a_connection_that_the_broker_closes_while_idle_costs_no_message_and_no_warning(
    valkey, beats, own_rabbitmq, caplog
):
    name = f"redlock-test-{uuid.uuid4().hex}"
    beat = beats(own_rabbitmq.url(), **conf(valkey, name)).lead()
    schedule, client = Schedule(beat.app), valkey.client()
    schedule.add("a", "tasks.add", 3600, run_now=True)
    beat.until(lambda: len(ledger(client, "sent")) == 1)
    own_rabbitmq.ctl("close_all_connections", "bye")
    eventually(lambda: not beat.parts.publisher.link.connected, "it has heard of that")
    schedule.trigger("a")
    beat.until(lambda: len(ledger(client, "sent")) == 2)
    assert "refuses" not in caplog.text
