"""When how much is due, and what an outage would do."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from ...clock import MICROS, micros, moment, monotonic
from ...errors import InvalidSchedule
from ...schedule.filters import Filter
from ...schedule.load import Load
from ..charts import bars, heat, usual
from ..routes import Param, Route, Shown
from ..times import instant, local
from ..visit import Visit

#: What is shown -> seconds of one column, columns in a row, rows.
REACHES = {"hour": (60, 60, 1), "day": (60, 60, 24), "week": (900, 96, 7)}
#: Seconds that one visit counts, and slots that it counts.
PATIENCE, MOST_SLOTS = 1.0, 500_000
#: Entries of a schedule whose outage is computed as a whole; with more, it takes a name.
MOST_ENTRIES = 20_000
#: Rows of an outage that are shown, and columns that are named as the busiest.
ROWS, BUSIEST = 200, 5


def timeline(visit: Visit) -> Shown:
    """The load of the next hour, day or week, and the outage that was asked for."""
    seconds, across, down = REACHES[visit["reach"]]
    align = seconds if down == 1 else 3600
    start = micros(visit.now) // (align * MICROS) * align * MICROS
    load = Load(start, seconds * MICROS, across * down, most=MOST_SLOTS)
    complete = _counted(visit, load)
    place, most = load.most
    data: dict[str, Any] = {
        "reach": visit["reach"],
        "start": moment(load.start).isoformat(),
        "seconds": seconds,
        "counts": load.counts,
        "total": load.total,
        "at_least": load.at_least or not complete,
        "entries": load.entries,
        "unknown": load.unknown,
        "most": {"at": moment(load.start + place * load.size).isoformat(), "count": most, "entry": load.first[place]},
        "outage": None,
    }
    words = [_words(visit, load, i) for i in range(len(load.counts))]
    label = f"slots in the next {visit['reach']}: {load.total} in all, {most} at most in one column"
    busiest = sorted(range(len(load.counts)), key=lambda i: (-load.counts[i], i))[:BUSIEST]
    extra: dict[str, Any] = {
        "load": load,
        "usual": usual(load.counts),
        "chart": bars(load.counts, words, label) if down == 1 else heat(load.counts, words, across, label),
        "row_starts": [moment(load.start + i * across * load.size) for i in range(down)],
        "busiest": [
            (moment(load.start + i * load.size), load.counts[i], load.first[i]) for i in busiest if load.counts[i]
        ],
        "reaches": REACHES,
        "end": moment(load.end),
        "errors": {},
        "most_entries": MOST_ENTRIES,
    }
    status = 200
    if visit["from"] or visit["to"]:
        data["outage"], extra["errors"] = _outage(visit)
        status = 422 if extra["errors"] else 200
    return Shown(data, extra, status)


def _counted(visit: Visit, load: Load) -> bool:
    """Count what is due; whether all entries were reached in time."""
    if visit["name"]:
        load.add(visit.schedule.entry(visit["name"]))
        return True
    key, _, text = (visit["label"] or "").partition("=")
    labels = {key: text or "*"} if key else None
    wanted = Filter(task=visit["task"], labels=labels)
    deadline = monotonic() + PATIENCE
    # All are read and looked at here: where few fit, the deadline comes long before the next that does.
    for number, entry in enumerate(visit.schedule.entries()):
        if load.full or (number % 100 == 0 and monotonic() > deadline):
            return False
        if wanted.fits(entry):
            load.add(entry)
    return True


def _words(visit: Visit, load: Load, place: int) -> str:
    count, at = load.counts[place], moment(load.start + place * load.size)
    others = f" and {count - 1} more" if count > 1 else ""
    return f"{local(at, visit.zone, visit.now)[:-3]}: {count}" + (f", {load.first[place]}{others}" if count else "")


def _outage(visit: Visit) -> tuple[Any, dict[str, str]]:
    """What an outage would do, or what is wrong with the question: field -> words."""
    found, errors = {}, {}
    for name in ("from", "to"):
        try:
            found[name] = instant(visit[name] or "", visit.zone)
        except InvalidSchedule as exc:
            errors[name] = str(exc)
    if not errors and found["to"] < found["from"]:
        errors["to"] = "The outage ends before it starts."
    if not errors and found["to"] - found["from"] > timedelta(days=366):
        errors["to"] = "The outage is longer than a year."
    if not visit["name"] and visit.schedule.count() > MOST_ENTRIES:
        errors["name"] = f"There are more than {MOST_ENTRIES} entries: name one. For all, ask `celery redlock next`."
    if errors:
        return None, errors
    rows = visit.schedule.simulate(outage=(found["from"], found["to"]), name=visit["name"])
    count: dict[str, int] = {}
    for row in rows:
        count[row.what] = count.get(row.what, 0) + row.count
    return {
        "from": found["from"].isoformat(),
        "to": found["to"].isoformat(),
        "counts": count,
        "rows": [
            {
                "entry": row.name,
                "what": row.what,
                "nominal": row.nominal.isoformat(),
                "at": row.at.isoformat(),
                "count": row.count,
                "at_least": row.at_least,
                "why": row.why,
            }
            for row in rows[:ROWS]
        ],
        "more": max(0, len(rows) - ROWS),
    }, {}


_INSTANT = "an ISO time; without an offset it is a time in the zone of the page."
ROUTES = (
    Route(
        "/timeline",
        timeline,
        "Timeline",
        "How much is due when, and what an outage would do.",
        params=(
            Param("reach", "choice", "How far ahead.", default="hour", choices=tuple(REACHES)),
            Param("name", words="Only this entry.", most=500),
            Param("task", words="Only entries of this task; * and ? are wildcards.", most=500),
            Param("label", words="Only entries with this label, such as team=billing.", most=500),
            Param("from", words=f"Where an outage starts: {_INSTANT}", most=64),
            Param("to", words=f"Where it ends: {_INSTANT}", most=64),
        ),
        template="timeline.html",
        schema={
            "type": "object",
            "required": ["reach", "start", "seconds", "counts", "total", "at_least", "entries", "most"],
            "properties": {
                "reach": {"enum": list(REACHES)},
                "start": {"type": "string", "format": "date-time"},
                "seconds": {"type": "integer", "description": "Of one column."},
                "counts": {"type": "array", "items": {"type": "integer"}},
                "total": {"type": "integer"},
                "at_least": {"type": "boolean"},
                "entries": {"type": "integer", "description": "How many entries were counted."},
                "outage": {"type": ["object", "null"]},
            },
        },
        nav=True,
    ),
)
