"""The schedule as a file: export, and import with a look at what it would change."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from ...errors import InvalidSchedule
from ...schedule.transfer import check, export, load
from ..guard import Refused
from ..http import Response
from ..routes import Done, Param, Route, Shown
from ..visit import Visit

#: Entries that a page exports, and differences that it shows. For more there is the command line.
MOST, SHOWN = 20_000, 200
TEXT = Param("text", words="The lines of an export.", most=1_000_000)


def moving(visit: Visit, text: str = "", error: str = "", found: object = None) -> Shown:
    """The form."""
    count = visit.schedule.count()
    extra = {
        "text": text,
        "errors": {"text": error},
        "found": found,
        "count": count,
        "most": MOST,
        "hidden": _hidden(visit),
    }
    return Shown({"entries": count}, extra, 422 if error else 200, "moving.html")


def _hidden(visit: Visit) -> bool:
    """Whether arguments are hidden from visitors, so that no file may hold them either."""
    return visit.options.redact is not None


def exported(visit: Visit) -> Response | Shown:
    """All entries as a file that `import` reads."""
    if _hidden(visit):
        raise Refused(403, "Arguments are not shown here, so they are not exported either: use celery redlock export.")
    if visit.schedule.count() > MOST:
        raise Refused(422, f"There are more than {MOST} entries: use celery redlock export.")
    lines = list(export(visit.schedule))
    if visit.request.wants_json:
        return Shown({"lines": lines})
    body = "".join(line if line.endswith("\n") else line + "\n" for line in lines)
    name = f"schedule-{visit.now:%Y%m%dT%H%M%SZ}.jsonl"
    headers = (("Content-Disposition", f'attachment; filename="{name}"'),)
    return Response(200, body.encode("utf-8", "surrogateescape"), "application/x-ndjson", headers)


def look(visit: Visit) -> Shown:
    """What an import would change; nothing is changed."""
    text = visit["text"] or ""
    try:
        check(text.splitlines())
        found = list(load(visit.schedule, text.splitlines(), dry_run=True))
    except InvalidSchedule as exc:
        return moving(visit, text, str(exc))
    counts = dict(Counter(one.what for one in found))
    changed = [one for one in found if one.what != "unchanged"]
    hidden = _hidden(visit)
    rows = [
        {"name": one.name, "what": one.what, "fields": [] if hidden else [list(part) for part in one.fields]}
        for one in changed[:SHOWN]
    ]
    data = {"counts": counts, "changes": rows, "more": max(0, len(changed) - SHOWN)}
    shown = moving(visit, text, found=data)
    return Shown(data, shown.extra, template="moving.html")


def bring(visit: Visit) -> Done | Shown:
    """Bring the entries in."""
    text = visit["text"] or ""
    try:
        check(text.splitlines())
        counts = Counter(one.what for one in load(visit.schedule, text.splitlines(), actor=visit.actor))
    except InvalidSchedule as exc:
        return moving(visit, text, str(exc))
    words = ", ".join(f"{many} {what}" for what, many in islice(sorted(counts.items()), 10)) or "nothing"
    return Done(visit.url("/moving"), f"Imported: {words}.", {"counts": dict(counts)})


_LINES = {
    "type": "object",
    "required": ["lines"],
    "properties": {"lines": {"type": "array", "items": {"type": "string"}}},
}
_CHANGES = {
    "type": "object",
    "required": ["counts", "changes", "more"],
    "properties": {
        "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
        "changes": {"type": "array", "items": {"type": "object", "required": ["name", "what", "fields"]}},
        "more": {"type": "integer"},
    },
}
ROUTES = (
    Route("/moving", moving, "Export and import", "The schedule as a file.", template="moving.html"),
    Route(
        "/export",
        exported,
        "Export",
        "All entries as JSON lines, which an import reads.",
        schema=_LINES,
        texts=("application/x-ndjson",),
    ),
    Route(
        "/import/look",
        look,
        "Look at an import",
        "What an import would change; nothing is changed.",
        "POST",
        "import",
        (TEXT,),
        "moving.html",
        _CHANGES,
        once=False,
    ),
    Route("/import", bring, "Import", "Bring in the entries of an export.", "POST", "import", (TEXT,), "moving.html"),
)
