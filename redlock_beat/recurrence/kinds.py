"""Makes a schedule of one of the kinds of what users write, or of stored data."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ..clock import instant_of, moment, span_of
from ..errors import InvalidSchedule
from .crontab import Crontab
from .custom import Custom
from .interval import Interval
from .once import Once
from .rrule import RRule
from .solar import Solar
from .spec import Rules, Spec
from .zones import zone


@dataclass(frozen=True, slots=True)
class _Data:
    """The parts of a kind's data, and what makes a schedule of them."""

    make: Callable[[dict[str, Any]], Spec]
    needed: frozenset[str]
    allowed: frozenset[str]


def _data(make: Callable[[dict[str, Any]], Spec], *needed: str, may: tuple[str, ...] = ()) -> _Data:
    return _Data(make, frozenset(needed), frozenset((*needed, *may)))


_KINDS = {
    "interval": _data(lambda d: Interval.of(d["every"], d.get("relative", False)), "every", may=("relative",)),
    "crontab": _data(lambda d: Crontab.parse(d["cron"]), "cron"),
    "solar": _data(lambda d: Solar(d["event"], float(d["lat"]), float(d["lon"])), "event", "lat", "lon"),
    "rrule": _data(lambda d: RRule(d["rule"], datetime.fromisoformat(d["start"])), "rule", "start"),
    "once": _data(lambda d: Once.of(datetime.fromisoformat(d["at"])), "at"),
    "custom": _data(lambda d: Custom(str(d["name"]), json.dumps(d["data"], sort_keys=True)), "name", "data"),
}
#: Part of a schedule's data -> the kind of schedule it belongs to.
KIND_OF_PART = {part: kind for kind, own in _KINDS.items() for part in own.allowed}


def _other_parts(kind: str, data: Mapping[str, Any]) -> InvalidSchedule:
    own = _KINDS[kind]
    unknown = data.keys() - own.allowed
    said = [*(f"no {part!r}" for part in sorted(own.needed - data.keys())), *(repr(part) for part in sorted(unknown))]
    others = sorted(name for name, other in _KINDS.items() if unknown & other.allowed)
    return InvalidSchedule(
        f"a schedule of kind {kind!r} consists of {', '.join(sorted(own.allowed))}; this one has {' and '.join(said)}."
        + (f' For another kind say so: "kind": {json.dumps(others[0])}, with its parts alone.' if others else "")
    )


def from_data(kind: str, data: dict[str, Any]) -> Spec:
    """The schedule whose :meth:`Spec.data` this is.

    >>> from_data("interval", {"every": 30}) == Interval.of(30)
    True
    """
    own = _KINDS.get(kind)
    if own is None:
        raise InvalidSchedule(f"{kind!r} is not a kind of schedule; there are {', '.join(_KINDS)}.")
    if not own.needed <= data.keys() <= own.allowed:
        raise _other_parts(kind, data)
    try:
        return own.make(data)
    except (KeyError, TypeError, ValueError) as exc:
        if isinstance(exc, InvalidSchedule):
            raise
        raise InvalidSchedule(f"a schedule of kind {kind!r} cannot be read from {str(data)[:200]}: {exc!r}") from None


def as_spec(when: Any, *, zone_name: str = "UTC", relative: bool = False) -> Spec:
    """What a user gives as a schedule, as one of the kinds.

    >>> as_spec(timedelta(minutes=5))
    Interval(every=300000000, relative=False)
    """
    spec = _spec_of(when, zone_name, relative)
    if relative and not isinstance(spec, Interval):
        raise InvalidSchedule(f"relative=True is for intervals, and this is a schedule of kind {spec.kind!r}.")
    return spec


def _spec_of(when: Any, zone_name: str, relative: bool) -> Spec:
    if isinstance(when, Interval):
        return Interval(when.every, relative or when.relative)
    if isinstance(when, (Crontab, Solar, RRule, Once, Custom)):
        return when
    if isinstance(when, str):
        return _spec_of_text(when, relative)
    if isinstance(when, (int, float, timedelta)):
        return Interval.of(when, relative)
    if isinstance(when, datetime):
        return Once.of(when, zone_name)
    own = Custom.of(when)
    if own is not None:
        return own
    from celery import schedules as celery_schedules
    from dateutil.rrule import rrule

    if isinstance(when, rrule):
        return RRule.of(when)
    if type(when) is celery_schedules.schedule:
        return Interval.of(when.run_every, relative or bool(when.relative))
    if type(when) is celery_schedules.crontab:
        return Crontab.of(when)
    if type(when) is celery_schedules.solar:
        return Solar(when.event, float(when.lat), float(when.lon))
    raise InvalidSchedule(
        f"{when!r} is not a schedule. Give seconds, a timedelta, a crontab (also as '0 7 * * 1-5'), solar "
        "or rrule, an aware datetime for one shot, or register your own class with register_schedule()."
    )


def _spec_of_text(text: str, relative: bool) -> Spec:
    """A crontab of five or six fields, or a span."""
    words = text.split()
    if len(words) > 2 or text.strip().startswith("@"):
        return Crontab.parse(text)
    try:
        span = span_of(text)
    except InvalidSchedule as exc:
        raise InvalidSchedule(
            f"{text[:200]!r} is not a schedule: as a text, write a crontab of five fields (0 7 * * 1-5), or six "
            f"with the second first, or a span (10m, 1h30m, seconds). {exc}"
        ) from None
    return Interval.of(span, relative)


def next_due(
    schedule: Any,
    after: datetime,
    *,
    timezone: str | None = None,
    anchor: datetime | None = None,
    dst_gap: str = "after",
    dst_fold: str = "auto",
) -> datetime | None:
    """The first slot strictly after *after*, in UTC; None when there is none any more.

    >>> from datetime import UTC
    >>> next_due(Crontab.parse("30 2 * * *"), datetime(2026, 3, 29, 0, tzinfo=UTC), timezone="Europe/Berlin")
    datetime.datetime(2026, 3, 29, 1, 0, tzinfo=datetime.timezone.utc)
    """
    instant = instant_of(after, "after")
    name = timezone or "UTC"
    zone(name)
    start = instant if anchor is None else instant_of(anchor, "anchor")
    rules = Rules(name, start, dst_gap, dst_fold)
    at = as_spec(schedule, zone_name=name).next(instant, rules)
    return None if at is None else moment(at)
