"""What the form of an entry shows, and what a submitted one says: from an entry to values of fields, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils.timezone import make_aware, make_naive

from ..clock import moment
from ..entries.codec import plain, typed
from ..entries.entry import Entry
from ..errors import InvalidSchedule
from ..recurrence import Crontab, Interval, Once, RRule, Solar

#: The units of an interval, and their microseconds; the largest that fits is shown.
PERIODS = {
    "days": 86_400_000_000,
    "hours": 3_600_000_000,
    "minutes": 60_000_000,
    "seconds": 1_000_000,
    "microseconds": 1,
}
#: The fields that say when, by kind of schedule.
WHEN = {
    "interval": ("every", "period"),
    "crontab": ("crontab",),
    "solar": ("event", "latitude", "longitude"),
    "rrule": ("rrule",),
    "once": ("at",),
}
#: Options of a task that have a field of their own.
OPTIONS = ("queue", "exchange", "routing_key", "priority", "headers")
#: Policies that have a field with their own name.
POLICIES = ("timezone", "missed", "grace", "jitter", "overlap", "max_runs", "pause_on_failure")


def values_of(entry: Entry) -> dict[str, Any]:
    """The values of the fields of an entry."""
    options = dict(entry.options)
    found: dict[str, Any] = {
        "name": entry.name,
        "task": entry.task,
        "enabled": entry.enabled,
        "description": entry.note or "",
        "revision": entry.revision,
        **_when(entry),
        "args": _json(entry.args),
        "kwargs": _json(dict(entry.kwargs)),
        **{name: options.pop(name, None) for name in OPTIONS if name != "headers"},
        "headers": _json(options.pop("headers", None) or {}),
        "expire_seconds": options.pop("expires", None),
        "options": _json(options),
        **{name: getattr(entry, name) for name in POLICIES},
        "not_on": ", ".join(entry.exclude),
        "only_on": ", ".join(entry.only),
        "jitter": entry.jitter or None,
        "labels": ", ".join(f"{key}={value}" for key, value in entry.labels.items()),
        "start": None if entry.starts is None else shown(entry.starts),
        "end": None if entry.ends is None else shown(entry.ends),
        "one_off": entry.max_runs == 1,
    }
    if not isinstance(found["expire_seconds"], (int, float)):
        options["expires"] = found.pop("expire_seconds")
        found["options"] = _json({key: value for key, value in options.items() if value is not None})
    return found


def _json(value: Any) -> str:
    return json.dumps(plain(value), ensure_ascii=False)


def _when(entry: Entry) -> dict[str, Any]:
    spec = entry.schedule
    if isinstance(spec, Interval):
        period = next(name for name, size in PERIODS.items() if spec.every % size == 0)
        return {"kind": "interval", "every": spec.every // PERIODS[period], "period": period}
    if isinstance(spec, Crontab):
        return {"kind": "crontab", "crontab": str(spec)}
    if isinstance(spec, Solar):
        return {"kind": "solar", "event": spec.event, "latitude": spec.latitude, "longitude": spec.longitude}
    if isinstance(spec, RRule):
        start = spec.start.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ") if spec.start.tzinfo else ""
        start = start or spec.start.strftime("%Y%m%dT%H%M%S")
        return {"kind": "rrule", "rrule": f"DTSTART:{start}\nRRULE:{spec.rule}"}
    if isinstance(spec, Once):
        return {"kind": "once", "at": shown(spec.at)}
    return {"kind": "other"}


def when_of(values: Mapping[str, Any]) -> Any:
    """The schedule that a form says, as :meth:`Schedule.add` takes it; KeyError for a field that is missing."""

    def given(name: str) -> Any:
        if values.get(name) in (None, ""):
            raise KeyError(name)
        return values[name]

    kind = values["kind"]
    if kind == "interval":
        return timedelta(microseconds=given("every") * PERIODS[given("period")])
    if kind == "crontab":
        return Crontab.parse(given("crontab"))
    if kind == "solar":
        return Solar(given("event"), float(given("latitude")), float(given("longitude")))
    if kind == "rrule":
        return RRule.parse(given("rrule"))
    return instant(given("at"))


def parts_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Everything else that a form says, as keywords of :meth:`Schedule.update`."""
    options = {name: values[name] for name in OPTIONS if values.get(name) not in (None, "", {})}
    expires = values.get("expire_seconds")
    rest = dict(values.get("options") or {})
    if expires is None:
        expires = rest.pop("expires", None)
    spans = {name: values.get(name) for name in ("grace", "max_runs", "pause_on_failure")}
    one_off = bool(values.get("one_off"))
    return {
        "task": values["task"],
        "args": tuple(values.get("args") or ()),
        "kwargs": values.get("kwargs") or {},
        "options": {**rest, **options},
        "expires": expires,
        "enabled": bool(values.get("enabled")),
        "note": values.get("description") or None,
        "timezone": values.get("timezone") or None,
        "missed": values.get("missed") or "once",
        "overlap": values.get("overlap") or "allow",
        "jitter": values.get("jitter") or 0,
        "labels": values.get("labels") or {},
        "exclude": _days(values.get("not_on")),
        "only": _days(values.get("only_on")),
        "starts": instant(values.get("start")),
        "ends": instant(values.get("end")),
        **spans,
        **({"max_runs": 1, "keep": True} if one_off else {}),
    }


def shown(at: int) -> datetime:
    """An instant as Django's forms show it: without USE_TZ they know only the clock on the project's wall."""
    return moment(at) if settings.USE_TZ else make_naive(moment(at))


def instant(given: Any) -> Any:
    """The time of a field, with its zone also without USE_TZ."""
    return make_aware(given) if isinstance(given, datetime) and given.tzinfo is None else given


def _days(text: Any) -> list[str]:
    return [one.strip() for one in str(text or "").split(",") if one.strip()]


def read_json(text: str, kind: type, what: str) -> Any:
    """The JSON of a field, of one type; InvalidSchedule says what is wrong with it, and where."""
    try:
        found = json.loads(text or ("[]" if kind is list else "{}"))
    except (ValueError, RecursionError) as exc:
        raise InvalidSchedule(f"this is not JSON: {exc}") from None
    if not isinstance(found, kind):
        raise InvalidSchedule(f"this must be {'a list, such as [1, 2]' if kind is list else 'an object, such as {}'}.")
    return typed(found, what)
