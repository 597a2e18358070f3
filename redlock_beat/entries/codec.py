"""An entry as JSON and back, with a version. Nothing in stored data is executed, imported or unpickled.

The JSON has only what differs from the default, so that a plain entry is small; since version 2, no kind and no anchor
of a crontab, which is the most frequent kind and counts from nothing. Arguments are JSON as kombu writes it, which also
carries datetimes, decimals, UUIDs and bytes.
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
from ..quickjson import read_text
from ..recurrence import Crontab, days_of, from_data
from .entry import Entry, Skip
from .state import State

#: The version of crontabs as they are written, and all that are read.
VERSION = 2
READ = (1, 2)
MAX_DEFINITION = 256 * 1024

#: Field of Entry -> key in JSON, for fields that stand there as they are when they differ from the default.
_PLAIN = {
    "enabled": "enabled",
    "note": "note",
    "paused_by": "by",
    "until": "until",  # the beat looks for it, too
    "paused_slot": "slot",
    "dst_gap": "gap",
    "dst_fold": "fold",
    "missed": "missed",
    "grace": "grace",
    "jitter": "jitter",
    "starts": "starts",
    "ends": "ends",
    "max_runs": "runs",
    "exclude": "out",
    "only": "only",
    "shift": "shift",
    "keep": "keep",
    "delivery": "delivery",
    "overlap": "overlap",
    "queue_limit": "wait",
    "buffer_limit": "buffer",
    "terminate": "end",
    "pause_on_failure": "pause",  # report.lua looks for it
    "reference": "ref",
}
_DEFAULTS = {one.name: one.default for one in fields(Entry)}
#: Key -> field.
_FIELDS = {key: name for name, key in _PLAIN.items()}
#: Keys whose values may hold dates and the like.
_HOLDERS = ("args", "kwargs", "options", "canvas", "s_data")
_LARGE = 2**63
_TEXT = frozenset((str,))
_encoder = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


def encode(entry: Entry) -> str:
    """The definition of an entry as Redis has it.

    >>> from ..recurrence import Interval
    >>> decode("a", encode(Entry("a", "tasks.add", Interval.of(30)))).task
    'tasks.add'
    """
    data = definition(entry)
    if (
        data["kind"] == Crontab.kind
    ):  # every other kind stays as it was: releases that read version 1 alone read it, too
        data["v"] = VERSION
        del data["kind"], data["at"]
    return written(entry.name, data)


def definition(entry: Entry) -> dict[str, Any]:
    """What :func:`encode` writes, in the form of version 1, of which digests are made.

    InvalidSchedule when JSON cannot carry it.
    """
    data: dict[str, Any] = {
        "v": 1,
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
    if not entry.is_plain:
        for name, key in _PLAIN.items():
            value = getattr(entry, name)
            if value != _DEFAULTS[name]:
                data[key] = value
    if entry.skip is not None:
        one = entry.skip
        data["skip"] = [one.first, one.last, one.count, one.by, one.why, one.then]  # the beat looks for the last
    if entry.labels:
        data["labels"] = dict(entry.labels)
    if not entry.reference:
        for key, value in (("args", entry.args), ("kwargs", entry.kwargs), ("options", entry.options)):
            if value:
                data[key] = value if simple(value) else proved(value, f"entry {entry.name!r}: {key}")
        if entry.canvas is not None:
            data["canvas"] = carried(entry.canvas, f"entry {entry.name!r}: the signature")
    return data


def written(name: str, data: dict[str, Any]) -> str:
    """A definition as text; InvalidSchedule when it is too long."""
    try:
        text = _encoder.encode(data)
    except TypeError:  # dates and the like
        text = kombu_dumps(data, separators=(",", ":"), ensure_ascii=False)
    try:
        size = len(text if text.isascii() else text.encode())
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
    """*value* as plain JSON, and as kombu writes it where JSON has no type for it.

    >>> plain((1, b"x"))
    [1, {'__type__': 'bytes', '__value__': 'x'}]
    """
    return _listed(value) if simple(value) else json.loads(kombu_dumps(value))


def typed(data: Any, what: str) -> Any:
    """The value that :func:`plain` made *data* of, or InvalidSchedule.

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
    """*value* (tuples as lists), if it comes back from JSON as it went in; else InvalidSchedule."""
    return _listed(value) if simple(value) else proved(value, what)


def proved(value: Any, what: str) -> Any:
    """As :func:`carried`, by writing *value* and reading it back."""
    try:
        back = kombu_loads(kombu_dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as exc:
        raise InvalidSchedule(
            f"{what} cannot be stored, because JSON cannot carry it: {exc}. Entries made at runtime hold only what "
            "JSON can, and datetime, Decimal, UUID and bytes (no NaN, no infinity). beat_schedule may hold anything "
            "else."
        ) from None
    listed = _listed(value)
    if back != listed:
        raise InvalidSchedule(
            f"{what} would come back from JSON changed (keys that are not strings, or a type that JSON does not have): "
            f"{str(listed)[:100]} would become {str(back)[:100]}."
        )
    return listed


def simple(value: Any, levels: int = 8) -> bool:
    """Whether JSON surely carries it: only JSON's own types, not too deep, no number too large."""
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
        parts = value
    elif kind is dict and "__type__" not in value and _TEXT.issuperset(map(type, value)):
        parts = value.values()
    else:
        return False
    levels -= 1
    return all(simple(one, levels) for one in parts)


def _listed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _listed(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_listed(one) for one in value]
    return value


def decode(name: str, text: str, state: State | None = None) -> Entry:
    """The entry of a definition, or InvalidSchedule with the reason."""
    try:
        # Without types of its own it is read by C alone; one that is written with escapes is looked at.
        plain = "__type__" not in text and "\\u" not in text
        data = json.loads(text) if plain else kombu_loads(text)
    except Exception as exc:  # noqa: BLE001 - stored text may be anything; the reason goes to quarantine
        raise InvalidSchedule(f"the definition of {name!r} cannot be read: {exc!r}") from None
    return decoded(name, data, state)


def read_data(name: str, data: dict[str, Any], state: State | None = None) -> Entry:
    """The entry of a definition whose JSON has been read already; it may hold dates and the like."""
    if not isinstance(data, dict) or all(map(simple, map(data.get, _HOLDERS))):
        return decoded(name, data, state)
    return decode(name, json.dumps(data), state)


def decoded(name: str, data: Any, state: State | None = None) -> Entry:
    """The same for a definition whose JSON is read already (and that has no dates and the like)."""
    try:
        if not isinstance(data, dict):
            raise InvalidSchedule("it is not a JSON object")
        version = data.get("v")
        if version not in READ:
            known = " and ".join(map(str, READ))
            raise InvalidSchedule(
                f"its schema version is {version!r}, and this release reads {known}. Upgrade this beat"
            )
        if version > 1 and "kind" not in data:
            spec = from_data(Crontab.kind, _parts_of(data))
        else:
            spec = from_data(data["kind"], _parts_of(data))
        given = {_FIELDS[key]: data[key] for key in data.keys() & _FIELDS.keys()}
        for days in ("exclude", "only"):
            if days in given:
                given[days] = days_of(given[days], days)
        return Entry(
            name=name,
            task=data["task"],
            schedule=spec,
            args=tuple(data.get("args", ())),
            kwargs=data.get("kwargs", {}),
            options=data.get("options", {}),
            canvas=data.get("canvas"),
            labels=data.get("labels", {}),
            skip=Skip(*data["skip"]) if "skip" in data else None,
            uid=str(data["uid"]),
            revision=int(data["rev"]),
            origin=data.get("from", "api"),
            anchor=anchor_in(data),
            timezone=data.get("tz", "UTC"),
            state=state,
            **given,
        )
    except InvalidSchedule as exc:
        raise InvalidSchedule(f"the definition of {name!r} cannot be used: {exc}") from None
    except Exception as exc:  # noqa: BLE001 - stored text may be anything; the reason goes to quarantine
        raise InvalidSchedule(f"the definition of {name!r} cannot be read: {exc!r}") from None


def glimpse(text: str) -> tuple[str, bool, str, Mapping[str, str]]:
    """Task, whether enabled, origin and labels of a definition, without reading the rest; InvalidSchedule as ever.

    It takes a fifth of the time of :func:`decode`: for lists of many entries.

    >>> from ..recurrence import Interval
    >>> glimpse(encode(Entry("a", "tasks.add", Interval.of(30), labels={"team": "b"})))
    ('tasks.add', True, 'api', {'team': 'b'})
    """
    try:
        data = read_text(text)
        return str(data["task"]), bool(data.get("enabled", True)), str(data.get("from", "api")), data.get("labels", {})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise InvalidSchedule(f"the definition cannot be read: {exc!r}") from None


def _parts_of(data: dict[str, Any]) -> dict[str, Any]:
    """The data of the schedule."""
    return {key[2:]: value for key, value in data.items() if key.startswith("s_")}


def anchor_in(data: Mapping[str, Any]) -> int:
    """The anchor that a definition has; crontabs of version 2 have none."""
    return int(data["at"]) if "kind" in data or "at" in data else 0


def compact(data: Any) -> str:
    """JSON without spaces and with sorted keys: the same data is always the same text."""
    return json.dumps(data, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
