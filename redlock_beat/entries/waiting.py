"""Manual items: triggers, backfilled and settled slots that wait in ``manual``, as values and as texts in Redis."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..clock import micros, score
from .entry import Entry
from .policies import Missed

#: Instants a message can carry.
_FIRST, _LAST = micros(datetime(1, 1, 2, tzinfo=UTC)), micros(datetime(9990, 1, 1, tzinfo=UTC))


@dataclass(slots=True)
class ManualItem:
    """One occurrence to be sent besides the schedule's own.

    >>> item = ManualItem("mail", "u1", "trigger", nominal=5, at=5, request="r")
    >>> ManualItem.parse(item.text()) == item
    True
    """

    entry: str
    uid: str
    #: ``trigger``, ``backfill``, ``settled`` or ``buffered``.
    source: str
    #: The slot; None when there is only *missed* to note.
    nominal: int | None
    #: When somebody asked for it.
    at: int
    request: str = ""
    missed: Missed | None = None
    #: Parts of the definition that are others for this once: args, kwargs and options, as JSON.
    call: dict[str, Any] | None = None

    def text(self) -> str:
        """The item as Redis has it."""
        data: dict[str, Any] = {
            "entry": self.entry,
            "uid": self.uid,
            "how": self.source,
            "nominal": self.nominal,
            "req": self.request,
            "at": self.at,
        }
        if self.missed is not None:
            one = self.missed
            data["missed"] = [one.first, one.last, one.count, one.why, *((True,) if one.at_least else ())]
            if one.what != "missed":
                data["missed"] = [one.first, one.last, one.count, one.why, one.at_least, one.what]
        if self.call:
            data["call"] = self.call
        return json.dumps(data, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def parse(cls, text: str) -> ManualItem:
        """The item of a text; ValueError when it is none."""
        try:
            data = json.loads(text)
            nominal, missed = data["nominal"], data.get("missed")
            return cls(
                entry=_text(data["entry"]),
                uid=_text(data["uid"]),
                source=_text(data["how"]),
                nominal=None if nominal is None else _instant(nominal),
                at=_instant(data.get("at") or 0),
                request=_text(data.get("req") or ""),
                missed=None if missed is None else _missed(*missed),
                call=_call(data.get("call")),
            )
        except (KeyError, TypeError, AttributeError, RecursionError) as exc:
            raise ValueError(f"it is no manual item: {exc!r}") from None


def settled(entry: Entry, sends: tuple[int, ...], missed: Missed | None, now: int) -> list[tuple[str, str]]:
    """Slots that were due before an edit, as manual items, each with its score."""
    items = [(_settled(entry, nominal, now).text(), score(now + i)) for i, nominal in enumerate(sends)]
    if missed is not None:
        items.insert(0, (_settled(entry, None, now, missed).text(), score(now)))
    return items


def held_back(entry: Entry, nominal: int, when: int, now: int) -> tuple[str, str]:
    """A slot of before an edit that jitter holds back: it is sent *when* it would have been."""
    return _settled(entry, nominal, now).text(), score(when)


def _settled(entry: Entry, nominal: int | None, now: int, missed: Missed | None = None) -> ManualItem:
    return ManualItem(entry.name, entry.uid, "settled", nominal, now, missed=missed)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    if not value.isascii():
        value.encode("utf-8", "surrogateescape")  # what cannot be sent to Redis is rubbish, too
    return value


def _instant(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not _FIRST < value < _LAST:
        raise TypeError(f"{value!r} is not an instant")
    return value


#: The parts of a call, and of which type each is.
_PARTS: dict[str, type] = {"args": list, "kwargs": dict, "options": dict}


def _call(value: Any) -> dict[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, dict) or any(not isinstance(one, _PARTS.get(part, type)) for part, one in value.items()):
        raise TypeError(f"{str(value)[:100]} is not what a trigger may change for once")
    return value


def _missed(first: Any, last: Any, number: Any, why: Any, at_least: Any = False, what: Any = "missed") -> Missed:
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"{number!r} is not a number of slots")
    if what not in ("missed", "skipped"):
        raise TypeError(f"{what!r} is not a rule for slots")
    return Missed(_instant(first), _instant(last), number, _text(why), bool(at_least), what)
