"""Schedules of every kind, zones and instants, for what holds for all of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from redlock_beat import Crontab, Interval, RRule, Solar
from redlock_beat.clock import micros

SPECS = st.sampled_from(
    [
        Interval.of(7.5),
        Interval.of(3600, relative=True),
        Interval.of(timedelta(days=2), relative=True),
        Interval.of(timedelta(hours=36), relative=True),
        Interval.of(90, relative=True),
        Crontab.parse("*/20 * * * *"),
        Crontab.parse("30 2 * * *"),
        Crontab.parse("0 */2 * * mon"),
        Solar("sunset", 52.5, 13.4),
        RRule("FREQ=DAILY;BYHOUR=2;BYMINUTE=30", datetime(2020, 1, 31, 2, 30)),
        RRule("FREQ=MONTHLY", datetime(2020, 1, 31, 2, 30)),
        RRule("FREQ=HOURLY;INTERVAL=5", datetime(2020, 1, 1)),
        RRule("FREQ=WEEKLY;BYDAY=MO,WE", datetime(2020, 1, 1, 2, 30)),
        RRule("FREQ=YEARLY", datetime(2020, 2, 29)),
    ]
)
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"])
TIMES = st.integers(micros(datetime(2024, 1, 1, tzinfo=UTC)), micros(datetime(2030, 1, 1, tzinfo=UTC)))
