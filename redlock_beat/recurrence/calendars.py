"""Calendars: the days on which an entry may be sent, and where the slots of other days go.

A day that ``exclude`` holds, or that ``only`` does not, is closed. The day of a slot is that of the wall clock in
the entry's zone. By ``shift`` a slot on a closed day is left out (``skip``), or moves to the ``next`` or the
``previous`` open day and keeps its time of day. Where that comes twice it takes the first, and where it does
not come, the first instant after it. Slots that meet are one. A slot that finds no open day within
:data:`REACH` days is left out.

The kinds of schedule know nothing of it: :class:`OnOpenDays` asks one of them for its slots.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, ClassVar

from ..clock import MICROS
from ..errors import Uncomputable
from .days import Days, date_of, read
from .spec import Rules, Spec
from .zones import read_first, read_wall, segment

SHIFTS = ("skip", "next", "previous")
#: How many days a slot may move.
REACH = 31
#: Closed days in a row after which only days that a list names are looked at, and after the last of these none: by
#: then every weekday has met every day of the year.
_PATTERN = 41 * 366
#: Some years before the last day that a date can be.
_LAST = (date(9966, 1, 1) - date(1970, 1, 1)).days
_SECONDS = 86_400
_DAY = _SECONDS * MICROS

#: Whether a calendar holds a day.
Holds = Callable[[date], bool]


class Calendars:
    """The calendars that an application knows by name.

    >>> known = Calendars({"odd": lambda day: day.day % 2 == 1})
    >>> known.open_days(("odd",), (), "skip").is_open(0)   # the first of January 1970
    False
    """

    def __init__(self, known: Mapping[str, Holds] | None = None) -> None:
        self.known = dict(known or {})
        self._made: dict[Any, OpenDays] = {}

    def open_days(self, exclude: tuple[str, ...], only: tuple[str, ...], shift: str) -> OpenDays:
        """The days on which an entry may be sent; :class:`Uncomputable` when it names a calendar not known here."""
        key = (exclude, only, shift)
        found = self._made.get(key)
        if found is None:
            if len(self._made) >= 1024:
                self._made.clear()
            out, chosen = read(exclude), read(only)
            found = self._made[key] = OpenDays(out, chosen, shift, self._named(out), self._named(chosen))
        return found

    def _named(self, days: Days) -> Mapping[str, Holds]:
        for name in days.names:
            if name not in self.known:
                there = f"it knows {', '.join(sorted(self.known))}" if self.known else "it knows none"
                raise Uncomputable(
                    f"the calendar {name!r} is not known to this process ({there}): add it to redlock_beat_calendars "
                    "in the configuration of every beat and of every program that edits the schedule."
                )
        return {name: self.known[name] for name in days.names}


#: What an entry has where nobody hands in calendars: those it names are not known.
NO_CALENDARS = Calendars()


@dataclass(eq=False, slots=True)
class OpenDays:
    """The days on which an entry may be sent, and the rule for those on which it may not."""

    exclude: Days
    only: Days
    shift: str
    excluded: Mapping[str, Holds]
    chosen: Mapping[str, Holds]
    _known: dict[int, bool] = field(default_factory=dict, repr=False)
    #: From this day on there is no open day; that took long to find out.
    _over: int = _LAST
    _last_edge: int = field(init=False)

    def __post_init__(self) -> None:
        self._last_edge = max(self._edges(), default=0)

    def is_open(self, day: int) -> bool:
        """Whether an entry may be sent on this day."""
        known = self._known.get(day)
        if known is None:
            if len(self._known) >= 20_000:
                self._known.clear()
            known = self._known[day] = self._looked(day)
        return known

    def _looked(self, day: int) -> bool:
        chosen = not self.only or day in self.only or _holds(self.chosen, day)
        return chosen and day not in self.exclude and not _holds(self.excluded, day)

    def next_open(self, day: int) -> int | None:
        """The first open day from this one on; None when there is none any more."""
        at = day
        while at < self._over:
            until = min(at + _PATTERN, self._over)
            for one in range(at, until):
                if self.is_open(one):
                    return one
            at = min((edge for edge in self._edges() if edge >= until), default=_LAST)
        self._over = min(self._over, day)
        return None

    def last_looked_at(self, day: int) -> int:
        """The day after which no slot is looked for, when one is looked for from *day* on."""
        return max(day, self._last_edge) + _PATTERN

    def _edges(self) -> Iterator[int]:
        yield from self.exclude.edges()
        yield from self.only.edges()

    def closed_before(self, day: int) -> range:
        """The closed days just before an open one, as far as their slots may move."""
        first = day
        while day - first < REACH and not self.is_open(first - 1):
            first -= 1
        return range(first, day)

    def closed_after(self, day: int) -> range:
        """The closed days just after an open one, as far as their slots may move."""
        last = day
        while last - day < REACH and not self.is_open(last + 1):
            last += 1
        return range(day + 1, last + 1)


def _holds(calendars: Mapping[str, Holds], day: int) -> bool:
    for name, holds in calendars.items():
        when = date_of(day)
        try:
            if holds(when):
                return True
        except Exception as exc:
            raise Uncomputable(f"the calendar {name!r} raised {exc!r} when it was asked for {when}.") from exc
    return False


@dataclass(frozen=True, eq=False, slots=True)
class OnOpenDays:
    """The slots that a schedule has on open days. It is asked as a kind of schedule is, and is not stored.

    >>> from .interval import Interval
    >>> weekdays = Calendars().open_days(("sat", "sun"), (), "skip")
    >>> OnOpenDays(Interval.of(86400), weekdays).next(1 * _DAY, Rules()) // _DAY   # Friday; Monday is the 4th
    4
    """

    spec: Spec
    days: OpenDays
    kind: ClassVar[str] = "on open days"

    def data(self) -> dict[str, Any]:
        return self.spec.data()

    def next(self, after: int, rules: Rules) -> int | None:
        own = self._own(after, rules)
        if self.days.shift == "skip":
            return own
        moved = self._moved(after, own, rules)
        return own if moved is None else moved if own is None else min(own, moved)

    def _own(self, after: int, rules: Rules) -> int | None:
        """The first slot after an instant that is on an open day by itself."""
        last = self.days.last_looked_at(after // _DAY)
        while True:
            slot = self.spec.next(after, rules)
            if slot is None:
                return None
            day = day_at(rules.zone, slot)
            if self.days.is_open(day):
                return slot
            following = self.days.next_open(day + 1)
            if following is None or day > last:
                return None
            # Not beyond a clock change: the one at which a day that had begun is over once more.
            change = segment(rules.zone, slot // MICROS).end * MICROS
            after = max(slot, min(day_begins(rules.zone, following), change) - 1)

    def _moved(self, after: int, own: int | None, rules: Rules) -> int | None:
        """The first slot after an instant, and before *own*, that comes from a closed day."""
        ahead = self.days.shift == "next"
        passed = _passed(rules.zone, after)
        day = self.days.next_open(passed // _DAY)
        last = self.days.last_looked_at(passed // _DAY)
        while day is not None and day <= last:
            if own is not None and day_begins(rules.zone, day) > own:
                return None
            closed = self.days.closed_before(day) if ahead else self.days.closed_after(day)
            times = [self._first_time(one, passed - day * _DAY, rules) for one in closed]
            found = min((time for time in times if time is not None), default=None)
            if found is not None:
                return _at(rules.zone, day * _DAY + found)
            beyond = (day if ahead or not closed else closed[-1]) + 1
            slot = self.spec.next(max(after, day_begins(rules.zone, beyond) - 1), rules)
            if slot is None:
                return None
            day = self._goes_to(day_at(rules.zone, slot), day, ahead)
        return None

    def _goes_to(self, day: int, known: int, ahead: bool) -> int | None:
        """The open day to which the slots of a day go; one that is not *known* yet."""
        if not ahead:
            before = day
            while day - before < REACH and not self.days.is_open(before):
                before -= 1
            if before > known and self.days.is_open(before):
                return before
        return self.days.next_open(max(day, known + 1))

    def _first_time(self, day: int, after: int, rules: Rules) -> int | None:
        """The earliest time of day, after a time of day, at which the schedule has a slot on a day."""
        found = []
        at = segment(rules.zone, (day - 1) * _SECONDS)
        while at.start + at.offset < (day + 1) * _SECONDS:
            begin = day * _DAY - at.offset * MICROS
            end = min(at.end * MICROS, begin + _DAY)
            low = max(at.start * MICROS - 1, begin + max(after, -1))
            slot = self.spec.next(low, rules) if low < end else None
            if slot is not None and slot < end:
                found.append(slot - begin)
            if at.end + min(at.offset, at.after) >= (day + 1) * _SECONDS:
                break
            at = segment(rules.zone, at.end)
        return min(found, default=None)


def day_at(zone: str, instant: int) -> int:
    """The day on the wall clock at an instant.

    >>> day_at("Europe/Berlin", -MICROS)   # a second before 1970 it was past midnight there
    0
    """
    second = instant // MICROS
    return (second + segment(zone, second).offset) // _SECONDS


def day_begins(zone: str, day: int) -> int:
    """The first instant at which the wall clock reads a day, or where there is none, the first after it."""
    return read_first(zone, day * _SECONDS) * MICROS


def _passed(zone: str, instant: int) -> int:
    """The reading of a wall clock up to which all have come by an instant, each for the first time."""
    at = segment(zone, instant // MICROS)
    return max(instant + at.offset * MICROS, (at.start + at.before) * MICROS - 1)


def _at(zone: str, wall: int) -> int:
    """The first instant at which a wall clock reads so, or the first after a gap that swallowed it."""
    second, rest = divmod(wall, MICROS)
    reading = read_wall(zone, second)
    if reading.instants:
        return reading.instants[0] * MICROS + rest
    assert reading.gap_end is not None
    return reading.gap_end * MICROS
