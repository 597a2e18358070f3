"""A URL -> a client, for each kind of server; and the subscription that wakes the loop."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import redis

from redlock_beat import AsyncSchedule, RedlockBeatError, Schedule
from redlock_beat.__main__ import main
from redlock_beat.settings import Settings
from redlock_beat.store.client import TROUBLE, Listener, Target
from redlock_beat.store.keys import Keys
from tests.beats import flows, ledger
from tests.proxy import Proxy
from tests.servers import Cluster, eventually, free_port, need, shared_cluster

K = Keys("redlock-beat")


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

    return Settings(url=url, lease_ttl=1.0, socket_timeout=0.5, **more)


def test_a_subscription_that_is_open_at_this_end_only_is_noticed(valkey, candidate):
    address = Proxy(valkey.port)
    a = candidate(valkey, "a", ttl=0.5, port=address.port)
    assert a.listener.subscribe()
    client = valkey.client()
    client.config_resetstat()
    eventually(lambda: a.listener.wait(0.1) is None and "cmdstat_ping" in client.info("commandstats"), "it asks")
    assert a.listener.wait(0.1) is None  # and is answered
    assert a.listener.confirmed
    address.freeze()
    eventually(lambda: a.listener.wait(0.1) == "lost")
    address.close()


def test_a_wakeup_that_comes_while_nobody_waits_is_not_lost(valkey, candidate):
    a, client = candidate(valkey, "a"), valkey.client()
    assert a.listener.subscribe()
    client.publish(K.wake, "edit")
    eventually(lambda: a.listener.glance() and a.listener.woken)
    assert a.listener.wait(5) == "edit"
    client.client_kill_filter(_type="pubsub")
    assert a.listener.wait(5) == "lost"
    assert a.listener.wait(5) == "subscribed"  # what was said meanwhile was not heard: look


ENTRY = {"a": {"task": "tasks.add", "schedule": 0.1}}


@pytest.fixture
def certificates(tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make certificates with")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*command.split(), *names], cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


def test_tls(own_server, beats, certificates):
    port = free_port()
    cert, key = certificates / "cert.pem", certificates / "key.pem"
    try:
        options = f"--tls-port {port} --tls-cert-file {cert} --tls-key-file {key} --tls-ca-cert-file {cert}"
        server = own_server("redis", *options.split(), "--tls-auth-clients", "no")
    except AssertionError as exc:  # its log
        if "tls-port" not in str(exc):
            raise
        pytest.skip("this redis-server was built without TLS, and does not know tls-port")
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
            "sentinel down-after-milliseconds mymaster 60000\nsentinel failover-timeout mymaster 3000\n"
        )
        self.process = subprocess.Popen(
            [need("valkey"), str(conf), "--sentinel"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

        self.client = redis.Redis(port=self.port, decode_responses=True)
        eventually(lambda: len(self.client.sentinel_slaves("mymaster")) == 1, "the sentinel knows the replica")
        eventually(lambda: self.replica.client().info("replication")["master_link_status"] == "up")

    def kill_master(self) -> None:
        """The master dies, and the sentinel is to notice soon; before, it waits for one that is slow."""
        self.client.execute_command("SENTINEL", "SET", "mymaster", "down-after-milliseconds", "500")
        self.master.stop(signal.SIGKILL)

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


def test_sentinel_and_a_promotion_that_a_hold_outlives(sentinel, beats):
    options = {"master_name": "mymaster"}
    beat = beats(f"sentinel://127.0.0.1:{sentinel.port}", ENTRY, broker_transport_options=options)
    flows(beat, sentinel.master.client())
    assert beat.parts.renderer.direct
    probe = ["health", "--url", f"sentinel://127.0.0.1:{sentinel.port}"]
    assert main([*probe, "--master-name", "mymaster"]) == 0
    assert main([*probe[:-1], f"{probe[-1]}/0?master_name=mymaster"]) == 0
    generation, client, schedule = beat.parts.broker.proved, sentinel.replica.client(), Schedule(beat.app)
    hold, _ = schedule.ask(schedule.operations.holding(None, "a new server", None, None))
    eventually(lambda: client.hget(beat.parts.store.keys.hold, "id") == hold.id, "the replica has it")
    sentinel.kill_master()
    eventually(sentinel.promoted, "the replica is promoted", 30)
    eventually(lambda: client.info("replication")["role"] == "master")
    sent = client.llen("celery")
    # Another server is at this address now: it has to be proved again.
    beat.until(lambda: beat.parts.broker.proved > generation and beat.parts.renderer.direct, "it is proved again", 40)
    beat.until(lambda: schedule.held().confirmed, "the leader knows of the hold")
    assert client.llen("celery") == sent
    assert schedule.release().id == hold.id
    flows(beat, client)


def test_cluster(valkey, beats):
    server = shared_cluster()
    client = server.client()
    url = f"redis+cluster://127.0.0.1:{server.port}"
    beat = beats(valkey.url(), ENTRY, redlock_beat_url=url)
    flows(beat, valkey.client())
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


def test_each_url_of_a_cluster_is_a_start_node_and_one_that_is_away_is_waited_for(valkey, beats, caplog):
    server, broker = shared_cluster(), valkey
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


async def _async_edits(url: str) -> list[str]:
    schedule = AsyncSchedule.from_url(url)
    await schedule.add("x", "tasks.add", 60)
    names = [one.name async for one in schedule.entries()]
    await schedule.close()
    return names


def test_async_edits_on_a_cluster():
    server = shared_cluster()
    url = f"redis+cluster://127.0.0.1:{free_port()};redis+cluster://127.0.0.1:{server.port}"
    assert asyncio.run(_async_edits(url)) == ["x"]


@pytest.mark.parametrize("kind", ["blocking", "async"])
def test_a_node_of_the_url_that_the_cluster_did_not_list_is_asked_all_the_same(own_server, kind):
    """It was away when the client looked: redis-py forgets it, and would never find the cluster without the other."""
    cluster = Cluster(own_server)
    target = Target(make_settings(cluster.url()))
    cluster.nodes[1].stop(signal.SIGKILL)
    eventually(lambda: str(cluster.nodes[1].port) not in str(cluster.owner.cluster("slots")), "it is missed")
    loop = asyncio.new_event_loop()
    client = target.client() if kind == "blocking" else target.async_client()

    def write() -> bool:
        try:
            return bool(client.set("a", 1) if kind == "blocking" else loop.run_until_complete(client.set("a", 1)))
        except TROUBLE:
            return False

    assert write()
    cluster.nodes[1].start()
    eventually(lambda: cluster.follower.info("replication")["master_link_status"] == "up", "it has followed")
    cluster.kill_owner()
    eventually(write, "the other node is found")
    if kind == "async":
        loop.run_until_complete(client.aclose())
    loop.close()
