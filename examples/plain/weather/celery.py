"""The Celery application, and what is due when."""

from __future__ import annotations

import os

from celery import Celery
from celery.schedules import crontab

app = Celery("weather", broker=os.environ.get("REDIS_URL", "redis://localhost:6379/0"), include=["weather.tasks"])
app.conf.timezone = "Europe/Berlin"
app.conf.beat_scheduler = "redlock"
app.conf.task_ignore_result = True

app.conf.beat_schedule = {
    "measure": {"task": "weather.tasks.measure", "schedule": 10.0},
    # At six where the station stands, also when the clocks change. If no beat runs then, it is sent until seven.
    "morning report": {
        "task": "weather.tasks.report",
        "schedule": crontab(hour=6, minute=0),
        "missed": "skip",
        "grace": 3600,
    },
}
