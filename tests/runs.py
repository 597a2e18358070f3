"""A Celery project whose runs write down when they begin and end, in a file that outlives them."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from celery import Celery
from celery.exceptions import Reject

import redlock_beat
from redlock_beat.tasks import client

app = Celery("runs", broker=os.environ["RUNS_BROKER"])
app.conf.update(
    redlock_beat_url=os.environ["RUNS_SCHEDULE"],
    redlock_beat_application="tests",
    # Longer than a busy machine pauses a worker; tests in which a lease is to lapse say so.
    redlock_beat_worker_ttl=float(os.environ.get("RUNS_TTL", "60")),
    redlock_beat_lease_ttl=2.0,
    redlock_beat_once_per_occurrence=bool(os.environ.get("RUNS_ONCE")),
    worker_prefetch_multiplier=int(os.environ.get("RUNS_PREFETCH", "1")),
    task_acks_late=bool(os.environ.get("RUNS_ACKS_LATE")),
    task_reject_on_worker_lost=bool(os.environ.get("RUNS_ACKS_LATE")),
    task_default_queue=os.environ.get("RUNS_QUEUE", "celery"),
    broker_connection_retry_on_startup=True,
    # Where kombu can be told to, a worker looks each second for messages that a dead one has fetched.
    broker_transport_options={
        "visibility_timeout": float(os.environ.get("RUNS_VISIBILITY", "3600")),
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
    },
    worker_enable_remote_control=True,
    redlock_beat_pings=json.loads(os.environ.get("RUNS_PINGS", "{}")),
    redlock_beat_statsd=os.environ.get("RUNS_STATSD", ""),
)
if os.environ.get("RUNS_TIMEOUT"):
    client.TIMEOUT = app.conf.redlock_beat_socket_timeout = float(os.environ["RUNS_TIMEOUT"])
if not os.environ.get("RUNS_UNWATCHED"):
    redlock_beat.watch(app)


def write(what: str, request: Any) -> None:
    line = f"{what} {time.time():.6f} {request.id} {getattr(request, 'redlock_beat_entry', '-')} {os.getpid()}\n"
    with open(os.environ["RUNS_DIARY"], "a") as diary:
        diary.write(line)


@app.task(bind=True, name="runs.sleep")
def sleep(self: Any, seconds: float = 0.0) -> None:
    """Takes so long, and writes when it begins and when it ends."""
    write("begin", self.request)
    time.sleep(seconds)
    write("end", self.request)


@app.task(bind=True, name="runs.hold")
def hold(self: Any) -> None:
    """Takes until it may end."""
    write("begin", self.request)
    deadline = time.monotonic() + 60
    while not os.path.exists(os.environ["RUNS_DIARY"] + "-go") and time.monotonic() < deadline:
        time.sleep(0.02)
    write("end", self.request)


@app.task(name="runs.nothing", ignore_result=True)
def nothing() -> None:
    """Takes no time."""


@app.task(bind=True, name="runs.kill")
def kill_worker(self: Any, step: str, takes: float = 0.3) -> None:
    """The first run of all kills its worker, at a step of its life; those after it are well."""
    marker = os.environ["RUNS_DIARY"] + "-killed"
    fatal = not os.path.exists(marker)
    if fatal:
        with open(marker, "w") as file:
            file.write(str(os.getpid()))
    if fatal and step == "claimed":
        kill_own_worker()
    write("begin", self.request)
    time.sleep(takes)
    write("end", self.request)
    if fatal and step == "ended":
        kill_own_worker()


def kill_own_worker() -> None:
    main = os.getpid() if sys.argv[sys.argv.index("-P") + 1] == "threads" else os.getppid()
    os.kill(main, 9)
    time.sleep(60)  # a process of a pool dies with it


@app.task(bind=True, name="runs.fail", max_retries=1)
def fail(self: Any, how: str = "raise") -> None:
    """Ends otherwise than well."""
    write("begin", self.request)
    if how == "retry" and self.request.retries == 0:
        raise self.retry(countdown=0.1)
    if how == "retry elsewhere" and self.request.retries == 0:
        raise self.retry(countdown=0, queue="elsewhere")
    if how == "reject":
        raise Reject("no", requeue=False)
    if how == "die":
        os.kill(os.getpid(), 9)
    if how == "long":
        time.sleep(60)
    if how == "raise":
        raise ValueError("redis://user:secret@host/ is wrong")
    write("end", self.request)
