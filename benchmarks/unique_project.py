"""The project of the benchmark ``unique``: one task, kept to one run by the library that LIBRARY names."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from celery import Celery

LIBRARY, BROKER = os.environ.get("LIBRARY", "redlock_beat"), os.environ.get("BROKER", "memory://")
RECORD = Path(os.environ.get("RECORD", os.devnull))
#: Seconds after which a lock ends by itself, where the library has such a time; '' for its default.
EXPIRY = os.environ.get("EXPIRY", "")

app = Celery("unique", broker=BROKER, backend=BROKER.rsplit("/", 1)[0] + "/1" if "redis" in BROKER else None)
app.conf.update(worker_prefetch_multiplier=1, redlock_beat_worker_ttl=2, task_publish_retry=False)
options: dict[str, Any] = {}
if LIBRARY == "redlock_beat":
    from redlock_beat.tasks import Task

    options = {"base": Task, "unique": True, "unique_on": ("key",)}
elif LIBRARY == "celery_once":
    from celery_once import QueueOnce

    settings = {"url": BROKER, "default_timeout": int(EXPIRY or 3600)}
    app.conf.ONCE = {"backend": "celery_once.backends.Redis", "settings": settings}
    options = {"base": QueueOnce, "once": {"graceful": True, "keys": ["key"]}}
elif LIBRARY == "celery_singleton":
    from celery_singleton import Singleton

    app.conf.singleton_backend_url = BROKER
    options = {"base": Singleton, "unique_on": ["key"], **({"lock_expiry": int(EXPIRY)} if EXPIRY else {})}


def note(what: str, key: object) -> None:
    """One line of the record of runs."""
    file = os.open(RECORD, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{time.time():.6f} {what} {key}\n".encode())
    os.close(file)


@app.task(bind=True, name="work", **options)
def work(self: Any, key: object, hold: str = "", failures: int = 0) -> object:
    """It goes on until the file *hold* is there, if it is given one, and fails so often before."""
    note("begin", key)
    deadline = time.monotonic() + 60
    while hold and not Path(f"{RECORD}-{hold}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    if self.request.retries < failures:
        raise self.retry(countdown=0, max_retries=failures)
    note("end", key)
    return key


@app.task(name="plain")
def plain(key: object = None) -> object:
    """As Celery has it."""
    note("plain", key)
    return key


def call(count: int) -> None:
    """The same call, so often."""
    for _ in range(count):
        work.delay("storm")


def die_before_sending() -> None:
    """Take the lock, and die before the message is sent."""
    app.send_task = lambda *args, **kwargs: os._exit(0)
    work.delay("publisher")


if __name__ == "__main__":
    {"call": lambda: call(int(sys.argv[2])), "die": die_before_sending}[sys.argv[1]]()
