"""The hold: everything that the schedule would send waits until it is released or its time has come.

It is one hash in Redis, and every script that sends looks at it, so from the step that makes it no commit succeeds,
whichever beat it comes from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .keys import Keys
from .requests import Request
from .values import Fence, Held, counted


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold as Redis has it; instants in microseconds."""

    id: str
    at: int
    #: None for no end but a release.
    until: int | None
    actor: str
    note: str | None = None
    #: The term whose leader has seen it, and sends nothing more to any broker; None before that.
    seen: int | None = None

    @classmethod
    def parse(cls, fields: Mapping[str, str], now: int = 0) -> Hold | None:
        """The hold of a hash; None when there is none, or when its time has come by *now*.

        What cannot be read is a hold without an end, as it is for the scripts.

        >>> Hold.parse({"id": "a", "at": "5", "until": "9", "actor": "ann"}, now=8).until
        9
        >>> Hold.parse({"id": "a", "at": "5", "until": "9", "actor": "ann"}, now=9)
        """
        if "until" not in fields:
            return None
        until = _number(fields["until"])
        if until is not None and until <= now:
            return None
        at, seen = _number(fields.get("at", "")) or 0, _number(fields.get("seen", ""))
        return cls(fields.get("id", "?"), at, until, fields.get("actor", "?"), fields.get("note") or None, seen)

    def seen_by(self, lease: Held | None) -> bool:
        """Whether whoever leads has seen it. Where nobody leads, nobody needs to."""
        return lease is None or self.seen == lease.epoch


#: The last microsecond that a datetime has, and how many digits that is.
_LAST, _DIGITS = 253_402_300_799_999_999, 18


def _number(text: str) -> int | None:
    readable = text.isascii() and text.isdecimal() and len(text) <= _DIGITS and int(text) <= _LAST
    return int(text) if readable else None


@dataclass(frozen=True, slots=True)
class HoldAnswer:
    """What became of a request to hold everything."""

    #: ``held``, ``past`` (its time has come already) or ``changed`` (another hold stands than was expected).
    what: str
    now: int
    #: Who leads at that moment, and for how many milliseconds at most without renewing its term.
    lease: Held | None
    left_ms: int


def put(keys: Keys, expected: str, hold: Hold, log_size: int, row: Sequence[Any], request: str) -> Request[HoldAnswer]:
    """Hold everything, in the place of the hold whose id is *expected* ('' for none)."""

    def parse(got: Any) -> HoldAnswer:
        what, now, lease, left = json.loads(got)
        return HoldAnswer(str(what), int(now), Held.parse(lease), int(left))

    others = ["actor", hold.actor, *(("note", hold.note) if hold.note else ())]
    until = "" if hold.until is None else hold.until
    args = [keys.wake, log_size, expected, hold.id, until, *counted(others), *counted(row)]
    return Request(parse, "hold", [keys.hold, keys.lease, keys.edit_log, keys.request(request)], args, writes=True)


def end(keys: Keys, log_size: int, row: Sequence[Any], request: str) -> Request[Hold | None]:
    """Release what is held; the hold that stood, or None."""
    args = [keys.wake, log_size, *counted(row)]
    return Request(
        lambda got: Hold.parse(_fields(json.loads(got) or [])),
        "hold_end",
        [keys.hold, keys.edit_log, keys.request(request)],
        args,
        writes=True,
    )


def seen(keys: Keys, fence: Fence, id_: str, quiet: bool) -> Request[Hold | None]:
    """A leader has seen a hold, and is *quiet* or not yet; None when another hold stands there now, or none."""
    args = [*fence.words, id_, "1" if quiet else ""]
    return Request(lambda got: Hold.parse(_fields(got)), "hold_seen", [keys.lease, keys.epoch, keys.hold], args)


def look(keys: Keys) -> Request[tuple[Hold | None, Held | None]]:
    """The hold, and who leads."""

    def parse(got: Any) -> tuple[Hold | None, Held | None]:
        return Hold.parse(_fields(got[1]), int(got[0])), Held.parse(got[2])

    return Request(parse, "hold_look", [keys.hold, keys.lease])


def _fields(words: Sequence[str]) -> dict[str, str]:
    return dict(zip(words[::2], words[1::2], strict=True))
