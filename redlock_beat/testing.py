"""For the tests of a project: what its schedule does at a time that the test sets, and a beat to run.

:func:`assert_next`, :class:`Timetable` and :func:`problems` read the configuration alone: they need no server and
wait for nothing. :func:`running_beat` runs a real beat; fixtures with an embedded server for it are in
``redlock_beat.pytest_plugin`` (``pip install 'redlock-beat[testing]'``).
"""

from __future__ import annotations

import contextlib
import difflib
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from .beat.scheduler import RedisScheduler
from .cli.config import HERD, Problem, checked
from .clock import micros, moment
from .entries.document import instant_of
from .entries.entry import Entry
from .entries.policies import next_slot
from .errors import InvalidSchedule
from .recurrence import Once
from .recurrence.zones import zone, zone_name
from .schedule.answers import Slot
from .schedule.configuration import read_configuration
from .schedule.schedule import Schedule

__all__ = ["Problem", "Timetable", "assert_next", "problems", "running_beat"]

#: Slots that `until` lists at most.
MOST = 1_000_000


class Timetable:
    """The configured entries of an app, at a time that you set. Nothing is sent, and no server is needed.

    Intervals count from *at*, as if beat had read the configuration then for the first time. A time without an offset
    is read in the app's zone.

    >>> from celery import Celery
    >>> app = Celery(set_as_current=False)
    >>> app.conf.beat_schedule = {"nightly": {"task": "tasks.report", "schedule": "0 3 * * *"}}
    >>> Timetable(app, at="2026-12-24").next("nightly")
    [datetime.datetime(2026, 12, 24, 3, 0, tzinfo=zoneinfo.ZoneInfo(key='UTC'))]
    """

    def __init__(self, app: Any, at: datetime | str) -> None:
        app.finalize()
        configuration = read_configuration(app)
        if configuration.errors:
            name, why = next(iter(configuration.errors.items()))
            raise InvalidSchedule(f"beat_schedule[{name!r}] cannot be used: {why}")
        self.zone = zone_name(app.timezone)
        self.at = at
        self._entries = {
            name: replace(one.entry, anchor=micros(self.at)) for name, one in configuration.entries.items()
        }

    @property
    def at(self) -> datetime:
        """The time that is set. Set another one to go on: a datetime or a text."""
        return self._at

    @at.setter
    def at(self, value: datetime | str) -> None:
        self._at = _instant(value, self.zone)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def __getitem__(self, name: str) -> Entry:
        """An entry of the configuration; KeyError names those that are like it."""
        if name not in self._entries:
            near = difflib.get_close_matches(name, self._entries, 3)
            hint = f" Did you mean {', '.join(map(repr, near))}?" if near else ""
            raise KeyError(f"beat_schedule has no entry {name!r}.{hint}")
        return self._entries[name]

    def next(self, name: str, n: int = 1) -> list[datetime]:
        """The next *n* slots of an entry after the time that is set, on the clock of its zone."""
        entry = self[name]
        tz = zone(entry.timezone)
        return [moment(at).astimezone(tz) for at in islice(_slots(entry, micros(self.at)), n)]

    def until(self, end: datetime | str, name: str | None = None) -> list[Slot]:
        """Every slot from the time that is set to *end*, of one entry or of all, soonest first.

        >>> from celery import Celery
        >>> app = Celery(set_as_current=False)
        >>> app.conf.beat_schedule = {"hourly": {"task": "tasks.report", "schedule": "0 * * * *"}}
        >>> len(Timetable(app, at="2026-12-24").until("2026-12-25", "hourly"))
        24
        """
        last = micros(_instant(end, self.zone))
        found: list[Slot] = []
        for entry in [self[name]] if name is not None else self:
            for at in _slots(entry, micros(self.at)):
                if at > last:
                    break
                found.append(Slot(entry.name, moment(at)))
                if len(found) > MOST:
                    raise InvalidSchedule(f"there are more than {MOST} slots until {end}: ask for less.")
        return sorted(found, key=lambda slot: (slot.nominal, slot.name))


def assert_next(where: Any, name: str, *expected: datetime | str, after: datetime | str) -> None:
    """Assert that the next slots of an entry after a time are those *expected*, in that order.

    *where* is an app, whose ``beat_schedule`` is looked at without a server; a :class:`~redlock_beat.Schedule`; or a
    :class:`Timetable`. A time without an offset is read in the entry's zone.

    >>> from celery import Celery
    >>> app = Celery(set_as_current=False)
    >>> app.conf.beat_schedule = {
    ...     "nightly": {"task": "tasks.report", "schedule": "30 2 * * *", "timezone": "Europe/Berlin"},
    ... }
    >>> assert_next(app, "nightly", "2026-03-28T02:30", "2026-03-29T03:00", after="2026-03-28")
    """
    if not expected:
        raise ValueError("assert_next needs at least one time that is expected.")
    if isinstance(where, Schedule):
        name_of_zone = where[name].timezone
        slots = where.preview(name, len(expected), after=_instant(after, name_of_zone))
        found = [slot.nominal.astimezone(zone(name_of_zone)) for slot in slots]
        words = where[name].words
    else:
        timetable = where if isinstance(where, Timetable) else Timetable(where, "1970-01-01T00:00+00:00")
        entry = timetable[name]
        begin = _instant(after, entry.timezone)
        if not isinstance(where, Timetable):
            entry = replace(entry, anchor=micros(begin))
        name_of_zone, words = entry.timezone, entry.words
        found = [
            moment(at).astimezone(zone(name_of_zone)) for at in islice(_slots(entry, micros(begin)), len(expected))
        ]
    wanted = [_instant(one, name_of_zone).astimezone(zone(name_of_zone)) for one in expected]
    if found != wanted:
        raise AssertionError(
            f"the next slots of {name!r} ({words}) after {after} are not those expected.\n"
            f"  expected: {', '.join(one.isoformat() for one in wanted)}\n"
            f"  found:    {', '.join(one.isoformat() for one in found) or 'none'}"
        )


def problems(app: Any, *, herd: int = HERD) -> list[Problem]:
    """What is wrong with ``beat_schedule``, as ``celery redlock check`` says it; empty when all is well.

    >>> from celery import Celery
    >>> app = Celery(set_as_current=False)
    >>> app.conf.beat_schedule = {"a": {"task": "tasks.add", "schedule": "0 0 30 2 *"}}
    >>> [problem.what for problem in problems(app)]
    ['unusable']
    """
    return checked(app, datetime.now(UTC), herd)[1]


@contextlib.contextmanager
def running_beat(app: Any) -> Iterator[RedisScheduler]:
    """A beat of this process, which runs until the block ends. What ended it before that is raised then.

    >>> with running_beat(app):                           # doctest: +SKIP
    ...     schedule.trigger("nightly")
    """
    scheduler = RedisScheduler(app)
    ended = threading.Event()
    raised: list[BaseException] = []

    def run() -> None:
        try:
            scheduler.tick()
            while not ended.is_set():
                scheduler.tick()
        except BaseException as exc:  # noqa: BLE001 - it is raised where the test sees it
            raised.append(exc)

    thread = threading.Thread(target=run, name="redlock-beat-testing", daemon=True)
    thread.start()
    try:
        yield scheduler
    finally:
        ended.set()
        thread.join(30)  # a turn takes a third of the lease at most
        scheduler.close()
    if raised:
        raise raised[0]


def _slots(entry: Entry, after: int) -> Iterator[int]:
    at: int | None = after
    runs = 0
    while at is not None and entry.enabled and (at := next_slot(entry, at)) is not None:
        if entry.max_runs is not None and (runs := runs + 1) > entry.max_runs:
            return
        yield at


def _instant(value: datetime | str, zone_name: str) -> datetime:
    """An instant that a test gives; without an offset it is read in the zone."""
    when = instant_of(value) if isinstance(value, str) else value
    if not isinstance(when, datetime):
        raise InvalidSchedule(f"{value!r} is not a time: give a datetime, or a text such as 2027-01-01T07:00.")
    return when if when.tzinfo is not None else moment(Once.of(when, zone_name).at)
