"""Sunrise, sunset and the like, as Celery computes them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, ClassVar

from ..clock import MICROS, moment, naive_micros
from ..errors import InvalidSchedule
from .spec import Rules

_HOUR = 3600 * MICROS
#: Days to search for a solar event that does not happen every day.
_SOLAR_DAYS = 366


@dataclass(frozen=True, slots=True)
class Solar:
    """Celery's solar events; needs ``pip install 'redlock-beat[solar]'``.

    >>> Solar("sunset", -37.81, 144.96).event
    'sunset'
    """

    event: str
    latitude: float
    longitude: float
    kind: ClassVar[str] = "solar"

    def __post_init__(self) -> None:
        for name, value, most in (("latitude", self.latitude, 90), ("longitude", self.longitude, 180)):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not -most <= value <= most:
                raise InvalidSchedule(f"{name} is {value!r}, but must be a number from -{most} to {most}.")
        self._celery()

    def _celery(self) -> Any:
        return _solar(self.event, self.latitude, self.longitude)

    def next(self, after: int, rules: Rules) -> int | None:
        found = self._settled(after - 2 * _HOUR)
        while found <= after:
            found = self._settled(found + _HOUR)
        return found

    def _settled(self, after: int) -> int:
        # Asked again from a round hour before the event, so that the answer does not depend on when somebody asks.
        return self._event_after(self._event_after(after) // _HOUR * _HOUR - 2 * _HOUR)

    def _event_after(self, after: int) -> int:
        sun = self._celery()
        start = sun.ephem.Date(moment(after).replace(tzinfo=None))
        sun.cal.date = start
        found = _event(sun, start).datetime()
        return round(naive_micros(found) / MICROS) * MICROS

    def data(self) -> dict[str, Any]:
        return {"event": self.event, "lat": self.latitude, "lon": self.longitude}

    def __str__(self) -> str:
        return f"{self.event} at {self.latitude:g}, {self.longitude:g}"


def _event(sun: Any, start: Any) -> Any:
    """The first event after *start*, as Celery 5.7 finds it; older ones give up on a day without one."""
    options = {"use_center": True} if sun.use_center else {}
    body = sun.ephem.Sun()
    for _ in range(_SOLAR_DAYS):
        try:
            return getattr(sun.cal, sun.method)(body, start=start, **options)
        except sun.ephem.CircumpolarError:  # at high latitudes: the sun does not rise, or not set, that day
            start = sun.cal.next_antitransit(body, start=start)
    return start


@lru_cache(maxsize=256)
def _solar(event: str, latitude: float, longitude: float) -> Any:
    from celery.exceptions import ImproperlyConfigured
    from celery.schedules import solar

    try:
        return solar(event, latitude, longitude, nowfun=lambda: datetime.now(UTC))
    except ImproperlyConfigured:
        raise InvalidSchedule(
            "a solar schedule needs the package ephem, which is not installed: pip install 'redlock-beat[solar]'."
        ) from None
    except (ValueError, TypeError) as exc:
        raise InvalidSchedule(f"this solar schedule cannot be used: {exc}") from None
