"""Countdowns with real workers and beats, killed in the middle: each runs once, and a revoked one never."""

from __future__ import annotations

import collections
import json
import os
import signal

import pytest

from redlock_beat import keep_countdowns
from redlock_beat.store.keys import Keys
from tests.beats import Process, make_app
from tests.servers import eventually

K = Keys("redlock-beat")
CONF = {
    "redlock_beat_eta_threshold": 1,
    "redlock_beat_once_per_occurrence": True,
    "redlock_beat_worker_ttl": 2,
    # Where kombu can be told to, a worker looks each second for messages that a dead one has fetched.
    "broker_transport_options": {"visibility_timeout": 4, "unacked_restore_interval": 1, "unacked_restore_throttle": 1},
    "task_ignore_result": True,
}


class Site:
    """Workers and beats on one server, started again by whoever kills them."""

    def __init__(self, server, runs, pool: str) -> None:
        self.server, self.runs = server, runs
        self.pool = ("worker", "-P", pool, "-c", "2")
        self.env = {
            "PROJECT_CONF": json.dumps(CONF),
            "PROJECT_KEEP": "1",
            "PROJECT_WATCH": "1",
            "PROJECT_ENTRIES": "0",
            "PROJECT_RUNS": str(runs),
        }
        self.all: list[Process] = []
        app = make_app(server.url(), **CONF)
        keep_countdowns(app)
        self.app = app

    def start(self, *command: str) -> Process:
        one = Process(self.server.url(), command=command, **self.env)
        self.all.append(one)
        return one

    def worker(self) -> Process:
        return self.start(*self.pool).says(" ready")

    def call(self, which: int, countdown: float):
        return self.app.send_task("tasks.count", (which,), countdown=countdown)

    def ran(self) -> collections.Counter[int]:
        return (
            collections.Counter(map(int, self.runs.read_text().split()))
            if self.runs.exists()
            else collections.Counter()
        )

    def close(self) -> None:
        for one in self.all:
            one.close()


@pytest.fixture(params=["threads", "prefork"])
def site(request, valkey, tmp_path):
    site = Site(valkey, tmp_path / "runs", request.param)
    yield site
    site.close()


def test_each_countdown_runs_once_though_workers_and_beats_are_killed(site):
    beats = [site.start("beat", "-S", "redlock") for _ in range(2)]
    for one in beats:
        one.says("This beat is ")
    doomed = site.worker()
    for i in range(5):
        site.call(i, 2)
    revoked = [site.call(100 + i, 60).id for i in range(5)]
    site.app.control.revoke(revoked)

    eventually(lambda: len(site.ran()) >= 5, "some have run")
    for which in (300, 301):  # its pool runs nothing else from here on: a run that is killed is not run again
        site.app.send_task("tasks.hang", (which,))
    eventually(lambda: {300, 301} <= site.ran().keys(), "its pool is occupied")
    for i in range(5, 60):
        site.call(i, 2 + i / 20)
    eventually(lambda: site.server.client().hlen("unacked") >= 2, "it has fetched what it cannot run")
    os.killpg(doomed.pid, signal.SIGKILL)
    leader = int(site.server.client().get(K.lease).rsplit(":", 1)[1])
    os.kill(leader, signal.SIGKILL)
    site.worker()
    # An older kombu looks every 100 s.
    eventually(lambda: len(site.ran()) >= 62, "all have run, also what the dead worker held", 150)
    late = site.call(200, 1.5)
    eventually(lambda: site.ran()[200], "the next one runs, too")
    ran = site.ran()
    assert ran == dict.fromkeys([*range(60), 200, 300, 301], 1)
    assert site.server.client().exists(K.countdowns, K.countdown_items) == 0
    assert late.id


def test_a_run_knows_when_it_was_to_run(site):
    """`self.request.eta` is what Celery's own would be, though the message has none."""
    site.start("beat", "-S", "redlock").says("This beat is leader")
    site.worker()
    site.app.conf.result_backend = site.server.url(1)
    result = site.app.send_task("tasks.eta", countdown=1.5)
    kept = site.server.client().zscore(K.countdowns, result.id)
    first, second = result.get(timeout=30)
    assert abs(first - kept) < 0.01
    assert first + 1.2 < second < first + 10  # it has tried once more, by a countdown that was kept, too
