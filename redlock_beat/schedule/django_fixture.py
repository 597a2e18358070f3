"""The schedule as django-celery-beat's fixture: what ``manage.py loaddata`` reads there. ``migrate`` reads it here."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ..clock import moment
from ..entries.codec import plain
from ..entries.entry import Entry
from ..errors import InvalidSchedule
from ..recurrence import Crontab, Interval, Once, Solar
from .migrate import NotImported

_APP = "django_celery_beat"
_UNITS = (("days", 86_400_000_000), ("hours", 3_600_000_000), ("minutes", 60_000_000), ("seconds", 1_000_000))
#: Options that have a column there.
_OPTIONS = ("queue", "exchange", "routing_key", "priority")
#: What an entry may have, and there is no column for: parts and their defaults.
_NO_COLUMN = {
    "missed": "once",
    "grace": None,
    "jitter": 0.0,
    "exclude": (),
    "only": (),
    "overlap": "allow",
    "pause_on_failure": None,
    "delivery": "at_least_once",
    "dst_gap": "after",
    "dst_fold": "auto",
}


def django_fixture(
    entries: Iterable[Entry],
) -> tuple[list[dict[str, Any]], list[NotImported], dict[str, list[str]]]:
    """The rows of a fixture; the entries that cannot be said in one; of others, the parts that cannot.

    >>> rows, unfit, without = django_fixture([Entry("a", "tasks.add", Interval.of(30))])
    >>> [(row["model"], row["fields"].get("every")) for row in rows]
    [('django_celery_beat.intervalschedule', 30), ('django_celery_beat.periodictask', None)]
    """
    schedules: dict[tuple[str, str], dict[str, Any]] = {}
    tasks: list[dict[str, Any]] = []
    unfit: list[NotImported] = []
    without: dict[str, list[str]] = {}
    for entry in entries:
        try:
            kind, fields = _schedule(entry)
            row = _task(entry)
        except InvalidSchedule as exc:
            unfit.append(NotImported(entry.name, str(exc)))
            continue
        key = (kind, json.dumps(fields, sort_keys=True))
        pk = schedules.setdefault(key, {"model": f"{_APP}.{kind}schedule", "pk": len(schedules) + 1, "fields": fields})[
            "pk"
        ]
        tasks.append({"model": f"{_APP}.periodictask", "pk": len(tasks) + 1, "fields": {**row, kind: pk}})
        if lost := _no_columns(entry):
            without[entry.name] = lost
    return [*schedules.values(), *tasks], unfit, without


def _no_columns(entry: Entry) -> list[str]:
    lost = [part for part, value in _NO_COLUMN.items() if getattr(entry, part) != value]
    lost += ["labels"] if entry.labels else []
    lost += ["relative"] if isinstance(entry.schedule, Interval) and entry.schedule.relative else []
    lost += ["max_runs"] if entry.max_runs not in (None, 1) else []
    return [*lost, *(option for option in entry.options if option not in (*_OPTIONS, "expires", "headers"))]


def _schedule(entry: Entry) -> tuple[str, dict[str, Any]]:
    spec = entry.schedule
    if isinstance(spec, Interval):
        for period, size in _UNITS:
            if spec.every % size == 0:
                return "interval", {"every": spec.every // size, "period": period}
        return "interval", {"every": spec.every, "period": "microseconds"}
    if isinstance(spec, Crontab):
        if spec.second != "0":
            raise InvalidSchedule("its crontab has seconds, which django-celery-beat does not have")
        names = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
        return "crontab", {**{name: getattr(spec, name) for name in names}, "timezone": entry.timezone}
    if isinstance(spec, Solar):
        return "solar", {"event": spec.event, "latitude": str(spec.latitude), "longitude": str(spec.longitude)}
    if isinstance(spec, Once):
        return "clocked", {"clocked_time": moment(spec.at).isoformat()}
    raise InvalidSchedule(f"its schedule is {spec}, which django-celery-beat does not have")


def _task(entry: Entry) -> dict[str, Any]:
    if entry.canvas is not None or entry.reference:
        raise InvalidSchedule("it is more than a task with arguments in JSON, which is all that django-celery-beat has")
    options = entry.options
    ends, starts = (None if at is None else moment(at).isoformat() for at in (entry.ends, entry.starts))
    expires = options.get("expires")
    seconds = round(expires) if isinstance(expires, (int, float)) else None
    if expires is not None and seconds is None:
        ends = ends or (expires if isinstance(expires, str) else expires.isoformat())
    last = entry.last_sent
    return {
        "name": entry.name,
        "task": entry.task,
        "args": json.dumps(plain(entry.args)),
        "kwargs": json.dumps(plain(dict(entry.kwargs))),
        **{option: options.get(option) for option in _OPTIONS},
        "headers": json.dumps(plain(options.get("headers") or {})),
        "expires": ends,
        "expire_seconds": None if ends is not None else seconds,
        "one_off": isinstance(entry.schedule, Once) or entry.max_runs == 1,
        "start_time": starts,
        "enabled": entry.enabled,
        "last_run_at": None if last is None else last.isoformat(),
        "total_run_count": entry.total_run_count,
        "date_changed": moment(entry.anchor).isoformat(),
        "description": entry.note or "",
    }
