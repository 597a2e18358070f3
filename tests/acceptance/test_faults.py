"""Real `celery beat` processes, killed, frozen and cut off: nothing twice, and they go on.

How long each takes is measured by benchmarks/failover.py, not here.
"""

from __future__ import annotations

import contextlib
import os
import signal

import psutil
import pytest

from redlock_beat import Schedule
from redlock_beat.store.keys import Keys
from tests.beats import Process, Replicas, comes, duplicates, ledger, messages
from tests.faults import FAULTS, connections_cut, redis_restarted, sigkill, sigstop, sigterm
from tests.servers import eventually, rabbitmq

K = Keys("redlock-beat")
ENTRIES = 5


@pytest.fixture
def replicas(own_server):
    made: list[Replicas] = []

    def start(*server_args: str, **kwargs) -> Replicas:
        one = Replicas(own_server("valkey", *server_args), **kwargs)
        made.append(one)
        return one

    yield start
    for one in made:
        one.close()


#: The quick way meets them all; what is rendered one by one, those that cut a commit.
WAYS = [(fault, "filled") for fault in FAULTS] + [(fault, "rendered") for fault in (sigkill, sigstop, redis_restarted)]
WAYS += [(sigkill, "instrumented")]


@pytest.mark.parametrize(("fault", "how"), WAYS, ids=lambda one: getattr(one, "__name__", one))
def test_nothing_is_sent_twice_and_they_go_on(replicas, fault, how):
    three = replicas("--appendonly", "yes", "--appendfsync", "always", PROJECT_ENTRIES=str(ENTRIES), PROJECT_WAY=how)
    three.goes_on(ENTRIES)
    alive = fault(three)
    three.goes_on(ENTRIES, 3)
    assert duplicates(three.client) == 0
    assert len(ledger(three.client, "sent")) == len(messages(three.client))
    assert three.alive() == alive
    for one in three.beats:
        assert "Traceback" not in one.said() or fault is redis_restarted


@pytest.mark.parametrize("fault", [sigterm, sigkill, connections_cut], ids=lambda fault: fault.__name__)
def test_behind_rabbitmq_a_repeat_has_the_same_id(replicas, fault):
    import uuid

    from kombu import Connection

    url, queue = rabbitmq(), f"redlock-test-{uuid.uuid4().hex}"
    three = replicas(broker=url, PROJECT_CONF=f'{{"task_default_queue": "{queue}"}}', PROJECT_ENTRIES=str(ENTRIES))
    try:
        three.goes_on(ENTRIES)
        fault(three)
        three.goes_on(ENTRIES, 3)
        sent = {row["id"] for row in ledger(three.client, "sent")}
        by_due: dict[tuple, set[str]] = {}
        with Connection(url) as connection:
            simple = connection.SimpleQueue(queue)
            for _ in range(len(sent)):
                message = simple.get(timeout=20)
                by_due.setdefault(
                    (message.headers["redlock_beat_entry"], message.headers["redlock_beat_due"]), set()
                ).add(message.headers["id"])
            simple.close()
        assert all(len(ids) == 1 for ids in by_due.values())
    finally:
        with Connection(url) as connection, contextlib.suppress(Exception):
            connection.default_channel.queue_delete(queue)


@pytest.mark.parametrize("missed", ["once", "skip", "all"])
def test_a_real_missed_window_by_each_policy(own_server, missed):
    server = own_server("valkey")
    client = server.client()
    schedule = Schedule.from_url(server.url())
    schedule.add("a", "tasks.add", 0.5, missed=missed, grace=0.4 if missed == "skip" else None)
    first = Process(server.url(), PROJECT_ENTRIES="0")
    try:
        eventually(lambda: len(ledger(client, "sent")) >= 2, "it is sent")
        first.end(signal.SIGKILL)
        gone = schedule["a"].state.nominal
        comes(schedule, gone + 2_000_000)
        second = Process(server.url(), PROJECT_ENTRIES="0")
        try:
            eventually(lambda: schedule["a"].state.nominal > gone + 3_000_000, "it goes on")
        finally:
            second.end()
            second.close()
    finally:
        first.close()
    assert duplicates(client) == 0
    sent = sorted(int(row["nominal"]) for row in ledger(client, "sent"))
    passed = [at for row in ledger(client, "missed") for at in range(int(row["from"]), int(row["to"]) + 1, 500_000)]
    every = range(schedule["a"].anchor + 500_000, schedule["a"].state.nominal, 500_000)
    assert sorted(sent + passed) == list(every)  # each slot is sent, or missed by its policy
    if missed == "all":
        assert passed == []
    else:
        assert len(passed) >= 3


def test_an_embedded_beat_does_not_outlive_its_worker(own_server):
    server = own_server()
    worker = Process(
        server.url(), "-B", "--scheduler", "redlock", "--concurrency", "1", command=("worker",), PROJECT_TTL="1"
    )
    try:
        worker.says("ready.")
        client = server.client()
        eventually(lambda: client.exists(K.lease), "the embedded beat leads")
        pid = int(client.get(K.lease).rsplit(":", 1)[1])
        assert pid != worker.pid
        beat = psutil.Process(pid)
        worker.end(signal.SIGKILL)
        eventually(lambda: not beat.is_running() or beat.status() == psutil.STATUS_ZOMBIE, "the beat ends, too")
        eventually(lambda: not client.exists(K.lease), "and gave its lease back")
    finally:
        worker.close()
        with contextlib.suppress(Exception):
            for child in psutil.process_iter(["cmdline"]):
                if str(server.port) in " ".join(child.info["cmdline"] or []) and "celery" in str(child.info["cmdline"]):
                    child.kill()


def test_an_embedded_beat_stops_with_its_worker(own_server):
    server = own_server()
    # It consumes nothing: a pool that is stopped with a task just done waits for up to 30 s (billiard's
    # _ensure_messages_consumed), and only then does Celery come to stopping the beat.
    options = ["-B", "--scheduler", "redlock", "--concurrency", "1", "-Q", "nothing"]
    worker = Process(server.url(), *options, command=("worker",), PROJECT_TTL="60", PROJECT_RENDER_LIMIT="60")
    try:
        worker.says("ready.")
        client = server.client()
        eventually(lambda: client.exists(K.lease), "the embedded beat leads")
        worker.end(signal.SIGTERM)
        eventually(lambda: not client.exists(K.lease), "the lease is given back, long before its end")
    finally:
        worker.close()


def test_a_redis_that_is_away_is_waited_for_with_the_password_masked(own_server):
    server = own_server()
    url = f"redis://:s3cret@127.0.0.1:{server.port}/0"
    server.stop(signal.SIGKILL)
    beat = Process(url, PROJECT_SCHEDULE=url)
    try:
        beat.says("Attempt 2 follows in")
        assert beat.alive
        server.args = ("--requirepass", "s3cret")
        server.start(password="s3cret")
        beat.says("This beat is leader")
        assert "s3cret" not in beat.said()
    finally:
        beat.close()


def test_a_server_that_can_never_work_ends_beat_with_a_clear_error(own_server):
    server = own_server("valkey", "--rename-command", "GETDEL", "")
    beat = Process(server.url())
    try:
        assert beat.popen.wait(60) != 0
        assert "needs Redis 6.2 or newer" in beat.said()
    finally:
        beat.close()


def test_a_wrong_setting_ends_beat_and_names_the_setting(own_server):
    server = own_server()
    beat = Process(server.url(), PROJECT_CONF='{"redlock_beat_lease_ttl": "soon"}')
    try:
        assert beat.popen.wait(60) != 0
        assert "redlock_beat_lease_ttl is 'soon', but must be a number of seconds from 0.5 to 300" in beat.said()
    finally:
        beat.close()


def test_a_server_that_may_evict_is_a_warning(own_server):
    server = own_server("valkey", "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    beat = Process(server.url())
    try:
        beat.says("may evict keys").says("This beat is leader")
    finally:
        beat.close()


def test_sigterm_during_a_stalled_redis_ends_within_its_bound(own_server):
    server = own_server()
    beat = Process(server.url())
    try:
        beat.says("This beat is leader")
        assert server.process is not None
        os.kill(server.process.pid, signal.SIGSTOP)
        beat.send(signal.SIGTERM)
        assert beat.popen.wait(10) == 0  # a second or so for what it must, and Celery's own end
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
        beat.close()
