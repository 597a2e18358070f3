"""Time zones as a sequence of segments, each with one offset from UTC.

``zoneinfo`` says what the offset is at an instant, and not when it changes, which is what a schedule needs. This module
finds the changes of a year once, by probing, and keeps them.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ..clock import MICROS
from ..errors import InvalidSchedule

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PROBE = 6 * 3600  # no zone has changed its offset twice within six hours since 1970
#: The years in which changes are looked for: beyond them, at the ends of the calendar, the offset stays as it is there.
_FIRST, _LAST = 2, 9997
#: An instant before, or after, every other.
_EVER = 2**60


class Segment(NamedTuple):
    """A stretch of real time with one offset; all in whole seconds."""

    start: int  # first instant of it
    end: int  # first instant after it
    offset: int  # local = utc + offset
    before: int  # the offset just before start
    after: int  # the offset from end on


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """The zone of an IANA name, or :class:`InvalidSchedule`.

    >>> zone("Europe/Berlin").key
    'Europe/Berlin'
    """
    try:
        if not isinstance(name, str) or len(name) > 100:
            raise ValueError(name)
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise InvalidSchedule(
            f"{name!r} is not a time zone that this machine knows. Use an IANA name such as 'UTC' or 'Europe/Berlin'. "
            "If the name is right, the machine has no zone data: install the package tzdata."
        ) from None


def zone_name(tz: object) -> str:
    """The IANA name of a ``tzinfo``, such as Celery's ``app.timezone``.

    >>> zone_name(UTC)
    'UTC'
    """
    if tz is UTC or tz is None:
        return "UTC"
    key = getattr(tz, "key", None) or getattr(tz, "zone", None)
    if isinstance(key, str):
        zone(key)
        return key
    if type(tz).__name__ == "LocalTimezone":
        return _machine_zone()
    if isinstance(tz, type(UTC)) and tz.utcoffset(None) == timedelta(0):
        return "UTC"
    raise InvalidSchedule(
        f"the time zone {tz!r} has no IANA name. Set Celery's `timezone`, or the entry's, to a name such as "
        "'Europe/Berlin': a fixed offset would be wrong for half of the year."
    )


def _machine_zone() -> str:
    named = os.environ.get("TZ", "").lstrip(":")
    if named:
        zone(named)
        return named
    path = os.path.realpath("/etc/localtime")
    if "zoneinfo/" in path:
        return path.split("zoneinfo/", 1)[1]
    raise InvalidSchedule(
        "Celery's `enable_utc` is off, `timezone` is not set, and the machine does not name its own zone. "
        "Set `timezone` to an IANA name such as 'Europe/Berlin'."
    )


def offset_at(name: str, instant: int) -> int:
    """Seconds that local time is ahead of UTC at *instant* (whole unix seconds).

    >>> offset_at("Europe/Berlin", 1_751_328_000)  # in July
    7200
    """
    return _offset(zone(name), instant)


def _offset(tz: ZoneInfo, instant: int) -> int:
    shift = (_EPOCH + timedelta(seconds=instant)).astimezone(tz).utcoffset()
    assert shift is not None
    return round(shift.total_seconds())


@lru_cache(maxsize=8192)
def changes(name: str, year: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Where the offset changes within one UTC year: instants, and the offset from each on.

    The year's first instant comes first, change or not.
    """
    tz = zone(name)
    begin, end = _year_start(year), _year_start(year + 1)
    offset = _offset(tz, begin)
    starts, offsets = [begin], [offset]
    at = begin
    while at < end:
        ahead = min(at + _PROBE, end - 1)
        if ahead <= at:
            break
        if _offset(tz, ahead) != offset:
            low, high = at, ahead  # the offset is still the old one at low, another at high
            while high - low > 1:
                middle = (low + high) // 2
                if _offset(tz, middle) == offset:
                    low = middle
                else:
                    high = middle
            offset = _offset(tz, high)
            starts.append(high)
            offsets.append(offset)
            ahead = high
        at = ahead
    return tuple(starts), tuple(offsets)


@lru_cache(maxsize=8192)
def _around(name: str, year: int) -> tuple[tuple[int, ...], tuple[Segment, ...]]:
    """The segments of three years, so that a change at the turn of the year is inside."""
    starts: list[int] = []
    offsets: list[int] = []
    for one in (year - 1, year, year + 1):
        if not _FIRST <= one <= _LAST:
            continue
        more, those = changes(name, one)
        for start, offset in zip(more, those, strict=True):
            if not offsets or offsets[-1] != offset:
                starts.append(start)
                offsets.append(offset)
    if year <= _FIRST:
        starts[0] = -_EVER
    ends = [*starts[1:], _EVER if year >= _LAST else _year_start(year + 2)]
    return tuple(starts), tuple(
        Segment(start, end, offsets[i], offsets[max(i - 1, 0)], offsets[min(i + 1, len(offsets) - 1)])
        for i, (start, end) in enumerate(zip(starts, ends, strict=True))
    )


def segment(name: str, instant: int) -> Segment:
    """The segment that holds *instant* (whole unix seconds).

    Where no change is near, it ends at the end of the next year with ``after == offset``.
    """
    recent = _recent.get(name)
    if recent is None or not recent.start <= instant < recent.end:
        recent = _recent[name] = _find(name, instant)
    return recent


#: The last segment that somebody asked for, by zone: a leader asks for the present one again and again.
_recent: dict[str, Segment] = {}


def _find(name: str, instant: int) -> Segment:
    year = 1970 + instant // 31_556_952  # a day off at most at its turn; three years are looked at anyway
    starts, segments = _around(name, min(max(year, _FIRST), _LAST))
    return segments[bisect_right(starts, instant) - 1]


@lru_cache(maxsize=1024)
def _year_start(year: int) -> int:
    return round((datetime(year, 1, 1, tzinfo=UTC) - _EPOCH).total_seconds())


class Reading(NamedTuple):
    """The instants at which a wall clock shows a reading."""

    instants: tuple[int, ...]  # none in a gap, two where it is read twice
    gap_end: int | None  # in a gap: the first valid instant after it


def read_wall(name: str, local: int) -> Reading:
    """The instants (whole unix seconds) at which the wall clock of *name* reads *local*.

    >>> read_wall("UTC", 0)
    Reading(instants=(0,), gap_end=None)
    """
    found = []
    gap_end = None
    at = segment(name, local - 2 * 86400)
    while at.start + at.offset <= local + 86400:
        if at.start <= local - at.offset < at.end:
            found.append(local - at.offset)
        if at.end + at.offset <= local < at.end + at.after:
            gap_end = at.end
        if at.end > local + 2 * 86400:
            break
        at = segment(name, at.end)
    return Reading(tuple(found), gap_end)


def local_at(name: str, instant: int) -> int:
    """What the wall clock of *name* reads at *instant*; here both are microseconds."""
    return instant + offset_at(name, instant // MICROS) * MICROS


def read_first(name: str, local: int) -> int:
    """The first instant at which the wall clock reads *local*, or the end of the gap that swallowed it."""
    reading = read_wall(name, local)
    if reading.instants:
        return reading.instants[0]
    assert reading.gap_end is not None
    return reading.gap_end


def read_last(name: str, local: int) -> int:
    """The last instant at which the wall clock reads *local*, or the end of the gap that swallowed it."""
    reading = read_wall(name, local)
    if reading.instants:
        return reading.instants[-1]
    assert reading.gap_end is not None
    return reading.gap_end
