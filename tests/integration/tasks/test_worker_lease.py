"""A worker's lease: it stands while the worker lives, and lapses when it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from redlock_beat.errors import RedisUnavailable
from redlock_beat.store import requests
from redlock_beat.store.keys import Keys
from redlock_beat.tasks.client import store_of
from redlock_beat.tasks.worker import current_worker
from tests.beats import ROOT, make_app
from tests.servers import eventually

K = Keys("redlock-beat")


@pytest.fixture
def worker(valkey, tmp_path):
    """Starts a real worker of the test project."""
    started = []

    def start(pool: str, **conf: str):
        env = {
            **os.environ,
            "PROJECT_BROKER": valkey.url(),
            "PROJECT_CONF": '{"redlock_beat_worker_ttl": 1}',
            "PROJECT_WATCH": "1",
            "PYTHONPATH": str(ROOT),
            **conf,
        }
        command = [sys.executable, "-m", "celery", "-A", "tests.project", "worker", "-P", pool, "-c", "2", "-l", "info"]
        with open(tmp_path / f"worker-{len(started)}.log", "wb") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=subprocess.STDOUT)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait(20)


def living(valkey) -> set[str]:
    client = valkey.client()
    now = client.time()[0]
    return {token for token, until in client.zrange(K.workers, 0, -1, withscores=True) if until > now}


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_worker_lives_until_it_is_told_to_end_and_its_pool_knows_whose_it_is(valkey, worker, pool):
    process = worker(pool)
    (token,) = eventually(lambda: living(valkey), "it lives")
    app = make_app(valkey.url(), result_backend=valkey.url(1))
    assert app.send_task("tasks.whose").get(timeout=20) == token
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert valkey.client().zcard(K.workers) == 0


def test_a_worker_that_is_killed_holds_nothing_after_its_time(valkey, worker):
    process = worker("solo")
    eventually(lambda: living(valkey), "it lives")
    process.kill()
    eventually(lambda: not living(valkey), "its lease has lapsed")


def test_nobody_is_a_worker_outside_of_one():
    assert current_worker() is None


def test_redis_away_costs_a_task_one_moment_and_then_none(own_server):
    server = own_server()
    store = store_of(make_app(server.url(), redlock_beat_socket_timeout=0.1))
    asked = requests.worker(store.keys, "token", 1000)
    eventually(lambda: store.run(asked) is not None, "it is connected")  # a busy machine may take longer than a tenth
    server.process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(RedisUnavailable) as first:
            store.run(requests.worker(store.keys, "token", 1000))
        assert first.value.unknown
        with pytest.raises(RedisUnavailable, match="some seconds ago") as second:
            store.run(requests.worker(store.keys, "token", 1000))
        assert not second.value.unknown
    finally:
        server.process.send_signal(signal.SIGCONT)


def test_each_process_has_connections_of_its_own(valkey):
    app = make_app(valkey.url())
    mine = store_of(app)
    assert store_of(app) is mine
    pid = os.fork()
    if pid == 0:
        os._exit(0 if store_of(app) is not mine else 1)
    assert os.waitpid(pid, 0)[1] == 0
