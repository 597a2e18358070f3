"""Instants and spans: the only module that reads a clock.

An *instant* is an ``int``: microseconds since the Unix epoch, in UTC, and it always comes from
Redis (``TIME``), so that a replica whose wall clock is wrong does no harm. A *span* is a ``float``
of seconds on a local clock that only ever grows and that goes on counting while the machine is
suspended, so that a beat which slept through its lease knows it.
"""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, datetime, timedelta

from .errors import InvalidSchedule

MICROS = 1_000_000
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|min|m|h|d|w)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_NAIVE = datetime(1970, 1, 1)  # noqa: DTZ001 - the base of naive wall-clock arithmetic

#: The first and the last second that a datetime can be, in unix seconds.
FIRST_SECOND, LAST_SECOND = -62_135_596_800, 253_402_300_799

if hasattr(time, "CLOCK_BOOTTIME"):

    def monotonic() -> float:
        """Seconds on a clock that never goes back and counts suspension; only differences mean anything."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)
else:  # pragma: no cover - platforms without CLOCK_BOOTTIME (macOS counts suspension in monotonic())
    monotonic = time.monotonic


def micros(when: datetime) -> int:
    """The instant of an aware datetime.

    >>> micros(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    1000000
    """
    span = when - _EPOCH
    return (span.days * 86400 + span.seconds) * MICROS + span.microseconds


def moment(instant: int) -> datetime:
    """The aware UTC datetime of an instant.

    >>> moment(1_000_000).isoformat()
    '1970-01-01T00:00:01+00:00'
    """
    return _EPOCH + timedelta(microseconds=instant)


def instant_of(value: object, what: str) -> int:
    """The instant of an aware datetime that a user gives; *what* names it in an error.

    >>> instant_of(moment(7), "until")
    7
    """
    if not isinstance(value, datetime):
        raise InvalidSchedule(f"{what} is {value!r}, but must be an aware datetime.")
    if value.tzinfo is None:
        raise InvalidSchedule(f"{what} must be an aware datetime: a naive one means another instant in each zone.")
    return bounded(micros(value), value)


def bounded(instant: int, said: datetime) -> int:
    """An instant of which there is a datetime in UTC, too; *said* names it in an error.

    >>> bounded(7, moment(7))
    7
    """
    try:
        moment(instant)
    except OverflowError:
        raise InvalidSchedule(f"{said.isoformat()} is outside of the years 1 to 9999 in UTC.") from None
    return instant


def naive_micros(when: datetime) -> int:
    """A naive wall-clock reading as microseconds since 1970-01-01T00:00 on that wall clock."""
    span = when.replace(tzinfo=None) - _EPOCH_NAIVE
    return (span.days * 86400 + span.seconds) * MICROS + span.microseconds


def spelled(length: int) -> str:
    """A length in microseconds, exactly, in the units that people use.

    >>> spelled(11_000_000), spelled(5_400_000_000), spelled(86_400_000_000), spelled(500_000)
    ('11 s', '1 h 30 min', '1 d', '500 ms')
    """
    parts = []
    for unit, size in (("d", 86400 * MICROS), ("h", 3600 * MICROS), ("min", 60 * MICROS), ("s", MICROS)):
        count, length = divmod(length, size)
        if count:
            parts.append(f"{count} {unit}")
    if length or not parts:
        parts.append(f"{length / 1000:g} ms")
    return " ".join(parts)


class RedisClock:
    """Redis's time: what Redis last said, and what the monotonic clock has counted since.

    >>> clock = RedisClock()
    >>> clock.told(1_000_000, monotonic())
    >>> 1_000_000 <= clock.now() < 2_000_000
    True
    """

    def __init__(self) -> None:
        self._told: tuple[int, float] = (0, 0.0)
        self._heard = 0.0
        #: Microseconds by which the local wall clock is ahead of Redis.
        self.skew = 0

    def told(self, instant: int, asked: float) -> None:
        """Take what Redis says the time is; it was that about half-way between *asked* (the question) and now."""
        self._heard = monotonic()
        self._told = (instant, (asked + self._heard) / 2)
        self.skew = wall_micros() - self.now()

    def now(self) -> int:
        """Redis's time now."""
        instant, when = self._told
        return instant + round((monotonic() - when) * MICROS)

    def at_least(self) -> int:
        """The same, but never ahead of Redis: an answer may have been long on its way only before it was given.

        What decides whether something is due asks this. After a question of half a second :meth:`now` may be ahead by a
        quarter, and slots would be sent before their time.

        >>> clock = RedisClock()
        >>> clock.told(1_000_000, monotonic() - 60)
        >>> clock.at_least() < 2_000_000 < clock.now()
        True
        """
        return self._told[0] + round((monotonic() - self._heard) * MICROS)


def span_of(text: str) -> timedelta:
    """A span: ``30s``, ``1h30m``, ``2d``, or plain seconds.

    >>> span_of("1h30m")
    datetime.timedelta(seconds=5400)
    """
    words = text.strip().lower().replace(" ", "")
    try:
        return timedelta(seconds=float(words))
    except (ValueError, OverflowError):
        pass
    parts = _SPAN.findall(words)
    try:
        if parts and "".join(number + unit for number, unit in parts) == words:
            return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))
    except OverflowError:
        pass
    raise InvalidSchedule(f"{text[:100]!r} is not a span of time: write 30s, 5m, 1h30m, 2d, or seconds.")


def wall_micros() -> int:
    """The local wall clock. It only shows how far it is from Redis's (the skew)."""
    return time.time_ns() // 1000


def score(instant: int) -> str:
    """An instant as a sorted-set score: unix seconds with microseconds.

    >>> score(1_500_000)
    '1.500000'
    """
    if instant < 0:
        return f"-{score(-instant)}"
    if instant < MICROS:
        return f"{instant // MICROS}.{instant % MICROS:06d}"
    digits = str(instant)  # each occurrence needs it, and cutting is quicker than dividing
    return f"{digits[:-6]}.{digits[-6:]}"


def from_score(text: str | float) -> int:
    """The instant of a score; exact to the microsecond until the year 2242.

    A score beyond every calendar (somebody may write one) is the calendar's first or last second.

    >>> from_score("inf") == from_score(1e300) == LAST_SECOND * MICROS
    True
    """
    return round(min(max(float(text), FIRST_SECOND), LAST_SECOND) * MICROS)


def age_of(pid: int) -> float | None:
    """Seconds that a process has been running; None where nothing says so."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            began = int(file.read().rpartition(b")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - began)
    except (OSError, ValueError, IndexError, AttributeError):
        return None
