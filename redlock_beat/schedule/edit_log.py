"""The edit log: who edited what, when and why; rows that stand in Redis from the very step that makes the edit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..clock import moment
from ..errors import InvalidSchedule
from .given import is_text

#: Characters of an actor, of a reason, of one value in a difference, and of all differences of an edit.
MOST_ACTOR, MOST_WHY, MOST_VALUE, MOST_CHANGES = 200, 1_000, 300, 4_000

#: Parts of an entry, each with its value before and after.
Differences = tuple[tuple[str, Any, Any], ...]


@dataclass(frozen=True, slots=True)
class EditRow:
    """A row of the edit log, as :meth:`Schedule.log` shows it."""

    at: datetime
    #: ``added``, ``changed``, ``copied``, ``renamed``, ``removed``, ``paused``, ``resumed``, ``skipped``,
    #: ``triggered``, ``backfilled``, ``cancelled``, ``imported``, ``configured``, ``held``, ``released``,
    #: or ``acknowledged`` (a loss of data).
    what: str
    #: The entry; '' for many of a configuration at once, and for all of them.
    entry: str
    #: Who did it.
    actor: str
    why: str | None = None
    #: The revision it left.
    revision: int | None = None
    #: The entry it was copied from, or the name it had before.
    source: str | None = None
    #: How many slots or entries it was about.
    count: int | None = None
    #: What it changed: the part, its value before and after. Long values are cut.
    changes: Differences = ()
    #: Of what was triggered: the id of the task that is sent.
    task_id: str | None = None


@dataclass(frozen=True, slots=True)
class Signature:
    """Who makes an edit, and why.

    >>> Signature("ann@web-1", "ticket 7").row("paused", "mail")
    ['is', 'paused', 'entry', 'mail', 'actor', 'ann@web-1', 'why', 'ticket 7']
    """

    actor: str
    why: str | None = None

    def __post_init__(self) -> None:
        for what, text, most in (("actor", self.actor, MOST_ACTOR), ("why", self.why, MOST_WHY)):
            if text is not None and (not is_text(text) or not 0 < len(text) <= most):
                raise InvalidSchedule(f"{what} is {str(text)[:100]!r}, but must be a text of 1 to {most} characters.")

    def row(
        self,
        what: str,
        entry: str,
        *,
        revision: int | None = None,
        source: str | None = None,
        count: int | None = None,
        changes: Differences = (),
        task_id: str | None = None,
    ) -> list[Any]:
        """The row of an edit as it stands in Redis; with differences, it says what has changed."""
        row: list[Any] = ["is", what, "entry", entry, "actor", self.actor]
        facts = (("why", self.why), ("rev", revision), ("source", source), ("count", count), ("id", task_id))
        for name, value in facts:
            if value is not None:
                row += (name, value)
        if changes:
            row += ("changes", _written(changes))
        return row


def as_reason(note: object) -> str | None:
    """A note as a reason; None for what is none, which the entry itself refuses."""
    return note[:MOST_WHY] or None if isinstance(note, str) and is_text(note) else None


def _written(changes: Differences) -> str:
    """Differences as JSON; what is too long is cut, and is a text then."""
    rows: list[list[Any]] = []
    left = MOST_CHANGES
    for name, *values in changes:
        short = [_cut(value, max(0, min(MOST_VALUE, left // 2))) for value in values]
        left -= sum(len(text) for text in map(json.dumps, short))
        rows.append([name, *short])
    return json.dumps(rows, separators=(",", ":"), ensure_ascii=False)


def _cut(value: Any, most: int) -> Any:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return value if len(text) <= most else text[:most] + "…"


def edit_row(row: Mapping[str, str]) -> EditRow:
    """A row of the edit log, from its fields in Redis."""
    try:
        at = moment(int(row.get("at", "0")))
    except (ValueError, OverflowError):  # none, or beyond the calendar
        at = datetime.fromtimestamp(0, UTC)
    return EditRow(
        at=at,
        what=row.get("is", "?"),
        entry=row.get("entry", ""),
        actor=row.get("actor", "?"),
        why=row.get("why"),
        revision=_number(row.get("rev")),
        source=row.get("source"),
        count=_number(row.get("count")),
        changes=_read(row.get("changes")),
        task_id=row.get("id"),
    )


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def _read(text: str | None) -> Differences:
    try:
        return tuple((str(name), before, after) for name, before, after in json.loads(text or "[]"))
    except (ValueError, TypeError, RecursionError):
        return ()
