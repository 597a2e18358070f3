"""Calls with a countdown or eta are sent once, at their time, by the leader; whatever dies, is slow or is in the way."""

from __future__ import annotations

import json
import random
import signal
import threading
import uuid
from typing import Any

import pytest
from kombu import Connection

from redlock_beat import Schedule, hooks, keep_countdowns
from redlock_beat.clock import MICROS, score
from redlock_beat.errors import Deposed
from redlock_beat.store import requests
from redlock_beat.store.countdown import KeptCall, Sending
from redlock_beat.store.keys import Keys
from tests.beats import ledger, make_app, messages, of
from tests.brokers import conf, taken
from tests.proxy import Proxy
from tests.servers import Cluster, eventually, rabbitmq

K = Keys("redlock-beat")


def keeping(url: str, **conf: Any):
    app = make_app(url, **{"redlock_beat_eta_threshold": 1, **conf})
    keep_countdowns(app)
    return app


def ids(client: Any, queue: str = "celery") -> list[str]:
    return [one["headers"]["id"] for one in messages(client, queue)]


def call(app: Any, count: int = 1, countdown: float = 600, **options: Any) -> list[str]:
    return [app.tasks["tasks.add"].apply_async((i,), countdown=countdown, **options).id for i in range(count)]


def make_due(server: Any, *which: str, ago: float = 0.0) -> None:
    """The time of these (or of all) has come: nobody waits ten minutes in a test."""
    client = server.client()
    now = client.time()
    at = now[0] + now[1] / 1e6 - ago
    for id_ in which or client.zrange(K.countdowns, 0, -1):
        client.zadd(K.countdowns, {id_: at}, xx=True)
    client.publish(K.wake, "edit")


def test_a_call_is_sent_at_its_time_and_not_before(server, beats):
    app = keeping(server.url())
    beat = beats(app).lead()
    client = server.client()
    heard: list[hooks.Event] = []
    hooks.add_hook(heard.append)
    try:
        (id_,) = call(app, countdown=1.5)
        due = client.zscore(K.countdowns, id_)
        beat.until(lambda: client.llen("celery"), "it is sent")
    finally:
        hooks.remove_hook(heard.append)
    now = client.time()
    assert now[0] + now[1] / 1e6 >= due
    (message,) = messages(client)
    assert message["headers"]["id"] == id_
    assert message["headers"]["eta"] is None
    assert message["headers"]["redlock_beat_eta"]
    assert client.exists(K.countdowns, K.countdown_items) == 0
    (row,) = ledger(client, "sent")
    assert (row["id"], row["task"], row["how"], row["entry"]) == (id_, "tasks.add", "countdown", "")
    assert abs(int(row["nominal"]) / MICROS - due) < 0.001
    (event,) = [one for one in heard if isinstance(one, hooks.Sent)]
    assert (event.task_id, event.source) == (id_, "countdown")
    assert event.nominal == pytest.approx(due, abs=0.001)


def test_what_is_pushed_is_what_celery_would_have_pushed(valkey, beats):
    app = keeping(valkey.url())
    beat = beats(app).lead()
    client = valkey.client()
    options = {
        "queue": "other",
        "priority": 6,
        "headers": {"mine": 1},
        "expires": 900,
        "reply_to": "r",
        "root_id": "r",
        "parent_id": "p",
    }
    add = app.tasks["tasks.add"]
    add.apply_async((1,), countdown=600, task_id="same", **options)
    make_due(valkey)
    beat.until(lambda: client.llen("other\x06\x166"))
    add.apply_async((1,), task_id="same", **options)
    ours, plain = messages(client, "other\x06\x166")
    assert ours["headers"].pop("redlock_beat_eta")
    for one in (ours, plain):
        one["headers"].pop("expires")
        one["properties"].pop("delivery_tag")
        one["properties"].pop("expiration")
    assert ours == plain


def test_a_message_expires_at_the_broker_as_from_the_call(valkey, beats):
    app = keeping(valkey.url())
    beat = beats(app).lead()
    client = valkey.client()
    (id_,) = call(app, expires=900)
    kept = KeptCall.parse(id_, client.hget(K.countdown_items, id_))
    older = KeptCall(id_, kept.due, kept.token, kept.task, kept.made - 300 * MICROS, calls=kept.calls)
    client.hset(K.countdown_items, id_, older.text())
    make_due(valkey)
    beat.until(lambda: client.llen("celery"))
    assert 590_000 < int(messages(client)[0]["properties"]["expiration"]) <= 600_000


def test_many_that_are_due_at_once_are_each_sent_once_in_their_order(server, beats):
    app = keeping(server.url())
    wanted = call(app, 1234)
    client = server.client()
    for i, id_ in enumerate(wanted):
        client.zadd(K.countdowns, {id_: 1000 + i})
    beat = beats(app).lead()
    beat.until(lambda: client.llen("celery") >= 1234)
    beat.tick(2)
    assert ids(client) == wanted
    assert client.exists(K.countdowns, K.countdown_items) == 0


def test_what_came_due_while_no_beat_ran_is_sent_by_the_next(valkey, beats):
    app = keeping(valkey.url())
    wanted = call(app, 3)
    make_due(valkey, ago=3600)
    schedule = Schedule(app)
    assert (schedule.status().countdowns_due, schedule.health().ok) == (3, False)
    beat = beats(app).lead()
    client = valkey.client()
    beat.until(lambda: client.llen("celery") == 3)
    assert sorted(ids(client)) == sorted(wanted)
    assert schedule.health().ok


def test_entries_and_countdowns_do_not_wait_for_each_other(valkey, beats):
    app = keeping(valkey.url())
    call(app, 2500)
    make_due(valkey)
    schedule = Schedule(app)
    for i in range(50):
        schedule.add(f"e{i}", "tasks.add", 0.2, run_now=True)
    beat = beats(app).lead()
    client = valkey.client()
    beat.until(lambda: len({row["entry"] for row in ledger(client, "sent")}) == 51)
    assert client.zcard(K.countdowns) < 2500
    beat.until(lambda: client.zcard(K.countdowns) == 0)


def test_entries_are_filled_in_and_sent_as_without_it(valkey, beats):
    app = keeping(valkey.url())
    schedule = Schedule(app)
    schedule.add("plain", "tasks.add", 0.1)
    schedule.add("delayed", "tasks.add", 0.5, options={"countdown": 600})
    beat = beats(app).lead()
    client = valkey.client()
    beat.until(lambda: {row["entry"] for row in ledger(client, "sent")} == {"plain", "delayed"})
    assert client.zcard(K.countdowns) == 0  # an occurrence is in the queue once, as beat makes it
    assert {bool(one["headers"]["eta"]) for one in messages(client)} == {True, False}
    beat.until(lambda: (one := schedule.status().replicas[0]).sent > 10 and one.rendered)
    assert schedule.status().replicas[0].rendered.keys() == {"it has the option countdown"}


# --- races -----------------------------------------------------------------------------------------


def between(beat: Any, action: Any) -> None:
    """Do something between the leader's look at the calls that are due and its commit."""
    store, run = beat.parts.store, beat.parts.store.run

    def slowly(request: Any) -> Any:
        if request.script == "countdown_send":
            store.run = run
            action()
        return run(request)

    store.run = slowly


def test_a_call_that_is_cancelled_while_a_leader_has_it_in_hand_is_never_sent(server, beats):
    app = keeping(server.url())
    gone, stays = call(app, 2)
    beat = beats(app).lead()
    schedule = Schedule(app)
    between(beat, lambda: schedule.cancel(gone))
    make_due(server)
    client = server.client()
    beat.until(lambda: client.llen("celery"))
    beat.tick(2)
    assert ids(client) == [stays]
    assert [row["id"] for row in ledger(client, "skipped")] == [gone]
    assert schedule.cancel(stays) == 0  # it was sent: cancelling says so


def test_a_call_that_takes_the_place_of_one_in_hand_is_sent_at_its_own_time(server, beats):
    app = keeping(server.url())
    (id_,) = call(app)
    beat = beats(app).lead()
    between(beat, lambda: app.tasks["tasks.add"].apply_async((9,), countdown=600, task_id=id_))
    make_due(server)
    client = server.client()
    beat.tick(3)
    assert client.llen("celery") == 0
    make_due(server)
    beat.until(lambda: client.llen("celery"))
    (message,) = messages(client)
    assert message["headers"]["argsrepr"] == "(9,)"


def test_a_deposed_leader_sends_nothing(server, beats):
    app = keeping(server.url())
    call(app)
    old = beats(app).lead()
    make_due(server)
    client = server.client()
    between(old, lambda: client.incr(K.epoch) and client.delete(K.lease))
    old.tick(1)
    assert client.llen("celery") == 0
    assert client.zcard(K.countdowns) == 1
    keys, store = old.parts.store.keys, old.parts.store
    lost = beats(app)
    lost.until(lambda: client.llen("celery") == 1, "another leads and sends it")
    fence = requests.Fence("nobody 1 seen x", 1, 2000)
    sending = Sending(KeptCall("id", 0, "", "", 0), 0, outcome="sent")
    with pytest.raises(Deposed):
        store.run(requests.countdown_send(keys, fence, [sending], 10, 0, "t", "{}"))
    with pytest.raises(Deposed):
        store.run(requests.countdown_due(keys, fence, 10))


@pytest.mark.parametrize("skip", range(12))
def test_whatever_reply_is_lost_each_is_sent_once_and_told_of(valkey, beats, skip):
    proxy = Proxy(valkey.port)
    heard: list[str] = []

    def hook(event: hooks.Event) -> None:
        if isinstance(event, hooks.Sent):
            heard.append(event.task_id)

    hooks.add_hook(hook)
    try:
        app = keeping(valkey.url())
        wanted = call(app, 250)
        behind = keeping(
            valkey.url(), redlock_beat_url=f"redis://127.0.0.1:{proxy.port}/0", redlock_beat_socket_timeout=0.5
        )
        beat = beats(behind).lead()
        make_due(valkey)
        proxy.lose_reply("EVALSHA", skip)
        client = valkey.client()
        beat.until(lambda: client.llen("celery") >= 250 and proxy.lost == 1)
        beat.tick(2)
        assert sorted(ids(client)) == sorted(wanted)
        assert sorted(heard) == sorted(wanted)
    finally:
        hooks.remove_hook(hook)
        proxy.close()


def test_a_send_is_told_of_though_redis_is_still_away_when_its_lost_answer_is_looked_for(valkey, beats, told):
    app = keeping(valkey.url())
    beat = beats(app).lead()
    (id_,) = call(app)
    store, run, lost = beat.parts.store, beat.parts.store.run, []

    def losing(request):
        answer = run(request)
        if len(lost) < 2 and (request.script == "countdown_send" or (lost and request.commands)):
            lost.append(request)
            raise ConnectionError("the answer is lost")
        return answer

    store.run = losing
    make_due(valkey)
    beat.until(lambda: of(told, hooks.Sent))
    assert len(lost) == 2
    assert [event.task_id for event in of(told, hooks.Sent)] == ids(valkey.client()) == [id_]


def test_a_cancel_and_a_send_never_both_win_nor_both_lose(valkey, beats):
    """Callers cancel at the very time at which leaders send, and leaders change meanwhile."""
    app = keeping(valkey.url())
    running = [beats(app).start() for _ in range(2)]
    eventually(lambda: any(one.begun for one in running), "one leads")
    chance = random.Random(11)
    client = valkey.client()
    cancelled: list[str] = []
    kept: list[str] = []

    def caller(waits: list[float]) -> None:
        schedule = Schedule(app)
        for wait in waits:
            id_ = call(app, countdown=wait)[0]
            kept.append(id_)
            apart = chance.uniform(-0.1, 0.05)
            timer = threading.Timer(wait + apart, lambda id_=id_: cancelled.extend(schedule.cancel_countdowns([id_])))
            timers.append(timer)
            timer.start()

    timers: list[threading.Timer] = []
    threads = [threading.Thread(target=caller, args=([chance.uniform(1, 6) for _ in range(60)],)) for _ in range(3)]
    for one in threads:
        one.start()
    eventually(lambda: client.llen("celery") > 20 and cancelled, "it goes this way and that")
    leader = next(one for one in running if one.begun)
    leader.crash()  # without a word: the other takes over in the middle of it
    for one in [*threads, *timers]:
        one.join(30)
    eventually(lambda: client.zcard(K.countdowns) == 0, "all are sent or cancelled", 30)
    sent = ids(client)
    assert len(kept) == 180
    assert sorted(sent + cancelled) == sorted(kept)  # each once, this way or that
    assert sent
    assert cancelled


def test_a_leader_that_dies_with_calls_in_hand_leaves_them_to_the_next(valkey, beats):
    app = keeping(valkey.url())
    wanted = call(app, 300)
    first, second = beats(app).lead(), beats(app)
    second.tick()
    make_due(valkey)

    def die() -> None:
        raise KeyboardInterrupt

    between(first, die)
    with pytest.raises(KeyboardInterrupt):
        first.tick()
    first.crash()
    client = valkey.client()
    second.until(lambda: client.llen("celery") >= 300)
    second.tick(2)
    assert sorted(ids(client)) == sorted(wanted)


# --- what is in the way ----------------------------------------------------------------------------


def test_a_queue_that_is_none_holds_up_no_other_call(server, beats):
    app = keeping(server.url())
    client = server.client()
    client.set("broken", "a text")
    (bad,) = call(app, queue="broken")
    (good,) = call(app)
    beat = beats(app).lead()
    make_due(server)
    beat.until(lambda: client.llen("celery"))
    assert ids(client) == [good]
    assert client.zscore(K.countdowns, bad) > client.time()[0]  # after a pause
    assert {(row["id"], "WRONGTYPE" in row["why"]) for row in ledger(client, "failed")} == {(bad, True)}
    client.delete("broken")
    beat.until(lambda: client.exists("broken"))
    assert ids(client, "broken") == [bad]


def test_a_call_of_several_messages_is_pushed_whole_or_not_at_all(server, beats):
    app = keeping(server.url())
    client = server.client()
    client.set("broken", "a text")
    good, bad = call(app)[0], call(app, queue="broken")[0]
    parts = [KeptCall.parse(id_, client.hget(K.countdown_items, id_)) for id_ in (good, bad)]
    # The queue of the second is found to be none by the push itself, not when it is declared before.
    second = json.loads(parts[1].calls[0]) | {"declare": ""}
    both = KeptCall("both", 1, "t", "tasks.add", 1, calls=(parts[0].calls[0], json.dumps(second)))
    client.delete(K.countdowns, K.countdown_items)
    client.hset(K.countdown_items, "both", both.text())
    client.zadd(K.countdowns, {"both": 1})
    beat = beats(app).lead()
    beat.until(lambda: ledger(client, "failed"))
    assert client.llen("celery") == 0
    client.delete("broken")
    make_due(server)
    beat.until(lambda: client.llen("celery"))
    assert (ids(client), ids(client, "broken")) == ([good], [bad])


def test_a_full_server_loses_none_of_them(server, beats):
    app = keeping(server.url())
    wanted = call(app, 20)
    beat = beats(app).lead()
    client = server.client()
    make_due(server)
    client.config_set("maxmemory", "1")
    beat.tick(2)
    assert client.llen("celery") == 0
    assert client.zcard(K.countdowns) == client.hlen(K.countdown_items) == 20
    client.config_set("maxmemory", "0")
    beat.until(lambda: client.llen("celery") == 20)
    assert sorted(ids(client)) == sorted(wanted)


def test_rubbish_is_put_off_and_said_and_all_others_are_sent(server, beats, caplog):
    app = keeping(server.url())
    client = server.client()
    wanted = call(app, 2)
    items = {
        "none": None,
        "no words": "x",
        "no head": "t {}",
        "no message": KeptCall("no message", 1, "t", "tasks.add", 1).text(),
        "no json": KeptCall("no json", 1, "t", "tasks.add", 1, calls=("{",)).text(),
        "no body": KeptCall("no body", 1, "t", "tasks.add", 1, calls=('{"raw": false}',)).text(),
    }
    for id_, item in items.items():
        client.zadd(K.countdowns, {id_: 1})
        if item is not None:
            client.hset(K.countdown_items, id_, item)
    make_due(server)
    beat = beats(app).lead()
    beat.until(lambda: client.llen("celery") == 2)
    assert sorted(ids(client)) == sorted(wanted)
    left = dict(client.zrange(K.countdowns, 0, -1, withscores=True))
    assert set(left) == set(items)
    assert min(left.values()) > client.time()[0] + 50
    assert {row["id"] for row in ledger(client, "failed")} == set(items)
    assert "could not be read" in caplog.text
    assert len(Schedule(app).cancel_countdowns(items)) == len(items)


def test_rubbish_in_the_place_of_all_calls_stops_no_entry_and_no_caller(server, beats, caplog):
    app = keeping(server.url())
    client = server.client()
    client.set(K.countdowns, "a text")
    Schedule(app).add("entry", "tasks.add", 0.2)
    beat = beats(app).lead()
    beat.until(lambda: len(ledger(client, "sent")) > 2)
    before = client.llen("celery")
    call(app)
    assert client.llen("celery") > before  # as Celery sends it
    assert "cannot be kept" in caplog.text


# --- brokers ---------------------------------------------------------------------------------------


def test_another_database_of_this_redis_is_pushed_to_in_the_same_step(valkey, beats):
    app = keeping(valkey.url(3), redlock_beat_url=valkey.url(0))
    wanted = call(app, 5)
    beat = beats(app).lead()
    make_due(valkey)
    client = valkey.client(3)
    beat.until(lambda: client.llen("celery") == 5)
    assert sorted(ids(client)) == sorted(wanted)
    assert valkey.client().hlen(K.outbox) == 0


def test_another_redis_gets_them_through_the_outbox(valkey, own_server, beats):
    broker = own_server("valkey")
    app = keeping(broker.url(), redlock_beat_url=valkey.url(), redlock_beat_outbox_limit=50)
    wanted = call(app, 230)
    beat = beats(app).lead()
    make_due(valkey)
    beat.until(lambda: broker.client().llen("celery") >= 230 and not valkey.client().hlen(K.outbox))
    assert sorted(ids(broker.client())) == sorted(wanted)
    rows = ledger(valkey.client(), "sent")
    assert sorted(row["id"] for row in rows) == sorted(wanted)
    assert {row["how"] for row in rows} == {"countdown"}


def test_a_retry_with_the_same_id_is_sent_though_the_first_message_has_not_left_the_outbox(valkey, beats):
    queue, client = f"q-{uuid.uuid4().hex}", valkey.client()
    app = keeping("memory://", **conf(valkey, queue))
    beat = beats(app).lead()
    store, found = beat.parts.store, []
    done = store.outbox_done

    def lost(rows):
        done(rows)
        raise ConnectionError("the answer is lost")

    def arrived(many: int) -> bool:
        found.extend(taken("memory://", queue))
        return len(found) == many

    store.outbox_done = lost
    (id_,) = call(app)
    make_due(valkey)
    beat.until(lambda: arrived(1))
    call(app, task_id=id_)  # the task has run, and sends itself again
    make_due(valkey)
    beat.until(lambda: not client.zcard(K.countdowns))
    store.outbox_done = done
    beat.until(lambda: not client.hlen(K.outbox))
    assert arrived(2)
    assert [row["id"] for row in ledger(client, "sent")] == [id_, id_]


def test_a_broker_that_is_away_gets_them_when_it_is_back(valkey, own_server, beats):
    broker = own_server("valkey")
    app = keeping(broker.url(), redlock_beat_url=valkey.url(), redlock_beat_publish_timeout=0.5)
    beat = beats(app).lead()
    wanted = call(app, 10)
    broker.process.send_signal(signal.SIGSTOP)
    make_due(valkey)
    beat.until(lambda: valkey.client().hlen(K.outbox) == 10)
    broker.process.send_signal(signal.SIGCONT)
    beat.until(lambda: not valkey.client().hlen(K.outbox))
    assert set(ids(broker.client())) == set(wanted)


def test_a_cluster_keeps_and_sends_them(valkey, own_server, beats):
    cluster = Cluster(own_server)
    app = keeping(valkey.url(), redlock_beat_url=cluster.url())
    wanted = call(app, 20)
    gone = call(app, 1)
    app.control.revoke(gone)
    for id_ in wanted:
        cluster.owner.zadd(K.countdowns, {id_: 1})
    beat = beats(app).lead()
    beat.until(lambda: valkey.client().llen("celery") == 20 and not cluster.owner.hlen(K.outbox))
    assert sorted(ids(valkey.client())) == sorted(wanted)
    assert cluster.owner.exists(K.countdowns, K.countdown_items) == 0


def test_rabbitmq_gets_them_and_one_it_refuses_waits_alone(valkey, beats):
    queue = f"countdowns-{uuid.uuid4().hex[:8]}"
    url = rabbitmq()
    app = keeping(url, redlock_beat_url=valkey.url(), task_default_queue=queue)
    beat = beats(app).lead()
    with Connection(url) as connection:
        try:
            (bad,) = call(app, exchange="no-such-exchange", routing_key="x")
            wanted = call(app, 20)
            make_due(valkey)
            beat.until(lambda: valkey.client().hlen(K.outbox) == 1 and not valkey.client().zcard(K.countdowns))
            with connection.SimpleQueue(queue, no_ack=True) as simple:
                got = [simple.get(timeout=10) for _ in range(20)]
            assert sorted(one.headers["id"] for one in got) == sorted(wanted)
            assert all(one.headers["eta"] is None for one in got)
            assert bad in next(iter(valkey.client().hkeys(K.outbox)))
        finally:
            connection.default_channel.queue_delete(queue)


# --- what it costs ---------------------------------------------------------------------------------


def test_a_hundred_thousand_that_wait_cost_an_idle_leader_nothing(valkey, beats, untraced):
    app = keeping(valkey.url())
    beat = beats(app).lead()
    client = valkey.client()

    def looks() -> tuple[float, int]:
        client.config_resetstat()
        beat.tick(3)
        stats = client.info("commandstats")
        calls = {name: one["calls"] for name, one in stats.items()}
        return stats["cmdstat_evalsha"]["usec_per_call"], calls["cmdstat_evalsha"]

    cost, count = looks()
    (id_,) = call(app)
    item = client.hget(K.countdown_items, id_)
    later = client.time()[0] + 3600
    for i in range(100):
        client.zadd(K.countdowns, {f"{i}-{j}": later + j for j in range(1000)})
        client.hset(K.countdown_items, mapping={f"{i}-{j}": item for j in range(1000)})
    full_cost, full_count = looks()
    assert full_count == count
    assert full_cost < 3 * cost + 100
    assert score(0) == "0.000000"
