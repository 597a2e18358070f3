"""Schedules in words: ``at 07:00, Monday to Friday, Europe/Berlin``.

A sentence says what a schedule means and not how it is written, so two texts of one meaning have one sentence. What
it cannot say briefly it gives as it stands: a rule of parts that are seldom used, a class of a user's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from math import prod
from typing import Any

from ..clock import MICROS, moment, spelled
from .crontab import Crontab
from .custom import Custom
from .days import read
from .interval import Interval
from .kinds import as_spec
from .once import Once
from .rrule import RRule
from .solar import Solar
from .spec import Spec
from .zones import zone as zone_of

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
#: So many exact times are listed; more are put in other words.
_LISTED = 6


def explain(schedule: Any, timezone: str = "UTC") -> str:
    """A schedule in words; any that :meth:`Schedule.add <redlock_beat.Schedule.add>` takes.

    >>> explain("0 7 * * 1-5", "Europe/Berlin")
    'at 07:00, Monday to Friday, Europe/Berlin'
    >>> explain(90)
    'every 90 seconds'
    """
    zone_of(timezone)
    return sentence(as_spec(schedule, zone_name=timezone), timezone)


def sentence(spec: Spec, zone: str, exclude: Sequence[str] = (), only: Sequence[str] = (), shift: str = "skip") -> str:
    """A schedule in words, with the days on which it is or is not sent.

    >>> sentence(Crontab.parse("0 7 25 * *"), "UTC", exclude=("sat", "sun"), shift="previous")
    'at 07:00, on the 25th, UTC, but not on Saturday and Sunday: then on the previous day'
    """
    try:
        words = _once(spec, zone) if isinstance(spec, Once) else _KINDS.get(type(spec), str)(spec)
    except (ValueError, LookupError, OverflowError):  # parts that nobody writes, a time at the end of the calendar
        words = str(spec)
    if not isinstance(spec, (Solar, Custom)) and not (isinstance(spec, Interval) and not spec.relative):
        words += f", {zone}"
    if only:
        words += f", only on {days_in_words(only)}"
    if exclude:
        words += f", but not on {days_in_words(exclude)}"
    if (only or exclude) and shift != "skip":
        words += f": then on the {shift} day"
    return words


def days_in_words(texts: Sequence[str]) -> str:
    """A list of days in words.

    >>> days_in_words(["sat", "sun", "12-24..01-06", "2026-05-15", "holidays_de"])
    'Saturday, Sunday, 24 December to 6 January, 2026-05-15 and days of holidays_de'
    """
    days = read(tuple(texts))
    parts = _run_parts(sorted(days.weekdays), _WEEKDAYS.__getitem__)
    for text in texts:
        ends = text.split("..")
        if all(len(end) == 5 and end[2] == "-" for end in ends):
            parts.append(" to ".join(f"{int(end[3:])} {_MONTHS[int(end[:2]) - 1]}" for end in ends))
        elif read((text,)).days or read((text,)).ranges:
            parts.append(" to ".join(ends))
    parts += [f"days of {name}" for name in days.names]
    return _and(parts)


# --- intervals, one-shots, the sun -----------------------------------------------------------------


def _once(spec: Once, zone: str) -> str:
    return f"once, at {moment(spec.at).astimezone(zone_of(zone)):%Y-%m-%d %H:%M:%S}"


def _interval(spec: Interval) -> str:
    words = _every(spec.every)
    if not spec.relative:
        return words
    for unit, size in (("midnight", 86400), ("a full hour", 3600), ("a full minute", 60)):
        if spec.every >= size * MICROS:
            return f"{words}, counted from {unit}"
    return f"{words}, counted from a full second"


def _every(length: int) -> str:
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count, rest = divmod(length, size * MICROS)
        if not rest and count:
            return f"every {unit}" if count == 1 else f"every {count} {unit}s"
    return f"every {spelled(length)}"


def _solar(spec: Solar) -> str:
    kind, _, which = spec.event.partition("_")
    event = f"{which} {kind}" if kind in ("dawn", "dusk") else spec.event.replace("_", " ")
    return f"at {event}, at {spec.latitude:g}, {spec.longitude:g}"


def _custom(spec: Custom) -> str:
    return f"by the class {spec.name}, with {spec.text}"


# --- crontabs --------------------------------------------------------------------------------------


def _crontab(spec: Crontab) -> str:
    seconds, minutes, hours, days, months, weekdays = spec.fields()
    when = _times(seconds, minutes, hours)
    exact = when.startswith("at ") and ":" in when
    return when + _on_days(days, months, sorted((day - 1) % 7 for day in weekdays), exact)


def _times(seconds: Sequence[int], minutes: Sequence[int], hours: Sequence[int]) -> str:
    if len(seconds) * len(minutes) * len(hours) <= _LISTED:
        return "at " + _and([_clock(*time) for time in product(hours, minutes, seconds)])
    if list(seconds) != [0]:
        words = _each(seconds, 60, "second")
        if len(minutes) < 60:
            step = _step(minutes, 60)
            words += f" in every {_nth(step)} minute" if step else f" in {_named(minutes, 'minute')} of the hour"
        elif words.startswith("at "):
            words += " of every minute"
        return words + _in_hours(hours)
    if len(minutes) == 1:
        return _hourly(minutes[0], hours)
    words = _each(minutes, 60, "minute")
    return f"{words} of every hour" if words.startswith("at ") and len(hours) == 24 else words + _in_hours(hours)


def _hourly(minute: int, hours: Sequence[int]) -> str:
    """Once in each of many hours."""
    step = _step(hours, 24)
    if step:
        words = "every hour" if step == 1 else f"every {step} hours"
        return f"{words}, at minute {minute}" if minute else words
    if _in_a_row(hours):
        return f"every hour from {_clock(hours[0], minute)} to {_clock(hours[-1], minute)}"
    return f"at minute {minute} of {_named(hours, 'hour')}"


def _each(values: Sequence[int], size: int, unit: str) -> str:
    step = _step(values, size)
    if step:
        return f"every {unit}" if step == 1 else f"every {step} {unit}s"
    return f"at {_named(values, unit)}"


def _named(values: Sequence[int], unit: str) -> str:
    return f"{unit} {values[0]}" if len(values) == 1 else f"{unit}s {_runs(values, str)}"


def _in_hours(hours: Sequence[int]) -> str:
    if len(hours) == 24:
        return ""
    if _in_a_row(hours):
        return f", from {hours[0]:02}:00 to {hours[-1]:02}:59"
    step = _step(hours, 24)
    return f", in every {_nth(step)} hour" if step else f", in the {_named(hours, 'hour')}"


def _on_days(days: Sequence[int], months: Sequence[int], weekdays: Sequence[int], exact: bool) -> str:
    """Days of the month, days of the week (Monday is 0) and months."""
    named = _runs(months, lambda month: _MONTHS[month - 1]) if len(months) < 12 else ""
    if len(days) < 31:
        words = f", on the {_runs(days, _nth)}" + (f" of {named}" if named else "")
        return words + (f" if it is a {_and([_WEEKDAYS[day] for day in weekdays], 'or')}" if len(weekdays) < 7 else "")
    words = ""
    if len(weekdays) < 7:
        words = f", {_runs(weekdays, _WEEKDAYS.__getitem__)}"
    elif exact and not named:
        words = ", every day"
    if named:
        words += f", from {named}" if _in_a_row(months) and len(months) > 2 else f", in {named}"
    return words


# --- recurrence rules ------------------------------------------------------------------------------

_UNITS = {"YEARLY": "year", "MONTHLY": "month", "WEEKLY": "week", "DAILY": "day"} | {
    "HOURLY": "hour",
    "MINUTELY": "minute",
    "SECONDLY": "second",
}
_RULE_DAYS = {name[:2].upper(): name for name in _WEEKDAYS}
#: Parts of a rule that a sentence has words for.
_SAID = {
    "FREQ",
    "INTERVAL",
    "BYDAY",
    "BYMONTHDAY",
    "BYMONTH",
    "BYHOUR",
    "BYMINUTE",
    "BYSECOND",
    "COUNT",
    "UNTIL",
    "WKST",
}


def _rrule(spec: RRule) -> str:
    parts = dict(part.split("=", 1) for part in spec.rule.split(";") if "=" in part)
    if parts.keys() - _SAID or parts.get("FREQ") not in _UNITS:
        return f"by the rule {spec.rule}, from {spec.start:%Y-%m-%d %H:%M:%S}"
    unit, count = _UNITS[parts["FREQ"]], int(parts.get("INTERVAL", "1"))
    words = [f"every {unit}" if count == 1 else f"every {count} {unit}s"]
    if "BYMONTHDAY" in parts:
        days = [int(day) for day in parts["BYMONTHDAY"].split(",")]
        words.append("on the " + _and([_nth(day) if day > 0 else _from_the_end(-day, "day") for day in days]))
    if "BYDAY" in parts:
        days_of_week = [_rule_day(day) for day in parts["BYDAY"].split(",")]
        words.append("if it is a " + _and(days_of_week, "or") if "BYMONTHDAY" in parts else "on " + _and(days_of_week))
    if "BYMONTH" in parts:
        words.append("in " + _runs([int(month) for month in parts["BYMONTH"].split(",")], lambda m: _MONTHS[m - 1]))
    words += _rule_times(spec, parts, unit)
    if "COUNT" in parts:
        words.append(f"{parts['COUNT']} times")
    if "UNTIL" in parts:
        words.append(f"until {parts['UNTIL']}")
    if (
        count > 1
        or "COUNT" in parts
        or (unit in ("year", "month", "week") and not parts.keys() & {"BYDAY", "BYMONTHDAY"})
    ):
        words.append(f"from {spec.start:%Y-%m-%d} on")
    return ", ".join(words)


def _rule_day(text: str) -> str:
    """``-1FR`` as the last Friday."""
    name, place = _RULE_DAYS[text[-2:]], text[:-2]
    if not place:
        return name
    number = int(place)
    return f"the {_nth(number)} {name}" if number > 0 else f"the {_from_the_end(-number, name)}"


def _rule_times(spec: RRule, parts: dict[str, str], unit: str) -> list[str]:
    """The times of day of a rule; what it does not say, its start does."""
    said = {part: [int(one) for one in parts[f"BY{part}"].split(",")] for part in _CLOCK if f"BY{part}" in parts}
    if unit not in ("year", "month", "week", "day"):
        return [f"in {_named(sorted(said[part]), part.lower())}" for part in _CLOCK if part in said]
    values = [sorted(said.get(part, [getattr(spec.start, part.lower())])) for part in _CLOCK]
    count = prod(map(len, values))
    if count > _LISTED:
        return [f"{count} times a day"]
    return ["at " + _and([_clock(*time) for time in product(*values)])]


_CLOCK = ("HOUR", "MINUTE", "SECOND")


def _from_the_end(number: int, what: str) -> str:
    return f"last {what}" if number == 1 else f"{_nth(number)} last {what}"


# --- lists and numbers -----------------------------------------------------------------------------


def _clock(hour: int, minute: int, second: int = 0) -> str:
    return f"{hour:02}:{minute:02}" + (f":{second:02}" if second else "")


def _and(parts: Sequence[str], word: str = "and") -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {word} {parts[-1]}"


def _runs(values: Sequence[int], say: Callable[[int], str]) -> str:
    """Values in words; three and more in a row as the first and the last of them.

    >>> _runs([1, 2, 3, 5], str)
    '1 to 3 and 5'
    """
    return _and(_run_parts(values, say))


def _run_parts(values: Sequence[int], say: Callable[[int], str]) -> list[str]:
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    parts: list[str] = []
    for run in runs:
        parts += [f"{say(run[0])} to {say(run[-1])}"] if len(run) > 2 else map(say, run)
    return parts


def _in_a_row(values: Sequence[int]) -> bool:
    return list(values) == list(range(values[0], values[-1] + 1))


def _step(values: Sequence[int], size: int) -> int:
    """The step of values that go evenly round; 0 for others."""
    step = size // len(values)
    return step if list(values) == list(range(0, size, step)) and size % len(values) == 0 else 0


def _nth(number: int) -> str:
    """A number as an ordinal.

    >>> [_nth(number) for number in (1, 2, 3, 4, 11, 22)]
    ['1st', '2nd', '3rd', '4th', '11th', '22nd']
    """
    last = 0 if number % 100 in (11, 12, 13) else number % 10
    return f"{number}{({1: 'st', 2: 'nd', 3: 'rd'}).get(last, 'th')}"


_KINDS: dict[type, Callable[[Any], str]] = {
    Interval: _interval,
    Crontab: _crontab,
    Solar: _solar,
    RRule: _rrule,
    Custom: _custom,
}
