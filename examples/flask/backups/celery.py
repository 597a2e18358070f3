"""The Celery application, and the task that makes a backup."""

from __future__ import annotations

import logging
import os

from celery import Celery

import redlock_beat

logger = logging.getLogger(__name__)

app = Celery("backups", broker=os.environ.get("REDIS_URL", "redis://localhost:6379/0"))
app.conf.beat_scheduler = "redlock"
app.conf.task_ignore_result = True
redlock_beat.watch(app)  # workers say what becomes of each run

#: What there is to back up. Everything else is set in the browser, and stays as it is set there.
DISKS = ("accounts", "mail", "photos")
app.conf.beat_schedule = {
    f"backup {disk}": {
        "task": "backups.make",
        "schedule": 24 * 3600.0,
        "kwargs": {"disk": disk},
        "overlap": "skip",  # a backup that takes longer than a day is not begun once more
        "pause_on_failure": 3,
    }
    for disk in DISKS
}


@app.task(name="backups.make")
def make(disk: str) -> None:
    """Back up a disk."""
    logger.info("the disk %s is safe", disk)
