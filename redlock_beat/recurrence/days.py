"""Sets of days as users write them, and as an entry carries them: texts.

==========================  =======================================================
``2026-12-24``              a day
``2026-12-24..2027-01-06``  the days from one to another, both counted
``12-25``, ``12-24..01-06`` the same in every year
``sat``                     a day of the week
``holidays_de``             a calendar by name; see ``calendars``
==========================  =======================================================

Inside, a day is a number: 0 is 1970-01-01.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Any

from ..errors import InvalidSchedule

#: Days that the list of one entry may name.
MOST = 1_000
_EPOCH = date(1970, 1, 1).toordinal()
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DATE = re.compile(r"(?:(\d{4})-)?(\d{2})-(\d{2})", re.ASCII)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}", re.ASCII)
_ACCEPTED = (
    "a date or 2026-12-24, a range (2026-12-24..2027-01-06), a day of every year (12-25), a weekday (sat), "
    "or the name of a calendar"
)


def days_of(value: Any, what: str, most: int = MOST) -> tuple[str, ...]:
    """The texts of what a user gives as days; InvalidSchedule that names *what* when there is something else.

    >>> days_of(["Sat", date(2026, 12, 24), (date(2027, 1, 1), "2027-01-06"), "holidays_de"], "exclude")
    ('sat', '2026-12-24', '2027-01-01..2027-01-06', 'holidays_de')
    """
    if value is None:
        return ()
    items = [value] if isinstance(value, (str, date)) else value
    if not isinstance(items, Iterable) or isinstance(items, (bytes, Mapping, Iterator)):
        raise InvalidSchedule(f"{what} is {str(value)[:100]!r}, but must be a list of days: {_ACCEPTED}.")
    texts = tuple(dict.fromkeys(_text_of(item, what) for item in items))
    if len(texts) > most:
        raise InvalidSchedule(f"{what} names {len(texts)} days, more than the {most} allowed.")
    read(texts, what)
    return texts


def is_name(text: object) -> bool:
    """Whether a calendar may have this name.

    >>> is_name("holidays_de"), is_name("sat"), is_name("12-25")
    (True, False, False)
    """
    return isinstance(text, str) and _NAME.fullmatch(text) is not None and text.lower() not in _WEEKDAYS


def date_of(day: int) -> date:
    """The date of a day.

    >>> date_of(0)
    datetime.date(1970, 1, 1)
    """
    return date.fromordinal(day + _EPOCH)


def day_of(when: date) -> int:
    """The day of a date.

    >>> day_of(date(1970, 1, 2))
    1
    """
    return when.toordinal() - _EPOCH


def _text_of(item: Any, what: str) -> str:
    if isinstance(item, datetime):
        raise InvalidSchedule(f"{what} holds the instant {item.isoformat()}, but takes days: give its date().")
    if isinstance(item, date):
        return item.isoformat()
    if isinstance(item, str):
        text = item.strip()
        return text.lower() if text.lower() in _WEEKDAYS else text
    if isinstance(item, (tuple, list)) and len(item) == 2:
        return "..".join(_text_of(end, what) for end in item)
    raise InvalidSchedule(f"{what} holds {str(item)[:100]!r}, but takes {_ACCEPTED}.")


@dataclass(frozen=True, slots=True)
class Days:
    """A list of days, read. What it names is for others to know."""

    days: frozenset[int] = frozenset()
    ranges: tuple[tuple[int, int], ...] = ()
    #: Month and day of month.
    yearly: frozenset[tuple[int, int]] = frozenset()
    #: Monday is 0.
    weekdays: frozenset[int] = frozenset()
    names: tuple[str, ...] = ()

    def __contains__(self, day: int) -> bool:
        if day in self.days or (day + 3) % 7 in self.weekdays:  # 1970 began on a Thursday
            return True
        if any(first <= day <= last for first, last in self.ranges):
            return True
        if not self.yearly:
            return False
        when = date_of(day)
        return (when.month, when.day) in self.yearly

    def __bool__(self) -> bool:
        return bool(self.days or self.ranges or self.yearly or self.weekdays or self.names)

    def edges(self) -> Iterator[int]:
        """Where days that are listed begin, and where they are over."""
        for day in self.days:
            yield from (day, day + 1)
        for first, last in self.ranges:
            yield from (first, last + 1)


@lru_cache(maxsize=1024)
def read(texts: tuple[str, ...], what: str = "it") -> Days:
    """The days of texts.

    >>> 0 in read(("1970-01-01..1970-01-06",)), read(("sat", "holidays_de")).names
    (True, ('holidays_de',))
    """
    days: set[int] = set()
    ranges: list[tuple[int, int]] = []
    yearly: set[tuple[int, int]] = set()
    weekdays: set[int] = set()
    names: list[str] = []
    for text in texts:
        if text in _WEEKDAYS:
            weekdays.add(_WEEKDAYS.index(text))
        elif is_name(text):
            names.append(text)
        else:
            first, last, every_year = _ends(text, what)
            if every_year:
                yearly |= _each_year(first, last)
            elif first == last:
                days.add(first)
            else:
                ranges.append((first, last))
    return Days(frozenset(days), tuple(ranges), frozenset(yearly), frozenset(weekdays), tuple(names))


def _ends(text: str, what: str) -> tuple[int, int, bool]:
    """The first and the last day of a range, which may be one day; and whether it is one of every year."""
    begin, dots, end = text.partition("..")
    first, last = _DATE.fullmatch(begin), _DATE.fullmatch(end if dots else begin)
    if first is None or last is None:
        raise InvalidSchedule(f"{what} holds {text[:100]!r}, but takes {_ACCEPTED}.")
    if (first[1] is None) != (last[1] is None):
        raise InvalidSchedule(f"{what}: {text!r} has a year at one end alone: give it at both, or at none.")
    ends = _day(first, what), _day(last, what)
    if first[1] is not None and ends[0] > ends[1]:
        raise InvalidSchedule(f"{what}: {text!r} ends before it begins.")
    return *ends, first[1] is None


def _day(found: re.Match[str], what: str) -> int:
    """The day of a date; of one of every year, that of the leap year 2000."""
    try:
        return date(int(found[1] or 2000), int(found[2]), int(found[3])).toordinal() - _EPOCH
    except ValueError as exc:
        raise InvalidSchedule(f"{what}: {found[0]!r} is not a date ({exc}).") from None


def _each_year(first: int, last: int) -> set[tuple[int, int]]:
    """Month and day of the days between two of the year 2000; over its end where the last comes first."""
    begin = date(2000, 1, 1).toordinal() - _EPOCH
    whens = (date_of(begin + (first - begin + i) % 366) for i in range((last - first) % 366 + 1))
    return {(when.month, when.day) for when in whens}
