"""While everything is held nothing is sent, whichever way it goes; afterwards all of it is, by its policies."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from datetime import timedelta

import pytest

from redlock_beat import Schedule, hooks, keep_countdowns
from redlock_beat.clock import micros
from redlock_beat.errors import OnHold
from redlock_beat.store.keys import Keys
from tests.beats import before_commit, comes, ledger, make_app, messages, occurrences, of, sent
from tests.brokers import conf, taken
from tests.publishing import item, term
from tests.servers import eventually, happens, shared_cluster

K = Keys("redlock-beat")


def at_once(schedule: Schedule) -> None:
    """Hold without waiting for a leader, which in these tests is ticked by hand."""
    schedule.ask(schedule.operations.holding(None, None, None, None))


@pytest.mark.parametrize("where", ["same server", "cluster", "outbox"])
def test_all_that_is_due_waits_and_is_sent_after_the_release(server, beats, where):
    if where == "cluster":
        server = shared_cluster(server.kind)
    url = f"redis+cluster://127.0.0.1:{server.port}" if where == "cluster" else server.url()
    settings = {"redlock_beat_url": url, "redlock_beat_eta_threshold": 1}
    app = make_app(
        server.url() if where == "same server" else "memory://", task_default_queue=uuid.uuid4().hex, **settings
    )
    keep_countdowns(app)
    beat, client = beats(app).lead(), server.client()
    schedule = Schedule(app)
    schedule.add("a", "tasks.add", 3600, run_now=True)
    beat.until(lambda: ledger(client, "sent"), "it sends")
    at_once(schedule)
    schedule.add("once", "tasks.add", schedule.now() + timedelta(milliseconds=50))
    schedule.add("now", "tasks.add", 3600, run_now=True)
    triggered = schedule.trigger("a")
    filled = schedule.backfill("a", schedule.now() - timedelta(hours=2.5), schedule.now(), rate=1000)
    counted = app.tasks["tasks.add"].apply_async((1,), countdown=600)
    client.zadd(K.countdowns, {counted.id: 1.0}, xx=True)  # nobody waits ten minutes in a test
    comes(schedule, micros(schedule.now()) + 60_000)
    beat.tick(3)
    assert len(ledger(client, "sent")) == 1
    assert client.hlen(K.outbox) == 0
    assert schedule.status().overdue == 3 + filled
    assert schedule.release() is not None
    beat.until(lambda: len(ledger(client, "sent")) == 5 + filled, "all of it is sent")
    rows = ledger(client, "sent")
    assert {row["id"] for row in rows} > {triggered, counted.id}
    assert [row["is"] for row in ledger(client)] == ["sent"] * len(rows), "the ledger speaks of nothing else"
    assert "once" not in schedule


@pytest.mark.parametrize("alone", [False, True], ids=["with others", "by itself"])
def test_a_commit_that_is_ready_when_the_hold_comes_does_nothing(server, beats, alone):
    beat, client = beats(server).lead(), server.client()
    schedule = Schedule(beat.app)
    before = []

    def hold() -> None:
        if not before:
            at_once(schedule)
            before.append((client.hgetall(K.state), client.zrange(K.due, 0, -1, withscores=True)))

    before_commit(beat, hold)
    for name in "abc":
        schedule.add(name, "tasks.add", 3600, run_now=True)
    if alone:  # what has failed before goes by the other script
        for name in "abc":
            client.hset(K.state, name, client.hget(K.state, name)[:-1] + "1")
    beat.until(lambda: before, "it commits")
    beat.tick(2)
    assert (client.hgetall(K.state), client.zrange(K.due, 0, -1, withscores=True)) == before[0]
    assert messages(client) == []
    schedule.release()
    beat.until(lambda: len(messages(client)) == 3, "they are sent")
    assert set(occurrences(client).values()) == {1}


def test_slots_of_a_hold_are_judged_as_those_of_an_outage(valkey, beats):
    beat, client = beats(valkey).lead(), valkey.client()
    schedule = Schedule(beat.app)
    at_once(schedule)
    for missed in ("once", "all", "skip"):
        schedule.add(missed, "tasks.add", 0.1, missed=missed, grace=0.05)
    beat.tick()
    first = schedule["once"].state.nominal
    comes(schedule, first + 550_000)
    assert ledger(client) == []
    schedule.release()
    beat.until(lambda: all(ledger(client, "missed") and sent(client, one) for one in ("once", "all", "skip")))
    held_back: Counter[str] = Counter()
    for row in ledger(client, "missed"):  # a beat that is slow adds rows of later slots
        held_back[row["entry"]] += int(row["count"])
    assert held_back["once"] >= 5
    assert held_back["skip"] >= 5


def test_it_ends_by_itself_and_the_leader_wakes_for_it(valkey, beats, told):
    beat, client = beats(valkey, redlock_beat_lease_ttl=30, redlock_beat_render_limit=60).lead(), valkey.client()
    schedule = Schedule(beat.app)
    beat.start()  # it sleeps ten seconds at a time
    ends = schedule.now() + timedelta(seconds=2)
    assert schedule.hold(until=ends, note="new database", actor="ann").confirmed
    schedule.add("a", "tasks.add", 3600, run_now=True)
    eventually(lambda: messages(client), "it is sent")
    (row,) = ledger(client, "sent")
    assert micros(ends) <= int(row["at"]) < micros(ends) + 6_000_000
    eventually(lambda: client.exists(K.hold) == 0, "nothing of it is left")
    (held,), (released,) = of(told, hooks.Held), of(told, hooks.Released)
    assert (held.actor, held.note, released.by_itself) == ("ann", "new database", True)
    assert held.until == pytest.approx(ends.timestamp(), abs=1e-3)
    assert {event.held for event in of(told, hooks.Turned) if event.role == "leader"} == {True, False}


def test_a_held_leader_asks_redis_once_a_renewal_and_the_rest_goes_on(valkey, beats, caplog):
    beat, client = beats(valkey).lead(), valkey.client()
    schedule = Schedule(beat.app)
    for i in range(50):
        schedule.add(f"e{i}", "tasks.add", 3600, run_now=True)
    at_once(schedule)
    beat.tick()
    assert schedule.held().confirmed
    run, asked = beat.parts.store.run, []

    def ask(request):
        found = run(request)
        asked.append((request.script, found.entries, found.backlog))
        return found

    beat.parts.store.run = ask
    beat.tick(3)
    assert asked == [("due", [], 50)] * 3, "it reads no definitions, which it does not need"
    schedule.update("e0", args=(1, 2))
    schedule.remove("e1")
    assert messages(client) == []
    schedule.release()
    beat.until(lambda: len(messages(client)) == 49, "they are sent")
    said = [record for record in caplog.records if getattr(record, "event", "").startswith("schedule.")]
    assert [(one.event, one.levelname) for one in said] == [
        ("schedule.held", "WARNING"),
        ("schedule.released", "WARNING"),
    ]
    assert "it was released" in said[1].getMessage()


def test_the_configuration_is_written_while_everything_is_held(valkey, beats):
    schedule = Schedule.from_url(valkey.url())
    at_once(schedule)
    beats(valkey, {"a": {"task": "tasks.add", "schedule": 0.05}}).lead().tick(2)
    assert "a" in schedule
    assert messages(valkey.client()) == []


# --- what the outbox has already -------------------------------------------------------------------


def test_what_is_on_its_way_to_another_broker_ends_before_the_hold_returns(valkey, beats):
    queue = f"q-{uuid.uuid4().hex}"
    beat, client = beats("memory://", **conf(valkey, queue)).lead(), valkey.client()
    schedule = Schedule(beat.app)
    begun, may_end = threading.Event(), threading.Event()
    link = beat.parts.publisher.link
    opened = link.open

    def slowly():
        sender = opened()
        send = sender.send

        def slow_send(*args):
            begun.set()
            assert may_end.wait(20)
            return send(*args)

        if sender.send.__name__ != "slow_send":
            sender.send = slow_send
        return sender

    link.open = slowly
    for name in "abc":
        schedule.add(name, "tasks.add", 3600, run_now=True)
    beat.until(lambda: client.hlen(K.outbox) == 3, "they are claimed")
    assert begun.wait(20)
    beat.start()
    held = []
    holding = threading.Thread(target=lambda: held.append(schedule.hold()))
    holding.start()
    eventually(lambda: client.hlen(K.hold), "it holds")
    assert not happens(lambda: held, 0.2)
    may_end.set()
    holding.join(20)
    assert held[0].confirmed
    assert client.hlen(K.outbox) == 2
    assert len(ledger(client, "sent")) == len(taken("memory://", queue)) == 1
    assert not happens(lambda: client.hlen(K.outbox) < 2, 0.3)
    schedule.release()
    eventually(lambda: client.hlen(K.outbox) == 0, "the others are published")
    assert len(taken("memory://", queue)) == 2


def test_a_new_leader_publishes_nothing_of_the_outbox_before_the_release(valkey, beats, broker):
    url, queue = broker
    first = beats(url, **conf(valkey, queue)).lead()
    client, schedule = valkey.client(), Schedule(first.app)
    first.parts.publisher.submit = lambda items: None  # it dies between the claim and the publish
    schedule.add("a", "tasks.add", 3600, run_now=True)
    first.until(lambda: client.hlen(K.outbox) == 1)
    first.crash()
    at_once(schedule)
    client.delete(K.lease)
    second = beats(url, **conf(valkey, queue)).lead()
    second.tick(2)
    assert schedule.held().confirmed
    assert client.hlen(K.outbox) == 1
    schedule.release()
    second.until(lambda: client.hlen(K.outbox) == 0, "it is published")
    assert len(taken(url, queue)) == 1


def test_at_most_once_takes_nothing_out_of_the_outbox(publisher, valkey):
    client = valkey.client()
    one = item(publisher.app, True)
    client.hset(K.outbox, one.id, one.stamped)
    client.hset(K.hold, mapping={"id": "h", "until": ""})
    trusted = term(publisher.store)
    with pytest.raises(OnHold):
        publisher.store.outbox_take(trusted.fence, one.id, one.stamped)
    publisher.lead(trusted)
    publisher.submit([one])
    eventually(lambda: trusted.trusted_until == float("-inf"), "it is refused")
    assert client.hlen(K.outbox) == 1
    client.delete(K.hold)
    trusted.trusted_until = float("inf")
    publisher.resume()
    eventually(lambda: client.hlen(K.outbox) == 0, "it is published")
    assert len(taken("memory://", publisher.app.conf.task_default_queue)) == 1


def test_a_long_render_is_no_reason_to_publish(valkey, candidate):
    lease, schedule = candidate(valkey, "a", ttl=5.0), Schedule.from_url(valkey.url())
    held = lease.acquire()
    lease.renew(held, 60.0)
    assert held.trusted_until > 0
    at_once(schedule)
    lease.renew(held, 60.0)
    assert held.trusted_until == float("-inf")
    valkey.client().delete(K.lease)
    again = lease.acquire()
    assert again.trusted_until == float("-inf")
    schedule.release()
    lease.renew(again)
    assert again.trusted_until > 0
