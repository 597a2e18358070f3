"""The Celery project whose tasks have options of their own, run by real workers; each run is noted in a file."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from celery import Celery
from celery.exceptions import Reject
from kombu.exceptions import OperationalError

from redlock_beat.tasks import Task, client, locks
from redlock_beat.tasks.locks import Locks

app = Celery("tasks-project", broker=os.environ.get("PROJECT_BROKER", "memory://"), task_cls=Task)
app.conf.update(
    result_backend=os.environ.get("PROJECT_RESULTS") or None,
    redlock_beat_url=os.environ.get("PROJECT_SCHEDULE") or None,
    # Longer than a busy machine pauses a worker; tests in which a lease is to lapse say so.
    redlock_beat_worker_ttl=float(os.environ.get("PROJECT_TTL", "60")),
    redlock_beat_application="tests",
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    # A worker that is killed is believed to be gone after this time, where kombu can be told to look often.
    broker_transport_options={
        "visibility_timeout": 2,
        "unacked_restore_interval": 0.2,
        "unacked_restore_throttle": 1,
    },
    task_acks_late=bool(os.environ.get("PROJECT_LATE")),
    task_reject_on_worker_lost=bool(os.environ.get("PROJECT_LATE")),
)
if os.environ.get("PROJECT_TIMEOUT"):
    client.TIMEOUT = app.conf.redlock_beat_socket_timeout = float(os.environ["PROJECT_TIMEOUT"])
app.conf.update(json.loads(os.environ.get("PROJECT_CONF", "{}")))


RECORD = os.environ.get("PROJECT_RECORD", os.devnull)


def note(what: str, key: object, id_: str) -> None:
    """One line of the record of runs; short writes at the end of a file are not mixed."""
    line = f"{time.monotonic():.6f} {what} {key} {id_} {os.getpid()}\n".encode()
    file = os.open(RECORD, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line)
    finally:
        os.close(file)


def hold(key: object, wait: bool | float) -> None:
    """Take so many seconds; True: until the file of this name is there."""
    path = Path(RECORD).parent / f"go-{key}"
    deadline = time.monotonic() + (60 if wait is True else wait)
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)


@app.task(shared=False, bind=True, name="once", unique=True)
def once(self: Any, key: object, value: object = None, wait: bool | float = False) -> object:
    """A unique task; with *wait* it runs until it is told to go on."""
    note("begin", key, self.request.id)
    if wait:
        hold(key, wait)
    note("end", key, self.request.id)
    return value


@app.task(shared=False, bind=True, name="late", unique=True, acks_late=True, reject_on_worker_lost=True)
def late(self: Any, key: object, wait: bool | float = True) -> object:
    """A unique task whose message comes again when its worker dies."""
    note("begin", key, self.request.id)
    if wait:
        hold(key, wait)
    note("end", key, self.request.id)
    return key


@app.task(shared=False, bind=True, name="at_start", unique=True, unique_until="start")
def at_start(self: Any, key: object) -> object:
    """Its lock ends when it begins."""
    note("begin", key, self.request.id)
    hold(key, True)
    note("end", key, self.request.id)
    return key


@app.task(shared=False, bind=True, name="fails", unique=True)
def fails(self: Any, key: object) -> None:
    """It fails."""
    note("begin", key, self.request.id)
    raise ValueError(f"no {key}")


@app.task(
    shared=False,
    bind=True,
    name="again",
    unique=True,
    acks_late=True,
    autoretry_for=(ValueError,),
    default_retry_delays=(0.3, 0.3),
)
def again(self: Any, key: object) -> int:
    """It works at the third attempt."""
    note("begin", key, self.request.id)
    if self.request.retries < 2:
        raise ValueError("not yet")
    note("end", key, self.request.id)
    return int(self.request.retries)


@app.task(shared=False, bind=True, name="last", unique=True, unique_on=("key",), unique_duplicate="replace")
def last(self: Any, key: object, value: object = None, wait: bool | float = False) -> object:
    """Of several calls the last one runs."""
    note("begin", key, self.request.id)
    if wait:
        hold(key, wait)
    note("end", key, self.request.id)
    return value


@app.task(shared=False, bind=True, name="cools", cooldown=60, unique_on=("key",))
def cools(self: Any, key: object, fail: bool = False) -> object:
    """After a success it is ignored for a while."""
    note("begin", key, self.request.id)
    if fail:
        raise ValueError("no")
    return key


@app.task(shared=False, name="collect")
def collect(values: object = None) -> object:
    """The end of a canvas."""
    return values


@app.task(shared=False, bind=True, name="slow", unique=True, time_limit=1)
def slow(self: Any, key: object) -> None:
    """It is killed by its time limit."""
    note("begin", key, self.request.id)
    hold(key, True)


@app.task(shared=False, bind=True, name="plain", base=Task)
def plain(self: Any, key: object = None) -> object:
    """A task with no options."""
    note("begin", key, self.request.id)
    return key


@app.task(shared=False, bind=True, name="rejects", unique=True, acks_late=True)
def rejects(self: Any, key: object) -> object:
    """It gives its message back once."""
    note("begin", key, self.request.id)
    if not self.request.delivery_info.get("redelivered"):
        raise Reject("not here", requeue=True)
    return key


@app.task(shared=False, bind=True, name="refused", unique=True, max_retries=None)
def refused(self: Any, key: object) -> None:
    """Its retry cannot be sent."""
    note("begin", key, self.request.id)

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("the broker is away")

    send, self.app.send_task = self.app.send_task, refuse
    try:
        self.retry(countdown=0)
    finally:
        self.app.send_task = send


class Late:
    """A value that takes its time to be written."""

    def __init__(self, key: object) -> None:
        self.key = key

    def __json__(self) -> str:
        hold(f"{self.key}-stored", True)
        return "late"


@app.task(shared=False, bind=True, name="stored_late", unique=True)
def stored_late(self: Any, key: object) -> object:
    """Its result is stored some time after its lock is free."""
    note("begin", key, self.request.id)
    hold(key, True)
    note("end", key, self.request.id)
    return Late(key)


class Heard(Task):
    """Notes the whole life of its calls."""

    abstract = True

    def on_invocation_apply(self, invocation_id: str, *rest: Any) -> None:
        note("apply", "life", invocation_id)

    def on_invocation_trigger(self, invocation_id: str, args: Any, kwargs: Any, task_id: str, *rest: Any) -> None:
        note("trigger", "life", invocation_id)
        assert task_id == invocation_id

    def on_invocation_unique(self, invocation_id: str, args: Any, kwargs: Any, task_id: str, *rest: Any) -> None:
        note("unique", task_id, invocation_id)

    def on_invocation_ignored(self, invocation_id: str, *rest: Any) -> None:
        note("ignored", "life", invocation_id)

    def on_invocation_timeout(self, invocation_id: str, args: Any, kwargs: Any, task_id: str, *rest: Any) -> None:
        note("timeout", "life", invocation_id)

    def on_task_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        note("start", "life", task_id)
        assert self.invocation_id == task_id

    def on_task_retry(self, task_id: str, args: Any, kwargs: Any, exc: Any, eta: Any) -> None:
        note("retry", type(exc).__name__, task_id)

    def on_task_failure(self, task_id: str, args: Any, kwargs: Any, exc: Any, einfo: Any) -> None:
        note("failure", type(exc).__name__, task_id)

    def on_task_success(self, task_id: str, args: Any, kwargs: Any, retval: Any) -> None:
        note("success", retval, task_id)


@app.task(
    shared=False,
    bind=True,
    name="heard",
    base=Heard,
    unique=True,
    unique_on=("key",),
    cooldown=60,
    autoretry_for=(ValueError,),
    default_retry_delays=(0.1,),
)
def heard(self: Any, key: object, failures: int = 0) -> object:
    """It fails so often before it succeeds."""
    if self.request.retries < failures:
        raise ValueError("not yet")
    return "done"


@app.task(shared=False, bind=True, name="sets_cooldown", cooldown=0)
def sets_cooldown(self: Any, key: object, seconds: float) -> None:
    """It says itself how long it is not wanted again."""
    note("begin", key, self.request.id)
    self.set_ignore_task(seconds)


@app.task(shared=False, bind=True, name="cools_longer", cooldown=5)
def cools_longer(self: Any, key: object, seconds: float) -> None:
    """It has a cooldown, and sets another one."""
    self.set_cooldown(seconds)


@app.task(shared=False, bind=True, name="occurs")
def occurs(self: Any) -> object:
    """It tells which occurrence it is of."""
    found = self.occurrence
    return (
        None
        if found is None
        else [
            found.entry,
            found.nominal.timestamp(),
            found.lateness,
            found.task_id,
            found.epoch,
            found.previous,
        ]
    )


def die_at(step: str) -> None:
    """Have this process killed before or after it asks something of its locks."""
    name, when = step.split()
    real = getattr(Locks, name)

    def dying(*args: Any, **kwargs: Any) -> Any:
        if when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        real(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(Locks, name, dying)


if os.environ.get("PROJECT_DIE"):
    die_at(os.environ["PROJECT_DIE"])
locks.SENDING = float(os.environ.get("PROJECT_SENDING", locks.SENDING))


if __name__ == "__main__":  # calls: the same one, so often, and the ids that they got
    called = app.tasks[sys.argv[4]]
    ids = {called.delay(sys.argv[1], wait=float(sys.argv[3])).id for _ in range(int(sys.argv[2]))}
    print(*ids)
