"""From other schedulers: RedBeat's keys, and django-celery-beat's fixture.

Each entry keeps its phase: its first slot here is the one the other scheduler would have sent next, so
nothing fires early, or twice, because of the move. Stop the other beat, import, start this one. What
is here already is left alone, so an import may be repeated.

Nothing of the other packages is needed or imported: their data is read as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from ..clock import micros
from ..entries.build import make_entry
from ..entries.codec import encode, typed
from ..entries.entry import Entry
from ..entries.policies import first_slot, next_slot
from ..entries.state import State
from ..errors import InvalidSchedule, RedisUnavailable, RedlockBeatError, mask
from ..recurrence import Crontab, Interval, Once, RRule, Solar, Spec
from ..recurrence.zones import zone
from ..store.client import TROUBLE, Target
from .configuration import Configuration, read_configuration
from .transfer import Arrival

#: Entries of the other scheduler that are read at a time.
PAGE = 500


@dataclass(frozen=True, slots=True)
class NotImported:
    """What cannot be taken over, and why."""

    name: str
    why: str


def _arrive(
    entry: Entry, last: datetime | None, count: int, now: int, configured: str = "=", since: int | None = None
) -> Arrival:
    """An entry that was last sent at *last*: its slots are counted from there, and it goes on from there.

    One that was never sent is counted from *since*, where the other scheduler counts it from, or from now.
    """
    if last is not None:
        since = micros(last)
    entry = replace(entry, anchor=now if since is None else since)
    nominal = first_slot(entry, now) if since is None else next_slot(entry, since)
    if (entry.max_runs is not None and count >= entry.max_runs) or (entry.ends is not None and entry.ends <= now):
        nominal = None
    encode(entry)  # refuses what JSON cannot carry, or what is too large
    state = State(entry.uid, entry.revision, nominal, None if last is None else since, count)
    return Arrival(entry, state, configured, renews=False)


# --- RedBeat ---------------------------------------------------------------------------------------


class RedBeat:
    """The schedule of a RedBeat, as it stands in Redis."""

    def __init__(self, target: Target, prefix: str, app: Any, configuration: Configuration | None) -> None:
        self.client = target.client()
        self.target = target
        self.prefix = prefix
        self.app = app
        self.configuration = configuration

    def count(self) -> int:
        """How many entries it has."""
        return int(self._ask(self.client.zcard, f"{self.prefix}:schedule"))

    def entries(self, now: int) -> Iterator[Arrival | NotImported]:
        """Each of its entries, in pages."""
        static = {self._name(one) for one in self._ask(self.client.smembers, f"{self.prefix}:statics")}
        seen: set[str] = set()
        cursor: Any = 0
        while True:
            cursor, page = self._ask(self.client.zscan, f"{self.prefix}:schedule", cursor, None, PAGE)
            keys = [key for key, _ in page if key not in seen]
            seen.update(keys)
            pipe = self.client.pipeline(transaction=False)
            for key in keys:
                pipe.hmget(key, "definition", "meta")
            for key, (definition, meta) in zip(keys, self._ask(pipe.execute), strict=True):
                name = self._name(key)
                try:
                    yield self._entry(name, definition, meta, now, name in static)
                except RedlockBeatError as exc:
                    yield NotImported(name, str(exc))
                except (ValueError, KeyError, TypeError, AttributeError) as exc:
                    yield NotImported(name, f"its definition cannot be read: {exc!r}")
            if int(cursor) == 0:
                return

    def _name(self, key: str) -> str:
        return key.removeprefix(self.prefix)

    def _ask(self, call: Any, *args: Any) -> Any:
        try:
            return call(*args)
        except TROUBLE as exc:
            raise RedisUnavailable(
                f"Redis at {self.target} does not allow reading RedBeat's schedule: {mask(exc)}. Nothing was changed."
            ) from None

    def _entry(
        self, name: str, definition: str | None, meta: str | None, now: int, static: bool
    ) -> Arrival | NotImported:
        if definition is None:
            return NotImported(name, "it has no definition")
        data = json.loads(definition, object_hook=_typed)
        known = json.loads(meta, object_hook=_typed) if meta else {}
        last, count = known.get("last_run_at"), int(known.get("total_run_count") or 0)
        name = str(data.get("name") or name)
        if static:
            one = None if self.configuration is None else self.configuration.entries.get(name)
            if one is None:
                return NotImported(
                    name, "it came from a beat_schedule that has it no longer; RedBeat would remove it, too"
                )
            return _arrive(one.entry, last, count, now, one.digest)
        when = data["schedule"]
        if not isinstance(when, (Interval, Crontab, RRule)):
            return NotImported(name, f"its schedule is {str(when)[:100]}, which RedBeat itself cannot read")
        # RedBeat counts a rule at the offset its start was stored with, whatever the clocks do.
        at = _fixed(when.start) if isinstance(when, RRule) else None
        args, enabled = data.get("args") or (), bool(data.get("enabled", True))
        kwargs, options = data.get("kwargs"), data.get("options")
        entry = make_entry(self.app, name, data["task"], when, args, kwargs, options, enabled=enabled, timezone=at)
        return _arrive(entry, last, count, now)


def _typed(data: dict[str, Any]) -> Any:
    """RedBeat's objects: ``{"__type__": "crontab", ...}``."""
    kind = data.get("__type__")
    rest = {key: value for key, value in data.items() if key != "__type__"}
    if kind == "datetime":
        at = rest.pop("timezone", "UTC")
        tz = timezone(timedelta(seconds=at)) if isinstance(at, (int, float)) else zone(at)
        return datetime(**rest, tzinfo=tz)
    if kind == "interval":
        return Interval.of(float(rest["every"]), bool(rest.get("relative")))
    if kind == "crontab":
        return Crontab(**{key: str(value) for key, value in rest.items()})
    if kind == "weekday":
        from dateutil.rrule import weekday

        return weekday(rest["wkday"], rest.get("n"))
    if kind == "rrule":
        return _rrule(rest)
    return data


def _fixed(start: datetime) -> str | None:
    """The zone of a fixed offset of whole hours; None for another, which has no name of its own."""
    hours, rest = divmod(int((start.utcoffset() or timedelta(0)).total_seconds()), 3600)
    if rest:
        return None
    return "UTC" if not hours else f"Etc/GMT{-hours:+d}"  # the names count the other way


def _rrule(data: dict[str, Any]) -> RRule:
    from dateutil.rrule import rrule

    for key in ("dtstart", "until"):
        minutes = data.pop(f"{key}_tz", 0) or 0
        if data.get(key) is not None:
            data[key] = datetime.fromtimestamp(data[key], timezone(timedelta(minutes=minutes)) if minutes else UTC)
    return RRule.of(rrule(data.pop("freq"), **{key: value for key, value in data.items() if value is not None}))


# --- django-celery-beat ----------------------------------------------------------------------------

Row = Mapping[str, Any]
#: Model -> primary key -> row.
Models = Mapping[str, Mapping[str, Row]]
_PERIODS = {"days": 86400, "hours": 3600, "minutes": 60, "seconds": 1, "microseconds": 1e-6}


def django_entries(text: str, app: Any, now: int) -> Iterator[Arrival | NotImported]:
    """The entries of ``manage.py dumpdata django_celery_beat``, each as it would have gone on there.

    Rows of the names in ``beat_schedule`` become configured entries, since the other scheduler writes what
    the configuration says over them at each start, too. Where the two go apart: a crontab that begins at a
    ``start_time`` is sent there at once, between its slots, and here at its first slot from then on.
    """
    try:
        rows = json.loads(text)
        if not isinstance(rows, list):
            raise TypeError("it is no list")
        models: dict[str, dict[str, Row]] = {}
        for row in rows:
            models.setdefault(str(row["model"]).rpartition(".")[2], {})[str(row["pk"])] = row["fields"]
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise InvalidSchedule(
            f"this is not what `manage.py dumpdata django_celery_beat` prints ({exc!r}); nothing was imported."
        ) from None
    yield from django_rows(models.get("periodictask", {}).values(), models, app, now)


def django_rows(rows: Iterable[Row], models: Models, app: Any, now: int) -> Iterator[Arrival | NotImported]:
    """The same of the rows themselves; *models* has those of the other tables by their names and keys."""
    configuration = None if app is None else read_configuration(app)
    for row in rows:
        name = str(row.get("name"))
        try:
            yield _django_entry(name, row, models, app, now, configuration)
        except RedlockBeatError as exc:
            yield NotImported(name, str(exc))
        except (ValueError, KeyError, TypeError) as exc:
            yield NotImported(name, f"it cannot be read: {exc!r}")


def _django_entry(
    name: str,
    row: Row,
    models: Models,
    app: Any,
    now: int,
    configuration: Configuration | None,
) -> Arrival | NotImported:
    if configuration is not None and name in configuration.errors:
        return NotImported(
            name, f"beat_schedule has an entry of this name that cannot be used: {configuration.errors[name]}"
        )
    count, last = int(row.get("total_run_count") or 0), _instant(row.get("last_run_at"))
    starts, ends = _instant(row.get("start_time")), _instant(row.get("expires"))
    one = None if configuration is None else configuration.entries.get(name)
    if one is not None:
        policies = _django_policies(row, last, starts, now)
        policies |= {key: micros(policies[key]) for key in ("starts", "ends") if key in policies}
        entry = replace(one.entry, **policies)
        return _arrive(entry, last, count, now, one.digest, _django_since(row, starts, now))
    when, zone_policy = _django_when(row, models)
    if when is None:
        return NotImported(name, "it has no schedule (or dumpdata left out the model it points to)")
    since = _django_since(row, starts, now)
    policies = {**_django_policies(row, last, starts, now), **zone_policy}
    if isinstance(when, Once):
        if count or not row.get("enabled", True):
            return NotImported(name, "it is a one shot that was sent already, or that was switched off")
        when = Once(max(when.at, 0 if starts is None else micros(starts)))
        if ends is not None and micros(ends) <= max(when.at, now):
            return NotImported(name, f"it is a one shot that expires ({ends.isoformat()}) before it would be sent")
        # It is sent once, at its time or, if that is past, as soon as a beat leads: as there.
        last, since = None, when.at - 1
        for policy in ("starts", "max_runs", "keep"):
            policies.pop(policy, None)
    args, kwargs = (typed(json.loads(row.get(part) or text), part) for part, text in (("args", "[]"), ("kwargs", "{}")))
    entry = make_entry(app, name, row["task"], when, args, kwargs, _django_options(row, ends), **policies)
    return _arrive(entry, last, count, now, since=since)


def _django_since(row: Row, starts: datetime | None, now: int) -> int | None:
    """From where an entry that was never sent is counted: its start, when that has come, else its last change."""
    if starts is not None:
        return micros(starts) - 1 if micros(starts) <= now else None
    changed = _instant(row.get("date_changed"))
    return None if changed is None else min(micros(changed), now)


def _django_policies(row: Row, last: datetime | None, starts: datetime | None, now: int) -> dict[str, Any]:
    """What a row says besides its task and schedule; the configuration does not write over it."""
    policies: dict[str, Any] = {"enabled": bool(row.get("enabled", True))}
    note = str(row.get("description") or "")[:1000]
    if note:
        policies["note"] = note
    if row.get("one_off"):
        policies.update(max_runs=1, keep=True)
    if starts is not None and (micros(starts) > now or last is None):
        policies["starts"] = starts  # else it says nothing any more, and slots would be counted from it
    ends = _instant(row.get("expires"))
    if ends is not None:
        policies["ends"] = ends
    return policies


def _django_options(row: Row, ends: datetime | None) -> dict[str, Any]:
    options: dict[str, Any] = {
        key: row[key] for key in ("queue", "exchange", "routing_key", "priority") if row.get(key) is not None
    }
    headers = typed(json.loads(row.get("headers") or "{}"), "headers")
    if headers:
        options["headers"] = headers
    expires = ends if ends is not None else row.get("expire_seconds")
    if expires is not None:
        options["expires"] = expires
    return options


def _django_when(row: Row, models: Models) -> tuple[Spec | None, dict[str, Any]]:
    def found(kind: str, model: str) -> Mapping[str, Any] | None:
        key = row.get(kind)
        if isinstance(key, (list, dict)):
            raise InvalidSchedule(
                f"its {kind} is a natural key; dump again without --natural-foreign, so that it is a number."
            )
        return None if key is None else models.get(model, {}).get(str(key))

    if (one := found("interval", "intervalschedule")) is not None:
        return Interval.of(int(one["every"]) * _PERIODS[one["period"]]), {}
    if (one := found("crontab", "crontabschedule")) is not None:
        names = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
        cron = Crontab(**{name: str(one[name]) for name in names})
        return cron, {"timezone": str(one.get("timezone") or "UTC")}
    if (one := found("clocked", "clockedschedule")) is not None:
        return Once.of(datetime.fromisoformat(one["clocked_time"])), {}
    if (one := found("solar", "solarschedule")) is not None:
        return Solar(one["event"], float(one["latitude"]), float(one["longitude"])), {}
    return None, {}


def _instant(text: Any) -> datetime | None:
    if not text:
        return None
    when = datetime.fromisoformat(str(text))
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)
