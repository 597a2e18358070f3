"""The pages, a module each: a function that is given a visit and returns data, and the routes that lead to it.

``schedule``  all entries, found and filtered; ``bulk``: what is done to many at once
``entry``     one entry, and everything that is done to it
``editing``   the forms that add an entry and edit one, with the next slots while one types
``timeline``  when how much is due, and what an outage would do
``beats``     who leads, what waits, what is wrong
``runs``      what became of occurrences; ``log``: who edited what
``moving``    export and import
``probes``    health for probes, metrics, the description for programs; ``theme``: light or dark
"""

from __future__ import annotations

from . import beats, bulk, editing, entry, log, moving, probes, runs, schedule, theme, timeline
from .probes import OPEN as OPEN

#: Every page and edit; those that the navigation shows, in its order.
ROUTES = (
    *schedule.ROUTES,
    *bulk.ROUTES,
    *timeline.ROUTES,
    *beats.ROUTES,
    *runs.ROUTES,
    *log.ROUTES,
    *entry.ROUTES,
    *editing.ROUTES,
    *moving.ROUTES,
    *probes.ROUTES,
    *theme.ROUTES,
)
