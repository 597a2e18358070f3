"""When: the kinds of schedule, and the next slot of each as a pure function.

A slot follows from (schedule, anchor, zone, policies of clock changes, after). Nothing here knows what an
entry is, what time it is, or that there is a Redis. Instants are microseconds since the epoch (see ``clock``);
:func:`next_due` is the same for people, in datetimes.

``spec``      what every kind has: its next slot, and itself as data
``interval``  every so often, also Celery's ``relative``
``crontab``   Celery's crontab, and what a clock change does to it
``solar``     sunrise, sunset and their kin
``rrule``     recurrence rules, evaluated by python-dateutil
``once``      one shot
``custom``    classes of a user's own
``kinds``     from what users write, or from stored data, to one of these kinds; ``next_due``
``sequence``  more than one slot: those that follow, the newest, how many
``zones``     time zones as segments of one offset each, and the two kinds of clock change

The names below are those that other folders use.
"""

from __future__ import annotations

from .crontab import Crontab
from .custom import Custom, register_schedule
from .interval import Interval
from .kinds import KIND_OF_PART, as_spec, from_data, next_due
from .once import Once
from .rrule import RRule
from .sequence import Count, count, newest, slots
from .solar import Solar
from .spec import Rules, Spec

__all__ = [
    "KIND_OF_PART",
    "Count",
    "Crontab",
    "Custom",
    "Interval",
    "Once",
    "RRule",
    "Rules",
    "Solar",
    "Spec",
    "as_spec",
    "count",
    "from_data",
    "newest",
    "next_due",
    "register_schedule",
    "slots",
]
