"""A broker that says no to one message, blocks, or vanishes: others go on, nothing is doubled, nothing is lost."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import uuid

import pytest
import redis
from kombu import Connection, Exchange, Queue

from redlock_beat import Schedule
from redlock_beat.beat import faults
from redlock_beat.beat import senders as outbox
from redlock_beat.beat.confirms import Confirms
from redlock_beat.store.keys import Keys
from tests.beats import ledger
from tests.proxy import Proxy
from tests.servers import eventually, free_port, rabbitmq

K = Keys("redlock-beat")


@pytest.fixture
def name():
    """What a queue of one's own is called; that and one for what is bad are deleted at the end."""
    start = f"redlock-test-{uuid.uuid4().hex}"
    yield start
    with Connection(rabbitmq()) as connection:
        for one in (start, f"{start}-bad"):
            with contextlib.suppress(Exception):
                connection.channel().queue_delete(one)
            with contextlib.suppress(Exception):
                connection.channel().exchange_delete(one)


@pytest.fixture
def channel():
    """A channel to RabbitMQ."""
    with Connection(rabbitmq()) as connection:
        yield connection.channel()


def conf(server, queue, **more):
    return {"redlock_beat_url": server.url(), "task_default_queue": queue, **more}


def every(seconds, name="tasks.add", **options):
    return {"task": name, "schedule": seconds, "options": options}


def sent(client, entry):
    return [row for row in ledger(client, "sent") if row["entry"] == entry]


def drained(url, queue):
    """The ids of what is in a queue, taken out."""
    found = []
    with Connection(url) as connection:
        channel = connection.channel()
        while (message := channel.basic_get(queue, no_ack=True)) is not None:
            found.append(message.headers["id"])
    return found


# --- one message, one queue, one exchange ----------------------------------------------------------


def test_a_full_queue_holds_up_no_other_and_its_entry_claims_no_more(valkey, beats, name, channel, way):
    full = Queue(
        f"{name}-bad", Exchange(""), f"{name}-bad", queue_arguments={"x-max-length": 1, "x-overflow": "reject-publish"}
    )
    schedule = {"full": every(0.2, queue=f"{name}-bad"), "good": every(0.2)}
    beat = beats(rabbitmq(), schedule, **conf(valkey, name, task_queues=[full, Queue(name)]))
    client = valkey.client()
    beat.until(lambda: ledger(client, "failed"))
    assert "nack" in ledger(client, "failed")[0]["why"]
    before = len(sent(client, "good"))
    beat.until(lambda: len(sent(client, "good")) > before + 5)
    assert client.hlen(K.outbox) <= 2  # the one that is refused, and perhaps a good one under way
    assert beat.parts.publisher.failing is None
    was = len(sent(client, "full"))
    full(channel).purge()
    beat.until(lambda: len(sent(client, "full")) > was, "the refused one is taken once there is room")


def test_a_message_for_which_the_broker_closes_the_connection_stops_no_other(valkey, beats, name, way):
    beat = beats(rabbitmq(), {"good": every(0.2)}, **conf(valkey, name)).lead()
    client = valkey.client()
    Schedule(beat.app).add("huge", "tasks.add", 3600, options={"headers": {"big": "x" * 200_000}}, run_now=True)
    beat.until(lambda: ledger(client, "failed"))
    assert "FRAME_ERROR" in ledger(client, "failed")[0]["why"]
    before = len(sent(client, "good"))
    beat.until(lambda: len(sent(client, "good")) > before + 5)
    ids = drained(rabbitmq(), name)
    assert len(ids) == len(set(ids))


def test_messages_that_close_the_connection_do_not_fill_the_outbox_when_there_is_nothing_else(valkey, beats, name):
    """Connecting works each time, so it is they, and not the broker, though it takes nothing else meanwhile."""
    huge = every(0.1, headers={"big": "x" * 200_000})
    beat = beats(rabbitmq(), {"huge": huge}, **conf(valkey, name, redlock_beat_outbox_limit=5)).lead()
    client = valkey.client()
    beat.until(lambda: beat.parts.publisher.refused(), "it is found to be at fault")
    Schedule(beat.app).add("good", "tasks.add", 3600, run_now=True)
    beat.until(lambda: sent(client, "good"))


def test_entries_at_fault_fill_no_outbox_and_their_slots_are_missed(valkey, beats, name, channel, way):
    bad = every(0.1, exchange=f"{name}-bad", routing_key="x")
    schedule = {**{f"bad{i}": bad for i in range(5)}, "good": every(0.2)}
    beat = beats(rabbitmq(), schedule, **conf(valkey, name, redlock_beat_outbox_limit=3)).lead()
    client, publisher = valkey.client(), beat.parts.publisher
    beat.until(lambda: len(publisher.faults()) == 5, "each of the five is found at fault")
    before, turns = len(sent(client, "good")), []
    due = beat.parts.store.due
    beat.parts.store.due = lambda *args, **kwargs: turns.append(1) or due(*args, **kwargs)
    beat.until(lambda: len(sent(client, "good")) > before + 5)
    assert len(turns) < 100  # it waits between two slots
    channel.exchange_declare(f"{name}-bad", "fanout")
    channel.queue_declare(f"{name}-bad")
    channel.queue_bind(f"{name}-bad", f"{name}-bad")
    beat.until(lambda: len(sent(client, "bad0")) > 2, "they go on once there is an exchange", 30)
    assert {row["why"] for row in ledger(client, "missed") if row["entry"] == "bad0"} == {"later slot due"}
    eventually(lambda: beat.tick() and client.hlen(K.outbox) <= 3)
    ids = drained(rabbitmq(), f"{name}-bad")
    assert len(ids) == len(set(ids))


def test_what_is_taken_is_noted_at_once_though_refused_ones_are_tried_all_the_time(valkey, beats, name, monkeypatch):
    beat = beats(rabbitmq(), **conf(valkey, name)).lead()
    schedule, publisher = Schedule(beat.app), beat.parts.publisher
    monkeypatch.setattr(faults, "ITEM_PAUSE", 0.0)
    with schedule.batch() as batch:
        for i in range(50):
            options = {"exchange": f"{name}-bad", "routing_key": "x"}
            batch.add(f"bad{i}", "tasks.add", 3600, options=options, run_now=True)
    beat.until(lambda: len(publisher.faults()) == 50)
    schedule.add("good", "tasks.add", 0.2)
    beat.until(lambda: len(sent(valkey.client(), "good")) > 5, seconds=8)


def test_a_backfill_of_an_entry_at_fault_waits_and_is_sent_when_it_is_mended(valkey, beats, name, channel):
    beat = beats(rabbitmq(), **conf(valkey, name)).lead()
    schedule, client = Schedule(beat.app), valkey.client()
    schedule.add("bad", "tasks.add", 3600, options={"exchange": f"{name}-bad", "routing_key": "x"}, run_now=True)
    beat.until(lambda: beat.parts.publisher.faults())
    for _ in range(3):
        schedule.trigger("bad")
    beat.tick(5)
    assert (client.zcard(K.manual), client.hlen(K.outbox)) == (3, 1)
    channel.exchange_declare(f"{name}-bad", "fanout")
    beat.until(lambda: len(sent(client, "bad")) == 4)


def test_a_new_leader_finds_an_outbox_full_of_refused_messages_and_goes_on(valkey, beats, name):
    schedule = {"bad": every(0.1, exchange=f"{name}-bad", routing_key="x"), "good": every(0.2)}
    more = conf(valkey, name, redlock_beat_outbox_limit=5)
    first = beats(rabbitmq(), schedule, **more).lead()
    first.parts.publisher.stop()  # nothing is published; the claims go on until the outbox is full
    client = valkey.client()
    first.until(lambda: client.hlen(K.outbox) == 5)
    first.crash()
    client.delete(K.lease)
    second = beats(rabbitmq(), schedule, **more)
    second.until(lambda: len(sent(client, "good")) > 5)
    assert second.parts.publisher.at_fault() >= 3  # all of its messages, behind the first
    assert len(ledger(client, "failed")) <= 5  # and only the first is tried


def test_an_edit_that_mends_an_entry_has_its_refused_message_rendered_anew(valkey, beats, name):
    beat = beats(rabbitmq(), **conf(valkey, name)).lead()
    schedule, client = Schedule(beat.app), valkey.client()
    schedule.add("bad", "tasks.add", 0.2, options={"exchange": f"{name}-bad", "routing_key": "x"})
    beat.until(lambda: beat.parts.publisher.faults())
    refused = next(iter(client.hkeys(K.outbox))).split(":")[0]
    beat.parts.publisher.faults()["bad"].retry_at = time.monotonic() + 60
    schedule.update("bad", options={"queue": name})
    beat.until(lambda: any(row["id"] == refused for row in sent(client, "bad")), seconds=10)
    beat.until(lambda: len(sent(client, "bad")) > 3)
    assert refused in drained(rabbitmq(), name)


def test_a_refused_message_that_is_rendered_anew_is_not_published_too_when_the_answer_is_lost(
    valkey, beats, name, channel
):
    beat = beats(rabbitmq(), **conf(valkey, name)).lead()
    schedule, client, store = Schedule(beat.app), valkey.client(), beat.parts.store
    schedule.add("bad", "tasks.add", 3600, options={"exchange": f"{name}-bad", "routing_key": "x"}, run_now=True)
    beat.until(lambda: beat.parts.publisher.faults())
    again, calls = store.outbox_again, []

    def lost(fence, items):
        again(fence, items)
        calls.append(items)
        if len(calls) == 1:
            raise redis.ConnectionError("the answer was lost")

    store.outbox_again = lost
    beat.parts.publisher.faults()["bad"].retry_at = time.monotonic() + 60
    channel.exchange_declare(f"{name}-bad", "direct", durable=True, auto_delete=False)
    channel.queue_declare(f"{name}-bad", durable=True, auto_delete=False)
    channel.queue_bind(f"{name}-bad", f"{name}-bad", "x")
    schedule.update("bad", options={"queue": name})
    beat.parts.publisher.hasten("bad")
    beat.until(lambda: sent(client, "bad"))
    beat.until(lambda: not beat.parts.publisher.faults())
    assert len(drained(rabbitmq(), name)) + len(drained(rabbitmq(), f"{name}-bad")) == 1
    assert len(calls) > 1


def test_the_refused_message_of_a_removed_entry_is_given_up_and_said(valkey, beats, name):
    beat = beats(rabbitmq(), **conf(valkey, name)).lead()
    schedule, client = Schedule(beat.app), valkey.client()
    schedule.add("bad", "tasks.add", 3600, options={"exchange": f"{name}-bad", "routing_key": "x"}, run_now=True)
    beat.until(lambda: beat.parts.publisher.faults())
    schedule.remove("bad")
    beat.until(lambda: client.hlen(K.outbox) == 0)
    (row,) = ledger(client, "skipped")
    assert "the entry was removed" in row["why"]
    assert "NOT_FOUND" in row["why"]


def test_a_refused_one_shot_whose_definition_is_gone_is_kept(valkey, beats, name, channel):
    beat = beats(rabbitmq(), **conf(valkey, name)).lead()
    schedule, client = Schedule(beat.app), valkey.client()
    soon = schedule._store.now() / 1e6 + 0.5
    from datetime import UTC, datetime

    when = datetime.fromtimestamp(soon, UTC)
    schedule.add("once", "tasks.add", when, options={"exchange": f"{name}-bad", "routing_key": "x"})
    beat.until(lambda: len(ledger(client, "failed")) >= 2, "it is tried again")
    assert "once" not in schedule
    channel.exchange_declare(f"{name}-bad", "fanout")
    beat.until(lambda: sent(client, "once"))


def test_a_deleted_queue_is_declared_anew_and_nothing_is_lost(valkey, beats, name, channel, way):
    beat = beats(rabbitmq(), {f"e{i}": every(0.2) for i in range(3)}, **conf(valkey, name)).lead()
    client = valkey.client()
    beat.until(lambda: len(ledger(client, "sent")) >= 6)
    channel.queue_delete(name)
    before = len(ledger(client, "sent"))
    beat.until(lambda: len(ledger(client, "sent")) >= before + 6)
    later = {row["id"] for row in ledger(client, "sent")[before + 3 :]}  # some were sent before it was deleted
    ids = drained(rabbitmq(), name)
    assert later <= set(ids)
    assert len(ids) == len(set(ids))


def test_a_deleted_queue_behind_an_exchange_is_bound_anew(valkey, beats, name, channel):
    queue = Queue(name, Exchange(name, type="topic"), routing_key="k")
    beat = beats(rabbitmq(), {"a": every(0.2)}, **conf(valkey, name, task_queues=[queue])).lead()
    client = valkey.client()
    beat.until(lambda: ledger(client, "sent"))
    channel.queue_delete(name)
    before = len(ledger(client, "sent"))
    beat.until(lambda: len(ledger(client, "sent")) >= before + 3)
    assert {row["id"] for row in ledger(client, "sent")[before + 1 :]} <= set(drained(rabbitmq(), name))


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


# --- the broker as a whole -------------------------------------------------------------------------


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


def test_on_a_new_connection_one_message_goes_alone(valkey, beats, name, monkeypatch):
    """What was under way may have arrived: as little as possible is under way until the broker takes one."""
    sizes, publish = [], Confirms.publish

    def cut(self, items, seconds):
        sizes.append(len(items))
        if 2 <= len(sizes) <= 5:
            raise ConnectionResetError("cut")
        return publish(self, items, seconds)

    monkeypatch.setattr(Confirms, "publish", cut)
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


def test_a_broker_that_vanishes_is_left_without_a_farewell(valkey, beats, name):
    proxy = Proxy(5672)
    more = conf(valkey, name, redlock_beat_publish_timeout=0.5)
    beat = beats(f"amqp://guest:guest@127.0.0.1:{proxy.port}//", {"a": every(0.1)}, **more)
    client = valkey.client()
    beat.until(lambda: len(ledger(client, "sent")) > 2)
    publisher, took = beat.parts.publisher, []
    link = publisher.link
    close = link.close

    def timed(**kwargs):
        began = time.monotonic()
        close(**kwargs)
        took.append(time.monotonic() - began)

    link.close = timed
    proxy.freeze()
    beat.until(lambda: publisher.failing and took)
    assert max(took) < 0.3
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


def test_a_broker_that_is_away_is_tried_as_often_as_the_longest_pause_says(valkey, beats):
    url = f"amqp://guest:guest@127.0.0.1:{free_port()}//"  # nothing listens there
    beat = beats(url, {"a": every(0.2)}, **conf(valkey, "q", redlock_beat_retry_pause=0.2)).lead()
    publisher, tries = beat.parts.publisher, []
    link = publisher.link
    connect = link.open
    link.open = lambda: tries.append(time.monotonic()) or connect()
    beat.until(lambda: len(tries) >= 5)
    assert tries[4] - tries[1] < 1.5


def test_what_fails_after_its_term_ended_and_came_back_is_published_all_the_same(valkey, beats, monkeypatch):
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
            raise ConnectionResetError("the broker went away")
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


# --- what is said ----------------------------------------------------------------------------------


def test_sending_is_logged_when_the_broker_has_taken_it(valkey, beats, caplog, way):
    caplog.set_level(logging.INFO, "redlock_beat")
    name = f"redlock-test-{uuid.uuid4().hex}"
    proxy = Proxy(1)  # nothing listens there
    beat = beats(
        f"amqp://guest:guest@127.0.0.1:{proxy.port}//",
        {"a": every(0.2)},
        **conf(valkey, name, redlock_beat_retry_pause=0.3),
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


def test_status_and_doctor_say_which_message_the_broker_refuses_and_why(valkey, beats, name):
    beat = beats(rabbitmq(), **conf(valkey, name)).lead()
    schedule = Schedule(beat.app)
    schedule.add("bad", "tasks.add", 3600, options={"exchange": f"{name}-bad", "routing_key": "x"}, run_now=True)
    beat.until(lambda: schedule.status().replicas[0].refused)
    (leader,) = schedule.status().replicas
    assert list(leader.refused) == ["bad"]
    assert "NOT_FOUND" in leader.refused["bad"]


def test_health_reads_what_waits_for_the_broker(valkey, beats, way):
    """A message just claimed is no reason to worry, whatever slot it is for."""
    proxy = Proxy(1)  # nothing listens there
    beat = beats(f"amqp://guest:guest@127.0.0.1:{proxy.port}//", **conf(valkey, "q")).lead()
    schedule, client = Schedule(beat.app), valkey.client()
    schedule.add("a", "tasks.add", 0.2)
    beat.until(lambda: client.hlen(K.outbox) >= 3)
    assert schedule.health(max_lag=30).ok, schedule.health(max_lag=30).why
    beat.until(
        lambda: "messages wait for the broker, one for" in schedule.health(max_lag=0.2).why, "they wait too long"
    )
    assert "inf" not in schedule.health(max_lag=0.2).why
    proxy.close()
