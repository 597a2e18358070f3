"""An entry as Celery's beat has it, for instruments that want to see each one as it is sent.

Sentry and Datadog put functions around ``Scheduler.apply_entry``, which only Celery's own schedulers call: Sentry Crons
and the new trace of each message come from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cached_property
from typing import Any

from ..clock import moment
from ..entries.entry import Entry
from ..recurrence import Crontab, Interval, Solar
from ..recurrence.custom import Custom
from ..recurrence.zones import zone
from .instruments import around

#: Schedules kept.
SCHEDULES = 10_000


class Scheduled:
    """Runs what instruments have put around ``Scheduler.apply_entry``."""

    def __init__(self, app: Any, apply_entry: Any) -> None:
        self.app = app
        self._kept: dict[Any, Any] = {}
        self._work: Callable[[dict[str, Any]], None] | None = None
        self._around = around(apply_entry, lambda scheduler, entry, *args, **more: self._inner(entry))

    def apply(self, entry: Entry, options: Mapping[str, Any], now: int, work: Callable[[dict[str, Any]], None]) -> None:
        """Have *work* send an entry with the options that instruments leave of *options*."""
        from celery.beat import ScheduleEntry

        options = dict(options)
        if options.get("headers"):
            options["headers"] = dict(options["headers"])  # they are added to
        said = ScheduleEntry(
            entry.name,
            entry.task,
            last_run_at=moment(now),
            schedule=self._schedule(entry),
            args=entry.args,
            kwargs=dict(entry.kwargs),
            options=options,
            app=self.app,
        )
        self._work = work
        try:
            self._around.__get__(self._scheduler, type(self._scheduler))(said)
        finally:
            self._work = None

    def _inner(self, said: Any) -> None:
        assert self._work is not None
        self._work(said.options)

    @cached_property
    def _scheduler(self) -> Any:
        """A scheduler that has an app and does nothing."""
        from celery.beat import Scheduler

        scheduler = object.__new__(Scheduler)
        scheduler.app = self.app
        return scheduler

    def _schedule(self, entry: Entry) -> Any:
        key = entry.schedule, entry.timezone, bool(entry.exclude or entry.only)
        found = self._kept.get(key)
        if found is None:
            if len(self._kept) >= SCHEDULES:
                self._kept.clear()
            found = self._kept[key] = celery_schedule(self.app, entry)
        return found


def celery_schedule(app: Any, entry: Entry) -> Any:
    """The schedule of an entry as an object of Celery's; one that says nothing where Celery has none like it.

    >>> from redlock_beat.recurrence import Crontab
    >>> celery_schedule(None, Entry("a", "tasks.add", Crontab.parse("0 7 * * 1-5")))
    <crontab: 0 7 * * 1-5 (m/h/dM/MY/d)>
    """
    from celery import schedules

    spec, made = entry.schedule, None
    if entry.exclude or entry.only:
        pass  # it comes less often than its rule says
    elif isinstance(spec, Interval):
        made = schedules.schedule(timedelta(microseconds=spec.every), relative=spec.relative, app=app)
    elif isinstance(spec, Crontab) and spec.second == "0":
        fields = (spec.minute, spec.hour, spec.day_of_month, spec.month_of_year, spec.day_of_week)
        names = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
        made = schedules.crontab(**dict(zip(names, fields, strict=True)), app=app)
    elif isinstance(spec, Solar):
        made = schedules.solar(spec.event, spec.latitude, spec.longitude, app=app)
    elif isinstance(spec, Custom):
        return spec.instance()
    made = schedules.BaseSchedule(app=app) if made is None else made
    made.tz = zone(entry.timezone)
    return made
