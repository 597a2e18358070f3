"""The next slot: a pure function of (schedule, anchor, zone, policies, after), per kind of schedule.

Each kind is a frozen value that compares and hashes by what it says. Inside, instants are
microseconds since the epoch (see ``clock``); :func:`next_due` is the same for people, in datetimes.

What a clock change does to a crontab (and to an rrule of days and more, as a fixed time):

==================================  ===================================  ==========================
entry                               gap (02:00 -> 03:00)                 fold, ``auto``
==================================  ===================================  ==========================
every hour (all 24 in the hours)    no extra slot                        both passes
not every hour, wild (a ``*`` in    ``after``: the slots lost in a gap   both passes
the minute or hour field)           are one slot at its end;
                                    ``skip``: none
fixed                               the same                             first pass only
==================================  ===================================  ==========================

``dst_fold="first"`` or ``"both"`` decide for all alike.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import Any, ClassVar, Protocol, cast, runtime_checkable

from ..clock import MICROS, micros, moment, monotonic, naive_micros, span_of, spelled
from ..errors import InvalidSchedule, Uncomputable
from .zones import offset_at, read_wall, segment, zone

MAX_TEXT = 2_000
_FIRST_DAY = date(1970, 1, 1).toordinal()
_LAST = micros(datetime(9990, 1, 1, tzinfo=UTC))
_HOUR = 3600 * MICROS
#: Days looked through for a solar event that does not happen every day.
_SOLAR_DAYS = 366
_MIN_EVERY = 1_000  # a millisecond: below it, a schedule is a busy loop


@dataclass(frozen=True, slots=True)
class Rules:
    """What a slot depends on besides the schedule itself."""

    zone: str = "UTC"
    anchor: int = 0
    gap: str = "after"
    fold: str = "auto"


@runtime_checkable
class Spec(Protocol):
    """A kind of schedule: a value that knows the first slot strictly after an instant."""

    kind: ClassVar[str]

    def next(self, after: int, rules: Rules) -> int | None:
        """The first slot strictly after *after*, or None when there is none any more."""
        ...

    def data(self) -> dict[str, Any]:
        """The schedule as JSON-able data, without its kind."""
        ...


def newest(spec: Spec, rules: Rules, known: int, until: int) -> int:
    """The newest slot not after *until*, given a *known* slot that is not after it.

    The search halves the time between, so three days of a one-second entry cost no more than three
    days of a daily one.
    """
    if isinstance(spec, Interval) and not spec.relative:
        return known + (until - known) // spec.every * spec.every
    low, high, width = known, until, 60 * MICROS
    while until - width > known:  # gallop back from the end: the newest slot is mostly near it
        ahead = spec.next(until - width, rules)
        if ahead is not None and ahead <= until:
            low = ahead
            break
        high = until - width
        width *= 4
    else:
        low = known
    while True:
        ahead = spec.next(low, rules)
        if ahead is None or ahead > high:
            return low
        low = ahead
        middle = (low + high) // 2
        ahead = spec.next(middle, rules)
        if ahead is not None and ahead <= high:
            low = ahead
        else:
            high = middle


@dataclass(frozen=True, slots=True)
class Count:
    """A number of slots. When *at_least*, the counting was given up: there are so many, and more."""

    slots: int
    at_least: bool = False


def count(spec: Spec, rules: Rules, first: int, last: int, limit: int = 100_000, seconds: float = math.inf) -> Count:
    """How many slots there are from slot *first* to slot *last*, both counted.

    Counting ends after *limit* slots or *seconds*: there may be millions, and each may be costly to compute.
    """
    if isinstance(spec, Interval) and not spec.relative:
        return Count((last - first) // spec.every + 1)
    until = monotonic() + seconds
    found, at = 1, first
    while at < last:
        if found >= limit or monotonic() >= until:
            return Count(found + 1, at_least=True)  # *last* is one of them, too
        ahead = spec.next(at, rules)
        if ahead is None:
            break
        at = ahead
        found += 1
    return Count(found)


def slots(spec: Spec, rules: Rules, after: int) -> Iterator[int]:
    """The slots after an instant, one after the other."""
    at = spec.next(after, rules)
    while at is not None:
        yield at
        at = spec.next(at, rules)


# --- interval --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Interval:
    """Every so often, counted from the anchor for ever: nothing drifts.

    >>> Interval.of(30)
    Interval(every=30000000, relative=False)
    """

    every: int
    relative: bool = False
    kind: ClassVar[str] = "interval"

    @classmethod
    def of(cls, every: float | timedelta, relative: bool = False) -> Interval:
        """An interval of seconds or a timedelta."""
        seconds = every.total_seconds() if isinstance(every, timedelta) else every
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not math.isfinite(seconds):
            raise InvalidSchedule(f"{every!r} is not a number of seconds.")
        if not isinstance(relative, bool):
            raise InvalidSchedule(f"relative is {relative!r}, but must be true or false.")
        length = round(seconds * MICROS)
        if not _MIN_EVERY <= length <= 3_660 * 86400 * MICROS:
            raise InvalidSchedule(
                f"an interval of {seconds:g} seconds cannot be used: it must be from 0.001 seconds to ten years."
            )
        return cls(length, relative)

    def next(self, after: int, rules: Rules) -> int | None:
        if self.relative:
            return self._next_relative(after, rules)
        if after < rules.anchor:
            return rules.anchor + self.every
        at = rules.anchor + ((after - rules.anchor) // self.every + 1) * self.every
        return at if at < _LAST else None

    def _next_relative(self, after: int, rules: Rules) -> int:
        day = 86400 * MICROS
        base = self.floored(rules)
        if self.every % day:
            return base + ((max(after, base) - base) // self.every + 1) * self.every
        # Whole days step in the local calendar, so that midnight stays midnight across a clock change.
        step = self.every // day
        first = _local(rules.zone, base) // (86400 * MICROS)
        today = _local(rules.zone, max(after, base)) // (86400 * MICROS)
        turn = max(0, (today - first) // step - 1)
        while True:
            at = _first_reading(rules.zone, (first + turn * step) * 86400) * MICROS
            if at > max(after, base):
                return at
            turn += 1

    def floored(self, rules: Rules) -> int:
        """The anchor, floored to the unit of the interval in the zone, as Celery means ``relative``."""
        for unit in (86400, 3600, 60):
            if self.every >= unit * MICROS:
                local = _local(rules.zone, rules.anchor)
                floor = local // (unit * MICROS) * unit
                if unit == 86400:
                    return _first_reading(rules.zone, floor) * MICROS
                return rules.anchor - (local - floor * MICROS)
        return rules.anchor // MICROS * MICROS

    def data(self) -> dict[str, Any]:
        seconds = self.every / MICROS
        data: dict[str, Any] = {"every": int(seconds) if seconds.is_integer() else seconds}
        return {**data, "relative": True} if self.relative else data

    def __str__(self) -> str:
        return f"every {spelled(self.every)}" + (" (relative)" if self.relative else "")


def _local(name: str, instant: int) -> int:
    return instant + offset_at(name, instant // MICROS) * MICROS


def _first_reading(name: str, local: int) -> int:
    """The first instant at which the wall reads *local*, or the end of the gap that swallowed it."""
    reading = read_wall(name, local)
    if reading.instants:
        return reading.instants[0]
    assert reading.gap_end is not None
    return reading.gap_end


# --- crontab ---------------------------------------------------------------------------------------

_FIELDS = (
    ("minute", 60, 0), ("hour", 24, 0), ("day_of_month", 31, 1), ("month_of_year", 12, 1), ("day_of_week", 7, 0),
)  # fmt: skip
_ORDER = "minute, hour, day of month, month, day of week"
_NICKNAMES = {
    "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
}  # fmt: skip
_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_NAMES = {"month_of_year": _MONTHS, "day_of_week": _WEEKDAYS}
_CRON_PART = re.compile(r"(\*|(\d+|[a-z]+)(?:-(\d+|[a-z]+))?)(?:/(\d+))?", re.ASCII)
_LAST_OR_NEAR = re.compile(r"l|lw|l-\d+|\d+w|(?:sun|mon|tue|wed|thu|fri|sat|[0-7])l")


@dataclass(frozen=True, slots=True)
class Crontab:
    """Celery's crontab: the same fields with the same meaning (both day fields must match).

    >>> str(Crontab(minute="30", hour="7", day_of_week="mon-fri"))
    '30 7 * * mon-fri'
    """

    minute: str = "*"
    hour: str = "*"
    day_of_month: str = "*"
    month_of_year: str = "*"
    day_of_week: str = "*"
    kind: ClassVar[str] = "crontab"
    _plan: _CronPlan = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        texts: tuple[str, ...] = (self.minute, self.hour, self.day_of_month, self.month_of_year, self.day_of_week)
        if any(isinstance(text, str) and " " in text for text in texts):
            texts = tuple(map(_cron_text, texts))
            for (name, _, _), text in zip(_FIELDS, texts, strict=True):
                object.__setattr__(self, name, text)
        object.__setattr__(self, "_plan", _cron_plan(*texts))

    @classmethod
    def of(cls, crontab: Any) -> Crontab:
        """The value of a :class:`celery.schedules.crontab`, from the text it was made of."""
        return cls(**{name: _cron_text(getattr(crontab, f"_orig_{name}")) for name, _, _ in _FIELDS})

    @classmethod
    def parse(cls, text: str) -> Crontab:
        """A crontab from its five fields: minute, hour, day of month, month, day of week.

        >>> Crontab.parse("0 7 * * 1-5").hour
        '7'
        """
        parts = _NICKNAMES.get(text.strip().lower(), text).split()
        if len(parts) != 5:
            raise InvalidSchedule(
                f"{text[:200]!r} has {len(parts)} fields, but a crontab has five: {_ORDER}, as in '0 7 * * 1-5'."
                + (" There is no field for seconds: an interval (10s) has them." if len(parts) == 6 else "")
            )
        return cls(*parts)

    def next(self, after: int, rules: Rules) -> int | None:
        at = self._plan.next(after // MICROS, rules) if after < _LAST else None
        return None if at is None else at * MICROS

    def data(self) -> dict[str, Any]:
        return {"cron": str(self)}

    def __str__(self) -> str:
        return f"{self.minute} {self.hour} {self.day_of_month} {self.month_of_year} {self.day_of_week}"


def _cron_text(value: Any) -> str:
    if isinstance(value, str):
        return re.sub(r"\s*([,/-])\s*", r"\1", value.strip()) or value
    if isinstance(value, int):
        return str(value)
    return ",".join(str(int(one)) for one in sorted(value))


@lru_cache(maxsize=4096)
def _cron_plan(*texts: str) -> _CronPlan:
    from celery.schedules import crontab_parser

    sets: list[list[int]] = []
    for text, (name, size, low) in zip(texts, _FIELDS, strict=True):
        try:
            if not isinstance(text, str) or not text or len(text) > 500:
                raise ValueError("it must be 1 to 500 characters")
            _means_what_it_says(text, name, size)
            found = crontab_parser(size, low).parse(text)
        except (ValueError, IndexError, ZeroDivisionError) as exc:
            raise InvalidSchedule(f"the crontab field {name}={text!r} cannot be used: {exc}.") from None
        except Exception as exc:
            if type(exc).__name__ != "ParseException":
                raise
            raise InvalidSchedule(f"the crontab field {name}={text!r} cannot be used: {exc}.") from None
        if not found:
            raise InvalidSchedule(f"the crontab field {name}={text!r} matches nothing.")
        sets.append(sorted(found))
    plan = _CronPlan(
        minutes=tuple(h * 60 + m for h in sets[1] for m in sets[0]),
        days=frozenset(sets[2]),
        months=tuple(sets[3]),
        weekdays=frozenset(sets[4]),
        every_hour=len(sets[1]) == 24,
        every_day=len(sets[2]) == 31 and len(sets[3]) == 12 and len(sets[4]) == 7,
        every_date=len(sets[2]) == 31 and len(sets[3]) == 12,
        wild=len(sets[1]) == 24 or "*" in texts[0] or "*" in texts[1],
    )
    if plan.day_from(_FIRST_DAY + 20_000) is None:
        raise InvalidSchedule(f"the crontab {' '.join(texts)!r} never comes: no such day exists.")
    return plan


def _means_what_it_says(text: str, name: str, size: int) -> None:
    """ValueError where Celery's parser takes a text for something else than it says.

    The parser looks at the first letters of a name alone, in any field, and not beyond what it knows: to
    it ``mon#1`` is every Monday, ``sundae`` a Sunday, and the minute ``feb`` the second.
    """
    for part in text.lower().split(","):
        found = None if _LAST_OR_NEAR.fullmatch(part) else _CRON_PART.fullmatch(part)
        if found is None:
            raise ValueError(_instead(part, name))
        whole, first, last, step = found.groups()
        for word in (first, last):
            if word and not word.isdigit():
                _check_name(word, name)
            elif word == "7" and name == "day_of_week":
                raise ValueError("Sunday is 0, or sun")
        if step and whole != "*" and last is None:
            raise ValueError(f"a step needs a range or a star: write {first}-{size - 1}/{step}, or */{step}")
        if step and whole == "*" and int(step) > size:
            raise ValueError(
                f"a step of {step} is more than the field's {size} values, so it would come once in each round of the "
                "field: take an interval (90m) for every so often, or leave the step out"
            )


def _check_name(word: str, name: str) -> None:
    names = _NAMES.get(name)
    if names is None:
        raise ValueError(f"{word!r} is a name, but this field takes numbers; the fields are {_ORDER}")
    if len(word) < 3 or not any(one.startswith(word) for one in names):
        near = difflib.get_close_matches(word, names, 1, 0.4)
        raise ValueError(
            f"{word!r} is not a name known here" + (f": did you mean {near[0][:3]!r}?" if near else "")
            + f" The names are {', '.join(one[:3] for one in names)}"
        )  # fmt: skip


def _instead(part: str, name: str) -> str:
    """What to write for what other crons have and this one does not."""
    nth = re.fullmatch(r"([a-z]{3,9}|[0-6])#([1-5])", part)
    if nth and name == "day_of_week":
        day, turn = nth[1], int(nth[2])
        last = min(7 * turn, 31)
        return (
            f"there is no '#' here: for weekday number {turn} of its kind in a month, write day_of_month="
            f"'{7 * turn - 6}-{last}' and day_of_week={day!r} (both must match)"
        )
    if part == "?":
        return "there is no '?' here: write '*'"
    if _LAST_OR_NEAR.fullmatch(part):
        return (
            "there is no 'L' or 'W' here: write an rrule, such as FREQ=MONTHLY;BYMONTHDAY=-1 (the last day of a month) "
            "or FREQ=MONTHLY;BYDAY=-1FR (its last Friday)"
        )
    return f"{part!r} is not a number, a name, a range (1-5), a star, or one of these with a step (*/15, 8-18/2)"


@dataclass(frozen=True)
class _CronPlan:
    """A parsed crontab, and the walk from one slot to the next, in whole seconds."""

    minutes: tuple[int, ...]  # of the day, sorted
    days: frozenset[int]
    months: tuple[int, ...]  # sorted
    weekdays: frozenset[int]
    every_hour: bool
    wild: bool
    every_day: bool
    every_date: bool  # of the year; perhaps not every weekday

    def next(self, after: int, rules: Rules) -> int | None:
        both = rules.fold == "both" or (rules.fold == "auto" and self.wild)
        merge = rules.gap == "after" and not self.every_hour
        at = segment(rules.zone, after)
        local = after + at.offset
        while True:
            if not both and local < at.start + at.before - 1:
                local = at.start + at.before - 1  # in the second pass of a repeated hour only when both count
            found = self.local_after(local)
            if found is None:
                return None
            if found - at.offset < at.end:
                return found - at.offset
            # The slot is beyond this segment. Was it swallowed by the change at the segment's end?
            if merge and at.end + at.offset <= found < at.end + at.after:
                return at.end
            ahead = found - 3 * 86400
            repeats = at.after < at.offset and local >= at.end + at.after
            if ahead > at.end + at.offset and not repeats:  # far away: nothing happens before, so jump
                at = segment(rules.zone, ahead - at.offset)
                local = max(ahead, at.start + at.offset - 1)
            else:
                end = at.end
                at = segment(rules.zone, end)
                local = end + at.offset - 1

    def local_after(self, local: int) -> int | None:
        """The first wall-clock reading after *local* that matches, no zone considered."""
        day, second = divmod(local, 86400)
        ordinal = day + _FIRST_DAY
        if self.every_day or self._matches(ordinal):
            i = bisect_right(self.minutes, second // 60)
            if i < len(self.minutes):
                return day * 86400 + self.minutes[i] * 60
        found = self.day_from(ordinal + 1)
        return None if found is None else (found - _FIRST_DAY) * 86400 + self.minutes[0] * 60

    def _matches(self, ordinal: int) -> bool:
        if ordinal % 7 not in self.weekdays or ordinal > 3_640_000:  # some years before date.max
            return False
        if self.every_date:
            return True
        day = date.fromordinal(ordinal)
        return day.month in self.months and day.day in self.days

    def day_from(self, ordinal: int) -> int | None:
        """The first matching day not before *ordinal*; None when four hundred years hold none."""
        if ordinal > 3_640_000:
            return None
        if self.every_day or self._matches(ordinal):
            return ordinal
        start = date.fromordinal(ordinal)
        for year in range(start.year, min(start.year + 401, 9967)):
            for month in self.months:
                if year == start.year and month < start.month:
                    continue
                first = start.day if (year, month) == (start.year, start.month) else 1
                for day in _days_of_month(year, month, self.days, self.weekdays):
                    if day >= first:
                        return date(year, month, day).toordinal()
        return None


@lru_cache(maxsize=4096)
def _days_of_month(year: int, month: int, days: frozenset[int], weekdays: frozenset[int]) -> tuple[int, ...]:
    first = date(year, month, 1)
    following = date(year + month // 12, month % 12 + 1, 1)
    weekday = first.isoweekday()
    return tuple(
        day for day in range(1, (following - first).days + 1) if day in days and (weekday + day - 1) % 7 in weekdays
    )


# --- solar -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Solar:
    """Celery's solar events; needs ``pip install 'redlock-beat[solar]'``.

    >>> Solar("sunset", -37.81, 144.96).event
    'sunset'
    """

    event: str
    latitude: float
    longitude: float
    kind: ClassVar[str] = "solar"

    def __post_init__(self) -> None:
        for name, value, most in (("latitude", self.latitude, 90), ("longitude", self.longitude, 180)):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not -most <= value <= most:
                raise InvalidSchedule(f"{name} is {value!r}, but must be a number from -{most} to {most}.")
        self._celery()

    def _celery(self) -> Any:
        return _solar(self.event, self.latitude, self.longitude)

    def next(self, after: int, rules: Rules) -> int | None:
        found = self._settled(after - 2 * _HOUR)
        while found <= after:
            found = self._settled(found + _HOUR)
        return found

    def _settled(self, after: int) -> int:
        # Asked again from a round hour before it, the answer does not depend on when it was asked.
        return self._event_after(self._event_after(after) // _HOUR * _HOUR - 2 * _HOUR)

    def _event_after(self, after: int) -> int:
        sun = self._celery()
        start = sun.ephem.Date(moment(after).replace(tzinfo=None))
        sun.cal.date = start
        found = _event(sun, start).datetime()
        return round(naive_micros(found) / MICROS) * MICROS

    def data(self) -> dict[str, Any]:
        return {"event": self.event, "lat": self.latitude, "lon": self.longitude}

    def __str__(self) -> str:
        return f"{self.event} at {self.latitude:g}, {self.longitude:g}"


def _event(sun: Any, start: Any) -> Any:
    """The first such event after *start*, as Celery 5.7 finds it; Celery before gives up on a day without one."""
    options = {"use_center": True} if sun.use_center else {}
    body = sun.ephem.Sun()
    for _ in range(_SOLAR_DAYS):
        try:
            return getattr(sun.cal, sun.method)(body, start=start, **options)
        except sun.ephem.CircumpolarError:  # at high latitudes: the sun does not rise, or not set, that day
            start = sun.cal.next_antitransit(body, start=start)
    return start


@lru_cache(maxsize=256)
def _solar(event: str, latitude: float, longitude: float) -> Any:
    from celery.exceptions import ImproperlyConfigured
    from celery.schedules import solar

    try:
        return solar(event, latitude, longitude, nowfun=lambda: datetime.now(UTC))
    except ImproperlyConfigured:
        raise InvalidSchedule(
            "a solar schedule needs the package ephem, which is not installed: pip install 'redlock-beat[solar]'."
        ) from None
    except (ValueError, TypeError) as exc:
        raise InvalidSchedule(f"this solar schedule cannot be used: {exc}") from None


# --- rrule -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RRule:
    """A recurrence rule (RFC 5545), evaluated by python-dateutil.

    ``start`` anchors it; a naive one is taken in the entry's zone. Rules of days and more are read on
    the wall clock of the zone, as fixed times; rules below a day step in UTC, and their BY fields are
    read in UTC, too.

    >>> RRule("FREQ=WEEKLY;BYDAY=MO", datetime(2027, 1, 4, 7)).rule
    'FREQ=WEEKLY;BYDAY=MO'
    """

    rule: str
    start: datetime
    kind: ClassVar[str] = "rrule"

    def __post_init__(self) -> None:
        if not isinstance(self.rule, str) or len(self.rule) > MAX_TEXT:
            raise InvalidSchedule(f"an rrule is a text of at most {MAX_TEXT} characters.")
        object.__setattr__(self, "rule", self.rule.upper().removeprefix("RRULE:").strip())
        _rrule_walk(self.rule, self.start, "UTC")

    @classmethod
    def of(cls, rule: Any) -> RRule:
        """The value of a :class:`dateutil.rrule.rrule`."""
        lines = [line for line in str(rule).splitlines() if line]
        text = next((line for line in lines if line.startswith("RRULE:")), "")
        return cls(text.removeprefix("RRULE:"), rule._dtstart)

    @classmethod
    def parse(cls, text: str, start: datetime | None = None) -> RRule:
        """A rule from its text; a ``DTSTART:`` line in it, or *start*, says where it begins."""
        from dateutil.rrule import rrule, rrulestr

        try:
            parsed = rrulestr(text, dtstart=start)
        except (ValueError, TypeError) as exc:
            raise InvalidSchedule(f"the rrule {text[:200]!r} cannot be read: {exc}") from None
        if not isinstance(parsed, rrule):
            raise InvalidSchedule("sets of rules (RDATE, EXDATE, several RRULEs) are not supported: use one rule.")
        return cls.of(parsed)

    def next(self, after: int, rules: Rules) -> int | None:
        try:
            return _rrule_walk(self.rule, self.start, rules.zone).next(after, rules)
        except (ValueError, TypeError, IndexError, ArithmeticError) as exc:
            if isinstance(exc, InvalidSchedule):
                raise
            raise InvalidSchedule(f"the slots of the rrule {self.rule[:200]!r} cannot be computed: {exc}") from exc

    def data(self) -> dict[str, Any]:
        return {"rule": self.rule, "start": self.start.isoformat()}

    def __str__(self) -> str:
        return self.rule


class _RRuleWalk:
    """One rule in one zone; keeps a copy of the rule that starts near what was last asked for."""

    def __init__(self, text: str, start: datetime, name: str) -> None:
        from dateutil.rrule import DAILY, rrulestr

        tz = zone(name)
        self.name = name
        local = start.astimezone(tz).replace(tzinfo=None) if start.tzinfo else start
        until = [part for part in text.split(";") if part.startswith("UNTIL=")]
        clean = ";".join(part for part in text.split(";") if not part.startswith("UNTIL="))
        try:
            rule = cast("Any", rrulestr("RRULE:" + clean, dtstart=local))
            # Below a day the rule steps in UTC: the repeated hour is not skipped, and no hour is lost.
            self.absolute = rule._freq > DAILY
            if self.absolute:
                first = _first_reading(name, naive_micros(local) // MICROS)
                rule = rrulestr("RRULE:" + clean, dtstart=moment(first * MICROS).replace(tzinfo=None))
            self.until = self._limit(until[0].removeprefix("UNTIL=")) if until else None
        except (ValueError, TypeError, KeyError, IndexError) as exc:
            raise InvalidSchedule(f"the rrule {text[:200]!r} cannot be read: {exc}") from None
        for part, most in (("hour", 23), ("minute", 59), ("second", 59)):
            beyond = [one for one in getattr(rule, f"_by{part}") or () if not 0 <= one <= most]
            if beyond:
                raise InvalidSchedule(
                    f"the rrule {text[:200]!r} has BY{part.upper()}={beyond[0]}, but it must be from 0 to {most}."
                )
        self.counted = rule._count is not None
        if self.counted and rule._count > 100_000:
            raise InvalidSchedule("the rrule's COUNT must not exceed 100000.")
        _refuse_impossible(rule, text)
        self.rule = rule
        self.near = rule
        #: After this there is no further slot; None while that is not known. dateutil looks until the year
        #: 9999 before it says so, which takes seconds.
        self._over: datetime | None = None
        names = ("bymonth", "bymonthday", "byyearday", "byweekno", "byweekday", "byeaster", "bynmonthday")
        fields = {name: value for name in names if (value := getattr(rule, f"_{name}"))}
        fields["bymonthday"] = tuple(fields.get("bymonthday", ())) + tuple(fields.pop("bynmonthday", ()))
        self._day_fields = {name: value for name, value in fields.items() if value}
        self._all: list[datetime] | None = None

    def _limit(self, text: str) -> int:
        from dateutil.parser import isoparse

        limit = isoparse(text)
        if limit.tzinfo is not None:
            return micros(limit)
        if len(text) == 8:  # a date: to the end of that day
            limit += timedelta(days=1, microseconds=-1)
        return read_last(self.name, limit)

    def next(self, after: int, rules: Rules) -> int | None:
        if self.absolute:
            found = self._after(moment(after).replace(tzinfo=None))
            slot = None if found is None else naive_micros(found)
        else:
            slot = self._next_local(after, rules)
        if slot is not None and self.until is not None and slot > self.until:
            return None
        return slot

    def _next_local(self, after: int, rules: Rules) -> int | None:
        # Wall-clock times may come twice or not at all: begin a day early, take the first slot after.
        wall = datetime(1970, 1, 1) + timedelta(microseconds=_local(self.name, after))  # noqa: DTZ001
        found = self._after(wall - timedelta(days=1, seconds=1))
        best: int | None = None
        while found is not None:
            local = naive_micros(found)
            for at in self._readings(local, rules):
                if at > after and (best is None or at < best):
                    best = at
            if best is not None and local > _local(self.name, best) + 86400 * MICROS:
                return best
            if best is not None and local - naive_micros(wall) > 2 * 86400 * MICROS:
                return best
            found = self._after(found)
        return best

    def _readings(self, local: int, rules: Rules) -> tuple[int, ...]:
        second, rest = divmod(local, MICROS)
        reading = read_wall(self.name, second)
        if reading.instants:
            passes = reading.instants if rules.fold == "both" else reading.instants[:1]
            return tuple(at * MICROS + rest for at in passes)
        if rules.gap == "after" and reading.gap_end is not None:
            return (reading.gap_end * MICROS,)
        return ()

    def _after(self, when: datetime) -> datetime | None:
        if self._over is not None and when >= self._over:
            return None
        found = self._searched(when)
        if found is None:
            self._over = when
        return found

    def _searched(self, when: datetime) -> datetime | None:
        if self.counted:
            if self._all is None:
                self._all = list(self.rule)
            i = bisect_right(self._all, when)
            return self._all[i] if i < len(self._all) else None
        if self.absolute and self._day_fields:
            return self._on_a_day_that_fits(when)
        if when < self.near._dtstart or when - self.near._dtstart > _stride(self.rule) * 64:
            self.near = _moved(self.rule, when)
        return cast("datetime | None", self.near.after(when))

    def _on_a_day_that_fits(self, when: datetime) -> datetime | None:
        """Below a day with day fields: walk the days that fit, so that a rare or impossible one costs no minutes."""
        from dateutil import rrule

        begin = max(when, self.rule._dtstart).replace(hour=0, minute=0, second=0, microsecond=0)
        # Yearly, since dateutil looks for an impossible day until the year 9999, and so in year-long steps.
        days = rrule.rrule(rrule.YEARLY, dtstart=begin, until=begin + timedelta(days=_FAR), **self._day_fields)
        for day in islice(days, _FAR):
            end = day + timedelta(days=1, microseconds=-1)
            near = _moved(self.rule, day).replace(until=end)
            found = near.after(max(when, day - timedelta(microseconds=1)))
            if found is not None:
                return cast("datetime", found)
        return None


def _refuse_impossible(rule: Any, text: str) -> None:
    """Refuse what dateutil would look for until the year 9999: BYSETPOS beyond the set, days that do not exist."""
    from dateutil import rrule

    days = {rrule.YEARLY: 366, rrule.MONTHLY: 31, rrule.WEEKLY: 7}.get(rule._freq, 1)
    times = 1
    for coarser, values in (
        (rrule.DAILY, rule._byhour),
        (rrule.HOURLY, rule._byminute),
        (rrule.MINUTELY, rule._bysecond),
    ):
        if rule._freq <= coarser:
            times *= max(1, len(values or ()))
    possible = not rule._bysetpos or any(abs(position) <= days * times for position in rule._bysetpos)
    fields = {name: value for name in ("bymonth", "bymonthday", "byyearday") if (value := getattr(rule, f"_{name}"))}
    if rule._bynmonthday:
        fields["bymonthday"] = (*fields.get("bymonthday", ()), *rule._bynmonthday)
    if possible and fields and rule._freq in (rrule.WEEKLY, rrule.DAILY):
        # Yearly, since a year is looked at in one go; other fields only narrow it further.
        possible = next(iter(rrule.rrule(rrule.YEARLY, dtstart=_LEAP, count=1, **fields)), None) is not None
    if not possible:
        raise InvalidSchedule(f"the rrule {text[:200]!r} never comes: nothing matches all of its parts.")


#: Some instant to look for days from.
_LEAP = datetime(2000, 1, 1)  # noqa: DTZ001 - a wall-clock day, as dateutil takes it
#: Days that a rule below a day is searched for its next slot.
_FAR = 366 * 12


def read_last(name: str, wall: datetime) -> int:
    """The last instant at which the wall clock reads *wall*; the end of the gap when it never does."""
    local = naive_micros(wall)
    reading = read_wall(name, local // MICROS)
    at = reading.instants[-1] if reading.instants else reading.gap_end
    assert at is not None
    return at * MICROS + local % MICROS


def _stride(rule: Any) -> timedelta:
    from dateutil import rrule

    unit = {
        rrule.YEARLY: timedelta(days=366), rrule.MONTHLY: timedelta(days=31), rrule.WEEKLY: timedelta(weeks=1),
        rrule.DAILY: timedelta(days=1), rrule.HOURLY: timedelta(hours=1), rrule.MINUTELY: timedelta(minutes=1),
        rrule.SECONDLY: timedelta(seconds=1),
    }[rule._freq]  # fmt: skip
    return cast("timedelta", unit * rule._interval)


def _moved(rule: Any, when: datetime) -> Any:
    """The same rule, started in phase shortly before *when*, so that its cost does not grow with its age."""
    from dateutil import rrule

    start: datetime = rule._dtstart
    if when <= start:
        return rule
    given = dict(rule._original_rule)
    hour = {"byhour": rule._byhour, "byminute": rule._byminute, "bysecond": rule._bysecond}
    if rule._freq in (rrule.YEARLY, rrule.MONTHLY):
        months = (when.year - start.year) * 12 + when.month - start.month
        step = rule._interval * (12 if rule._freq == rrule.YEARLY else 1)
        months = max(0, months // step - 1) * step
        year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
        begin = start.replace(year=year, month=month + 1, day=1)
        if months == 0:
            return rule
        for name in ("bymonth", "bymonthday", "byyearday", "byweekno", "byeaster"):
            value = getattr(rule, f"_{name}")
            if value:
                given[name] = value
        if rule._bynmonthday:
            given["bymonthday"] = tuple(rule._bymonthday or ()) + tuple(rule._bynmonthday)
        given.update({k: v for k, v in hour.items() if v})
    else:
        stride = _stride(rule)
        begin = start + max(0, (when - start) // stride - 2) * stride
        if rule._freq == rrule.WEEKLY and rule._byweekday:
            given["byweekday"] = rule._byweekday
    given = {k: v for k, v in given.items() if v is not None}
    return rrule.rrule(rule._freq, dtstart=begin, interval=rule._interval, wkst=rule._wkst, cache=False, **given)


@lru_cache(maxsize=1024)
def _rrule_walk(text: str, start: datetime, name: str) -> _RRuleWalk:
    if not isinstance(start, datetime):
        raise InvalidSchedule("an rrule needs a start: a datetime, or a DTSTART line in its text.")
    return _RRuleWalk(text, start, name)


# --- one shot --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Once:
    """One shot at an instant.

    >>> Once.of(datetime(2027, 1, 1, 7, tzinfo=UTC))
    Once(at=1798786800000000)
    """

    at: int
    kind: ClassVar[str] = "once"

    @classmethod
    def of(cls, when: datetime, name: str = "UTC") -> Once:
        """A one shot; a naive *when* is read in the zone *name*, and refused when that reads two ways or none."""
        if when.tzinfo is not None:
            return cls(micros(when))
        local = naive_micros(when)
        reading = read_wall(name, local // MICROS)
        if len(reading.instants) == 1:
            return cls(reading.instants[0] * MICROS + local % MICROS)
        if reading.instants:
            both = " or ".join(moment(at * MICROS).astimezone(zone(name)).isoformat() for at in reading.instants)
            raise InvalidSchedule(f"{when} is read twice in {name} (the clock goes back): say which, {both}.")
        assert reading.gap_end is not None
        end = moment(reading.gap_end * MICROS).astimezone(zone(name))
        early = moment((reading.gap_end - 1) * MICROS).astimezone(zone(name))
        raise InvalidSchedule(
            f"{when} does not exist in {name} (the clock goes forward from {early.isoformat()} "
            f"to {end.isoformat()}): give an instant that does, with its offset."
        )

    def next(self, after: int, rules: Rules) -> int | None:
        return self.at if self.at > after else None

    def data(self) -> dict[str, Any]:
        return {"at": moment(self.at).isoformat()}

    def __str__(self) -> str:
        return f"once at {moment(self.at).isoformat()}"


# --- custom ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Registered:
    cls: type
    dump: Callable[[Any], dict[str, Any]]
    load: Callable[[dict[str, Any]], Any]


_registry: dict[str, _Registered] = {}


def register_schedule(
    kind: str,
    cls: type,
    *,
    dump: Callable[[Any], dict[str, Any]],
    load: Callable[[dict[str, Any]], Any] | None = None,
) -> None:
    """Let entries use a schedule class of your own.

    Call it in the module that defines your app, so that every beat and every editor has it.
    *dump* turns an instance into JSON-able data, *load* (default: ``cls(**data)``) turns it back.
    The class has ``next_slot(after) -> datetime | None``, or is a Celery ``BaseSchedule`` with
    ``remaining_estimate(last_run_at)``; either is asked with the loop's time as "now".

    >>> class Tick:
    ...     def next_slot(self, after):
    ...         return after + timedelta(seconds=1)
    >>> register_schedule("tick", Tick, dump=lambda tick: {})
    """
    if not kind or kind in _KINDS or len(kind) > 100:
        raise InvalidSchedule(f"{kind!r} cannot be used as the name of a schedule class: it is empty, taken or long.")
    _registry[kind] = _Registered(cls, dump, load or (lambda data: cls(**data)))


@dataclass(frozen=True, slots=True)
class Custom:
    """An instance of a registered class, held by its data."""

    name: str
    text: str
    kind: ClassVar[str] = "custom"

    @classmethod
    def of(cls, schedule: Any) -> Custom | None:
        """The value of an instance of a registered class, or None when its class is not registered."""
        for name, entry in _registry.items():
            if type(schedule) is entry.cls:
                try:
                    return cls(name, json.dumps(entry.dump(schedule), sort_keys=True, allow_nan=False))
                except (TypeError, ValueError) as exc:
                    raise InvalidSchedule(f"the schedule {name!r} has data that JSON cannot carry: {exc}.") from None
        return None

    def instance(self) -> Any:
        """The user's object; refused when the class is not registered in this process."""
        entry = _registry.get(self.name)
        if entry is None:
            raise Uncomputable(
                f"the schedule class {self.name!r} is not registered here: call register_schedule({self.name!r}, ...) "
                "in the module that defines your Celery app."
            )
        return entry.load(json.loads(self.text))

    def next(self, after: int, rules: Rules) -> int | None:
        schedule, when = self.instance(), moment(after)
        if hasattr(schedule, "next_slot"):
            found = schedule.next_slot(when)
        else:
            schedule.nowfun = lambda: when
            try:
                found = when + schedule.remaining_estimate(when)
            except NotImplementedError:
                found = when + timedelta(seconds=float(schedule.is_due(when)[1]))
        if found is None:
            return None
        if not isinstance(found, datetime) or found.tzinfo is None or micros(found) <= after:
            raise InvalidSchedule(
                f"the schedule class {self.name!r} answered {found!r} to what comes after {when.isoformat()}: "
                "it must be an aware datetime after that, or None."
            )
        return micros(found)

    def data(self) -> dict[str, Any]:
        return {"name": self.name, "data": json.loads(self.text)}

    def __str__(self) -> str:
        return f"{self.name} {self.text}"


# --- from what users write -------------------------------------------------------------------------

_KINDS: dict[str, Callable[[dict[str, Any]], Spec]] = {
    "interval": lambda d: Interval.of(d["every"], d.get("relative", False)),
    "crontab": lambda d: Crontab.parse(d["cron"]),
    "solar": lambda d: Solar(d["event"], float(d["lat"]), float(d["lon"])),
    "rrule": lambda d: RRule(d["rule"], datetime.fromisoformat(d["start"])),
    "once": lambda d: Once.of(datetime.fromisoformat(d["at"])),
    "custom": lambda d: Custom(str(d["name"]), json.dumps(d["data"], sort_keys=True)),
}
#: What the data of each kind consists of: what must be there, and what may.
_PARTS = {
    kind: (frozenset(needed), frozenset((*needed, *more)))
    for kind, needed, more in (
        ("interval", ("every",), ("relative",)), ("crontab", ("cron",), ()), ("solar", ("event", "lat", "lon"), ()),
        ("rrule", ("rule", "start"), ()), ("once", ("at",), ()), ("custom", ("name", "data"), ()),
    )
}  # fmt: skip


def _other_parts(kind: str, data: Mapping[str, Any]) -> InvalidSchedule:
    needed, allowed = _PARTS[kind]
    unknown = data.keys() - allowed
    said = [*(f"no {part!r}" for part in sorted(needed - data.keys())), *(repr(part) for part in sorted(unknown))]
    others = sorted(other for other, (_, its) in _PARTS.items() if unknown & its)
    return InvalidSchedule(
        f"a schedule of kind {kind!r} consists of {', '.join(sorted(allowed))}; this one has {' and '.join(said)}."
        + (f' For another kind say so: "kind": {json.dumps(others[0])}, with its parts alone.' if others else "")
    )


def from_data(kind: str, data: dict[str, Any]) -> Spec:
    """The schedule that :meth:`Spec.data` was taken from.

    >>> from_data("interval", {"every": 30}) == Interval.of(30)
    True
    """
    make = _KINDS.get(kind)
    if make is None:
        raise InvalidSchedule(f"{kind!r} is not a kind of schedule; there are {', '.join(_KINDS)}.")
    needed, allowed = _PARTS[kind]
    if not needed <= data.keys() <= allowed:
        raise _other_parts(kind, data)
    try:
        return make(data)
    except (KeyError, TypeError, ValueError) as exc:
        if isinstance(exc, InvalidSchedule):
            raise
        raise InvalidSchedule(f"a schedule of kind {kind!r} cannot be read from {str(data)[:200]}: {exc!r}") from None


def as_spec(when: Any, *, zone_name: str = "UTC", relative: bool = False) -> Spec:
    """Whatever a user may give as a schedule, as one of the kinds above.

    >>> as_spec(timedelta(minutes=5))
    Interval(every=300000000, relative=False)
    """
    spec = _spec_of(when, zone_name, relative)
    if relative and not isinstance(spec, Interval):
        raise InvalidSchedule(f"relative=True is for intervals, and this is a schedule of kind {spec.kind!r}.")
    return spec


def _spec_of(when: Any, zone_name: str, relative: bool) -> Spec:
    if isinstance(when, Interval):
        return Interval(when.every, relative or when.relative)
    if isinstance(when, (Crontab, Solar, RRule, Once, Custom)):
        return when
    if isinstance(when, str):
        return _spec_of_text(when, relative)
    if isinstance(when, (int, float, timedelta)):
        return Interval.of(when, relative)
    if isinstance(when, datetime):
        return Once.of(when, zone_name)
    own = Custom.of(when)
    if own is not None:
        return own
    from celery import schedules as celery_schedules
    from dateutil.rrule import rrule

    if isinstance(when, rrule):
        return RRule.of(when)
    if type(when) is celery_schedules.schedule:
        return Interval.of(when.run_every, relative or bool(when.relative))
    if type(when) is celery_schedules.crontab:
        return Crontab.of(when)
    if type(when) is celery_schedules.solar:
        return Solar(when.event, float(when.lat), float(when.lon))
    raise InvalidSchedule(
        f"{when!r} is not a schedule known here. Give seconds, a timedelta, a crontab (also as '0 7 * * 1-5'), solar "
        "or rrule, an aware datetime for one shot, or register your own class with register_schedule()."
    )


def _spec_of_text(text: str, relative: bool) -> Spec:
    """A crontab of five fields, or a span."""
    words = text.split()
    if len(words) > 2 or text.strip().startswith("@"):
        return Crontab.parse(text)
    try:
        return Interval.of(span_of(text), relative)
    except InvalidSchedule as exc:
        raise InvalidSchedule(
            f"{text[:200]!r} is not a schedule: as a text, write a crontab of five fields (0 7 * * 1-5) or a span "
            f"(10m, 1h30m, seconds). {exc}"
        ) from None


def next_due(
    schedule: Any,
    after: datetime,
    *,
    timezone: str | None = None,
    anchor: datetime | None = None,
    dst_gap: str = "after",
    dst_fold: str = "auto",
) -> datetime | None:
    """The first slot strictly after *after*, in UTC; None when there is none any more.

    >>> next_due(Crontab.parse("30 2 * * *"), datetime(2026, 3, 29, 0, tzinfo=UTC), timezone="Europe/Berlin")
    datetime.datetime(2026, 3, 29, 1, 0, tzinfo=datetime.timezone.utc)
    """
    if after.tzinfo is None:
        raise InvalidSchedule("`after` must be an aware datetime: a naive one means a different instant in each zone.")
    name = timezone or "UTC"
    zone(name)
    start = micros(anchor) if anchor is not None else micros(after)
    rules = Rules(name, start, dst_gap, dst_fold)
    at = as_spec(schedule, zone_name=name).next(micros(after), rules)
    return None if at is None else moment(at)
