"""Recurrence rules of RFC 5545, evaluated by python-dateutil: bounded in time where dateutil is not."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import Any, ClassVar, cast

from ..clock import MICROS, micros, moment, naive_micros
from ..errors import InvalidSchedule
from .spec import Rules
from .zones import local_at, read_first, read_last, read_wall, zone

_MAX_TEXT = 2_000
#: A day from which to look for others.
_LEAP = datetime(2000, 1, 1)  # noqa: DTZ001 - a wall-clock day, as dateutil takes it
#: The longest year, month, week, day, hour, minute and second, in the order in which dateutil numbers frequencies.
_UNITS = (
    *(timedelta(days=days) for days in (366, 31, 7, 1)),
    *(timedelta(seconds=seconds) for seconds in (3600, 60, 1)),
)
#: Days to search for the next slot of a rule below a day.
_FAR = 366 * 12


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
        if not isinstance(self.rule, str) or len(self.rule) > _MAX_TEXT:
            raise InvalidSchedule(f"an rrule is a text of at most {_MAX_TEXT} characters.")
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
    """One rule in one zone, with a copy of the rule that starts near the last question."""

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
                first = read_first(name, naive_micros(local) // MICROS)
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
        #: After this there is no further slot; None while nobody knows. dateutil searches until the year 9999 before it
        #: says so, which takes seconds.
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
        second, rest = divmod(naive_micros(limit), MICROS)
        return read_last(self.name, second) * MICROS + rest

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
        wall = datetime(1970, 1, 1) + timedelta(microseconds=local_at(self.name, after))  # noqa: DTZ001
        found = self._after(wall - timedelta(days=1, seconds=1))
        best: int | None = None
        while found is not None:
            local = naive_micros(found)
            for at in self._readings(local, rules):
                if at > after and (best is None or at < best):
                    best = at
            if best is not None and local > local_at(self.name, best) + 86400 * MICROS:
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
    """Refuse what dateutil would search until the year 9999: BYSETPOS beyond the set, days that do not exist."""
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


def _stride(rule: Any) -> timedelta:
    return cast("timedelta", _UNITS[rule._freq] * rule._interval)


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
