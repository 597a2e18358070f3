"""Entry <-> JSON, versioned. Nothing is executed, imported or unpickled from stored data.

Only what differs from the default is written, so that a plain entry is small. Arguments are JSON as
kombu writes it, which also carries datetimes, decimals, UUIDs and bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from kombu.utils.json import dumps as kombu_dumps
from kombu.utils.json import loads as kombu_loads

from ..errors import InvalidSchedule
from ..recurrence import from_data
from .entry import Entry
from .state import State

VERSION = 1
MAX_DEFINITION = 256 * 1024

#: Field of Entry -> key in JSON, for those written as they are when they differ from the default.
_PLAIN = {
    "enabled": "enabled",
    "note": "note",
    "paused_by": "by",
    "dst_gap": "gap",
    "dst_fold": "fold",
    "missed": "missed",
    "grace": "grace",
    "jitter": "jitter",
    "starts": "starts",
    "ends": "ends",
    "max_runs": "runs",
    "keep": "keep",
    "delivery": "delivery",
    "reference": "ref",
}
_DEFAULTS = {one.name: one.default for one in fields(Entry)}
_LARGE = 2**63


def encode(entry: Entry) -> str:
    """The definition of an entry as it stands in Redis.

    >>> from ..recurrence import Interval
    >>> decode("a", encode(Entry("a", "tasks.add", Interval.of(30)))).task
    'tasks.add'
    """
    return written(entry.name, definition(entry))


def definition(entry: Entry) -> dict[str, Any]:
    """What :func:`encode` writes; InvalidSchedule when JSON cannot carry it."""
    data: dict[str, Any] = {
        "v": VERSION,
        "uid": entry.uid,
        "rev": entry.revision,
        "task": entry.task,
        "kind": entry.schedule.kind,
        **{f"s_{key}": value for key, value in entry.schedule.data().items()},
        "at": entry.anchor,
    }
    if entry.timezone != "UTC":
        data["tz"] = entry.timezone
    if entry.origin != "api":
        data["from"] = entry.origin
    for name, key in _PLAIN.items():
        value = getattr(entry, name)
        if value != _DEFAULTS[name]:
            data[key] = value
    if not entry.reference:
        for key, value in (("args", entry.args), ("kwargs", entry.kwargs), ("options", entry.options)):
            if value:
                data[key] = carried(value, f"entry {entry.name!r}: {key}")
        if entry.canvas is not None:
            data["canvas"] = carried(entry.canvas, f"entry {entry.name!r}: the signature")
    return data


def written(name: str, data: dict[str, Any]) -> str:
    """A definition as text; InvalidSchedule when it is too long."""
    text = kombu_dumps(data, separators=(",", ":"), ensure_ascii=False)
    try:
        size = len(text.encode())
    except UnicodeEncodeError as exc:
        raise InvalidSchedule(
            f"entry {name!r} holds {text[exc.start]!r}, which is half a character and no text: UTF-8 cannot carry it."
        ) from None
    if size > MAX_DEFINITION:
        raise InvalidSchedule(
            f"entry {name!r} is {size} bytes as JSON, more than the {MAX_DEFINITION} allowed. "
            "Keep the data elsewhere and pass a reference to it."
        )
    return str(text)


def plain(value: Any) -> Any:
    """*value* as plain JSON; what JSON has no type for, as kombu writes it.

    >>> plain((1, b"x"))
    [1, {'__type__': 'bytes', '__value__': 'x'}]
    """
    return _listed(value) if _simple(value) else json.loads(kombu_dumps(value))


def typed(data: Any, what: str) -> Any:
    """The value of which :func:`plain` made *data*, or InvalidSchedule.

    >>> typed([1, {"__type__": "bytes", "__value__": "x"}], "args")
    [1, b'x']
    """
    try:
        return kombu_loads(json.dumps(data))
    except Exception as exc:  # noqa: BLE001 - a decoder of any registered type may raise anything
        raise InvalidSchedule(
            f'{what} cannot be read ({exc!r}): a value with a "__type__" must be as it is shown, such as '
            '{"__type__": "datetime", "__value__": "2027-01-01T07:00:00+00:00"}.'
        ) from None


def carried(value: Any, what: str) -> Any:
    """*value*, proved to come back from JSON as it went in (tuples as lists), or InvalidSchedule."""
    if _simple(value):
        return _listed(value)
    try:
        back = kombu_loads(kombu_dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as exc:
        raise InvalidSchedule(
            f"{what} cannot be stored, because JSON cannot carry it: {exc}. Entries made at runtime hold only what "
            "JSON can, and datetime, Decimal, UUID and bytes (no NaN, no infinity); anything else may stand in "
            "beat_schedule."
        ) from None
    listed = _listed(value)
    if back != listed:
        raise InvalidSchedule(
            f"{what} would come back from JSON changed (keys that are no strings, or a type of its own): "
            f"{str(listed)[:100]} would become {str(back)[:100]}."
        )
    return listed


def _simple(value: Any, levels: int = 8) -> bool:
    """Whether it needs no proof: the very types of JSON and nothing else, not too deep, no number too large."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return bool(-_LARGE < value < _LARGE)
    if kind is float:
        return math.isfinite(value)
    if levels == 0:
        return False
    if kind is list or kind is tuple:
        return all(_simple(one, levels - 1) for one in value)
    if kind is dict:
        return "__type__" not in value and all(
            type(key) is str and _simple(one, levels - 1) for key, one in value.items()
        )
    return False


def _listed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _listed(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_listed(one) for one in value]
    return value


def decode(name: str, text: str, state: State | None = None) -> Entry:
    """The entry of a definition, or InvalidSchedule with the reason."""
    try:
        data = kombu_loads(text)
    except Exception as exc:  # noqa: BLE001 - stored text may be anything; the reason goes to quarantine
        raise InvalidSchedule(f"the definition of {name!r} cannot be read: {exc!r}") from None
    return decoded(name, data, state)


def decoded(name: str, data: Any, state: State | None = None) -> Entry:
    """The same from a definition whose JSON has been read already (and that holds no dates and the like)."""
    try:
        if not isinstance(data, dict):
            raise InvalidSchedule("it is not a JSON object")
        version = data.get("v")
        if version != VERSION:
            raise InvalidSchedule(
                f"its schema version is {version!r}; this release reads {VERSION}. Upgrade the beat that reads it"
            )
        spec = from_data(data["kind"], {k[2:]: v for k, v in data.items() if k.startswith("s_")})
        given = {field: data[key] for field, key in _PLAIN.items() if key in data}
        return Entry(
            name=name,
            task=data["task"],
            schedule=spec,
            args=tuple(data.get("args", ())),
            kwargs=data.get("kwargs", {}),
            options=data.get("options", {}),
            canvas=data.get("canvas"),
            uid=str(data["uid"]),
            revision=int(data["rev"]),
            origin=data.get("from", "api"),
            anchor=int(data["at"]),
            timezone=data.get("tz", "UTC"),
            state=state,
            **given,
        )
    except InvalidSchedule as exc:
        raise InvalidSchedule(f"the definition of {name!r} cannot be used: {exc}") from None
    except Exception as exc:  # noqa: BLE001 - stored text may be anything; the reason goes to quarantine
        raise InvalidSchedule(f"the definition of {name!r} cannot be read: {exc!r}") from None


def compact(data: Any) -> str:
    """JSON without spaces and with sorted keys: the same data is always the same text."""
    return json.dumps(data, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
