"""A RabbitMQ that confirms many messages at a time: each is published once."""

from __future__ import annotations

import struct
import uuid

import pytest
from kombu import Connection, Exchange, Queue

from redlock_beat import Schedule
from redlock_beat.beat import confirms
from redlock_beat.beat.confirms import Confirms
from redlock_beat.beat.packer import Packer
from redlock_beat.store.keys import Keys
from tests.beats import ledger
from tests.brokers import burst, conf, drained, taken
from tests.proxy import Proxy
from tests.servers import rabbitmq

K = Keys("redlock-beat")


def test_a_burst_behind_rabbitmq_is_published_in_batches_once_each(valkey, beats, way):
    from kombu import Connection

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


def test_what_a_broken_batch_leaves_is_published_again_with_the_same_ids(valkey, beats, name):
    """The answer to a batch is lost with its connection: all of it may have arrived, and nothing else has."""
    proxy = Proxy(5672)
    url, client = rabbitmq().replace(":5672", f":{proxy.port}"), valkey.client()
    proxy.lose_reply("tasks.add", skip=2)
    with Schedule.from_url(valkey.url()).batch() as batch:
        for i in range(400):
            batch.add(f"e{i}", "tasks.add", 3600, args=(i,), run_now=True)
    beat = beats(url, **conf(valkey, name))
    beat.until(lambda: len(ledger(client, "sent")) >= 400 and client.hlen(K.outbox) == 0)
    assert proxy.lost == 1
    proxy.close()
    ids = drained(rabbitmq(), name)
    assert len(set(ids)) == len(ledger(client, "sent")) == 400
    assert len(ids) <= 400 + confirms.MOST


def test_what_is_under_way_has_its_answer_before_a_message_that_cannot_be_packed_costs_the_connection(
    valkey, beats, name, monkeypatch
):
    pack, under_way = Packer.pack, []

    def failing(self, item, call):
        if not under_way and not self.buffer and beat.parts.publisher.link.sender.under_way:
            under_way.append(item.id)
            raise struct.error("a number too large")
        pack(self, item, call)

    monkeypatch.setattr(Packer, "pack", failing)
    with Schedule.from_url(valkey.url()).batch() as batch:
        for i in range(300):
            batch.add(f"e{i}", "tasks.add", 3600, run_now=True)
    beat = beats(rabbitmq(), **conf(valkey, name))
    client = valkey.client()
    beat.until(lambda: len(ledger(client, "sent")) >= 300 and client.hlen(K.outbox) == 0)
    assert under_way
    ids = drained(rabbitmq(), name)
    assert len(ids) == len(set(ids)) == 300


def test_a_stop_in_a_burst_leaves_the_rest_to_the_next_and_doubles_nothing(valkey, beats, name):
    with Schedule.from_url(valkey.url()).batch() as batch:
        for i in range(3_000):
            batch.add(f"e{i}", "tasks.add", 3600, run_now=True)
    client = valkey.client()
    first = beats(rabbitmq(), **conf(valkey, name))
    first.until(lambda: len(ledger(client, "sent")) >= 100)
    first.close()
    assert client.get(K.lease) is None
    second = beats(rabbitmq(), **conf(valkey, name))
    second.until(lambda: len(ledger(client, "sent")) >= 3_000 and client.hlen(K.outbox) == 0)
    ids = drained(rabbitmq(), name)
    assert len(ids) == len(set(ids)) == 3_000


def test_on_a_new_connection_one_message_goes_alone(valkey, beats, name, monkeypatch):
    """What was under way may have arrived: as little as possible is under way until the broker takes one."""
    sizes, publish, pack = [], Confirms.publish, Packer.pack

    def watched(self, more, *args):
        handed = []

        def watching():
            items = more()
            if not handed:
                handed.append(sizes.append(len(items)))
            return items

        return publish(self, watching, *args)

    def cut(self, item, call):
        if 2 <= len(sizes) <= 5:
            raise ConnectionResetError("cut")
        pack(self, item, call)

    monkeypatch.setattr(Confirms, "publish", watched)
    monkeypatch.setattr(Packer, "pack", cut)
    with Schedule.from_url(valkey.url()).batch() as batch:
        for i in range(300):
            batch.add(f"e{i}", "tasks.add", 3600, run_now=True)
    beat = beats(rabbitmq(), **conf(valkey, name))
    client = valkey.client()
    beat.until(lambda: len(ledger(client, "sent")) >= 300)
    assert sizes[1] > 1
    assert [sizes[0], *sizes[2:6]] == [1, 1, 1, 1, 1]
    assert max(sizes[6:]) > 1
    ids = drained(rabbitmq(), name)
    assert len(ids) == len(set(ids)) == 300
