"""Failovers: the subscriptions stay behind, and nobody is dead."""

from __future__ import annotations

import os
import signal

import pytest

from redlock_beat import Schedule
from redlock_beat.clock import monotonic
from redlock_beat.store.keys import Keys
from tests.beats import duplicates, ledger
from tests.proxy import Proxy
from tests.servers import AT_ONCE, Cluster, eventually, follower

K = Keys("redlock-beat")


#: The lease outlasts every delay of a slow machine; what is judged after a TTL is judged SOON.
TTL, SOON = 8.0, 1.0
ENTRY = {"a": {"task": "tasks.add", "schedule": 0.1}}


def pair(beats, url: str, **conf) -> list:
    """Two beats that turn by themselves; both have been seen long enough to judge each other."""
    conf = {"redlock_beat_lease_ttl": TTL, "redlock_beat_render_limit": TTL, "redlock_beat_socket_timeout": 0.5, **conf}
    names = [{"redlock_beat_redis_options": {"client_name": one}} for one in ("first", "second")]
    two = [beats(url, ENTRY, **conf, **name).start() for name in names]
    for one in two:
        eventually(lambda one=one: one.built, "it is built")
        judge_soon(one.parts.lease)
    settled(two)
    return two


def judge_soon(lease) -> None:
    """A standby judges as if the TTL were short."""
    may_judge = lease.may_judge

    def sooner(seen, now: float) -> bool:
        lease.ttl = SOON
        try:
            return may_judge(seen, now)
        finally:
            lease.ttl = TTL

    lease.may_judge = sooner


def settled(two: list) -> None:
    """Wait until one of them leads, and both are seen where the lease is, for so long that they may judge."""

    def ready() -> bool:
        leases = [one.parts.lease for one in two if one.built]
        seen = [one for one in leases if one.seen_since and monotonic() - one.seen_since > SOON]
        return len(seen) == 2 and sum(one.term is not None for one in two) == 1

    eventually(ready, "one leads, and both are seen")


def calm(two: list, client, turns: int = 3) -> int:
    """How many new terms there are while they have judged each other so many times over."""
    epoch = int(client.get(K.epoch))
    until = monotonic() + turns * SOON
    eventually(lambda: monotonic() > until)
    return int(client.get(K.epoch)) - epoch


def taken_over(two: list) -> None:
    """The leader is killed: the other sees that it is gone, long before the end of the lease."""
    leader = next(one for one in two if one.term is not None)
    other = next(one for one in two if one is not leader)
    looked, stolen = other.parts.lease.acquire, []
    other.parts.lease.acquire = lambda steal="": stolen.append(steal) or looked(steal)
    leader.crash()
    eventually(lambda: other.term is not None, "the other leads")
    assert stolen[-1]  # from one that still had the lease


@pytest.mark.parametrize(("how", "kind"), [("fail_over", "valkey"), ("fail_over", "redis6"), ("kill_owner", "valkey")])
def test_a_cluster_whose_lease_moves_to_another_node_keeps_its_leader(own_server, beats, how, kind):
    cluster, broker = Cluster(own_server, kind), own_server()
    two = pair(beats, broker.url(), redlock_beat_url=cluster.url())
    getattr(cluster, how)()
    client = cluster.follower
    assert calm(two, client) <= 1
    settled(two)
    assert client.get(K.lease).split(" ")[2] == "seen"
    leader = next(one for one in two if one.term is not None)
    flowing = len(ledger(client, "sent"))
    eventually(lambda: len(ledger(client, "sent")) > flowing + 3, "messages flow")
    assert duplicates(broker.client()) == 0
    # Edits are felt there again.
    woken, wait = [], leader.parts.listener.wait

    def heard(seconds: float) -> str | None:
        woken.append(wait(seconds))
        return woken[-1]

    leader.parts.listener.wait = heard
    eventually(lambda: woken, "it waits")
    Schedule.from_url(cluster.url()).add("b", "tasks.add", 3600)
    eventually(lambda: "edit" in woken)
    taken_over(two)


@pytest.mark.parametrize("how", ["failover", "vanished"])
def test_an_address_that_moves_to_another_server_keeps_its_leader(own_server, beats, how):
    master = own_server("valkey", *AT_ONCE)
    replica = follower(own_server, master)
    address = Proxy(master.port)
    two = pair(beats, f"redis://127.0.0.1:{address.port}/0")
    if how == "failover":  # the old one lives on as a replica, and cuts no connection
        master.client().execute_command("FAILOVER", "TO", "127.0.0.1", replica.port)
        eventually(lambda: replica.client().info("replication")["role"] == "master")
    else:  # the machine is gone, and its connections stay open
        os.kill(master.process.pid, signal.SIGSTOP)
        replica.client().replicaof("NO", "ONE")
    address.upstream = replica.port
    client = replica.client()
    try:
        assert calm(two, client) <= 1
        settled(two)
        flowing = len(ledger(client, "sent"))
        eventually(lambda: len(ledger(client, "sent")) > flowing + 3, "messages flow")
        assert duplicates(client) == 0
        taken_over(two)
    finally:
        os.kill(master.process.pid, signal.SIGCONT)
        address.close()


@pytest.mark.parametrize("load", ["idle", "busy"])
def test_a_leader_that_lives_keeps_its_term_when_its_subscription_is_cut(own_server, beats, load):
    server = own_server()
    client = server.client()
    two = pair(beats, server.url())
    if load == "busy":  # more is due than can be sent: it never waits
        with Schedule.from_url(server.url()).batch() as batch:
            for i in range(400):
                batch.add(f"e{i}", "tasks.add", 0.02)
    leader, other = sorted(two, key=lambda one: one.term is None)
    epoch = client.get(K.epoch)
    looks, look = [], other.parts.lease.look
    other.parts.lease.look = lambda heartbeat="": looks.append(1) or look(heartbeat)
    name = leader.scheduler.settings.redis_options["client_name"]
    (subscription,) = [one for one in client.client_list() if one["name"] == name and int(one["sub"])]
    client.client_kill_filter(_id=subscription["id"])
    eventually(lambda: len(looks) > 6, "the standby has looked")
    eventually(lambda: client.get(K.lease).split(" ")[2] == "seen", "it is seen again")
    assert client.get(K.epoch) == epoch
