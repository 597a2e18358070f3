"""The forms that add an entry and edit one, with the next slots while one types."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from ...clock import micros, moment
from ...entries.document import document
from ...entries.entry import Entry
from ...entries.policies import next_slot
from ...errors import EntryExists, InvalidSchedule, StaleRevision
from ...schedule.answers import Slot
from ..forms import CHOICES, FIELDS, WHENS, EntryForm, touched
from ..guard import Refused
from ..redacting import unhidden
from ..routes import Done, Param, Route, Shown
from ..visit import Visit
from .entry import NAME, SLOTS, WHY, with_notes

#: Registered tasks that the form offers.
TASKS = 500
#: The fields, as they are sent; and those that began the edit, as JSON.
_SENT = tuple(Param(name, words=f"The field {name} of the form.", most=100_000) for name in FIELDS)
BASE = Param("base", words="The fields as they were when the edit began, as JSON.", most=400_000)
REVISION = Param("revision", "integer", "The revision on which the edit began.", most=2**53)


def add_form(visit: Visit) -> Shown:
    """The form of a new entry, empty or like another."""
    _allowed(visit, "add")
    if visit["like"]:
        made = EntryForm.of(visit.shown(visit.schedule.entry(visit["like"])))
        made.values["name"] = ""
        if visit.options.redact is not None:  # what is hidden must not become the arguments of another entry
            made.values.update(args="[]", kwargs="{}", options="")
    else:
        made = EntryForm.blank(visit.zone)
    return _shown(visit, made)


def add(visit: Visit) -> Done | Shown:
    """Add an entry."""
    form = EntryForm.sent(visit.values)
    parts = form.parts()
    name = form.values["name"].strip()
    if not name:
        form.errors["name"] = "Give it a name."
    if not form.errors:
        task, when = parts.pop("task"), parts.pop("when")
        try:
            visit.schedule.add(name, task, when, actor=visit.actor, why=visit["why"], **parts)
        except EntryExists:
            form.errors["name"] = "There is an entry of this name already."
        except InvalidSchedule as exc:
            form.blame(exc)
        else:
            return Done(visit.url("/entry", name=name), f"{name} is added.", {"name": name})
    return _refused(visit, form)


def edit_form(visit: Visit) -> Shown:
    """The form of an entry as it is."""
    _allowed(visit, "edit")
    return _shown(visit, EntryForm.of(visit.shown(found := visit.schedule.entry(visit["name"]))), found)


def edit(visit: Visit) -> Done | Shown:
    """Change what was changed in the form; what is not as it was when the edit began is shown as a difference."""
    found = visit.schedule.entry(visit["name"])
    form, base, now = EntryForm.sent(visit.values), _base(visit), EntryForm.of(visit.shown(found))
    form.values["name"] = found.name
    changed = {field for field in FIELDS if field != "name" and touched(field, base.get(field, ""), form.values[field])}
    if found.revision != visit["revision"]:
        return _conflict(visit, form, base, now, found, changed)
    parts = form.parts(changed)
    if visit.options.redact is not None and "options" in parts:
        parts["options"] = unhidden(parts["options"], found.options)
    if form.errors:
        return _refused(visit, form, found)
    if not parts:
        return Done(visit.url("/entry", name=found.name), "Nothing was changed.", {"revision": found.revision})
    try:
        after = visit.schedule.update(found.name, revision=found.revision, actor=visit.actor, why=visit["why"], **parts)
    except StaleRevision:
        return edit(visit)
    except InvalidSchedule as exc:
        form.blame(exc)
        return _refused(visit, form, found)
    return Done(visit.url("/entry", name=found.name), f"{found.name} is changed.", {"revision": after.revision})


def preview(visit: Visit) -> Shown:
    """The next slots of what stands in the form, or what is wrong with it. Nothing is changed."""
    if not (visit.may("add") or visit.may("edit")):
        raise Refused(403, "You are not allowed to add or to edit here.")
    form = EntryForm.sent(visit.values)
    slots, words = _slots(visit, form)
    data = {
        "words": words,
        "slots": [{"nominal": slot.nominal.isoformat(), "note": note} for slot, note in slots],
        "errors": form.errors,
    }
    part = visit.request.headers.get("x-live")
    if part or visit.request.wants_json:
        extra = {"slots": slots, "words": words, "errors": form.errors}
        return Shown(data, extra, template="preview.html")
    found = visit.schedule.get(form.values["name"]) if visit["revision"] is not None else None
    return _shown(visit, form, found, base=visit["base"], revision=visit["revision"])


def _slots(visit: Visit, form: EntryForm) -> tuple[list[tuple[Slot, str]], str]:
    """The next slots of a form and its schedule in words; its errors say what is in the way."""
    parts = form.parts()
    if form.errors:
        return [], ""
    task, when, args = parts.pop("task"), parts.pop("when"), parts.pop("args")
    kwargs, options = parts.pop("kwargs"), parts.pop("options")
    now = micros(visit.now)
    try:
        made: Entry = visit.schedule.operations.making(
            form.values["name"].strip() or "new", task, when, args, kwargs, options, parts, False
        )
        made = replace(made, anchor=made.anchor or now)
        found = [Slot(made.name, moment(at)) for at in islice(_coming(made, now), SLOTS)]
    except InvalidSchedule as exc:
        form.blame(exc)
        return [], ""
    return with_notes(found, made.timezone), made.words


def _coming(made: Entry, now: int) -> Iterator[int]:
    at: int | None = now
    while at is not None and (at := next_slot(made, at)) is not None:
        yield at


def _base(visit: Visit) -> Mapping[str, str]:
    try:
        base = json.loads(visit["base"] or "{}")
    except (ValueError, RecursionError):
        base = None
    if not isinstance(base, dict) or visit["revision"] is None:
        raise Refused(422, "The form is incomplete: it does not say on which revision the edit began.")
    return {name: str(value) for name, value in base.items()}


def _conflict(
    visit: Visit, form: EntryForm, base: Mapping[str, str], now: EntryForm, found: Entry, changed: set[str]
) -> Shown:
    """The edit began on another revision: both sides are shown, and the form holds them merged."""
    merged = EntryForm({name: form.values[name] if name in changed else now.values[name] for name in FIELDS})
    rows = [
        {"field": name, "then": base.get(name, ""), "now": now.values[name], "yours": form.values[name]}
        for name in FIELDS
        if name in changed or now.values[name] != base.get(name, "")
    ]
    shown = _shown(visit, merged, found, base=json.dumps(now.values), conflict=rows)
    data = {"error": "stale", "revision": found.revision, "differences": rows}
    return Shown(data, shown.extra, 409, "edit.html")


def _refused(visit: Visit, form: EntryForm, found: Entry | None = None) -> Shown:
    shown = _shown(visit, form, found, base=visit["base"], revision=visit["revision"])
    return Shown({"error": "invalid", "errors": form.errors}, shown.extra, 422, "edit.html")


def _shown(
    visit: Visit,
    form: EntryForm,
    found: Entry | None = None,
    *,
    base: str | None = None,
    revision: int | None = None,
    conflict: Any = None,
) -> Shown:
    asked = EntryForm(dict(form.values))
    slots, words = _slots(visit, asked) if form.values["when"] else ([], "")
    app = visit.schedule.app
    tasks = sorted(name for name in getattr(app, "tasks", ()) if not name.startswith("celery."))
    extra = {
        "form": form,
        "errors": form.errors,
        "entry": found,
        "revision": revision if revision is not None and conflict is None else found.revision if found else None,
        "base": base or json.dumps(form.values),
        "conflict": conflict,
        "tasks": tasks[:TASKS],
        "whens": WHENS,
        "choices": CHOICES,
        "slots": slots,
        "words": words,
        "back": visit.url("/entry", name=found.name) if found else visit.url("/"),
    }
    data = {"values": form.values, "entry": document(visit.shown(found)) if found else None}
    return Shown(data, extra, template="edit.html")


def _allowed(visit: Visit, verb: str) -> None:
    if not visit.may(verb):
        raise Refused(403, f"You are not allowed to {verb} here.")


ROUTES = (
    Route(
        "/add",
        add_form,
        "Add an entry",
        "The form of a new entry.",
        params=(Param("like", words="Fill it in like this entry.", most=500),),
        template="edit.html",
    ),
    Route("/add", add, "Add an entry", "Add an entry.", "POST", "add", (*_SENT, BASE, REVISION, WHY), "edit.html"),
    Route("/entry/edit", edit_form, "Edit an entry", "The form of an entry.", params=(NAME,), template="edit.html"),
    Route(
        "/entry/edit",
        edit,
        "Edit an entry",
        "Change what is other than in base; 409 with the differences when the entry was edited since.",
        "POST",
        "edit",
        (NAME, *_SENT[1:], BASE, REVISION, WHY),
        "edit.html",
    ),
    Route(
        "/preview",
        preview,
        "Preview",
        "The next slots of what stands in the form, or what is wrong with it. Nothing is changed.",
        "POST",
        None,
        (*_SENT, BASE, REVISION, WHY),
        "preview.html",
        {
            "type": "object",
            "required": ["words", "slots", "errors"],
            "properties": {
                "words": {"type": "string"},
                "slots": {"type": "array", "items": {"type": "object", "required": ["nominal", "note"]}},
                "errors": {"type": "object", "description": "What is wrong with which field."},
            },
        },
        once=False,
    ),
)
