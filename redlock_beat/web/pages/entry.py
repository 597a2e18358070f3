"""One entry, and what is done to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...entries.document import document
from ...entries.entry import Entry
from ...errors import InvalidSchedule, NoSuchEntry
from ...recurrence.zones import zone
from ...schedule.answers import LedgerRow, Slot
from ..redacting import HIDDEN
from ..routes import Done, Param, Route, Shown
from ..rows import rows_of
from ..snippets import snippets
from ..times import instant, local
from ..visit import Visit

NAME = Param("name", words="The name of the entry.", required=True, most=500)
REVISION = Param("revision", "integer", "Refuse the edit if the entry has another revision.", most=2**53)
NOTE = Param("note", words="A note that the entry keeps while it is paused.", most=1_000)
WHY = Param("why", words="Why; the log of edits keeps it.", most=1_000)
UNTIL = Param("until", words="Until when: an ISO time; without an offset it is in the zone of the page.", most=64)
#: Slots that are shown, and rows of the ledger.
SLOTS, ROWS = 10, 30
#: Pages of what waits to be sent that a visit reads, and characters of a definition that cannot be read.
WAITING, MOST_RAW = 20, 20_000


def entry(visit: Visit, errors: dict[str, str] | None = None) -> Shown:
    """Everything about one entry."""
    rows = rows_of(visit, [visit["name"]])
    if not rows:
        raise NoSuchEntry(visit["name"])
    row = rows[0]
    history, looked_at = _history(visit, row.name)
    waiting, all_waiting = visit.schedule.ask(visit.schedule.operations.some_waiting(row.name, WAITING))
    extra = {
        "row": row,
        "rows": history,
        "looked_at": looked_at,
        "bars": row.bars(visit.zone),
        "waiting": waiting,
        "all_waiting": all_waiting,
        "held": visit.schedule.held(),
        "errors": errors or {},
    }
    status = 422 if errors else 200
    if row.entry is None:
        definition = HIDDEN if visit.options.redact else row.definition[:MOST_RAW]
        data = {"name": row.name, "state": row.state, "error": row.error, "definition": definition}
        return Shown(data, {**extra, "cut": len(row.definition) > MOST_RAW}, status, "unreadable.html")
    coming, why = _coming(visit, row.entry)
    extra.update(
        entry=row.entry,
        words=row.words,
        coming=coming,
        no_slots=why,
        quarantined=row.error,
        snippets=snippets(row.entry),
    )
    return Shown(document(row.entry), extra, status, "entry.html")


def _history(visit: Visit, name: str) -> tuple[list[LedgerRow], int | None]:
    """Its newest rows: those that this process keeps, or else older ones; and among how many, None for all."""
    kept = [row for row in visit.site.tail.rows() if row.entry == name]
    if kept:
        return kept[: -ROWS - 1 : -1], None
    return visit.site.tail.older(lambda row: row.entry == name, ROWS)


def _coming(visit: Visit, found: Entry) -> tuple[list[tuple[Slot, str]], str | None]:
    """The next slots, each with what the clock does before it; and why there are none to show."""
    if found.next_due is None:
        return [], None
    try:
        slots = visit.schedule.preview(found.name, SLOTS)
    except InvalidSchedule as exc:
        return [], str(exc)
    return with_notes(slots, found.timezone), None


def with_notes(slots: Sequence[Slot], name: str) -> list[tuple[Slot, str]]:
    """Slots with a note where the clock of the entry's zone has been changed since the one before."""
    found, before = [], None
    for slot in slots:
        offset = slot.nominal.astimezone(zone(name)).utcoffset()
        note = ""
        if before is not None and offset is not None and offset != before:
            note = f"the clock of {name} goes {'forward' if offset > before else 'back'} before this one"
        before = offset
        found.append((slot, note))
    return found


def pause(visit: Visit) -> Done | Shown:
    """Pause it."""
    name = visit["name"]
    try:
        until = instant(visit["until"], visit.zone) if visit["until"] else None
        visit.schedule.pause(name, visit["note"], until=until, actor=visit.actor, revision=visit["revision"])
    except InvalidSchedule as exc:
        return entry(visit, {"until": str(exc)})
    return _done(visit, f"Paused {name}" + (f" until {local(until, visit.zone)}." if until else "."))


def resume(visit: Visit) -> Done:
    """Resume it."""
    name, late = visit["name"], visit["catch_up"]
    visit.schedule.resume(name, catch_up=late, actor=visit.actor, why=visit["why"], revision=visit["revision"])
    return _done(visit, f"Resumed {name}.")


def skip(visit: Visit) -> Done:
    """Skip its next slots, or none any more."""
    name, many = visit["name"], visit["n"]
    visit.schedule.skip(name, many, actor=visit.actor, why=visit["why"], revision=visit["revision"])
    words = f"The next {'slot' if many == 1 else f'{many} slots'} of {name} will be skipped."
    return _done(visit, words if many else f"No slot of {name} is skipped any more.")


def run(visit: Visit) -> Done | Shown:
    """Send it once, now."""
    name = visit["name"]
    given = {part: visit[part] for part in ("args", "kwargs", "options") if visit[part] is not None}
    try:
        task_id = visit.schedule.trigger(name, actor=visit.actor, why=visit["why"], **given)
    except InvalidSchedule as exc:
        return entry(visit, {"run": str(exc)})
    return _done(visit, f"{name} is sent now, as {task_id}.", task_id=task_id)


def backfill(visit: Visit) -> Done | Shown:
    """Send the slots of a time that is past."""
    name = visit["name"]
    try:
        begin, end = instant(visit["from"], visit.zone), instant(visit["to"], visit.zone)
        many = visit.schedule.backfill(name, begin, end, rate=visit["rate"], actor=visit.actor, why=visit["why"])
    except InvalidSchedule as exc:
        return entry(visit, {"backfill": str(exc)})
    return _done(visit, f"{many} slots of {name} will be sent, {visit['rate']} a second.", count=many)


def cancel(visit: Visit) -> Done:
    """Cancel what waits to be sent."""
    many = visit.schedule.cancel(visit["name"], actor=visit.actor, why=visit["why"])
    return _done(visit, f"{many} waiting {'slot is' if many == 1 else 'slots are'} cancelled.", count=many)


def rename(visit: Visit) -> Done:
    """Give it another name."""
    name, new = visit["name"], visit["new"]
    visit.schedule.rename(name, new, revision=visit["revision"], actor=visit.actor, why=visit["why"])
    return Done(visit.url("/entry", name=new), f"{name} is {new} now.", {"name": new})


def remove(visit: Visit) -> Done:
    """Remove it."""
    name = visit["name"]
    visit.schedule.remove(name, revision=visit["revision"], actor=visit.actor, why=visit["why"])
    return Done(visit.url("/"), f"{name} is removed.")


def _done(visit: Visit, words: str, **data: Any) -> Done:
    return Done(visit.url("/entry", name=visit["name"]), words, data)


def _edit(path: str, view: Callable[[Visit], Any], title: str, verb: str, *params: Param, words: str = "") -> Route:
    return Route(path, view, title, words or f"{title}.", "POST", verb, (NAME, *params))


#: An entry that cannot be read.
_UNREADABLE = {
    "type": "object",
    "required": ["name", "state", "error", "definition"],
    "properties": {
        "name": {"type": "string"},
        "state": {"const": "quarantined"},
        "error": {"type": "string"},
        "definition": {"type": "string"},
    },
}
ROUTES = (
    Route(
        "/entry",
        entry,
        "Entry",
        "Everything about one entry.",
        params=(NAME,),
        template="entry.html",
        schema={"anyOf": [{"$ref": "#/components/schemas/entry"}, _UNREADABLE]},
    ),
    _edit("/entry/pause", pause, "Pause an entry", "pause", UNTIL, NOTE, REVISION),
    _edit(
        "/entry/resume",
        resume,
        "Resume an entry",
        "resume",
        Param("catch_up", "flag", "Whether its policy decides about the slots of the pause.", default=False),
        WHY,
        REVISION,
    ),
    _edit(
        "/entry/skip",
        skip,
        "Skip the next slots",
        "skip",
        Param("n", "integer", "How many; 0 for none any more.", default=1, most=1_000),
        WHY,
        REVISION,
    ),
    _edit(
        "/entry/run",
        run,
        "Send an entry now",
        "run",
        Param("args", "json", "Arguments for this once, a JSON list.", most=100_000),
        Param("kwargs", "json", "Keyword arguments for this once, a JSON object.", most=100_000),
        Param("options", "json", "What apply_async takes, for this once.", most=10_000),
        WHY,
    ),
    _edit(
        "/entry/backfill",
        backfill,
        "Send the slots of a past time",
        "backfill",
        Param("from", words="From when, as until.", required=True, most=64),
        Param("to", words="To when.", required=True, most=64),
        Param("rate", "integer", "How many a second.", default=10, least=1, most=1_000),
        WHY,
    ),
    _edit("/entry/cancel", cancel, "Cancel what waits to be sent", "cancel", WHY),
    _edit(
        "/entry/rename",
        rename,
        "Rename an entry",
        "rename",
        Param("new", words="Its new name.", required=True, most=500),
        WHY,
        REVISION,
    ),
    _edit("/entry/remove", remove, "Remove an entry", "remove", WHY, REVISION),
)
