"""An entry as a document that people read and edit, and back.

``show --json`` prints it, ``edit`` opens it and ``import --dry-run`` compares it. It is plain JSON. What JSON has no
type for (a datetime, a UUID, a Decimal, bytes) looks as it does in Redis, in an export and in the messages:
``{"__type__": "datetime", "__value__": "2027-..."}``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ..clock import moment, span_of
from ..errors import InvalidSchedule
from ..recurrence import KIND_OF_PART, NO_CALENDARS, Calendars, from_data
from .build import make_entry
from .codec import plain, typed
from .entry import POLICIES, Entry, Skip

#: The parts of a document that an edit may change.
EDITABLE = ("task", "when", "args", "kwargs", "options", "canvas", *(name for name in POLICIES if name != "expires"))

#: The parts that may hold values that JSON has no type for.
_CARRIED = ("args", "kwargs", "options", "canvas")


def editable(entry: Entry) -> dict[str, Any]:
    """The editable parts of an entry, as plain JSON.

    >>> from ..recurrence import Interval
    >>> editable(Entry("a", "tasks.add", Interval.of(30)))["when"]
    {'kind': 'interval', 'every': 30}
    """
    data = {part: _shown(entry, part) for part in EDITABLE}
    if data["canvas"] is None:
        del data["canvas"]
    return data


def _shown(entry: Entry, part: str) -> Any:
    """One part of an entry, as plain JSON."""
    if part == "when":
        return {"kind": entry.schedule.kind, **entry.schedule.data()}
    value = getattr(entry, part)
    if part in _CARRIED:
        if entry.reference:  # only the configuration has it, and it need not be JSON
            value = () if part == "args" else None if part == "canvas" else {}
        return None if value is None else plain(value)
    if part in ("starts", "ends") and value is not None:
        return moment(value).isoformat()
    if part == "paused_until":
        return _iso(value)
    if part == "skip":
        return _skip(value)
    if part in ("exclude", "only"):
        return list(value)
    return dict(value) if part == "labels" else value


def document(entry: Entry) -> dict[str, Any]:
    """Everything about an entry."""
    return {
        "name": entry.name,
        **editable(entry),
        "schedule": str(entry.schedule),
        "words": entry.words,
        "state": entry.standing,
        "paused_by": entry.paused_by,
        "paused_until": _iso(entry.paused_until),
        "skip": _skip(entry.skip),
        "origin": entry.origin,
        "reference": entry.reference,
        "uid": entry.uid,
        "revision": entry.revision,
        "next_due": _iso(entry.next_due),
        "last_sent": _iso(entry.last_sent),
        "sent": entry.total_run_count,
    }


def described(app: Any, name: str, data: Mapping[str, Any], calendars: Calendars = NO_CALENDARS) -> Entry:
    """The entry of a document: ``task``, ``when`` and any of the other parts that :func:`editable` has.

    >>> described(None, "a", {"task": "tasks.add", "when": "10m", "args": [1]}).args
    (1,)
    """
    unknown = sorted(set(data) - set(EDITABLE))
    if unknown:
        raise InvalidSchedule(
            f"entry {name!r}: {', '.join(unknown)} is not a part of an entry. It may have {', '.join(EDITABLE)}."
        )
    if "when" not in data or not ({"task", "canvas"} & set(data)):
        raise InvalidSchedule(f"entry {name!r}: it needs at least 'task' and 'when'.")
    parts = {part: typed(data[part], f"entry {name!r}: {part}") for part in _CARRIED if data.get(part) is not None}
    canvas = parts.get("canvas")
    policies = {key: value for key, value in data.items() if key in POLICIES and value is not None}
    for bound in ("starts", "ends"):
        if isinstance(policies.get(bound), str):
            policies[bound] = instant_of(policies[bound])
    if canvas is not None:  # the arguments are inside the signature
        what: tuple[Any, ...] = (canvas, when_of(data["when"]), (), None, None)
    else:
        args, kwargs, options = parts.get("args", ()), parts.get("kwargs"), parts.get("options")
        what = (data["task"], when_of(data["when"]), args, kwargs, options)
    return make_entry(app, name, *what, calendars=calendars, **policies)


#: The parts in which entries may differ: those that may be edited, and a pause or a skip that ends by itself.
PARTS = (*EDITABLE, "paused_until", "skip")


def differences(before: Entry, after: Entry, parts: Sequence[str] = PARTS) -> tuple[tuple[str, Any, Any], ...]:
    """What two entries differ in, of some parts: the part, its value before and after.

    >>> from ..recurrence import Interval
    >>> differences(Entry("a", "t", Interval.of(30)), Entry("a", "t", Interval.of(30), missed="skip"))
    (('missed', 'once', 'skip'),)
    """
    found = []
    for part in parts:
        field = "schedule" if part == "when" else part
        if before.reference is after.reference and getattr(before, field) == getattr(after, field):
            continue
        old, new = _shown(before, part), _shown(after, part)
        if old != new:
            found.append((part, old, new))
    return tuple(found)


def _skip(skip: Skip | None) -> dict[str, Any] | None:
    if skip is None:
        return None
    first, last = moment(skip.first).isoformat(), moment(skip.last).isoformat()
    return {"first": first, "last": last, "count": skip.count, "by": skip.by, "why": skip.why}


def _iso(when: datetime | None) -> str | None:
    return None if when is None else when.isoformat()


def changes_of(entry: Entry, edited: Mapping[str, Any]) -> dict[str, Any]:
    """The changes for ``Schedule.update`` that make an entry what *edited* says."""
    before = editable(entry)
    unknown = sorted(set(edited) - set(EDITABLE))
    if unknown:
        raise InvalidSchedule(f"{', '.join(unknown)} cannot be edited. You can edit {', '.join(EDITABLE)}.")
    changed = {key: value for key, value in edited.items() if value != before.get(key)}
    gone = [key for key in before if key not in edited]
    if gone:
        raise InvalidSchedule(f"{', '.join(gone)} is missing: leave a part as it is rather than removing it.")
    for part in _CARRIED:
        if part in changed:
            changed[part] = typed(changed[part], f"entry {entry.name!r}: {part}")
    if "canvas" in changed:
        changed["task"] = changed.pop("canvas")
    if "when" in changed:
        changed["when"] = when_of(changed["when"])
    for bound in ("starts", "ends"):
        if isinstance(changed.get(bound), str):
            changed[bound] = instant_of(changed[bound])
    return changed


def when_of(data: Any) -> Any:
    """The schedule of ``{"kind": "interval", "every": 30}``, or of a text: ``0 7 * * 1-5``, ``10m``."""
    if isinstance(data, (str, int, float)) and not isinstance(data, bool):
        return data
    if not isinstance(data, Mapping) or not isinstance(data.get("kind"), str):
        raise InvalidSchedule(
            f'"when" is {json.dumps(data)[:200]}, but must be an object with a "kind", a crontab (0 7 * * 1-5), '
            "or a span (10m)."
        )
    rest = {key: value for key, value in data.items() if key != "kind"}
    if data["kind"] == "interval" and isinstance(rest.get("every"), str):
        rest["every"] = span_of(rest["every"]).total_seconds()
    if data["kind"] == "once" and rest.keys() == {"at"}:
        return instant_of(rest["at"])  # without an offset, a time in the entry's zone
    return from_data(data["kind"], rest)


def instant_of(text: str) -> datetime:
    """An instant in ISO format; without an offset it is naive, a time in the entry's zone.

    >>> instant_of("2027-01-01T07:00+01:00").hour
    7
    """
    try:
        return datetime.fromisoformat(text)
    except (ValueError, TypeError):
        raise InvalidSchedule(f"{text!r} is not a time: write 2027-01-01T07:00, perhaps with an offset.") from None


def all_assigned(data: dict[str, Any], assignments: Sequence[str]) -> None:
    """Apply several ``path=value`` to a document; a part of another kind of schedule changes the kind.

    >>> data = {"when": {"kind": "interval", "every": 30}}
    >>> all_assigned(data, ["when.cron=0 8 * * *"])
    >>> data
    {'when': {'kind': 'crontab', 'cron': '0 8 * * *'}}
    """
    parts = [
        path.removeprefix("when.")
        for path in (one.partition("=")[0] for one in assignments)
        if path.startswith("when.")
    ]
    kinds = {KIND_OF_PART[part]: part for part in parts if part in KIND_OF_PART}
    if len(kinds) > 1:
        raise InvalidSchedule(
            f"when.{' and when.'.join(kinds.values())} contradict each other: a schedule is of one kind."
        )
    when = data.get("when")
    for kind in kinds:
        if isinstance(when, dict) and when.get("kind") != kind:
            data["when"] = {"kind": kind}
    for one in assignments:
        assigned(data, one)


def assigned(data: dict[str, Any], assignment: str) -> None:
    """Apply ``path=value`` (``kwargs.to=7``, ``when=0 8 * * *``, ``args.0=3``) to a document.

    The value is JSON, or a text where it is not.

    >>> data = {"kwargs": {}}
    >>> assigned(data, "kwargs.to=7")
    >>> data
    {'kwargs': {'to': 7}}
    """
    path, sign, text = assignment.partition("=")
    if not sign or not path:
        raise InvalidSchedule(f"{assignment!r} is not of the form path=value, as in kwargs.to=7.")
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    steps = path.split(".")
    place: Any = data
    for step in steps[:-1]:
        place = _inside(place, step, path)
    last = steps[-1]
    if isinstance(place, list):
        index = _index(last, path)
        if index == len(place):
            place.append(value)
        elif index < len(place):
            place[index] = value
        else:
            raise InvalidSchedule(f"{path}: the list has {len(place)} elements.")
    elif isinstance(place, dict):
        if place is data and last not in data:
            raise InvalidSchedule(f"{last!r} cannot be edited. You can edit {', '.join(data)}.")
        place[last] = value
    else:
        raise InvalidSchedule(f"{path}: there is nothing inside {place!r}.")


def _inside(place: Any, step: str, path: str) -> Any:
    if isinstance(place, list):
        index = _index(step, path)
        if index < len(place):
            return place[index]
        raise InvalidSchedule(f"{path}: the list has {len(place)} elements.")
    if isinstance(place, dict) and step in place:
        return place[step]
    raise InvalidSchedule(f"{path}: there is no {step!r}.")


def _index(text: str, path: str) -> int:
    if not text.isdigit():
        raise InvalidSchedule(f"{path}: {text!r} is not the number of an element.")
    return int(text)
