"""Reminds somebody once: ``python remind.py "water the plants" 30``, the second being in how many seconds."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from weather import app

from redlock_beat import Schedule

if __name__ == "__main__":
    text, seconds = sys.argv[1], float(sys.argv[2])
    with Schedule(app) as schedule:
        at = datetime.now(UTC) + timedelta(seconds=seconds)
        entry = schedule.add(f"reminder {uuid4().hex[:8]}", "weather.tasks.remind", at, args=(text,))
        print(f"{entry.name} is sent {entry.words}")
