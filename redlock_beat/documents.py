"""An entry as a document that people read and edit, and back.

The same shape is shown by ``show --json``, opened by ``edit`` and compared by ``import --dry-run``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from .clock import moment
from .entry import POLICIES, Entry
from .errors import InvalidSchedule
from .schedules import from_data

#: Parts of a document that an edit may change.
EDITABLE = ("task", "when", "args", "kwargs", "options", "canvas", *(name for name in POLICIES if name != "expires"))

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|min|m|h|d|w)")


def editable(entry: Entry) -> dict[str, Any]:
    """What of an entry may be edited, as JSON can carry it.

    >>> from .schedules import Interval
    >>> editable(Entry("a", "tasks.add", Interval.of(30)))["when"]
    {'kind': 'interval', 'every': 30}
    """
    data: dict[str, Any] = {
        "task": entry.task,
        "when": {"kind": entry.schedule.kind, **entry.schedule.data()},
        "args": list(entry.args),
        "kwargs": dict(entry.kwargs),
        "options": dict(entry.options),
    }
    if entry.canvas is not None:
        data["canvas"] = dict(entry.canvas)
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
        raise InvalidSchedule(f"{', '.join(unknown)} cannot be edited. There are {', '.join(EDITABLE)}.")
    changed = {key: value for key, value in edited.items() if value != before.get(key)}
    gone = [key for key in before if key not in edited]
    if gone:
        raise InvalidSchedule(f"{', '.join(gone)} is missing; leave a part as it is rather than taking it out.")
    if "canvas" in changed:
        changed["task"] = changed.pop("canvas")
    if "when" in changed:
        changed["when"] = when_of(changed["when"])
    for bound in ("starts", "ends"):
        if isinstance(changed.get(bound), str):
            changed[bound] = instant_of(changed[bound])
    return changed


def when_of(data: Any) -> Any:
    """The schedule of ``{"kind": "interval", "every": 30}``."""
    if not isinstance(data, Mapping) or not isinstance(data.get("kind"), str):
        raise InvalidSchedule(f'"when" is {json.dumps(data)[:200]}, but must be an object with a "kind".')
    rest = {key: value for key, value in data.items() if key != "kind"}
    if data["kind"] == "interval" and isinstance(rest.get("every"), str):
        rest["every"] = span_of(rest["every"]).total_seconds()
    return from_data(data["kind"], rest)


def span_of(text: str) -> timedelta:
    """A span: ``30s``, ``1h30m``, ``2d``, or plain seconds.

    >>> span_of("1h30m")
    datetime.timedelta(seconds=5400)
    """
    words = text.strip().lower().replace(" ", "")
    try:
        return timedelta(seconds=float(words))
    except (ValueError, OverflowError):
        pass
    parts = _SPAN.findall(words)
    if not parts or "".join(number + unit for number, unit in parts) != words:
        raise InvalidSchedule(f"{text!r} is not a span of time: write 30s, 5m, 1h30m, 2d, or seconds.")
    return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))


def instant_of(text: str) -> datetime:
    """An instant in ISO format; without an offset it is naive, and read in the entry's zone.

    >>> instant_of("2027-01-01T07:00+01:00").hour
    7
    """
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise InvalidSchedule(f"{text!r} is not a time: write 2027-01-01T07:00, perhaps with an offset.") from None


def assigned(data: dict[str, Any], assignment: str) -> None:
    """Apply ``path=value`` (``kwargs.to=7``, ``when.cron=0 8 * * *``, ``args.0=3``) to a document.

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
            raise InvalidSchedule(f"{last!r} cannot be edited. There are {', '.join(data)}.")
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
