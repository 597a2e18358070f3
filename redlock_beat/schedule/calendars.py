"""``redlock_beat_calendars``: lists of days, functions, collections of dates and .ics files, read into calendars."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any

from ..errors import InvalidSchedule, InvalidSetting
from ..recurrence import Calendars, days_of
from ..recurrence.calendars import Holds
from ..recurrence.days import Days, day_of, is_name, read

#: Days in the list of one calendar, and bytes of a file.
MOST, MOST_BYTES = 100_000, 10_000_000
#: Times a day at which an event of a file takes place.
MOST_A_DAY = 100


def read_calendars(given: Mapping[str, Any]) -> Calendars:
    """The calendars of the setting ``redlock_beat_calendars``; :class:`InvalidSetting` names one that cannot be used.

    >>> sorted(read_calendars({"shut": ["12-24..01-06"], "odd": lambda day: day.day % 2 == 1}).known)
    ['odd', 'shut']
    """
    known = {}
    for name, value in given.items():
        where = f"redlock_beat_calendars[{name!r}]"
        if not is_name(name):
            raise InvalidSetting(
                f"{where} cannot be the name of a calendar: use letters, digits, '_', '-' and '.', beginning with a "
                "letter; mon to sun are taken."
            )
        try:
            known[name] = _calendar(value, where)
        except InvalidSchedule as exc:
            raise InvalidSetting(str(exc)) from None
    return Calendars(known)


def _calendar(value: Any, where: str) -> Holds:
    if isinstance(value, os.PathLike) or (isinstance(value, str) and value.lower().endswith(".ics")):
        return _file(os.fspath(value), where)
    if isinstance(value, Mapping) and type(value) is not dict:
        return value.__contains__  # a collection that computes its days, as those of the package holidays do
    if callable(value):
        return _asked(value)
    if isinstance(value, Iterator):
        raise InvalidSetting(f"{where} is an iterator, which is empty when it is read again: make it a list.")
    if isinstance(value, (str, date, Iterable)):
        return _listed(days_of(value if isinstance(value, (str, date)) else list(value), where, MOST), where)
    if hasattr(value, "__contains__"):
        return _asked(value.__contains__)
    raise InvalidSetting(
        f"{where} is {str(value)[:100]!r}, but must be a list of days, a function that is told a date and says whether "
        "the calendar holds it, a collection of dates, or the path of an .ics file."
    )


def _asked(function: Any) -> Holds:
    return lambda day: bool(function(day))


def _listed(texts: tuple[str, ...], where: str) -> Holds:
    days: Days = read(texts, where)
    if days.names:
        raise InvalidSetting(f"{where} names {days.names[0]!r}: a calendar is made of days, and of no other calendar.")
    return lambda day: day_of(day) in days


# --- .ics ------------------------------------------------------------------------------------------


def _file(path: str, where: str) -> Holds:
    try:
        found = os.stat(path)
        if found.st_size > MOST_BYTES:
            raise InvalidSetting(f"{where}: the file {path} is larger than {MOST_BYTES} bytes.")
        return _events(path, found.st_mtime_ns, found.st_size).holds
    except ImportError:
        raise InvalidSetting(
            f"{where} is an .ics file, and reading one needs a package that is not installed: "
            "pip install 'redlock-beat[ics]'."
        ) from None
    except OSError as exc:
        raise InvalidSetting(f"{where}: the file {path} cannot be read ({exc.strerror or exc}).") from None
    except InvalidSetting:
        raise
    except Exception as exc:  # noqa: BLE001 - whatever the packages that read it raise
        why = exc if isinstance(exc, ValueError) else repr(exc)
        raise InvalidSetting(f"{where}: the file {path} is not a calendar ({why}).") from None


class _Events:
    """The days on which events of a file take place, a year at a time."""

    def __init__(self, text: bytes) -> None:
        import recurring_ical_events
        from icalendar import Calendar

        calendar = Calendar.from_ical(text)
        for event in calendar.walk("VEVENT"):
            _refuse_more_than_days(event.get("RRULE"))
        self._calendar = recurring_ical_events.of(calendar)
        self._years: dict[int, frozenset[date]] = {}

    def holds(self, day: date) -> bool:
        """Whether an event takes place on a day."""
        known = self._years.get(day.year)
        if known is None:
            known = self._years[day.year] = frozenset(self._days(day.year))
        return day in known

    def _days(self, year: int) -> Iterable[date]:
        for event in self._calendar.between((year, 1, 1), (year + 1, 1, 1)):
            first, end = event["DTSTART"].dt, event["DTEND"].dt
            last = _date(end - timedelta(microseconds=1) if isinstance(end, datetime) else end - timedelta(days=1))
            day = max(_date(first), date(year, 1, 1))
            while True:  # an event of no length is on its day
                yield day
                day += timedelta(days=1)
                if day > last or day.year > year:
                    break


def _refuse_more_than_days(rules: Any) -> None:
    """Refuse an event that takes place so often on one day that a year of it would take minutes to look at."""
    for rule in rules if isinstance(rules, list) else [rules] if rules else []:
        often = {"SECONDLY", "MINUTELY"}.intersection(str(one).upper() for one in rule.get("FREQ", ()))
        times = math.prod(max(1, len(rule.get(part, ()))) for part in ("BYHOUR", "BYMINUTE", "BYSECOND"))
        if often or times > MOST_A_DAY:
            raise ValueError(f"an event repeats by {rule.to_ical().decode()}, but a calendar is made of days")


def _date(when: date) -> date:
    return when.date() if isinstance(when, datetime) else when


@lru_cache(maxsize=64)
def _events(path: str, changed: int, size: int) -> _Events:
    """What a file holds, read again when it has changed."""
    with open(path, "rb") as file:
        return _Events(file.read(MOST_BYTES))
