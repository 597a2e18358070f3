"""Who leads: the contract of the lease, on every kind of server."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
import redis

from redlock_beat import Schedule
from redlock_beat.beat import lease
from redlock_beat.beat.lease import LOOK, Lease
from redlock_beat.entries.occurrence import Occurrence
from redlock_beat.errors import Deposed
from redlock_beat.settings import Settings
from redlock_beat.store import client as client_module
from redlock_beat.store import requests
from redlock_beat.store.client import LONGEST_MOVE, Listener, Target
from redlock_beat.store.keys import Keys
from redlock_beat.store.store import Store
from redlock_beat.store.values import CommitItem, Drop, Held, Quarantined
from tests.proxy import Proxy
from tests.servers import AT_ONCE, Server, eventually, follower, shared_cluster

K = Keys("redlock-beat")


class Clock:
    """The monotonic clock of leases and listeners, which goes as ever, or stands, and can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.stands_at: float | None = None

    def __call__(self) -> float:
        return (time.monotonic() if self.stands_at is None else self.stands_at) + self.ahead

    def stand(self) -> None:
        self.stands_at = time.monotonic()


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    for module in (lease, client_module):
        monkeypatch.setattr(module, "monotonic", clock)
    return clock


@pytest.fixture
def aged(candidate, clock):
    """A candidate that was subscribed and seen, and has known the replication id, for longer than a TTL."""

    def make(server: Server, token: str, ttl: float = 60) -> Lease:
        one = candidate(server, token, ttl)
        assert one.listener.subscribe()
        one.look()
        clock.ahead += 1000
        return one

    return make


def test_one_of_two_gets_the_term_and_the_epoch_grows(server, candidate):
    a, b = candidate(server, "a"), candidate(server, "b")
    first = a.acquire()
    assert first is not None
    assert b.acquire() is None
    assert a.store.release(first.fence, "a")
    second = b.acquire()
    assert second.epoch > first.epoch
    assert Held.parse(server.client().get(K.lease)).owner == "host:b"


def test_an_acquire_whose_answer_was_lost_finds_its_own_token(server, candidate):
    a = candidate(server, "a")
    first, again = a.acquire(), a.acquire()
    assert again.epoch == first.epoch


def test_a_lapsed_lease_that_nobody_took_is_retaken(server, candidate):
    a = candidate(server, "a")
    term = a.acquire()
    server.client().delete(K.lease)
    a.renew(term)
    assert server.client().get(K.lease) == term.fence.text


def test_a_deposed_holder_can_write_nothing(server, candidate):
    a, b = candidate(server, "a"), candidate(server, "b")
    old = a.acquire()
    client = server.client()
    client.delete(K.lease)
    b.acquire()
    client.zadd(K.due, {"x": 1.0})
    client.hset(K.state, "x", "u 1 1000000 - 0 0")
    one = Occurrence("x", "u", 1, 1_000_000, "id", {"task": "t"})
    item = CommitItem(one, "1", "u 1 1000000 - 0 0", "2.0", "u 1 2000000 - 1 0", 1_000_000, "q", "m")
    beat, size = ("a", "{}", "a"), 100
    before = {key: client.dump(key) for key in client.keys("*")}
    for write in (
        lambda: a.renew(old),
        lambda: a.store.due(old.fence, 10),
        lambda: a.store.run(requests.commit(a.store.keys, old.fence, [item], size, 0, beat)),
        lambda: a.store.run(requests.commit_many(a.store.keys, old.fence, {"q": [item]}, size, 0, beat)),
        lambda: a.store.edit([], fence=old.fence, config="x"),
        lambda: a.store.quarantine(old.fence, [Quarantined("x", "u 1 1000000 - 0 0", "{}", ["is", "failed"])]),
        lambda: a.store.drop_manual(old.fence, [Drop("x", row=["is", "skipped"])]),
        lambda: list(a.store.outbox_load(old.fence)),
        lambda: a.store.outbox_take(old.fence, "id", "1 x"),
        lambda: a.store.outbox_again(old.fence, [("id", "1 x", "{}", [])]),
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


def test_the_epoch_grows_even_when_the_counter_is_lost(server, candidate):
    a = candidate(server, "a")
    first = a.acquire()
    server.client().flushall()
    assert a.acquire().epoch > first.epoch


def test_an_old_term_in_a_server_that_came_back_older_is_not_taken_for_the_own_one(server, candidate):
    """Others have led since: their terms have higher epochs, and so must the next."""
    a, client = candidate(server, "a"), server.client()
    first = a.acquire()
    client.incr(K.epoch)
    client.delete(K.lease)
    second = a.acquire()
    client.set(K.lease, first.fence.text, px=60_000)
    client.set(K.epoch, first.epoch)
    third = a.acquire()
    assert third.epoch > second.epoch
    assert a.acquire().epoch == third.epoch


def test_trust_counts_from_the_start_of_the_attempt(valkey, candidate):
    lease = candidate(valkey, "a", ttl=5.0)
    term = lease.acquire()
    lease.trust(term, 100.0)
    assert term.trusted_until == 100.0 + 5.0 - lease.margin


def test_a_vanished_process_is_stolen_from_after_two_looks(server, candidate, aged, clock):
    a, b = candidate(server, "a"), aged(server, "b")
    a.listener.subscribe()
    assert a.acquire() is not None
    assert b.look()[1] is False
    b.ttl = 0.0  # the server is young
    eventually(lambda: b.look()[0].uptime >= 1)
    clock.stand()
    a.listener.close()  # what its death does
    seen, free = eventually(lambda: (got := b.look()) and not got[0].holder_seen and got)
    assert not free  # one look is not enough
    assert b.look()[1] is False  # nor is another at once
    clock.ahead += LOOK
    seen, free = b.look()
    assert free
    b.ttl = 60
    assert b.acquire(seen.held) is not None


def test_a_holder_that_resubscribed_is_not_stolen_from(server, candidate, aged):
    a, b = candidate(server, "a"), aged(server, "b")
    a.listener.subscribe()
    term = a.acquire()
    a.listener.close()
    eventually(lambda: not b.look()[0].holder_seen)
    a.listener.subscribe()
    assert b.acquire(term.fence.text) is None  # the script looks a third time


def test_an_unconfirmed_holder_is_never_stolen_from(server, candidate, aged, clock):
    a, b = candidate(server, "a"), aged(server, "b")
    b.ttl = 0.0
    a.acquire()
    for _ in range(3):
        seen, free = b.look()
        assert not seen.holder_seen
        assert not free
        clock.ahead += 2 * LOOK


def test_between_calls_of_user_code_a_term_is_renewed_after_a_third_of_its_ttl(valkey, candidate, clock):
    a, client = candidate(valkey, "a"), valkey.client()
    clock.stand()
    term = a.acquire()
    client.pexpire(K.lease, 1_000)
    clock.ahead += 19
    a.renew_if_needed(term)
    assert client.pttl(K.lease) <= 1_000
    clock.ahead += 2
    a.renew_if_needed(term)
    assert client.pttl(K.lease) > 50_000


def word(server: Server) -> str:
    """The word in the lease that says whether its holder's scripts see its subscription."""
    return server.client().get(K.lease).split(" ")[2]


def test_the_lease_says_seen_only_if_the_script_sees_it_and_keeps_it_true(server, candidate):
    a = candidate(server, "a")
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


def test_a_full_server_keeps_a_leader_whose_subscription_is_lost(valkey, candidate):
    a, client = candidate(valkey, "a"), valkey.client()
    assert a.listener.subscribe()
    term = a.acquire()
    a.listener.close()
    eventually(lambda: not client.execute_command("PUBSUB", "CHANNELS", "*beat:a"))
    client.config_set("maxmemory", "1")
    client.pexpire(K.lease, 5000)
    a.renew(term)
    assert client.pttl(K.lease) > 5000


def test_a_beat_that_is_not_seen_itself_judges_nobody_and_steals_nothing(server, candidate, aged, clock):
    a, b = candidate(server, "a"), aged(server, "b")
    a.listener.subscribe()
    term = a.acquire()
    a.listener.close()
    eventually(lambda: not b.look()[0].holder_seen)
    b.ttl = 0.0
    since = b.listener.since
    b.listener.close()
    b.listener.since = since  # it believes in its subscription still
    eventually(lambda: not b.look()[0].seen)
    for _ in range(3):
        assert b.look()[1] is False
        clock.ahead += 2 * LOOK
    assert b.acquire(term.fence.text) is None
    b.listener.since, b.ttl = None, 60
    assert b.listener.subscribe()
    assert b.acquire(term.fence.text) is not None


def test_a_leader_that_lives_and_has_lost_its_subscription_is_left_alone(server, candidate, aged, clock):
    a, b = candidate(server, "a"), aged(server, "b")
    a.listener.subscribe()
    term, b.ttl = a.acquire(), 0.0
    a.listener.close()
    eventually(lambda: not b.look()[0].holder_seen)
    a.renew(term)  # any script of its own
    for _ in range(3):
        assert b.look()[1] is False
        clock.ahead += 2 * LOOK
    assert b.acquire(term.fence.text) is None


def test_a_leader_in_user_code_says_at_once_that_its_subscription_is_lost(valkey, candidate):
    a, client = candidate(valkey, "a"), valkey.client()
    a.listener.subscribe()
    term = a.acquire()
    client.client_kill_filter(_type="pubsub")

    def said() -> bool:
        a.renew_if_needed(term)  # as it is called between two calls of user code
        return word(valkey) == "unseen"

    eventually(said, "it says so long before a third of its TTL")


@pytest.mark.parametrize("lapsed", [False, True], ids=["held", "lapsed"])
def test_a_term_that_was_given_back_is_over_for_what_was_under_way(server, lapsed, candidate):
    a, b = candidate(server, "a"), candidate(server, "b")
    term = a.acquire()
    if lapsed:
        server.client().delete(K.lease)
    assert a.store.release(term.fence, "a")
    with pytest.raises(Deposed):
        a.renew(term)
    assert server.client().get(K.lease) is None
    assert b.acquire().epoch > term.epoch


def test_a_term_whose_acquire_was_interrupted_by_the_end_is_given_back_too(server, candidate):
    a, b = candidate(server, "a"), candidate(server, "b")
    term = a.acquire()
    assert not b.store.release(None, "b"), "another's"
    assert a.store.release(None, "a"), "SIGTERM came before it knew that it had won"
    assert server.client().get(K.lease) is None
    with pytest.raises(Deposed):
        a.renew(term)
    assert b.acquire().epoch > term.epoch
    assert not a.store.release(None, "a")


def test_a_term_that_was_given_back_is_over_even_when_the_counter_is_lost(valkey, candidate):
    a = candidate(valkey, "a")
    term = a.acquire()
    valkey.client().delete(K.epoch)
    assert a.store.release(term.fence, "a")
    with pytest.raises(Deposed):
        a.renew(term)


def test_a_standby_at_a_replica_is_told_so(own_server, candidate):
    master = own_server("valkey", *AT_ONCE)
    replica = follower(own_server, master)
    candidate(master, "a").acquire()
    with pytest.raises(redis.exceptions.ReadOnlyError):
        candidate(replica, "b").look("{}")


@pytest.mark.parametrize("kind", ["valkey", "redis6", "redis"])
def test_on_a_cluster_subscriptions_are_seen_and_wakeups_heard(kind):
    server = shared_cluster(kind)
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


def test_a_subscription_that_stays_at_the_old_server_is_made_anew_at_the_new(own_server, candidate):
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


def test_a_subscription_that_is_never_seen_is_made_anew_ever_more_seldom_and_that_is_said(
    valkey, caplog, candidate, clock
):
    a, other = candidate(valkey, "a"), candidate(valkey, "b")
    assert a.listener.subscribe()
    clock.stand()
    made = [a.listener.since]
    for i in range(200):
        clock.ahead = i / 1e6  # each subscription has a time of its own
        a.noted(False)
        a.stay_subscribed()
        made.append(a.listener.since)
    assert len(set(made)) == 2
    for _ in range(6):
        clock.ahead += LONGEST_MOVE
        a.noted(False)
        a.stay_subscribed()
    assert "does a proxy keep" in caplog.text
    assert other.look()[1]


@pytest.mark.parametrize(
    "reason", ["young server", "young subscription", "not seen there", "seen there only now", "promotion"]
)
def test_nothing_is_stolen_soon_after_everybody_lost_their_connections(valkey, reason, candidate, aged, clock):
    a, b, client = candidate(valkey, "a"), aged(valkey, "b", ttl=30), valkey.client()
    a.listener.subscribe()
    a.acquire()
    a.listener.close()
    seen = eventually(lambda: (got := b.look()[0]) and not got.holder_seen and got)
    quiet = replace(seen, uptime=10_000)
    assert b.may_judge(quiet, clock())
    if reason == "young server":
        quiet = replace(quiet, uptime=5)
    elif reason == "young subscription":
        b.listener.close()
        assert b.listener.subscribe()
    elif reason == "not seen there":
        b.noted(False)
    elif reason == "seen there only now":
        b.noted(False)
        b.noted(True)
    else:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        client.execute_command("REPLICAOF", "NO", "ONE")
        b.look()
    assert not b.may_judge(quiet, clock())


def test_where_channels_are_denied_only_the_ttl_counts(server, aged):
    client = server.client()
    client.execute_command("ACL", "SETUSER", "quiet", "on", "nopass", "+@all", "~*", "resetchannels")
    try:
        settings = Settings(url=server.url(user="quiet:x"), lease_ttl=60, render_limit=60, socket_timeout=1.0)
        listener = Listener(Target(settings), "a")
        assert not listener.subscribe()
        a = Lease(Store(Target(settings)), listener, settings, "host:a")
        term = a.acquire()
        assert term.fence.text.split()[2] == "unseen"
        b = aged(server, "b")
        b.ttl = 0.0
        assert b.look()[1] is False
        client.pexpire(K.lease, 1)
        eventually(lambda: b.look()[1])  # it has expired
    finally:
        client.execute_command("ACL", "DELUSER", "quiet")
