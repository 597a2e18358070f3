"""TLS, unix sockets, Sentinel, Cluster, several broker URLs, ACLs: for real."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from redlock_beat import AsyncSchedule, RedlockBeatError, Schedule
from redlock_beat.__main__ import main
from redlock_beat.beat.lease import Lease
from redlock_beat.cli.doctor import examine
from redlock_beat.clock import monotonic
from redlock_beat.settings import Settings
from redlock_beat.store import lua, requests
from redlock_beat.store.client import Listener, Target
from redlock_beat.store.keys import Keys
from redlock_beat.store.server import minimal_rule
from redlock_beat.store.store import Store
from tests.beats import duplicates, ledger
from tests.proxy import Proxy
from tests.servers import AT_ONCE, Cluster, eventually, follower, free_port, need

K = Keys("redlock-beat")
ENTRY = {"a": {"task": "tasks.add", "schedule": 0.1}}


def flows(beat, client, more: int = 3) -> None:
    before = client.llen("celery")
    beat.until(lambda: client.llen("celery") >= before + more, "messages flow")
    assert duplicates(client) == 0


@pytest.fixture
def certificates(tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make certificates with")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem",
         "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    return tmp_path


def test_tls(own_server, beats, certificates):
    port = free_port()
    cert, key = certificates / "cert.pem", certificates / "key.pem"
    try:
        server = own_server("redis", "--tls-port", str(port), "--tls-cert-file", str(cert), "--tls-key-file", str(key),
                            "--tls-ca-cert-file", str(cert), "--tls-auth-clients", "no")  # fmt: skip
    except AssertionError:
        pytest.skip("this redis-server was built without TLS")
    url = f"rediss://localhost:{port}/0?ssl_cert_reqs=required&ssl_ca_certs={cert}"
    beat = beats(url, ENTRY)
    flows(beat, server.client())
    assert beat.parts.renderer.direct
    Schedule(beat.app).add("b", "tasks.add", 3600, run_now=True)
    beat.until(lambda: any(row["entry"] == "b" for row in ledger(server.client(), "sent")))
    wrong = Schedule.from_url(f"rediss://localhost:{port}/0?ssl_cert_reqs=required")
    wrong.retry_for = 0.2
    with pytest.raises(Exception, match="did not answer"):
        len(wrong)


def test_unix_socket(own_server, beats, tmp_path):
    path = tmp_path / "redis.sock"
    server = own_server("valkey", "--unixsocket", str(path))
    beat = beats(f"redis+socket://{path}", ENTRY)
    flows(beat, server.client())
    assert beat.parts.renderer.direct
    assert len(Schedule.from_url(f"unix://{path}")) == 1


class Sentinel:
    """A master, a replica and a sentinel."""

    def __init__(self, own_server) -> None:
        self.master = own_server("valkey")
        self.replica = own_server("valkey", "--replicaof", "127.0.0.1", str(self.master.port))
        self.port = free_port()
        conf = Path(self.master.dir) / "sentinel.conf"
        conf.write_text(
            f"port {self.port}\nsentinel monitor mymaster 127.0.0.1 {self.master.port} 1\n"
            "sentinel down-after-milliseconds mymaster 500\nsentinel failover-timeout mymaster 3000\n"
        )
        self.process = subprocess.Popen(
            [need("valkey"), str(conf), "--sentinel"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        import redis

        self.client = redis.Redis(port=self.port, decode_responses=True)
        eventually(lambda: len(self.client.sentinel_slaves("mymaster")) == 1, "the sentinel knows the replica")
        eventually(lambda: self.replica.client().info("replication")["master_link_status"] == "up")

    def promoted(self) -> bool:
        # Not by the client's method of that name: redis-py 6.4 breaks its own.
        return (
            int(self.client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster")[1]) == self.replica.port
        )


@pytest.fixture
def sentinel(own_server):
    one = Sentinel(own_server)
    yield one
    one.process.kill()
    one.process.wait(10)


def test_sentinel_and_a_promotion(sentinel, beats):
    options = {"master_name": "mymaster"}
    beat = beats(f"sentinel://127.0.0.1:{sentinel.port}", ENTRY, broker_transport_options=options)
    flows(beat, sentinel.master.client())
    assert beat.parts.renderer.direct
    probe = ["health", "--url", f"sentinel://127.0.0.1:{sentinel.port}"]
    assert main([*probe, "--master-name", "mymaster"]) == 0
    assert main([*probe[:-1], f"{probe[-1]}/0?master_name=mymaster"]) == 0
    generation = beat.parts.broker.proved
    sentinel.master.stop(signal.SIGKILL)
    eventually(sentinel.promoted, "the replica is promoted", 30)
    client = sentinel.replica.client()
    eventually(lambda: client.info("replication")["role"] == "master")
    # Another server is at this address now: it has to be proved again.
    beat.until(lambda: beat.parts.broker.proved > generation and beat.parts.renderer.direct, "it is proved again", 40)
    flows(beat, client)


def test_cluster(own_server, beats):
    server = own_server("valkey", "--cluster-enabled", "yes")
    client = server.client()
    client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    eventually(lambda: client.cluster("info")["cluster_state"] == "ok")
    other = own_server("valkey")
    url = f"redis+cluster://127.0.0.1:{server.port}"
    beat = beats(other.url(), ENTRY, redlock_beat_url=url)
    flows(beat, other.client())
    assert not beat.parts.renderer.direct
    assert beat.parts.listener.confirmed
    schedule = Schedule.from_url(url)
    schedule.add("b", "tasks.add", 3600, run_now=True)
    beat.until(lambda: any(row["entry"] == "b" for row in ledger(client, "sent")))
    schedule.remove("b")
    assert [one.name for one in schedule] == ["a"]
    from redlock_beat import Status

    assert isinstance(schedule.status(), Status)
    assert schedule.status().leader


def test_each_url_of_a_cluster_is_a_start_node_and_one_that_is_away_is_waited_for(own_server, beats, caplog):
    server, broker = own_server("valkey", "--cluster-enabled", "yes"), own_server()
    server.client().execute_command("CLUSTER", "ADDSLOTS", *range(16384))
    url = f"redis+cluster://127.0.0.1:{free_port()};redis+cluster://127.0.0.1:{server.port}"
    flows(beats(broker.url(), ENTRY, redlock_beat_url=url), broker.client())
    assert "may be the schedule's Redis" not in caplog.text
    url = f"redis+cluster://127.0.0.1:{free_port()}"
    lost = beats(broker.url(), ENTRY, redlock_beat_url=url, redlock_beat_metrics_port=0)
    lost.tick(3)  # not a traceback, and not the end
    assert "What is due stays due" in caplog.text
    assert "Traceback" not in caplog.text
    edited = Schedule.from_url(f"redis+cluster://127.0.0.1:{free_port()}")
    edited.retry_for = 0.2
    with pytest.raises(RedlockBeatError, match="did not answer"):
        edited.add("x", "tasks.add", 60)


def test_the_doctor_and_edits_by_the_smallest_rule_work_on_a_cluster(own_server):
    server = own_server("valkey", "--cluster-enabled", "yes")
    client = server.client()
    client.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
    eventually(lambda: client.cluster("info")["cluster_state"] == "ok")
    found = {one.what: one for one in examine(Schedule.from_url(f"redis+cluster://127.0.0.1:{server.port}"))}
    assert found["permissions"].level == "ok"
    assert found["persistence"].level == "warning"
    rule = found["permissions"].why.rpartition("rule: ")[2].split()
    client.execute_command("ACL", "SETUSER", "small", "on", "nopass", *rule)
    url = f"redis+cluster://small:x@127.0.0.1:{server.port}"
    settings = Settings(url=url, lease_ttl=5.0)
    listener = Listener(Target(settings), "a")
    lease = Lease(Store(listener.target), listener, settings, "host:a")
    assert listener.subscribe()
    assert lease.acquire().fence.text.split()[2] == "seen"
    Schedule.from_url(url).add("x", "tasks.add", 60)
    assert listener.wait(5) == "edit"
    assert {one.what: one for one in examine(Schedule.from_url(url))}["permissions"].level == "ok"
    assert not [one for one in client.acl_log() if one["username"] == "small" and one["object"] != "latency"]
    listener.close()


async def _async_edits(url: str) -> list[str]:
    schedule = AsyncSchedule.from_url(url)
    await schedule.add("x", "tasks.add", 60)
    names = [one.name async for one in schedule.entries()]
    await schedule.close()
    return names


def test_async_edits_on_a_cluster(own_server):
    server = own_server("valkey", "--cluster-enabled", "yes")
    server.client().execute_command("CLUSTER", "ADDSLOTS", *range(16384))
    eventually(lambda: server.client().cluster("info")["cluster_state"] == "ok")
    url = f"redis+cluster://127.0.0.1:{free_port()};redis+cluster://127.0.0.1:{server.port}"
    assert asyncio.run(_async_edits(url)) == ["x"]


# --- failovers: the subscriptions stay behind, and nobody is dead ---------------------------------


def pair(beats, url: str, **conf) -> list:
    """Two beats that turn by themselves; both have been seen long enough to judge each other."""
    conf = {"redlock_beat_lease_ttl": TTL, "redlock_beat_socket_timeout": 0.5, **conf}
    two = [beats(url, ENTRY, **conf).start() for _ in range(2)]
    settled(two)
    return two


def settled(two: list) -> None:
    """Wait until one of them leads, and both are seen where the lease is, for longer than a TTL."""

    def ready() -> bool:
        leases = [one.parts.lease for one in two if one.built]
        seen = [one for one in leases if one.seen_since and monotonic() - one.seen_since > TTL]
        return len(seen) == 2 and sum(one.term is not None for one in two) == 1

    eventually(ready, "one leads, and both are seen")


def calm(two: list, client, turns: int = 5) -> int:
    """How many new terms there are in so many TTLs."""
    epoch = int(client.get(K.epoch))
    until = monotonic() + turns * TTL
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


TTL = 1.0


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
    host, port = leader.parts.listener._pubsub.connection._sock.getsockname()
    client.client_kill(f"{host}:{port}")
    eventually(lambda: len(looks) > 6, "the standby has looked")
    eventually(lambda: client.get(K.lease).split(" ")[2] == "seen", "it is seen again")
    assert client.get(K.epoch) == epoch


def test_several_broker_urls_keep_capturing_after_a_switch(valkey, beats):
    proxy = Proxy(valkey.port)
    urls = f"redis://127.0.0.1:{proxy.port}/0;{valkey.url()}"
    beat = beats(urls, ENTRY, redlock_beat_url=valkey.url())
    client = valkey.client()
    flows(beat, client)
    connection = beat.parts.renderer._connection
    connection.maybe_switch_next()
    assert hasattr(connection.default_channel, "_recorder")
    flows(beat, client)
    assert beat.parts.renderer.direct  # proved again
    proxy.close()


def test_each_command_of_a_script_is_in_the_acl_that_the_doctor_prints():
    allowed = {one.split("|")[0] for one in minimal_rule("redlock-beat", cluster=True, sharded=True).split()}
    scripts = list(Path(lua.__file__).parent.glob("*.lua"))
    assert len(scripts) > 10
    for path in scripts:
        used = set(re.findall(r"redis\.p?call\(\s*'(\w+)'", path.read_text()))
        assert {f"+{command.lower()}" for command in used} <= allowed, path.name
    plain = set(re.findall(r'[(\[]"([A-Z]+)", keys?\b', Path(requests.__file__).read_text()))
    assert {"ZCARD", "HSCAN"} <= plain
    assert {f"+{command.lower()}" for command in plain} <= allowed


def test_the_acl_that_the_doctor_prints_is_enough(server, beats, caplog):
    client = server.client()
    rule = minimal_rule("redlock-beat").split()
    client.execute_command("ACL", "SETUSER", "small", "on", "nopass", *rule, "~celery")  # and the queue's key
    try:
        beat = beats(server.url(), ENTRY, redlock_beat_url=server.url(user="small:x")).lead()
        assert beat.parts.listener.confirmed
        assert beat.parts.renderer.direct
        flows(beat, client)
        schedule = Schedule.from_url(server.url(user="small:x"))
        schedule.add("b", "tasks.add", 3600, run_now=True)
        schedule.trigger("b")
        schedule.remove("b")
        assert schedule.history()
        with contextlib.suppress(StopIteration):
            next(iter(schedule))
        assert not [one for one in caplog.records if one.levelname == "ERROR"]
    finally:
        client.execute_command("ACL", "DELUSER", "small")


def test_protocol_one_messages_are_sent_with_their_own_ids(valkey, beats):
    beat = beats(valkey, ENTRY, task_protocol=1)
    client = valkey.client()
    flows(beat, client)


def test_a_server_of_its_own_for_each_prefix(valkey, beats):
    first = beats(valkey, ENTRY, redlock_beat_prefix="one").lead()
    second = beats(valkey, {"b": ENTRY["a"]}, redlock_beat_prefix="two").lead()
    assert first.term is not None
    assert second.term is not None
    client = valkey.client()
    second.until(lambda: client.llen("celery"))
