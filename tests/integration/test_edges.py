"""The seams: signals, lost subscriptions, errors nobody expected, takes whose reply is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid

import pytest

from redlock_beat import InvalidSetting, Schedule, UnsupportedServer
from redlock_beat.beat import parts
from redlock_beat.beat.lease import Term
from redlock_beat.beat.publisher import Item, Publisher
from redlock_beat.messages.renderer import HEADER_ENTRY, Renderer, publish_call, read_call
from redlock_beat.store.client import Listener, Target
from redlock_beat.store.keys import Keys
from redlock_beat.store.store import Store
from redlock_beat.store.values import Fence
from tests.beats import duplicates, ledger, make_app, messages
from tests.integration.test_outbox import conf, taken
from tests.proxy import Proxy
from tests.servers import eventually

K = Keys("redlock-beat")
ENTRY = {"a": {"task": "tasks.add", "schedule": 0.1}}


def test_a_closed_scheduler_ends_the_loop(valkey, beats):
    beat = beats(valkey).lead()
    beat.scheduler.close()
    with pytest.raises(SystemExit):
        beat.scheduler.tick()


def test_a_stop_in_the_middle_of_a_tick_releases_on_a_connection_of_its_own(server, beats):
    beat = beats(server, ENTRY, redlock_beat_lease_ttl=60.0, redlock_beat_render_limit=60.0).lead()
    client = server.client()
    due = beat.parts.store.due

    def interrupted(*args, **kwargs):
        beat.scheduler.close()  # what Celery's signal handler does, before it raises SystemExit
        raise SystemExit

    beat.parts.store.due = interrupted
    with pytest.raises(SystemExit):
        for _ in range(3):
            beat.scheduler.tick()
    assert client.get(K.lease) is None
    beat.parts.store.due = due
    beat.scheduler.close()
    assert duplicates(client) == 0


def test_a_stop_while_the_beat_is_built_ends_it_and_leaves_nothing(valkey, beats, monkeypatch):
    beat = beats(valkey, ENTRY)

    def interrupted(app):
        beat.scheduler.close()  # what Celery's signal handler does, before it raises SystemExit
        raise SystemExit

    monkeypatch.setattr(parts, "read_configuration", interrupted)
    with pytest.raises(SystemExit):
        beat.tick()
    beat.scheduler.close()
    assert not beat.built
    assert valkey.client().keys("*") == []
    with pytest.raises(SystemExit):
        beat.tick()


def test_a_beat_that_cannot_be_built_yet_is_built_by_a_later_tick(valkey, beats, monkeypatch, caplog):
    beat, read, calls = beats(valkey, ENTRY), parts.read_configuration, []

    def away(app):
        calls.append(1)
        if len(calls) == 1:
            raise ConnectionError("nobody answers")
        return read(app)

    monkeypatch.setattr(parts, "read_configuration", away)
    beat.lead()
    assert "does not serve us (ConnectionError: nobody answers)" in caplog.text


def test_an_error_nobody_expected_is_logged_once_in_full_and_the_beat_goes_on(valkey, beats, caplog):
    beat = beats(valkey, ENTRY).lead()
    turn, calls = beat.parts.dispatcher.turn, []

    def broken(term):
        calls.append(1)
        if len(calls) < 3:
            raise ZeroDivisionError("redis://u:secret@h")
        return turn(term)

    beat.parts.dispatcher.turn = broken
    client = valkey.client()
    before = client.llen("celery")
    beat.until(lambda: client.llen("celery") > before)
    assert "did not expect" in caplog.text
    assert "Traceback" in caplog.text
    assert "secret" not in caplog.text.replace('ZeroDivisionError("redis://u:secret@h")', "")  # the line of this test


def test_an_unsupported_server_ends_it(own_server, beats):
    server = own_server("valkey", "--rename-command", "GETDEL", "")
    with pytest.raises(UnsupportedServer, match=r"6\.2"):
        beats(server).tick()


def test_celery_sees_the_schedule_and_never_sleeps_or_syncs(valkey, beats):
    beat = beats(valkey, ENTRY).lead()
    assert [one.name for one in beat.scheduler.schedule] == ["a"]
    beat.scheduler.schedule = {}
    assert beat.scheduler.should_sync() is False
    assert beat.scheduler.sync() is None
    assert beat.scheduler.setup_schedule() is None


def test_an_embedded_beat_whose_parent_is_gone_ends(valkey, beats):
    beat = beats(valkey).lead()
    beat.scheduler.parent = os.getppid() + 1
    with pytest.raises(SystemExit):
        beat.scheduler.tick()
    assert valkey.client().get(K.lease) is None


def test_an_embedded_beat_adopts_sigterm(valkey, beats):
    beat = beats(valkey)
    beat.scheduler.parent = os.getppid()
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        beat.lead()
        handler = signal.getsignal(signal.SIGTERM)
        assert callable(handler)
        with pytest.raises(SystemExit):
            handler(signal.SIGTERM, None)
        assert valkey.client().get(K.lease) is None
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_listener_comes_back_by_itself(valkey):
    proxy = Proxy(1)
    target = Target(make_settings(f"redis://127.0.0.1:{proxy.port}/0"))
    listener = Listener(target, "tok")
    assert not listener.subscribe()
    assert listener.wait(0.05) is None
    proxy.upstream = valkey.port
    eventually(lambda: listener.wait(0.05) is None and listener.confirmed)
    client = valkey.client()
    for _ in range(50):
        client.publish(K.wake, "edit")
    woken = 0
    while listener.wait(0.2 if woken else 5) == "edit":
        woken += 1
    assert 1 <= woken < 25  # edits that come together are one wake-up
    client.client_kill_filter(_type="pubsub")
    assert listener.wait(5) == "lost"
    assert not listener.confirmed
    eventually(lambda: listener.wait(0.05) is None and listener.confirmed)
    listener.close()
    proxy.close()


def make_settings(url: str, **more):
    from redlock_beat.settings import Settings

    return Settings(url=url, lease_ttl=1.0, socket_timeout=0.5, retry_pause=0.1, **more)


@pytest.fixture
def publisher(valkey):
    app = make_app("memory://", redlock_beat_url=valkey.url(), task_default_queue=f"q-{uuid.uuid4().hex}")
    store = Store(Target(make_settings(valkey.url())))
    one = Publisher(app, store, 1.0, 0.1)
    yield one
    one.close()


def item(app, once: bool, id_: str = "i:0", epoch: int = 1) -> Item:
    from redlock_beat.store.item import stamp, unstamp

    renderer = Renderer(app, 1.0)
    from redlock_beat.entries.entry import Entry
    from redlock_beat.recurrence import Interval

    rendered = renderer.render(Entry("a", "t", Interval.of(1)), 0, "id", 0)
    row = ["is", "sent", "entry", "a", "nominal", 0, "id", id_]
    return unstamp(id_, stamp(epoch, "a", 0, "id", once, row, rendered.calls[0]))


def term(store: Store, text: str = "tok 1 1 h:1", epoch: int = 1) -> Term:
    store.client.set(K.lease, text)
    store.client.set(K.epoch, epoch)
    return Term(Fence(text, epoch, 60_000), float("inf"), 0.0)


def test_a_signal_that_ends_beat_while_it_wakes_the_publisher_waits_for_nothing():
    script = """if True:
        import signal
        from redlock_beat.beat.publisher import Publisher

        publisher = Publisher(None, None, 1.0, 0.1)
        signal.signal(signal.SIGALRM, lambda *_: publisher.close())
        for _ in range(1_000):
            signal.setitimer(signal.ITIMER_REAL, 0.0001)
            for _ in range(100):
                publisher.hasten("a")
    """
    subprocess.run([sys.executable, "-c", script], timeout=20, check=True)


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


def test_at_most_once_with_a_lost_take_is_unknown(publisher, valkey):
    client = valkey.client()
    one = item(publisher.app, True)
    client.hset(K.outbox, one.id, one.stamped)
    take, calls = publisher.store.outbox_take, []

    def lost(*args):
        calls.append(1)
        took = take(*args)
        if len(calls) == 1:
            raise ConnectionError("the reply is lost")
        return took

    publisher.store.outbox_take = lost
    publisher.lead(term(publisher.store))
    publisher.submit([one])
    eventually(lambda: ledger(client, "unknown"))
    assert taken("memory://", publisher.app.conf.task_default_queue) == []


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
        return done(rows)

    publisher.store.outbox_done = failing
    publisher.outcomes.on_published = lambda item: said.append(item) or 1 / 0
    publisher.lead(term(publisher.store))
    publisher.submit([one])
    eventually(lambda: client.hlen(K.outbox) == 0)
    assert said == [one]
    publisher.submit([one])  # held back: it was accepted
    publisher.lead(None)
    assert publisher.waiting() == 0


def test_a_captured_command_a_push_cannot_express_goes_through_the_outbox(valkey, beats, monkeypatch):
    beat = beats(valkey, ENTRY)
    beat.until(lambda: beat.begun)
    channel = type(beat.parts.renderer.channel())
    real = channel.__mro__[2]._put

    def odd(self, queue, message, **kwargs):
        with self.conn_or_acquire() as client:
            client.setnx("x", 1)
        real(self, queue, message, **kwargs)

    monkeypatch.setattr(channel.__mro__[2], "_put", odd)
    client = valkey.client()
    beat.until(lambda: client.llen("celery") >= 2)
    assert beat.parts.renderer.direct
    beat.until(lambda: len(ledger(client, "sent")) >= 2)
    assert duplicates(client) == 0
    assert messages(client)[0]["headers"][HEADER_ENTRY] == "a"


def test_binary_bodies_and_exchanges_survive_the_outbox(valkey, beats):
    from kombu import Exchange

    queue = f"q-{uuid.uuid4().hex}"
    beat = beats("memory://", **conf(valkey, queue, task_serializer="pickle", task_compression="zlib")).lead()
    options = {"declare": [Exchange("ex")]}
    renderer = beat.parts.renderer
    from redlock_beat.entries.entry import Entry
    from redlock_beat.recurrence import Interval

    rendered = renderer.render(Entry("a", "t", Interval.of(1), args=(b"x",), options=options), 0, "id", 0)
    with beat.app.connection_for_write() as connection:
        producer = beat.app.amqp.Producer(connection, auto_declare=False)
        publish_call(producer, read_call(rendered.calls[0]))
    assert len(taken("memory://", queue)) == 1


def test_what_is_sent_while_rendering_is_part_of_the_occurrence(valkey, beats):
    from celery.beat import BeatLazyFunc

    beat = beats(valkey)
    beat.app.conf.beat_schedule = {
        "a": {
            "task": "tasks.add",
            "schedule": 0.2,
            "args": (BeatLazyFunc(lambda: beat.app.tasks["tasks.add"].delay(9, 9).id), 1),
        }
    }
    client = valkey.client()
    beat.until(lambda: client.llen("celery") >= 2)
    assert {one["headers"].get(HEADER_ENTRY) for one in messages(client)} == {"a", None}


def test_with_no_cache_at_all_and_no_ledger(server, beats):
    beat = beats(server, ENTRY, redlock_beat_cache_size=0, redlock_beat_ledger_size=0)
    client = server.client()
    beat.until(lambda: client.llen("celery") >= 3)
    assert client.exists(K.ledger) == 0
    assert duplicates(client) == 0


@pytest.mark.parametrize("size", [0, 2])
def test_a_small_cache_forgets_and_is_right(valkey, beats, way, size):
    entries = {f"e{i}": {"task": "tasks.add", "schedule": 0.2} for i in range(5)}
    beat = beats(valkey, entries, redlock_beat_cache_size=size)
    client = valkey.client()
    beat.until(lambda: client.llen("celery") >= 10)
    assert duplicates(client) == 0
    assert len(beat.parts.dispatcher.cache._entries) == (size if way == "rendered" else 0)


def test_an_idle_leader_sends_no_more_than_its_renewals(valkey, beats):
    beat = beats(valkey, {"a": {"task": "t", "schedule": 86400.0}}, redlock_beat_lease_ttl=0.9).lead()
    client = valkey.client()
    beat.tick(2)
    client.config_resetstat()
    began = time.monotonic()
    beat.tick(5)
    spent = time.monotonic() - began
    stats = client.info("commandstats")
    mine = sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("evalsha", "eval", "get", "hmget"))
    inside = stats["cmdstat_get"]["calls"] + stats.get("cmdstat_hmget", {}).get("calls", 0)
    assert mine - inside <= spent / 0.3 + 2


def test_a_setting_that_cannot_work_ends_it(beats):
    with pytest.raises(InvalidSetting, match="master_name"):
        beats("memory://", redlock_beat_url="sentinel://127.0.0.1:1").tick()


@pytest.mark.parametrize("key", [K.beats, K.ledger, K.quarantine, K.archive])
def test_rubbish_where_nothing_depends_on_it_stops_no_message(valkey, beats, key):
    beat = beats(valkey, ENTRY).lead()
    client = valkey.client()
    client.delete(key)
    client.set(key, "rubbish")
    before = client.llen("celery")
    beat.until(lambda: client.llen("celery") > before + 2)
    assert duplicates(client) == 0


def test_old_heartbeats_are_forgotten(valkey, beats):
    client = valkey.client()
    client.hset(K.beats, mapping={"old": '{"at": 1}', "rubbish": "x"})
    beats(valkey).lead()
    assert not client.hexists(K.beats, "old")
    assert not client.hexists(K.beats, "rubbish")


def test_a_finished_entry_left_in_due_leaves_it(valkey, beats):
    beat = beats(valkey).lead()
    schedule = Schedule(beat.app)
    made = schedule.add("a", "t", 3600)
    client = valkey.client()
    client.hset(K.state, "a", f"{made.uid} 1 - - 3 0")
    client.zadd(K.due, {"a": 1.0})
    beat.until(lambda: client.zscore(K.due, "a") is None)
    assert schedule["a"].next_due is None
    assert client.llen("celery") == 0


def test_a_state_of_another_revision_is_set_aside(valkey, beats):
    beat = beats(valkey).lead()
    made = Schedule(beat.app).add("a", "t", 3600)
    client = valkey.client()
    client.hset(K.state, "a", f"{made.uid} 7 1 - 0 0")
    client.zadd(K.due, {"a": 1.0})
    beat.until(lambda: client.hexists(K.quarantine, "a"))
    client.hdel(K.entries, "a")
    client.delete(K.lease)
    client.incr(K.epoch)
    beat.until(lambda: not client.hexists(K.quarantine, "a"))


def test_a_schedule_class_that_raises_is_set_aside_and_tried_again(valkey, beats):
    from redlock_beat import register_schedule

    register_schedule("moody", Moody, dump=lambda one: {})
    beat = beats(valkey).lead()
    schedule = Schedule(beat.app)
    schedule.add("a", "t", Moody(), run_now=True)
    Moody.fail = True
    client = valkey.client()
    beat.until(lambda: client.hexists(K.quarantine, "a"))
    Moody.fail = False
    beat.until(lambda: client.llen("celery"))


class Moody:
    fail = False

    def next_slot(self, after):
        if Moody.fail:
            raise RuntimeError("not today")
        from datetime import timedelta

        return after + timedelta(hours=1)


def test_a_manual_item_whose_entry_no_longer_decodes_is_skipped(valkey, beats):
    beat = beats(valkey).lead()
    schedule = Schedule(beat.app)
    schedule.add("a", "t", 3600)
    schedule.trigger("a")
    client = valkey.client()
    client.hset(K.entries, "a", "rubbish")
    beat.until(lambda: ledger(client, "skipped"))
    assert client.zcard(K.manual) == 0


def test_a_trigger_that_cannot_be_rendered_is_failed_in_the_ledger(valkey, beats):
    beat = beats(valkey).lead()
    schedule = Schedule(beat.app)
    schedule.add("a", "tasks.add", 3600, (1, 2, 3, 4))
    schedule.trigger("a")
    client = valkey.client()
    beat.until(lambda: ledger(client, "failed"))
    assert client.zcard(K.manual) == 1
    (text,) = client.zrange(K.manual, 0, -1)
    old = json.dumps({**json.loads(text), "at": 1})
    client.delete(K.manual)
    client.zadd(K.manual, {old: 1.0})
    beat.until(lambda: client.zcard(K.manual) == 0)  # after an hour it is given up


def test_a_trigger_whose_push_fails_is_kept_and_sent_later(valkey, beats):
    beat = beats(valkey).lead()
    schedule = Schedule(beat.app)
    schedule.add("a", "t", 3600, options={"queue": "bad"})
    client = valkey.client()
    client.set("bad", "wrong type")
    schedule.trigger("a")
    beat.until(lambda: ledger(client, "failed"))
    assert client.zcard(K.manual) == 1
    client.delete("bad")
    beat.until(lambda: client.exists("bad"))
    assert client.zcard(K.manual) == 0


def test_settled_slots_with_nothing_to_send_still_note_what_was_missed(valkey, beats):
    schedule = Schedule.from_url(valkey.url())
    schedule.add("a", "t", 0.1, missed="skip", grace=0.01)
    store = schedule._store
    start = store.now()
    while store.now() < start + 350_000:
        pass
    schedule.update("a", when=3600)
    beat = beats(valkey)
    client = valkey.client()
    beat.until(lambda: ledger(client, "missed"))
    assert client.llen("celery") == 0


def test_changing_a_canvas_and_its_policies(valkey, beats):
    from celery import chain

    app = make_app(valkey.url())
    schedule = Schedule(app)
    add = app.tasks["tasks.add"]
    schedule.add("a", chain(add.s(1, 1), add.s(2)), 3600)
    assert schedule.update("a", jitter=3).canvas is not None
    changed = schedule.update("a", task=add.s(5, 5), starts=None)
    assert (changed.canvas, changed.args) == (None, (5, 5))
    assert schedule.update("a", task="other").task == "other"
