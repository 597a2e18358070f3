"""Times and spans as the pages show them."""

from __future__ import annotations

from datetime import UTC, date, datetime

from ..clock import moment
from ..entries.document import instant_of
from ..errors import InvalidSchedule
from ..recurrence import Once
from ..recurrence.zones import zone

_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
#: Years that a visitor may write: at the ends of the calendar no zone has an offset to compute with.
_YEARS = (1900, 9000)
_STEPS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))


def span(seconds: float) -> str:
    """A span in its two largest units.

    >>> span(0.0042), span(75), span(90000)
    ('4.2 ms', '1 min 15 s', '1 d 1 h')
    """
    size = abs(seconds)
    if size < 1:
        return f"{size * 1000:.1f} ms" if size < 0.01 else f"{size * 1000:.0f} ms"
    if size < 10:
        return f"{size:.1f} s".replace(".0 s", " s")
    left, parts = round(size), []
    for step, unit in _STEPS:
        many, left = divmod(left, int(step))
        if many:
            parts.append(f"{many:.0f} {unit}")
    if left:
        parts.append(f"{left:.0f} s")
    return " ".join(parts[:2])


def relative(at: datetime, now: datetime) -> str:
    """A time as seen from now.

    >>> relative(datetime(2027, 1, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    'in 1 h'
    """
    seconds = (at - now).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"in {span(seconds)}" if seconds > 0 else f"{span(seconds)} ago"


def local(at: datetime, name: str, now: datetime | None = None) -> str:
    """A time in a zone: in full, or as short as it is clear *now*.

    >>> at = datetime(2027, 1, 1, 6, 30, tzinfo=UTC)
    >>> local(at, "Europe/Berlin"), local(at, "UTC", at), local(at, "UTC", datetime(2027, 2, 1, tzinfo=UTC))
    ('2027-01-01 07:30:00', '06:30', '1 Jan 06:30')
    """
    there = at.astimezone(zone(name))
    if now is None:
        return f"{there:%Y-%m-%d %H:%M:%S}"
    today = now.astimezone(zone(name)).date()
    return _day(there.date(), today) + (f"{there:%H:%M:%S}" if there.second else f"{there:%H:%M}")


def _day(day: date, today: date) -> str:
    if day == today:
        return ""
    if abs((day - today).days) < 200:
        return f"{day.day} {_MONTHS[day.month - 1]} "
    return f"{day:%Y-%m-%d} "


def utc(at: datetime) -> str:
    """A time in UTC.

    >>> utc(datetime(2027, 1, 1, 6, tzinfo=UTC))
    '2027-01-01 06:00:00 UTC'
    """
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def instant(text: str, name: str) -> datetime:
    """The instant that a visitor writes: without an offset it is a time on the clock of the zone *name*.

    :class:`~redlock_beat.InvalidSchedule` when it is not one, or when that clock shows it twice or never.

    >>> instant("2027-01-01T07:00", "Europe/Berlin")
    datetime.datetime(2027, 1, 1, 6, 0, tzinfo=datetime.timezone.utc)
    """
    when = instant_of(text.strip())
    if not _YEARS[0] <= when.year <= _YEARS[1]:
        raise InvalidSchedule(f"{text.strip()!r} is not a time from the year {_YEARS[0]} to {_YEARS[1]}.")
    return moment(Once.of(when, name).at)


def utc_beside(at: datetime, name: str) -> str:
    """A time in UTC, to stand beside the one in a zone: the day is left out where it is the same.

    >>> at = datetime(2027, 1, 1, 23, 30, tzinfo=UTC)
    >>> utc_beside(at, "UTC"), utc_beside(at, "Europe/Berlin")
    ('23:30 UTC', '1 Jan 23:30 UTC')
    """
    return f"{local(at, 'UTC', at.astimezone(zone(name)).replace(tzinfo=UTC))} UTC"
