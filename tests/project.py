"""The Celery project that the acceptance tests run, configured by environment variables."""

from __future__ import annotations

import json
import os
import time
from datetime import datetime
from typing import Any

from celery import Celery
from celery.beat import BeatLazyFunc
from celery.signals import before_task_publish

import redlock_beat

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


if os.environ.get("PROJECT_WAY") == "rendered":
    # With a router that is code messages are rendered one by one, without it they are filled in.
    app.conf.task_routes = [lambda *args, **kwargs: None]
if os.environ.get("PROJECT_WAY") == "instrumented":

    @before_task_publish.connect(weak=False)
    def tell(headers: dict[str, object], **named: object) -> None:
        """Every message passes it."""
        headers["tenant"] = "a"


@app.task(name="tasks.whose")
def whose() -> str | None:
    """The token of the worker that runs it."""
    from redlock_beat.tasks.worker import current_worker

    return current_worker()


if os.environ.get("PROJECT_WATCH"):
    redlock_beat.watch(app)
    app.conf.result_backend = app.conf.result_backend or os.environ["PROJECT_BROKER"].rsplit("/", 1)[0] + "/1"


@app.task(name="tasks.count")
def count(which: int) -> None:
    """Write that it began, in one step that the lines of others cannot fall into."""
    file = os.open(os.environ["PROJECT_RUNS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{which}\n".encode())
    os.close(file)


@app.task(name="tasks.hang")
def hang(which: int) -> None:
    """Occupy a process or thread of the worker's pool until the worker is killed."""
    count(which)
    time.sleep(600)


if os.environ.get("PROJECT_KEEP"):
    redlock_beat.keep_countdowns(app)


@app.task(name="tasks.eta", bind=True, ignore_result=False)
def eta(self: Any, first: float | None = None) -> tuple[float, float]:
    """When it was to run; it tries once more before it says so."""
    at = datetime.fromisoformat(self.request.eta).timestamp()
    if first is None:
        raise self.retry(args=(at,), countdown=1.2)
    return first, at
