"""The Celery project of the demo: some entries and their tasks."""

from __future__ import annotations

import os
import time

from celery import Celery

import redlock_beat

from . import runs as runs  # its signal writes the runs down

#: One in so many runs of `flaky` fails.
FAILS = 4

app = Celery("demo", broker=os.environ.get("REDLOCK_BEAT_DEMO_URL", "redis://127.0.0.1:6379/0"))
app.conf.update(
    beat_schedule={
        **{f"every-second-{i}": {"task": "demo.hello", "schedule": 1.0, "args": (i,)} for i in (1, 2, 3)},
        "report": {"task": "demo.report", "schedule": 5.0},
        "flaky": {"task": "demo.flaky", "schedule": 3.0},
        "on-the-minute": {"task": "demo.hello", "schedule": "* * * * *", "args": (60,)},
    },
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)
redlock_beat.watch(app)


@app.task(name="demo.hello")
def hello(number: int) -> int:
    """Return at once."""
    return number


@app.task(name="demo.report")
def report() -> str:
    """Take a while."""
    time.sleep(0.4)
    return "done"


@app.task(name="demo.flaky")
def flaky() -> None:
    """Fail now and then."""
    if time.time_ns() // 1_000_000_000 % FAILS == 0:
        raise RuntimeError("the provider did not answer")
