"""Who leads: the contract of the lease, on every kind of server."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace

import pytest
import redis

from redlock_beat import Schedule
from redlock_beat.beat.lease import Lease
from redlock_beat.errors import Deposed
from redlock_beat.settings import Settings
from redlock_beat.store.client import Listener, Target
from redlock_beat.store.keys import Keys
from redlock_beat.store.store import Store
from redlock_beat.store.values import Drop, Held, Occurrence, SetAside
from tests.beats import before_commit, duplicates, ledger
from tests.proxy import Proxy
from tests.servers import AT_ONCE, Server, eventually, follower

K = Keys("redlock-beat")


def candidate(server: Server, token: str, ttl: float = 0.5, port: int | None = None) -> Lease:
    url = server.url() if port is None else f"redis://127.0.0.1:{port}/0"
    settings = Settings(url=url, lease_ttl=ttl, render_limit=60, socket_timeout=1.0)
    target = Target(settings)
    listener = Listener(target, token)
    LISTENERS.append(listener)
    return Lease(Store(target), listener, settings, f"host:{token}")


LISTENERS: list[Listener] = []


@pytest.fixture(autouse=True)
def _close_listeners():
    """Nobody is seen in the next test who was in this one."""
    yield
    while LISTENERS:
        LISTENERS.pop().close()


def aged(lease: Lease) -> Lease:
    """As if subscribed and seen, and the replication id known, for longer than a TTL."""
    assert lease.listener.subscribe()
    lease.look()
    lease.listener.since -= 1000
    lease.seen_since -= 1000
    return lease


def test_one_of_two_gets_the_term_and_the_epoch_grows(server):
    a, b = candidate(server, "a"), candidate(server, "b")
    first = a.acquire()
    assert first is not None
    assert b.acquire() is None
    assert a.store.release(first.fence, "a")
    second = b.acquire()
    assert second.epoch > first.epoch
    assert Held.parse(server.client().get(K.lease)).owner == "host:b"


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
        lambda: a.store.quarantine(old.fence, [SetAside("x", "u 1 1000000 - 0 0", "{}", ["is", "failed"])]),
        lambda: a.store.drop_manual(old.fence, [Drop("x", row=["is", "skipped"])]),
        lambda: list(a.store.outbox_load(old.fence)),
        lambda: a.store.outbox_take(old.fence, "id", "1 x"),
        lambda: a.store.outbox_again(old.fence, [("id", "{}")]),
        lambda: a.store.put_off(old.fence, [("x", "1", "u 1 1000000 - 0 0", 5)], [("{}", 5)]),
        lambda: a.store.config_mark(old.fence, "", "x"),
        lambda: a.store.introduce(old.fence, "x"),
        lambda: a.store.leave_out(old.fence, "x"),
        lambda: a.store.due(old.fence, 10, "a", "{}"),
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


def test_an_old_term_in_a_server_that_came_back_older_is_not_taken_for_the_own_one(server):
    """Others have led since: their terms have higher epochs, and so must the next."""
    a, client = candidate(server, "a"), server.client()
    first = a.acquire()
    client.incr(K.epoch)
    client.delete(K.lease)
    second = a.acquire()
    client.set(K.lease, first.fence.text, px=500)
    client.set(K.epoch, first.epoch)
    third = a.acquire()
    assert third.epoch > second.epoch
    assert a.acquire().epoch == third.epoch


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
    seen, free = eventually(lambda: (got := b.look()) and not got[0].holder_seen and got)
    assert not free  # one look is not enough
    seen, free = eventually(lambda: (got := b.look())[1] and got)
    b.ttl = 0.5
    assert b.acquire(seen.held) is not None


def test_a_holder_that_resubscribed_is_not_stolen_from(server):
    a, b = candidate(server, "a", ttl=60), aged(candidate(server, "b", ttl=0.5))
    a.listener.subscribe()
    term = a.acquire()
    a.listener.close()
    eventually(lambda: not b.look()[0].holder_seen)
    a.listener._retry_at = 0
    a.listener.subscribe()
    assert b.acquire(term.fence.text) is None  # the script looks a third time


def test_an_unconfirmed_holder_is_never_stolen_from(server):
    a, b = candidate(server, "a", ttl=60), aged(candidate(server, "b"))
    b.ttl = 0.0
    a.acquire()
    for _ in range(3):
        seen, free = b.look()
        assert not seen.holder_seen
        assert not free
        threading.Event().wait(0.3)


def word(server: Server) -> str:
    """The word in the lease that says whether its holder's scripts see its subscription."""
    return server.client().get(K.lease).split(" ")[2]


def test_the_lease_says_seen_only_if_the_script_sees_it_and_keeps_it_true(server):
    a = candidate(server, "a", ttl=60)
    a.listener.since = 1.0  # what the client believes
    term = a.acquire()
    assert word(server) == "unseen"
    a.listener.close()
    assert a.listener.subscribe()
    for _ in range(2):  # the text has changed; the term is the same
        a.renew(term)
        assert word(server) == "seen"
    a.listener.close()
    eventually(lambda: not server.client().execute_command("PUBSUB", "CHANNELS", "*beat:a"))
    assert not a.store.due(term.fence, 10).seen
    assert word(server) == "unseen"
    server.client().delete(K.lease)
    assert a.listener.subscribe()
    a.renew(term)
    assert word(server) == "seen"


def test_a_full_server_keeps_a_leader_whose_subscription_is_lost(valkey):
    a, client = candidate(valkey, "a", ttl=60), valkey.client()
    assert a.listener.subscribe()
    term = a.acquire()
    a.listener.close()
    eventually(lambda: not client.execute_command("PUBSUB", "CHANNELS", "*beat:a"))
    client.config_set("maxmemory", "1")
    client.pexpire(K.lease, 5000)
    a.renew(term)
    assert client.pttl(K.lease) > 5000


def test_a_beat_that_is_not_seen_itself_judges_nobody_and_steals_nothing(server):
    a, b = candidate(server, "a", ttl=60), aged(candidate(server, "b"))
    a.listener.subscribe()
    term = a.acquire()
    a.listener.close()
    eventually(lambda: not b.look()[0].holder_seen)
    b.ttl = 0.0
    since = b.listener.since
    b.listener.close()
    b.listener.since = since  # it believes in its subscription still
    eventually(lambda: not b.look()[0].seen)
    b._missing = (term.fence.text, 0.0)  # as if it had looked before
    assert b.look()[1] is False
    assert b.acquire(term.fence.text) is None
    b.listener.since, b.ttl = None, 0.5
    assert b.listener.subscribe()
    assert b.acquire(term.fence.text) is not None


def test_a_leader_that_lives_and_has_lost_its_subscription_is_left_alone(server):
    a, b = candidate(server, "a", ttl=60), aged(candidate(server, "b"))
    a.listener.subscribe()
    term, b.ttl = a.acquire(), 0.0
    a.listener.close()
    eventually(lambda: not b.look()[0].holder_seen)
    a.renew(term)  # any script of its own
    for _ in range(3):
        assert b.look()[1] is False
        b._missing = b._missing and (b._missing[0], 0.0)
    assert b.acquire(term.fence.text) is None


def test_a_leader_in_user_code_says_at_once_that_its_subscription_is_lost(valkey):
    a, client = candidate(valkey, "a", ttl=60), valkey.client()
    a.listener.subscribe()
    term = a.acquire()
    client.client_kill_filter(_type="pubsub")

    def said() -> bool:
        a.renew_if_needed(term)  # as it is called between two calls of user code
        return word(valkey) == "unseen"

    eventually(said, "it says so long before a third of its TTL")


@pytest.mark.parametrize("lapsed", [False, True], ids=["held", "lapsed"])
def test_a_term_that_was_given_back_is_over_for_what_was_under_way(server, lapsed):
    a, b = candidate(server, "a"), candidate(server, "b")
    term = a.acquire()
    if lapsed:
        server.client().delete(K.lease)
    assert a.store.release(term.fence, "a")
    with pytest.raises(Deposed):
        a.renew(term)
    assert server.client().get(K.lease) is None
    assert b.acquire().epoch > term.epoch


def test_a_term_that_was_given_back_is_over_even_when_the_counter_is_lost(valkey):
    a = candidate(valkey, "a")
    term = a.acquire()
    valkey.client().delete(K.epoch)
    assert a.store.release(term.fence, "a")
    with pytest.raises(Deposed):
        a.renew(term)


def test_a_standby_at_a_replica_is_told_so(own_server):
    master = own_server("valkey", *AT_ONCE)
    replica = follower(own_server, master)
    candidate(master, "a", ttl=60).acquire()
    with pytest.raises(redis.exceptions.ReadOnlyError):
        candidate(replica, "b").look("{}")


@pytest.mark.parametrize("kind", ["valkey", "redis6", "redis"])
def test_on_a_cluster_subscriptions_are_seen_and_wakeups_heard(own_server, kind):
    server = own_server(kind, "--cluster-enabled", "yes")
    server.client().execute_command("CLUSTER", "ADDSLOTS", *range(16384))
    eventually(lambda: server.client().cluster("info")["cluster_state"] == "ok")
    settings = Settings(url=f"redis+cluster://127.0.0.1:{server.port}", lease_ttl=60, render_limit=60)
    target = Target(settings)
    a, b = (Lease(Store(target), Listener(target, one), settings, f"host:{one}") for one in "ab")
    for one in (a, b):
        eventually(one.listener.subscribe, "it is subscribed, in one way or the other")
    sharded = int(server.client().info("server")["redis_version"].split(".")[0]) >= 7
    assert bool(server.client().execute_command("PUBSUB", "CHANNELS")) is not sharded
    term = a.acquire()
    assert word(server) == "seen"
    assert b.look()[0].holder_seen
    assert b.look()[0].seen
    Schedule.from_url(settings.url).add("x", "tasks.add", 60)
    assert b.listener.wait(5) == "edit"
    a.store.release(term.fence, "a")
    assert b.listener.wait(5) == "release"
    a.listener.close()
    eventually(lambda: not candidate_seen(b, "a"))
    for one in (a, b):
        one.listener.close()


def candidate_seen(lease: Lease, token: str) -> bool:
    lease.store.client.set(K.lease, f"{token} 99 seen host:{token}")
    return lease.look()[0].holder_seen


def moving(own_server) -> tuple[Server, Server, Proxy]:
    """A master, its replica, and an address that is the master's for now."""
    master = own_server("valkey", *AT_ONCE)
    replica = follower(own_server, master)
    return master, replica, Proxy(master.port)


def test_a_subscription_that_stays_at_the_old_server_is_made_anew_at_the_new(own_server):
    master, replica, address = moving(own_server)
    a = candidate(master, "a", port=address.port)
    assert a.listener.subscribe()
    assert a.look()[0].seen
    replica.client().replicaof("NO", "ONE")
    address.upstream = replica.port
    a.store.client.connection_pool.disconnect()
    a.stay_subscribed()
    assert not a.look()[0].seen
    assert a.listener.confirmed  # so it believes
    a.stay_subscribed()
    assert a.look()[0].seen
    assert replica.client().execute_command("PUBSUB", "CHANNELS", "*beat:a")
    address.close()


def test_a_subscription_that_is_never_seen_is_made_anew_ever_more_seldom_and_that_is_said(valkey, caplog):
    a, other = candidate(valkey, "a"), candidate(valkey, "b")
    assert a.listener.subscribe()
    opened = a.listener._open
    counted: list[int] = []
    a.listener._open = lambda: counted.append(1) or opened()
    for _ in range(200):
        a.noted(False)
        a.stay_subscribed()
    assert len(counted) == 1
    for _ in range(6):
        a.listener._move_at = 0.0
        a.noted(False)
        a.stay_subscribed()
    assert "does a proxy keep" in caplog.text
    assert other.look()[1]


def test_a_subscription_that_is_open_at_this_end_only_is_noticed(valkey):
    address = Proxy(valkey.port)
    a = candidate(valkey, "a", port=address.port)
    assert a.listener.subscribe()
    assert a.listener.wait(1.2) is None  # a PING and its answer
    assert a.listener.confirmed
    address.freeze()
    eventually(lambda: a.listener.wait(0.1) == "lost")
    address.close()


def test_a_wakeup_that_comes_while_nobody_waits_is_not_lost(valkey):
    a, client = candidate(valkey, "a"), valkey.client()
    assert a.listener.subscribe()
    client.publish(K.wake, "edit")
    eventually(lambda: a.listener.glance() and a.listener._said)
    assert a.listener.wait(5) == "edit"
    client.client_kill_filter(_type="pubsub")
    assert a.listener.wait(5) == "lost"
    assert a.listener.wait(5) == "subscribed"  # what was said meanwhile was not heard: look


@pytest.mark.parametrize(
    "reason", ["young server", "young subscription", "not seen there", "seen there only now", "promotion"]
)
def test_nothing_is_stolen_soon_after_everybody_lost_their_connections(valkey, reason):
    a, b = candidate(valkey, "a", ttl=60), aged(candidate(valkey, "b", ttl=30))
    a.listener.subscribe()
    a.acquire()
    a.listener.close()
    seen = eventually(lambda: (got := b.look()[0]) and not got.holder_seen and got)
    quiet = replace(seen, uptime=10_000)
    now = b.listener.since + 2000
    b._replid = (seen.replid, now - 1000)
    assert b._may_judge(quiet, now)
    if reason == "young server":
        assert not b._may_judge(replace(quiet, uptime=5), now)
    elif reason == "young subscription":
        b.listener.since = now - 1
        assert not b._may_judge(quiet, now)
    elif reason == "not seen there":
        b.seen_since = None
        assert not b._may_judge(quiet, now)
    elif reason == "seen there only now":
        b.seen_since = now - 1
        assert not b._may_judge(quiet, now)
    else:
        b._replid = (seen.replid, now - 1)
        assert not b._may_judge(quiet, now)


def test_where_channels_are_denied_only_the_ttl_counts(server):
    client = server.client()
    client.execute_command("ACL", "SETUSER", "quiet", "on", "nopass", "+@all", "~*", "resetchannels")
    try:
        settings = Settings(url=server.url(user="quiet:x"), lease_ttl=0.5, socket_timeout=1.0)
        listener = Listener(Target(settings), "a")
        assert not listener.subscribe()
        a = Lease(Store(Target(settings)), listener, settings, "host:a")
        term = a.acquire()
        assert term.fence.text.split()[2] == "unseen"
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
    old = a.term
    client.delete(K.lease)
    b.lead()
    for _ in range(20):
        with contextlib.suppress(Deposed):
            a.parts.dispatcher.turn(old)  # it has not learnt yet
        b.tick()
    assert client.llen("celery") > 5
    assert duplicates(client) == 0
    a.tick()
    assert a.term is None


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
    a.until(lambda: a.term is None)
    assert client.llen("celery") == 0


def test_a_clean_stop_hands_over(server, beats):
    entries = {"a": {"task": "tasks.add", "schedule": 0.1}}
    a, b = beats(server, entries, redlock_beat_lease_ttl=60.0, redlock_beat_render_limit=60.0), None
    a.lead()
    b = beats(server, entries, redlock_beat_lease_ttl=60.0, redlock_beat_render_limit=60.0)
    b.tick(2)
    assert b.term is None
    a.close()
    b.lead()
    assert b.epoch > 1
    a.close()  # once more does no harm
    b.tick()
    assert b.term is not None


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
