"""Celery's crontab: its text, the check that it means what it says, and the way from one slot to the next.

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

The seconds of a crontab of six fields change nothing of that.
``dst_fold="first"`` or ``"both"`` decide for all alike.
"""

from __future__ import annotations

import difflib
import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from operator import attrgetter
from typing import Any, ClassVar

from ..clock import MICROS
from ..errors import InvalidSchedule
from ..words import many
from .spec import LAST, Rules
from .zones import segment

_FIRST_DAY = date(1970, 1, 1).toordinal()
#: Name, number of values and first value of each field.
_FIELDS = (
    ("minute", 60, 0),
    ("hour", 24, 0),
    ("day_of_month", 31, 1),
    ("month_of_year", 12, 1),
    ("day_of_week", 7, 0),
)
_ORDER = "minute, hour, day of month, month, day of week"
#: The field that a crontab of six has before these.
_SECOND = ("second", 60, 0)
_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_NAMES = {"month_of_year": _MONTHS, "day_of_week": _WEEKDAYS}
_CRON_PART = re.compile(r"(\*|(\d+|[a-z]+)(?:-(\d+|[a-z]+))?)(?:/(\d+))?", re.ASCII)
_AROUND = re.compile(r"\s*([,/-])\s*")
_LAST_OR_NEAR = re.compile(r"l|lw|l-\d+|\d+w|(?:sun|mon|tue|wed|thu|fri|sat|[0-7])l")


@dataclass(frozen=True, slots=True)
class Crontab:
    """Celery's crontab: the same fields with the same meaning (both day fields must match); and seconds.

    >>> str(Crontab(minute="30", hour="7", day_of_week="mon-fri"))
    '30 7 * * mon-fri'
    >>> str(Crontab(second="*/10"))
    '*/10 * * * * *'
    """

    minute: str = "*"
    hour: str = "*"
    day_of_month: str = "*"
    month_of_year: str = "*"
    day_of_week: str = "*"
    second: str = "0"
    kind: ClassVar[str] = "crontab"
    plan: _CronPlan = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        texts: tuple[str, ...] = (self.minute, self.hour, self.day_of_month, self.month_of_year, self.day_of_week)
        if any(isinstance(text, str) and " " in text for text in (*texts, self.second)):
            texts = tuple(map(_cron_text, texts))
            for (name, _, _), text in zip(_FIELDS, texts, strict=True):
                object.__setattr__(self, name, text)
            object.__setattr__(self, "second", _cron_text(self.second))
        for text in (*texts, self.second):
            if not isinstance(text, str):
                raise InvalidSchedule(f"a crontab field is {text!r}, but must be a text, such as '5' or '1-5'.")
        object.__setattr__(self, "plan", _cron_plan(self.second, *texts))

    @classmethod
    def of(cls, crontab: Any) -> Crontab:
        """The value of a :class:`celery.schedules.crontab`, from the texts it was made of."""
        return _crontab(*map(_cron_text, _originals(crontab)))

    @classmethod
    def parse(cls, text: str) -> Crontab:
        """A crontab from its five fields: minute, hour, day of month, month, day of week; or six, seconds first.

        >>> Crontab.parse("0 7 * * 1-5").hour
        '7'
        >>> Crontab.parse("*/10 * * * * *").second
        '*/10'
        """
        parts = _NICKNAMES.get(text.strip().lower(), text).split()
        if len(parts) not in (5, 6):
            raise InvalidSchedule(
                f"{text[:200]!r} has {many(len(parts), 'field')}, but a crontab has five: {_ORDER}, as in "
                "'0 7 * * 1-5'; or six, with the second before them."
            )
        return _crontab(*parts[-5:], *parts[:-5])

    def next(self, after: int, rules: Rules) -> int | None:
        at = self.plan.next(after // MICROS, rules) if after < LAST else None
        return None if at is None else at * MICROS

    def fields(self) -> tuple[list[int], ...]:
        """The values that fit: seconds, minutes, hours, days of the month, months, days of the week (Sunday is 0).

        >>> Crontab.parse("0 7 * * 1-5").fields()[1:3]
        ([0], [7])
        """
        plan = self.plan
        minutes, hours = ({minute % 60 for minute in plan.minutes}, {minute // 60 for minute in plan.minutes})
        return tuple(map(sorted, (plan.seconds, minutes, hours, plan.days, plan.months, plan.weekdays)))

    def data(self) -> dict[str, Any]:
        return {"cron": str(self)}

    def __str__(self) -> str:
        text = f"{self.minute} {self.hour} {self.day_of_month} {self.month_of_year} {self.day_of_week}"
        return text if self.second == "0" else f"{self.second} {text}"


#: One object for crontabs that say the same: many entries have few of them.
_crontab = lru_cache(maxsize=4096)(Crontab)
_originals = attrgetter(*(f"_orig_{name}" for name, _, _ in _FIELDS))


def crontab6(text: str) -> Crontab:
    """A crontab of six fields, seconds first, for ``beat_schedule`` and wherever a schedule is taken.

    >>> crontab6("*/10 * 8-17 * * mon-fri").second
    '*/10'
    """
    if not isinstance(text, str) or len(text.split()) != 6:
        raise InvalidSchedule(f"crontab6 takes one text of six fields: second, {_ORDER}; not {str(text)[:200]!r}.")
    return Crontab.parse(text)


def _cron_text(value: Any) -> str:
    if isinstance(value, str):
        return (_AROUND.sub(r"\1", value.strip()) if " " in value or not value.isprintable() else value) or value
    if isinstance(value, int):
        return str(value)
    return ",".join(str(int(one)) for one in sorted(value))


@lru_cache(maxsize=4096)
def _cron_plan(*texts: str) -> _CronPlan:
    from celery.schedules import crontab_parser

    sets: list[list[int]] = []
    for text, (name, size, low) in zip(texts, (_SECOND, *_FIELDS), strict=True):
        try:
            if not text or len(text) > 500:
                raise ValueError("it must be 1 to 500 characters")
            _means_what_it_says(text, name, size)
            found = crontab_parser(size, low).parse(text)
        except (ValueError, IndexError, ZeroDivisionError) as exc:
            raise InvalidSchedule(
                f"the crontab field {name}={text!r} cannot be used: {str(exc).rstrip('.')}."
            ) from None
        except Exception as exc:
            if type(exc).__name__ != "ParseException":
                raise
            raise InvalidSchedule(
                f"the crontab field {name}={text!r} cannot be used: {str(exc).rstrip('.')}."
            ) from None
        if not found:
            raise InvalidSchedule(f"the crontab field {name}={text!r} matches nothing.")
        sets.append(sorted(found))
    seconds, minutes, hours, days, months, weekdays = sets
    plan = _CronPlan(
        seconds=tuple(seconds),
        minutes=tuple(h * 60 + m for h in hours for m in minutes),
        days=frozenset(days),
        months=tuple(months),
        weekdays=frozenset(weekdays),
        every_hour=len(hours) == 24,
        every_day=len(days) == 31 and len(months) == 12 and len(weekdays) == 7,
        every_date=len(days) == 31 and len(months) == 12,
        wild=len(hours) == 24 or "*" in texts[1] or "*" in texts[2],
    )
    if plan.day_from(_FIRST_DAY + 20_000) is None:
        raise InvalidSchedule(f"the crontab {' '.join(texts[1:])!r} never comes: no such day exists.")
    return plan


def _means_what_it_says(text: str, name: str, size: int) -> None:
    """ValueError where Celery's parser reads a text as something else than it says.

    The parser reads only the first letters of a name, in any field, and ignores what follows: for it ``mon#1`` is every
    Monday, ``sundae`` a Sunday, and the minute ``feb`` the second.
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
                f"a step of {step} is more than the field's {size} values, so it comes once in each round of the "
                "field: use an interval (90m) instead, or leave the step out"
            )


def _check_name(word: str, name: str) -> None:
    names = _NAMES.get(name)
    if names is None:
        raise ValueError(f"{word!r} is a name, but this field takes numbers; the fields are {_ORDER}")
    if len(word) < 3 or not any(one.startswith(word) for one in names):
        near = difflib.get_close_matches(word, names, 1, 0.4)
        hint = f": did you mean {near[0][:3]!r}?" if near else "."
        raise ValueError(f"{word!r} is not a name known here{hint} The names are {', '.join(one[:3] for one in names)}")


def _instead(part: str, name: str) -> str:
    """What to write instead of something that other crons know and this one does not."""
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

    seconds: tuple[int, ...]  # of the minute, sorted
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
            minute, second = divmod(second, 60)
            i = bisect_left(self.minutes, minute)
            if i < len(self.minutes):
                if self.minutes[i] > minute:
                    return day * 86400 + self.minutes[i] * 60 + self.seconds[0]
                if self.seconds[-1] > second:
                    return day * 86400 + minute * 60 + self.seconds[bisect_right(self.seconds, second)]
                if i + 1 < len(self.minutes):
                    return day * 86400 + self.minutes[i + 1] * 60 + self.seconds[0]
        found = self.day_from(ordinal + 1)
        return None if found is None else (found - _FIRST_DAY) * 86400 + self.minutes[0] * 60 + self.seconds[0]

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
