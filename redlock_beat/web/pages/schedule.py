"""The schedule: all entries, found by typing and by filters; what is done to many of them stands in ``bulk``."""

from __future__ import annotations

from typing import Any

from ...clock import micros
from ...store import listing
from ...store.values import Held
from ..routes import Param, Route, Shown
from ..rows import STATES
from ..search import PARAMS, Search, found
from ..visit import Visit


def schedule(visit: Visit) -> Shown:
    """A page of entries."""
    search = Search.of(visit.values)
    most = visit.options.page_size
    size, by_next = min(visit["n"] or most, most), visit["sort"] == "next"
    page = found(visit, search, size=size, after=visit["after"], by_next=by_next)
    summary = visit.schedule.ask(listing.summary(visit.schedule.keys, micros(visit.now)))
    held = Held.parse(summary.lease)
    data: dict[str, Any] = {
        "entries": [row.json() for row in page.rows],
        "count": page.count,
        "complete": page.complete,
        "after": page.after,
        "leader": held.owner if held else None,
    }
    extra = {
        "page": page,
        "search": search,
        "summary": summary,
        "leader": held.owner if held else None,
        "hold": visit.schedule.held(),
        "sort": visit["sort"],
        "first": visit["after"] is None,
        "states": STATES,
        "common": visit.site.catalogue.suggestions(),
    }
    return Shown(data, extra)


ROUTES = (
    Route(
        "/",
        schedule,
        "Schedule",
        "The entries of the schedule, in pages: `after` of one page leads to the next.",
        params=(
            *PARAMS,
            Param(
                "sort",
                "choice",
                "By name, or by when they are sent next.",
                default="name",
                choices=("name", "next"),
            ),
            Param("after", words="Where to go on: `after` of the page before.", most=600),
            Param("n", "integer", "How many entries at most; the page's own size is the largest.", least=1, most=500),
        ),
        template="schedule.html",
        schema={
            "type": "object",
            "required": ["entries", "count", "complete", "after", "leader"],
            "properties": {
                "entries": {"type": "array", "items": {"type": "object"}},
                "count": {"type": "integer"},
                "complete": {"type": "boolean"},
                "after": {"type": ["string", "null"]},
                "leader": {"type": ["string", "null"]},
            },
        },
        nav=True,
    ),
)
