"""At most once and at least once, behind another broker."""

from __future__ import annotations

import uuid

from redlock_beat import Schedule
from redlock_beat.beat import senders as outbox
from redlock_beat.store.keys import Keys
from tests.beats import ledger
from tests.brokers import conf, taken
from tests.publishing import item, term
from tests.servers import eventually, happens

K = Keys("redlock-beat")


def test_a_term_that_is_over_once_the_connection_is_made_publishes_nothing(valkey, beats):
    queue = f"q-{uuid.uuid4().hex}"
    beat, client = beats("memory://", **conf(valkey, queue)).lead(), valkey.client()
    publisher, lease = beat.parts.publisher, beat.parts.lease
    link, trust, opened = publisher.link, lease.trust, []
    connect = link.open

    def slowly():
        lease.trust = lambda term, *args, **more: None
        beat.term.trusted_until = 0.0
        opened.append(1)
        return connect()

    link.open = slowly
    Schedule(beat.app).add("a", "tasks.add", 3600, run_now=True)
    beat.until(lambda: len(opened) >= 2, "it has a connection and a message")
    assert not happens(lambda: taken("memory://", queue), 0.3)
    link.open, lease.trust = connect, trust
    beat.until(lambda: client.hlen(K.outbox) == 0)
    assert len(taken("memory://", queue)) == 1


def test_at_most_once_publishes_only_what_it_took(publisher, valkey):
    client = valkey.client()
    mine = item(publisher.app, True)
    publisher.lead(term(publisher.store))
    publisher.submit([mine])  # it is not in the outbox: another had it
    publisher.submit([mine])
    eventually(lambda: publisher.waiting() == 0 and not publisher.busy)
    assert ledger(client) == []
    other = item(publisher.app, True, "j:0")
    client.hset(K.outbox, "j:0", other.stamped)
    client.set(K.lease, "another 2 1 h:2")
    publisher.submit([other])  # deposed
    eventually(lambda: publisher.waiting() == 0 and not publisher.busy)
    assert client.hlen(K.outbox) == 1
    assert taken("memory://", publisher.app.conf.task_default_queue) == []


def lost_once(does):
    """What it does takes effect; the answer of the first time is lost."""
    calls = []

    def lost(*args):
        calls.append(args)
        got = does(*args)
        if len(calls) == 1:
            raise ConnectionError("the answer is lost")
        return got

    return lost, calls


def test_at_most_once_with_a_lost_take_is_published_once(publisher, valkey):
    """Nobody else can have taken it meanwhile, and nothing was published."""
    client, queue = valkey.client(), publisher.app.conf.task_default_queue
    one = item(publisher.app, True)
    client.hset(K.outbox, one.id, one.stamped)
    publisher.store.outbox_take, calls = lost_once(publisher.store.outbox_take)
    publisher.lead(term(publisher.store))
    publisher.submit([one])
    eventually(lambda: ledger(client) and not client.hlen(K.outbox))
    assert len(calls) == 2
    assert [row["is"] for row in ledger(client)] == ["sent"]
    assert len(taken("memory://", queue)) == 1


def test_at_most_once_is_noted_once_though_the_answer_of_the_note_is_lost(publisher, valkey):
    client = valkey.client()
    one = item(publisher.app, True)
    client.hset(K.outbox, one.id, one.stamped)
    publisher.store.outbox_done, calls = lost_once(publisher.store.outbox_done)
    publisher.lead(term(publisher.store))
    publisher.submit([one])
    eventually(lambda: len(calls) > 1 and not publisher.outstanding())
    assert [row["is"] for row in ledger(client)] == ["sent"]


def test_at_most_once_is_published_though_the_broker_stops_to_read_once_it_is_taken(publisher, valkey):
    client, queue = valkey.client(), publisher.app.conf.task_default_queue
    one = item(publisher.app, True)
    client.hset(K.outbox, one.id, one.stamped)
    opened, tries = publisher.link.open, []

    def stopping():
        sender = opened()
        send = type(sender).send
        sender.send = lambda *args: tries.append(args) or (len(tries) > 1 and send(sender, *args))
        return sender

    publisher.link.open = stopping
    publisher.lead(term(publisher.store))
    publisher.submit([one])
    eventually(lambda: ledger(client))
    assert len(taken("memory://", queue)) == len(tries) - 1 == 1


def test_at_most_once_is_unknown_when_the_leader_ends_with_the_message_in_hand(valkey, beats):
    queue, client = f"q-{uuid.uuid4().hex}", valkey.client()
    first = beats("memory://", **conf(valkey, queue)).lead()
    first.parts.store.outbox_take, calls = lost_once(first.parts.store.outbox_take)
    first.parts.publisher.outcomes.pause = first.parts.publisher.stop
    Schedule(first.app).add("a", "tasks.add", 3600, delivery="at_most_once", run_now=True)
    first.until(lambda: calls)
    first.crash()
    client.delete(K.lease)
    second = beats("memory://", **conf(valkey, queue)).lead()
    second.until(lambda: not client.hlen(K.outbox))
    (row,) = [one for one in ledger(client) if one["is"] in ("sent", "unknown")]
    assert (row["is"], row["entry"]) == ("unknown", "a")
    assert taken("memory://", queue) == []


def test_at_most_once_is_taken_before_it_is_published(valkey, beats, monkeypatch):
    seen = []
    client = valkey.client()
    real = outbox.publish_call

    def publish(producer, call):
        seen.extend(client.hvals(K.outbox))
        real(producer, call)

    monkeypatch.setattr(outbox, "publish_call", publish)
    queue = f"q-{uuid.uuid4().hex}"
    beat = beats("memory://", {"a": {"task": "t", "schedule": 0.1, "delivery": "at_most_once"}}, **conf(valkey, queue))
    beat.until(lambda: len(ledger(client, "sent")) >= 2)
    assert len(seen) >= 2
    assert {one.split(" ")[1] for one in seen} == {"taken"}
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
    assert ledger(client, "failed") == []  # it was the broker
    assert len(taken("memory://", queue)) == 1
