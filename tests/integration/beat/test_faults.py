"""A broker that says no to one message: others go on, nothing is doubled, nothing is lost."""

from __future__ import annotations

import json
import time
from datetime import timedelta

import pytest
import redis
from kombu import Exchange, Queue

from redlock_beat import Schedule
from redlock_beat.beat import faults, packer
from redlock_beat.errors import Deposed
from redlock_beat.store.keys import Keys
from tests.beats import ledger, sent
from tests.brokers import conf, drained, every
from tests.servers import eventually, rabbitmq

K = Keys("redlock-beat")


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    """What the broker refuses is tried again soon."""
    monkeypatch.setattr(faults, "ITEM_PAUSE", 0.2)


def put_off(beat):
    """What the broker refuses from now on is tried again in a minute, or when it is edited."""
    here = beat.parts.publisher._faults
    add = here.add

    def later(item, *args):
        pause = add(item, *args)
        here.current()[item.name].retry_at = time.monotonic() + 60
        return pause

    here.add = later


def claimed(client, name):
    """How many messages of an entry are in the outbox."""
    heads = [text.split("\n", 1)[0].split(" ", 1)[1] for text in client.hvals(K.outbox)]
    return [json.loads(one)[0] for one in heads].count(name)


def test_a_full_queue_holds_up_no_other_and_its_entry_claims_no_more(valkey, beats, name, channel, way):
    full = Queue(
        f"{name}-bad", Exchange(""), f"{name}-bad", queue_arguments={"x-max-length": 1, "x-overflow": "reject-publish"}
    )
    schedule = {"full": every(0.2, queue=f"{name}-bad"), "good": every(0.2)}
    beat = beats(rabbitmq(), schedule, **conf(valkey, name, task_queues=[full, Queue(name)]))
    client = valkey.client()
    beat.until(lambda: ledger(client, "failed"))
    assert "nack" in ledger(client, "failed")[0]["why"]
    before, waits = len(sent(client, "good")), claimed(client, "full")
    beat.until(lambda: len(sent(client, "good")) > before + 5)
    assert claimed(client, "full") == waits
    beat.until(lambda: claimed(client, "good") <= 1, "good ones do not pile up")
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
    before, turns, began = len(sent(client, "good")), [], time.monotonic()
    dispatcher = beat.parts.dispatcher
    turn = dispatcher.turn
    dispatcher.turn = lambda term: turns.append(turn(term)) or turns[-1]
    beat.until(lambda: len(sent(client, "good")) > before + 5)
    turns = [one for one in turns if not one.blocked]  # while good ones wait for a slow broker it looks for room
    assert len(turns) < 80 * (time.monotonic() - began)  # it waits between two slots
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
    beat.until(lambda: len(sent(valkey.client(), "good")) > 5)


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


def test_a_new_leader_finds_an_outbox_full_of_refused_messages_and_goes_on(valkey, beats, name, monkeypatch):
    schedule = {"bad": every(0.1, exchange=f"{name}-bad", routing_key="x"), "good": every(0.2)}
    more = conf(valkey, name, redlock_beat_outbox_limit=5)
    first = beats(rabbitmq(), schedule, **more).lead()
    first.parts.publisher.stop()  # nothing is published; the claims go on until the outbox is full
    client = valkey.client()
    first.until(lambda: client.hlen(K.outbox) == 5)
    first.crash()
    client.delete(K.lease)
    tried, publish_call = set(), packer.publish_call

    def publish(producer, call):
        if call["exchange"]:
            tried.add(call["headers"]["id"])
        publish_call(producer, call)

    monkeypatch.setattr(packer, "publish_call", publish)
    second = beats(rabbitmq(), schedule, **more)
    second.until(lambda: len(sent(client, "good")) > 5)
    assert second.parts.publisher.at_fault() >= 3  # all of its messages, behind the first
    assert len(tried) == 1


def test_an_edit_that_mends_an_entry_has_its_refused_message_rendered_anew(valkey, beats, name):
    beat = beats(rabbitmq(), **conf(valkey, name)).lead()
    put_off(beat)
    schedule, client = Schedule(beat.app), valkey.client()
    schedule.add("bad", "tasks.add", 0.2, options={"exchange": f"{name}-bad", "routing_key": "x"})
    beat.until(lambda: beat.parts.publisher.faults())
    refused = next(iter(client.hkeys(K.outbox))).split(":")[0]
    schedule.update("bad", options={"queue": name})
    beat.until(lambda: any(row["id"] == refused for row in sent(client, "bad")))
    beat.until(lambda: len(sent(client, "bad")) > 3)
    assert refused in drained(rabbitmq(), name)


def test_a_refused_message_that_is_rendered_anew_is_not_published_too_when_the_answer_is_lost(
    valkey, beats, name, channel
):
    beat = beats(rabbitmq(), **conf(valkey, name)).lead()
    schedule, client, store = Schedule(beat.app), valkey.client(), beat.parts.store
    put_off(beat)
    schedule.add("bad", "tasks.add", 3600, options={"exchange": f"{name}-bad", "routing_key": "x"}, run_now=True)
    beat.until(lambda: beat.parts.publisher.faults())
    again, submit, calls = store.outbox_again, beat.parts.publisher.submit, []

    def submit_later(items):
        eventually(lambda: len(calls) != 1)
        submit(items)

    def lost(fence, items):
        again(fence, items)
        calls.append(items)
        if len(calls) == 1:
            # It asks again at the worst moment: what is rendered anew is in the outbox, with the same id.
            eventually(lambda: client.hlen(K.outbox) == 1)
            beat.parts.publisher.hasten("bad")
            raise redis.ConnectionError("the answer was lost")

    store.outbox_again, beat.parts.publisher.submit = lost, submit_later
    channel.exchange_declare(f"{name}-bad", "direct", durable=True, auto_delete=False)
    channel.queue_declare(f"{name}-bad", durable=True, auto_delete=False)
    channel.queue_bind(f"{name}-bad", f"{name}-bad", "x")
    schedule.update("bad", options={"queue": name})
    beat.parts.publisher.hasten("bad")
    beat.until(lambda: sent(client, "bad"))
    beat.until(lambda: not beat.parts.publisher.faults())
    assert len(drained(rabbitmq(), name)) + len(drained(rabbitmq(), f"{name}-bad")) == 1
    assert len(calls) > 1


def test_a_message_rendered_anew_is_published_though_the_refused_one_is_not_forgotten_yet(valkey, beats, name):
    """The loop commits it, and passes it on, while the publisher's thread still waits for Redis's answer."""
    beat = beats(rabbitmq(), **conf(valkey, name)).lead()
    schedule, client, store, publisher = Schedule(beat.app), valkey.client(), beat.parts.store, beat.parts.publisher
    put_off(beat)
    schedule.add("bad", "tasks.add", 3600, options={"exchange": f"{name}-bad", "routing_key": "x"}, run_now=True)
    beat.until(publisher.faults)
    again, submit, passed_on = store.outbox_again, publisher.submit, []

    def slowly(*args):
        again(*args)
        eventually(lambda: passed_on)

    def passing_on(items):
        submit(items)
        passed_on.extend(items)

    store.outbox_again, publisher.submit = slowly, passing_on
    beat.parts.dispatcher.outbox.take_over = lambda term: None  # what was not passed on would be found a TTL later
    schedule.update("bad", options={"queue": name})
    publisher.hasten("bad")
    beat.until(lambda: sent(client, "bad"), seconds=20)
    assert drained(rabbitmq(), name) == [passed_on[0].task_id]


def test_a_refused_message_that_is_rendered_anew_while_the_outbox_is_read_is_not_published_too(
    valkey, beats, name, channel
):
    beat = beats(rabbitmq(), **conf(valkey, name)).lead()
    schedule, client, store, publisher = Schedule(beat.app), valkey.client(), beat.parts.store, beat.parts.publisher
    put_off(beat)
    schedule.add("bad", "tasks.add", 3600, options={"exchange": f"{name}-bad", "routing_key": "x"}, run_now=True)
    beat.until(publisher.faults)
    channel.exchange_declare(f"{name}-bad", "direct", durable=True, auto_delete=False)
    channel.queue_declare(f"{name}-bad", durable=True, auto_delete=False)
    channel.queue_bind(f"{name}-bad", f"{name}-bad", "x")
    load = store.outbox_load

    def slowly(fence):
        found = list(load(fence))
        schedule.update("bad", options={"queue": name})
        publisher.hasten("bad")
        eventually(lambda: beat.parts.lease.renew(beat.term) or not publisher.faults())
        yield from found

    store.outbox_load = slowly
    beat.parts.dispatcher.outbox.take_over(beat.term)
    beat.until(lambda: sent(client, "bad") and not client.hlen(K.outbox) and not publisher.outstanding())
    assert len(drained(rabbitmq(), name)) + len(drained(rabbitmq(), f"{name}-bad")) == 1


def test_a_leader_that_is_replaced_gives_up_no_message_of_the_next(valkey, beats, name):
    beat = beats(rabbitmq(), **conf(valkey, name)).lead()
    schedule, client, store, publisher = Schedule(beat.app), valkey.client(), beat.parts.store, beat.parts.publisher
    put_off(beat)
    schedule.add("bad", "tasks.add", 3600, options={"exchange": f"{name}-bad", "routing_key": "x"}, run_now=True)
    beat.until(publisher.faults)
    state, run, refused = store.state, store.run, []

    def slowly(entry):
        found = state(entry)
        client.mset({K.lease: "another 99 unseen h:2", K.epoch: 99})
        return found

    def running(request):
        try:
            return run(request)
        except Deposed:
            refused.append(request.script)
            raise

    store.state, store.run = slowly, running
    schedule.remove("bad")
    publisher.hasten("bad")
    beat.until(lambda: "outbox_again" in refused or ledger(client, "skipped"))
    assert client.hlen(K.outbox) == 1
    assert not ledger(client, "skipped")


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
    when = schedule.now() + timedelta(seconds=0.5)
    schedule.add("once", "tasks.add", when, options={"exchange": f"{name}-bad", "routing_key": "x"})
    beat.until(lambda: len(ledger(client, "failed")) >= 2, "it is tried again")
    assert "once" not in schedule
    channel.exchange_declare(f"{name}-bad", "fanout")
    beat.until(lambda: sent(client, "once"))


def test_status_and_doctor_say_which_message_the_broker_refuses_and_why(valkey, beats, name):
    beat = beats(rabbitmq(), **conf(valkey, name)).lead()
    schedule = Schedule(beat.app)
    schedule.add("bad", "tasks.add", 3600, options={"exchange": f"{name}-bad", "routing_key": "x"}, run_now=True)
    beat.until(lambda: schedule.status().replicas[0].refused)
    (leader,) = schedule.status().replicas
    assert list(leader.refused) == ["bad"]
    assert "NOT_FOUND" in leader.refused["bad"]
