"""When: the kinds of schedule, and the next slot of each as a pure function.

A slot follows from (schedule, anchor, zone, policies of clock changes, after). Nothing here knows entries, the time or
Redis. Instants are microseconds since the epoch (see ``clock``); :func:`next_due` is the same for people, in datetimes.

``spec``      what every kind has: its next slot, and itself as data
``interval``  intervals, also Celery's ``relative``
``crontab``   Celery's crontab, with seconds, too, and what a clock change does to it
``solar``     sunrise, sunset and their kin
``rrule``     recurrence rules, evaluated by python-dateutil
``once``      one shot
``custom``    classes of a user's own
``kinds``     makes one of these kinds of what users write, or of stored data; ``next_due``
``days``      sets of days, as users write them
``calendars`` the days on which an entry may be sent, and where the slots of other days go
``sentences`` schedules in words
``sequence``  more than one slot: those that follow, the newest, how many
``zones``     time zones as segments of one offset each, and the two kinds of clock change

The names below are those that other folders use.
"""

from __future__ import annotations

from .calendars import NO_CALENDARS, SHIFTS, Calendars, OnOpenDays
from .crontab import Crontab, crontab6
from .custom import Custom, register_schedule
from .days import days_of
from .interval import Interval
from .kinds import KIND_OF_PART, as_spec, from_data, next_due
from .once import Once
from .rrule import RRule
from .sentences import explain, sentence
from .sequence import Count, count, newest, slots
from .solar import Solar
from .spec import Rules, Spec

__all__ = [
    "KIND_OF_PART",
    "NO_CALENDARS",
    "SHIFTS",
    "Calendars",
    "Count",
    "Crontab",
    "Custom",
    "Interval",
    "OnOpenDays",
    "Once",
    "RRule",
    "Rules",
    "Solar",
    "Spec",
    "as_spec",
    "count",
    "crontab6",
    "days_of",
    "explain",
    "from_data",
    "newest",
    "next_due",
    "register_schedule",
    "sentence",
    "slots",
]
