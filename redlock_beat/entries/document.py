"""An entry as a document that people read and edit, and back.

The same shape is shown by ``show --json``, opened by ``edit`` and compared by ``import --dry-run``. It is
plain JSON. What JSON has no type for (a datetime, a UUID, a Decimal, bytes) stands in it as it stands in
Redis, in an export and in the messages themselves: ``{"__type__": "datetime", "__value__": "2027-..."}``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ..clock import moment, span_of
from ..errors import InvalidSchedule
from ..recurrence import KIND_OF_PART, from_data
from .codec import plain, typed
from .entry import POLICIES, Entry

#: Parts of a document that an edit may change.
EDITABLE = ("task", "when", "args", "kwargs", "options", "canvas", *(name for name in POLICIES if name != "expires"))

#: Parts that are stored as they are given, so what JSON has no type for may stand in them.
_CARRIED = ("args", "kwargs", "options", "canvas")


def editable(entry: Entry) -> dict[str, Any]:
    """What of an entry may be edited, as plain JSON.

    >>> from ..recurrence import Interval
    >>> editable(Entry("a", "tasks.add", Interval.of(30)))["when"]
    {'kind': 'interval', 'every': 30}
    """
    data: dict[str, Any] = {
        "task": entry.task,
        "when": {"kind": entry.schedule.kind, **entry.schedule.data()},
    }
    for name in _CARRIED:
        value = getattr(entry, name)
        if entry.reference:  # it stands in the configuration alone, and need not be JSON
            value = () if name == "args" else None if name == "canvas" else {}
        if value is not None:
            data[name] = plain(value)
    for name in POLICIES:
        if name == "expires":
            continue  # stands among the options
        value = getattr(entry, name)
        if name in ("starts", "ends") and value is not None:
            value = moment(value).isoformat()
        data[name] = value
    return data


def document(entry: Entry) -> dict[str, Any]:
    """All there is to say of an entry."""
    return {
        "name": entry.name,
        **editable(entry),
        "schedule": str(entry.schedule),
        "paused_by": entry.paused_by,
        "origin": entry.origin,
        "reference": entry.reference,
        "uid": entry.uid,
        "revision": entry.revision,
        "next_due": _iso(entry.next_due),
        "last_sent": _iso(entry.last_sent),
        "sent": entry.total_run_count,
    }


def _iso(when: datetime | None) -> str | None:
    return None if when is None else when.isoformat()


def changes_of(entry: Entry, edited: Mapping[str, Any]) -> dict[str, Any]:
    """What ``Schedule.update`` must be told so that the entry becomes as *edited* says."""
    before = editable(entry)
    unknown = sorted(set(edited) - set(EDITABLE))
    if unknown:
        raise InvalidSchedule(f"{', '.join(unknown)} cannot be edited. You can edit {', '.join(EDITABLE)}.")
    changed = {key: value for key, value in edited.items() if value != before.get(key)}
    gone = [key for key in before if key not in edited]
    if gone:
        raise InvalidSchedule(f"{', '.join(gone)} is missing; leave a part as it is rather than taking it out.")
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
        return instant_of(rest["at"])  # without an offset it is read in the entry's zone
    return from_data(data["kind"], rest)


def instant_of(text: str) -> datetime:
    """An instant in ISO format; without an offset it is naive, and read in the entry's zone.

    >>> instant_of("2027-01-01T07:00+01:00").hour
    7
    """
    try:
        return datetime.fromisoformat(text)
    except (ValueError, TypeError):
        raise InvalidSchedule(f"{text!r} is not a time: write 2027-01-01T07:00, perhaps with an offset.") from None


def all_assigned(data: dict[str, Any], assignments: Sequence[str]) -> None:
    """Apply several ``path=value`` to a document; a part of another kind of schedule makes it one of that kind.

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

    The value is JSON, or else a text.

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
