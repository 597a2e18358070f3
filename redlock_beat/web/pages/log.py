"""Who edited what, when and why."""

from __future__ import annotations

from ..redacting import shown_changes
from ..routes import Param, Route, Shown
from ..visit import Visit


def log(visit: Visit) -> Shown:
    """The newest rows of the edit log."""
    rows = visit.schedule.log(visit["name"], n=visit["n"], actor=visit["actor"])
    data = [
        {
            "at": row.at.isoformat(),
            "what": row.what,
            "entry": row.entry,
            "actor": row.actor,
            "why": row.why,
            "revision": row.revision,
            "source": row.source,
            "count": row.count,
            "changes": [list(one) for one in shown_changes(visit.options.redact, row.changes)],
        }
        for row in rows
    ]
    return Shown({"rows": data})


ROUTES = (
    Route(
        "/log",
        log,
        "Log",
        "Who edited what, when and why; newest first.",
        params=(
            Param("name", words="Only edits of this entry.", most=500),
            Param("actor", words="Only edits by this actor; * and ? are wildcards.", most=200),
            Param("n", "integer", "How many rows.", default=50, least=1, most=500),
        ),
        template="log.html",
        nav=True,
    ),
)
