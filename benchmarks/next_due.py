"""How long the next slot of a crontab takes, with Celery's own `remaining_estimate` as the yardstick."""

from __future__ import annotations

import random
import statistics
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from celery.schedules import crontab

from redlock_beat.clock import micros
from redlock_beat.recurrence import Crontab, Rules

CRONS = ("* * * * *", "*/5 * * * *", "0 7 * * mon-fri", "30 2 * * *", "0 0 1 * *", "15 10 1-7 * mon", "0 0 29 2 *")
ZONE = "Europe/Berlin"


def main(quick: bool = False) -> None:
    rng = random.Random(1)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    times = [start + timedelta(seconds=rng.randrange(365 * 86400)) for _ in range(50 if quick else 1000)]
    tz = ZoneInfo(ZONE)
    print(f"{'crontab':<18}{'next_due µs':>12}{'Celery µs':>12}{'ratio':>8}   (medians)")
    ours, theirs = [], []
    for text in CRONS:
        spec, rules = Crontab.parse(text), Rules(ZONE)
        minute, hour, day, month, weekday = text.split()
        yard = crontab(minute, hour, weekday, day, month)
        yard.__dict__["tz"] = tz
        mine, its = [], []
        for at in times:
            instant, local = micros(at), at.astimezone(tz)
            yard.nowfun = lambda local=local: local
            began = time.perf_counter()
            spec.next(instant, rules)
            mine.append(time.perf_counter() - began)
            began = time.perf_counter()
            yard.remaining_estimate(local)
            its.append(time.perf_counter() - began)
        a, b = statistics.median(mine) * 1e6, statistics.median(its) * 1e6
        ours.append(a)
        theirs.append(b)
        print(f"{text:<18}{a:>12.1f}{b:>12.1f}{b / a:>8.1f}")
    a, b = statistics.median(ours), statistics.median(theirs)
    print(f"{'median':<18}{a:>12.1f}{b:>12.1f}{b / a:>8.1f}")
