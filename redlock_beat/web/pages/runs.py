"""What became of occurrences: the ledger."""

from __future__ import annotations

from ...errors import NoSuchEntry
from ...schedule.answers import OUTCOMES, LedgerRow
from ..routes import Param, Route, Shown
from ..visit import Visit

#: What may have become of an occurrence besides the outcome of its run.
WHATS = ("sent", "missed", "skipped", "buffered", "failed", "unknown", "published nothing")
STATES = tuple(dict.fromkeys((*OUTCOMES, *WHATS)))


def runs(visit: Visit) -> Shown:
    """The newest rows of the ledger that fit."""
    found, looked_at = _found(visit)
    data = [{key: _plain(getattr(row, key)) for key in LedgerRow.__slots__} for row in found]
    extra = {"rows": found, "states": STATES, "looked_at": looked_at, "more": len(found) >= visit["n"]}
    return Shown({"rows": data}, extra)


def _found(visit: Visit) -> tuple[list[LedgerRow], int | None]:
    """The rows, newest first, and among how many they were looked for; None for among all."""
    name, state, most = visit["name"], visit["state"], visit["n"]
    if name is not None and state is None:
        found, looked_at = visit.site.tail.older(lambda row: row.entry == name, most)
        if not found and name not in visit.schedule:
            raise NoSuchEntry(name)
        return found, looked_at
    rows = visit.site.tail.rows()
    part = (visit["q"] or "").lower()
    found = []
    for row in reversed(rows):
        fits = name in (None, row.entry) and part in (row.entry or row.task or "").lower()
        if fits and state in (None, row.outcome or row.what):
            found.append(row)
            if len(found) >= most:
                break
    return found, len(rows)


def _plain(value: object) -> object:
    return value.isoformat() if hasattr(value, "isoformat") else value


ROUTES = (
    Route(
        "/runs",
        runs,
        "Runs",
        "What became of occurrences, newest first.",
        params=(
            Param("q", words="What the name of the entry holds.", most=500),
            Param("name", words="Only of this entry.", most=500),
            Param("state", "choice", "Only what became this.", choices=STATES),
            Param("n", "integer", "How many rows.", default=50, least=1, most=500),
        ),
        template="runs.html",
        schema={
            "type": "object",
            "required": ["rows"],
            "properties": {"rows": {"type": "array", "items": {"type": "object", "required": ["what", "entry", "at"]}}},
        },
        nav=True,
    ),
)
