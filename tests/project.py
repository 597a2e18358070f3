"""The Celery project that the acceptance tests run, configured by environment variables."""

from __future__ import annotations

import json
import os
import time

from celery import Celery
from celery.beat import BeatLazyFunc
from celery.signals import before_task_publish

app = Celery("project", broker=os.environ["PROJECT_BROKER"])
app.conf.redlock_beat_url = os.environ.get("PROJECT_SCHEDULE") or None
app.conf.redlock_beat_lease_ttl = float(os.environ.get("PROJECT_TTL", "2"))
app.conf.redlock_beat_render_limit = float(os.environ.get("PROJECT_RENDER_LIMIT", "30"))
app.conf.update(json.loads(os.environ.get("PROJECT_CONF", "{}")))


@app.task(name="tasks.add")
def add(x: int = 0, y: int = 0) -> int:
    return x + y


def slow() -> int:
    time.sleep(float(os.environ.get("PROJECT_SLOW", "0")))
    return 1


entries = int(os.environ.get("PROJECT_ENTRIES", "5"))
every = float(os.environ.get("PROJECT_EVERY", "0.5"))
app.conf.beat_schedule = {
    f"entry-{i:02d}": {"task": "tasks.add", "schedule": every, "args": (i, i)} for i in range(entries)
}
if os.environ.get("PROJECT_SLOW"):
    app.conf.beat_schedule["slow"] = {"task": "tasks.add", "schedule": 1.0, "args": (BeatLazyFunc(slow), 1)}


def seen(**kwargs: object) -> None:
    """A receiver: with it messages are rendered one by one, without it they are filled in."""


if os.environ.get("PROJECT_WAY") == "rendered":
    before_task_publish.connect(seen)
