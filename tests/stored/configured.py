"""The `beat_schedule` of the recorded schedule: of the beat that wrote it, and of the one that reads it."""

from __future__ import annotations

import platform
from datetime import UTC, datetime, timedelta
from typing import Any

from celery.beat import BeatLazyFunc
from celery.schedules import crontab

#: Entries that shall have one known last slot end here, shortly after the recording.
ENDS = datetime(2026, 11, 26, 13, 50, tzinfo=UTC)


class Twice:
    """A schedule of a project's own: every 20 seconds."""

    def next_slot(self, after: datetime) -> datetime:
        seconds = int(after.timestamp())
        return datetime.fromtimestamp(seconds - seconds % 20 + 20, UTC)


def beat_schedule(*, left: bool = False) -> dict[str, Any]:
    """The schedule; with *left*, also the entry that was taken out of it."""
    ending = {"ends": ENDS, "keep": True}
    found: dict[str, Any] = {
        "configured": {"task": "tasks.add", "schedule": 10.0, "args": (1, 2), **ending},
        "configured crontab": {"task": "tasks.add", "schedule": crontab(), "kwargs": {"x": 1}, **ending},
        "configured, edited": {"task": "tasks.add", "schedule": timedelta(seconds=10), **ending},
        "configured, paused": {"task": "tasks.add", "schedule": 10.0, **ending},
        "configured, removed": {"task": "tasks.add", "schedule": 10.0, **ending},
        "configured, lazy": {
            "task": "tasks.add",
            "schedule": 10.0,
            "args": (BeatLazyFunc(platform.python_implementation),),
            **ending,
        },
        "configured, for ever": {"task": "tasks.add", "schedule": crontab(minute=30, hour=3), "args": (3,)},
    }
    if left:
        found["configured, left"] = {"task": "tasks.add", "schedule": 10.0, **ending}
    return found


#: Of the recording of 0.2.0.
LATER_SCHEDULE: dict[str, Any] = {
    "configured crontab": {"task": "tasks.add", "schedule": crontab(minute=30, hour=3), "args": (3,)},
    "configured, paused": {"task": "tasks.add", "schedule": timedelta(days=1)},
    "configured, removed": {"task": "tasks.add", "schedule": timedelta(days=1)},
}
