"""Who leads: the contract of the lease, on every kind of server."""

from __future__ import annotations

import contextlib
import threading

import pytest

from redlock_beat.config import Settings
from redlock_beat.connection import Listener, Target
from redlock_beat.errors import Deposed
from redlock_beat.keys import Keys
from redlock_beat.lease import Lease
from redlock_beat.status import owner_of
from redlock_beat.store import Occurrence, Store
from tests.beats import before_commit, duplicates, ledger
from tests.proxy import Proxy
from tests.servers import Server, eventually

K = Keys("redlock-beat")


def candidate(server: Server, token: str, ttl: float = 0.5, port: int | None = None) -> Lease:
    url = server.url() if port is None else f"redis://127.0.0.1:{port}/0"
    settings = Settings(url=url, lease_ttl=ttl, render_limit=60, socket_timeout=1.0)
    target = Target(settings)
    listener = Listener(target, token)
    return Lease(Store(target), listener, settings, f"host:{token}")


def aged(lease: Lease) -> Lease:
    """As if subscribed, and the replication id known, for longer than a TTL."""
    assert lease.listener.subscribe()
    lease.listener.since -= 1000
    lease.look()
    return lease


def test_one_of_two_gets_the_term_and_the_epoch_grows(server):
    a, b = candidate(server, "a"), candidate(server, "b")
    first = a.acquire()
    assert first is not None
    assert b.acquire() is None
    assert a.store.release(first.fence, "a")
    second = b.acquire()
    assert second.epoch == first.epoch + 1
    assert owner_of(server.client().get(K.lease)) == "host:b"


def test_an_acquire_whose_answer_was_lost_finds_its_own_token(server):
    a = candidate(server, "a")
    first, again = a.acquire(), a.acquire()
    assert again.epoch == first.epoch


def test_a_lapsed_lease_that_nobody_took_is_retaken(server):
    a = candidate(server, "a")
    term = a.acquire()
    server.client().delete(K.lease)
    a.renew(term)
    assert server.client().get(K.lease) == term.fence.text


def test_a_deposed_holder_can_write_nothing(server):
    a, b = candidate(server, "a"), candidate(server, "b")
    old = a.acquire()
    client = server.client()
    client.delete(K.lease)
    b.acquire()
    client.zadd(K.due, {"x": 1.0})
    client.hset(K.state, "x", "u 1 1000000 - 0 0")
    push = Occurrence("x", "1", "u 1 1000000 - 0 0", "2.0", "u 1 2000000 - 1 0", "3", "", pushes=[["LPUSH", "q", "m"]])
    before = {key: client.dump(key) for key in client.keys("*")}
    for write in (
        lambda: a.renew(old),
        lambda: a.store.due(old.fence, 10),
        lambda: a.store.commit(old.fence, [push], 0, "a", "{}"),
        lambda: a.store.edit([], fence=old.fence, config="x"),
        lambda: a.store.quarantine(old.fence, "x", "u 1 1000000 - 0 0", "{}", None, "", ["is", "failed"]),
        lambda: a.store.drop_manual(old.fence, "x", ["is", "skipped"]),
        lambda: list(a.store.outbox_load(old.fence)),
        lambda: a.store.outbox_take(old.fence, "id", "1 x"),
    ):
        with pytest.raises(Deposed):
            write()
    assert {key: client.dump(key) for key in client.keys("*")} == before
    # Its release takes nothing from the new holder either.
    assert not a.store.release(old.fence, "a")
    assert client.get(K.lease).startswith("b ")


def test_the_epoch_grows_even_when_the_counter_is_lost(server):
    a = candidate(server, "a")
    first = a.acquire()
    server.client().flushall()
    assert a.acquire().epoch > first.epoch


def test_trust_counts_from_the_start_of_the_attempt(valkey):
    lease = candidate(valkey, "a", ttl=5.0)
    term = lease.acquire()
    lease.trust(term, 100.0)
    assert term.trusted_until == 100.0 + 5.0 - lease.margin


def test_a_vanished_process_is_stolen_from_after_two_looks(server):
    a, b = candidate(server, "a", ttl=60), aged(candidate(server, "b", ttl=0.5))
    a.listener.subscribe()
    assert a.acquire() is not None
    assert b.look()[1] is False
    a.listener.close()  # what its death does
    b.ttl = 0.0  # the server is young
    seen, free = eventually(lambda: (got := b.look()) and got[0].subscribers == 0 and got)
    assert not free  # one look is not enough
    seen, free = eventually(lambda: (got := b.look())[1] and got)
    b.ttl = 0.5
    assert b.acquire(seen.held) is not None


def test_a_holder_that_resubscribed_is_not_stolen_from(server):
    a, b = candidate(server, "a", ttl=60), aged(candidate(server, "b", ttl=0.5))
    a.listener.subscribe()
    term = a.acquire()
    a.listener.close()
    eventually(lambda: b.look()[0].subscribers == 0)
    a.listener._retry_at = 0
    a.listener.subscribe()
    assert b.acquire(term.fence.text) is None  # the script looks a third time


def test_an_unconfirmed_holder_is_never_stolen_from(server):
    a, b = candidate(server, "a", ttl=60), aged(candidate(server, "b"))
    b.ttl = 0.0
    a.acquire()
    for _ in range(3):
        seen, free = b.look()
        assert seen.subscribers == 0
        assert not free
        threading.Event().wait(0.3)


@pytest.mark.parametrize("reason", ["young server", "young subscription", "promotion"])
def test_nothing_is_stolen_soon_after_everybody_lost_their_connections(valkey, reason):
    a, b = candidate(valkey, "a", ttl=60), aged(candidate(valkey, "b", ttl=30))
    a.listener.subscribe()
    a.acquire()
    a.listener.close()
    seen = eventually(lambda: (got := b.look()[0]) and got.subscribers == 0 and got)
    quiet = type(seen)(seen.held, seen.left_ms, 0, 10_000, seen.replid)
    now = b.listener.since + 2000
    b._replid = (seen.replid, now - 1000)
    assert b._quiet(quiet, now)
    if reason == "young server":
        assert not b._quiet(type(seen)(seen.held, seen.left_ms, 0, 5, seen.replid), now)
    elif reason == "young subscription":
        b.listener.since = now - 1
        assert not b._quiet(quiet, now)
    else:
        b._replid = (seen.replid, now - 1)
        assert not b._quiet(quiet, now)


def test_where_channels_are_denied_only_the_ttl_counts(server):
    client = server.client()
    client.execute_command("ACL", "SETUSER", "quiet", "on", "nopass", "+@all", "~*", "resetchannels")
    try:
        settings = Settings(url=server.url(user="quiet:x"), lease_ttl=0.5, socket_timeout=1.0)
        listener = Listener(Target(settings), "a")
        assert not listener.subscribe()
        a = Lease(Store(Target(settings)), listener, settings, "host:a")
        term = a.acquire()
        assert term.fence.text.split()[2] == "0"
        b = aged(candidate(server, "b"))
        b.ttl = 0.0
        assert b.look()[1] is False
        eventually(lambda: b.look()[1])  # until it expires
    finally:
        client.execute_command("ACL", "DELUSER", "quiet")


def test_two_beats_that_both_believe_in_themselves_send_nothing_twice(server, beats):
    entries = {f"e{i}": {"task": "tasks.add", "schedule": 0.1} for i in range(5)}
    a, b = beats(server, entries), beats(server, entries)
    client = server.client()
    a.lead()
    old = a.scheduler._term
    client.delete(K.lease)
    b.lead()
    for _ in range(20):
        a.scheduler._term = old  # it never learns
        with contextlib.suppress(Deposed):
            a.scheduler.dispatcher.turn(old)
        b.tick()
    assert client.llen("celery") > 5
    assert duplicates(client) == 0
    a.tick()
    assert a.scheduler._term is None


def test_a_term_stolen_between_due_and_commit_commits_nothing(server, beats, way):
    a = beats(server, {"a": {"task": "tasks.add", "schedule": 0.1}})
    client = server.client()
    a.lead()
    thief = candidate(server, "thief", ttl=1)

    def late():
        client.delete(K.lease)
        assert thief.acquire() is not None
        client.delete("celery")

    before_commit(a, late)
    a.until(lambda: a.scheduler._term is None)
    assert client.llen("celery") == 0


def test_a_clean_stop_hands_over(server, beats):
    entries = {"a": {"task": "tasks.add", "schedule": 0.1}}
    a, b = beats(server, entries, redlock_beat_lease_ttl=60.0, redlock_beat_render_limit=60.0), None
    a.lead()
    b = beats(server, entries, redlock_beat_lease_ttl=60.0, redlock_beat_render_limit=60.0)
    b.tick(2)
    assert b.scheduler._term is None
    a.close()
    b.lead()
    assert b.scheduler._term.epoch == 2
    a.close()  # once more does no harm
    b.tick()
    assert b.scheduler._term is not None


def test_a_standby_writes_nothing_but_its_heartbeat(valkey, beats):
    a = beats(valkey, {"a": {"task": "tasks.add", "schedule": 3600}}).lead()
    b = beats(valkey, {"b": {"task": "tasks.add", "schedule": 3600}})
    client = valkey.client()
    a.start()
    b.tick()
    watched = [K.due, K.entries, K.state, K.configured, K.config, K.lease, K.epoch, K.archive]
    before = [client.dump(key) for key in watched]
    b.tick(8)
    assert [client.dump(key) for key in watched] == before
    assert client.hlen(K.beats) >= 1


def test_a_lazy_scheduler_touches_nothing(valkey, beats):
    from redlock_beat import RedisScheduler
    from tests.beats import make_app

    app = make_app(valkey.url(), {"a": {"task": "tasks.add", "schedule": 1}})
    lazy = RedisScheduler(app, lazy=True, schedule_filename="x", max_interval=3)
    assert "redis" in lazy.info
    lazy.close()
    assert valkey.client().keys("*") == []


def test_a_machine_that_vanishes_with_open_connections_is_replaced_after_the_ttl(server, beats):
    proxy = Proxy(server.port)
    entries = {"a": {"task": "tasks.add", "schedule": 0.1}}
    gone = beats(server.url(), entries, redlock_beat_url=f"redis://127.0.0.1:{proxy.port}/0", redlock_beat_lease_ttl=1.0,
                 redlock_beat_socket_timeout=0.3)  # fmt: skip
    gone.lead()
    other = beats(server, entries, redlock_beat_lease_ttl=1.0)
    other.tick(2)
    proxy.freeze()
    other.lead()
    gone.tick(3)
    client = server.client()
    other.until(lambda: len(ledger(client, "sent")) > 3)
    assert duplicates(client) == 0
    proxy.close()
