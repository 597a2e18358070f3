"""The times that people write on the command line, read by one rule for all verbs.

A time without an offset is read in the zone of ``--tz``, by default the app's. ``10:00`` is the next one for what is to
come, and the last one for what is past; a span such as ``1h`` counts from now, forward or back.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from functools import partial
from typing import Any

import click

from ..clock import moment, span_of
from ..errors import InvalidSchedule
from ..recurrence import Once, days_of
from ..recurrence.zones import zone, zone_name

#: Makes an instant of what somebody wrote, given the zone and the time now.
Written = Callable[[str, Callable[[], datetime]], datetime]

_HOUR = re.compile(r"(?:(today|tomorrow|yesterday) ?)?(?:(\d{1,2}):(\d{2})(?::(\d{2}))?)?")
_DAYS = {"yesterday": -1, "today": 0, "tomorrow": 1}
WORDS = "2027-01-01T07:00, '2027-01-01 07:00', 07:00, 'tomorrow 07:00', now, 'in 5 min', '1h ago', or 1h"


def instant(text: str, name: str, now: Callable[[], datetime], *, past: bool = False) -> datetime:
    """The instant of what somebody wrote, read in the zone *name*.

    >>> at = datetime(2027, 1, 1, 12, tzinfo=UTC)
    >>> instant("in 5 min", "UTC", lambda: at).isoformat()
    '2027-01-01T12:05:00+00:00'
    >>> instant("10:00", "Europe/Berlin", lambda: at, past=True).isoformat()
    '2027-01-01T09:00:00+00:00'
    """
    words = " ".join(text.split()).lower()
    if words == "now":
        return now()
    named = _HOUR.fullmatch(words)
    if named is not None and words:
        return _by_the_hour(named, name, now(), past)
    written = _iso(text.strip())
    if written is not None:
        return _in_zone(written, name)
    sign, length = _span(words, past)
    if length is None:
        raise InvalidSchedule(f"{text!r} is not a time: write {WORDS}.")
    try:
        return now() + sign * length
    except OverflowError:
        raise InvalidSchedule(f"{text!r} is before the year 1 or after the year 9999.") from None


def _iso(text: str) -> datetime | None:
    if text.isdigit() and len(text) != 8:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _span(words: str, past: bool) -> tuple[int, timedelta | None]:
    sign = -1 if past else 1
    if words.startswith(("in ", "+")):
        sign, words = 1, words.removeprefix("in ").removeprefix("+")
    elif words.endswith(" ago"):
        sign, words = -1, words.removesuffix(" ago")
    if words.replace(".", "").isdigit():
        return sign, None  # 10 of what? Seconds, or an hour of the day
    try:
        return sign, span_of(words)
    except InvalidSchedule:
        return sign, None


def _by_the_hour(named: re.Match[str], name: str, now: datetime, past: bool) -> datetime:
    day, *hour = named.groups()
    try:
        hours, minutes, seconds = (int(one or 0) for one in hour)
        at = clock_time(hours, minutes, seconds)
    except ValueError:
        raise InvalidSchedule(f"{named[0]!r} is not a time of day.") from None
    today = now.astimezone(zone(name)).date()

    def on(that: date) -> datetime:
        return _in_zone(datetime.combine(that, at), name)

    if day is not None:
        return on(today + timedelta(days=_DAYS[day]))
    found = on(today)
    if past:
        return found if found <= now else on(today - timedelta(days=1))
    return found if found > now else on(today + timedelta(days=1))


def _in_zone(when: datetime, name: str) -> datetime:
    return moment(Once.of(when, name).at)


def zone_of_app(app: Any) -> str:
    """The zone in which the command line reads and shows times."""
    return zone_name(app.timezone)


# --- what options take -----------------------------------------------------------------------------


class _Span(click.ParamType):  # type: ignore[type-arg] # generic in newer releases alone
    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        try:
            return value if isinstance(value, timedelta) else span_of(value)
        except InvalidSchedule as exc:
            self.fail(str(exc), param, ctx)


class _Instant(click.ParamType):  # type: ignore[type-arg] # generic in newer releases alone
    """A time, which becomes an instant once the zone and Redis's time are known."""

    name = "time"

    def __init__(self, past: bool) -> None:
        self.past = past

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Written:
        if not isinstance(value, str):
            made: Written = value
            return made
        try:
            instant(value, "UTC", lambda: datetime.now(UTC), past=self.past)
        except InvalidSchedule as exc:
            self.fail(str(exc), param, ctx)
        return partial(_read, value, self.past)


def _read(text: str, past: bool, name: str, now: Callable[[], datetime]) -> datetime:
    return instant(text, name, now, past=past)


class _Zone(click.ParamType):  # type: ignore[type-arg] # generic in newer releases alone
    name = "zone"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return zone(value).key
        except InvalidSchedule as exc:
            self.fail(str(exc), param, ctx)


class _Days(click.ParamType):  # type: ignore[type-arg] # generic in newer releases alone
    name = "days"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if not isinstance(value, str):
            return tuple(value)
        try:
            return days_of([one for one in value.split(",") if one.strip()], "this")
        except InvalidSchedule as exc:
            self.fail(str(exc), param, ctx)


SPAN, COMING, PAST, ZONE, DAYS = _Span(), _Instant(False), _Instant(True), _Zone(), _Days()
