"""What users are told of a schedule, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from ..clock import moment


@dataclass(frozen=True, slots=True)
class Slot:
    """A coming slot of an entry, as :meth:`Schedule.preview` shows it."""

    name: str
    nominal: datetime
    #: Why the slots of this entry after *nominal* cannot be computed here; None for an ordinary slot.
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Foreseen:
    """A row of :meth:`Schedule.simulate`: what would be ``sent``, or ``missed`` (from *nominal* on, *count* slots).

    ``unknown``: the slots of this entry cannot be computed here, and why.
    """

    name: str
    what: str
    nominal: datetime
    at: datetime
    count: int = 1
    why: str | None = None
    #: *count* is a lower bound: counting was given up.
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class Happened:
    """A row of the ledger: what became of an occurrence, or of a run of missed ones."""

    what: str
    entry: str
    at: datetime
    nominal: datetime | None
    task_id: str | None
    epoch: int | None
    by: str | None
    why: str | None
    how: str | None
    first: datetime | None = None
    last: datetime | None = None
    count: int = 1
    #: *count* is a lower bound: counting was given up.
    at_least: bool = False

    @property
    def lateness(self) -> float | None:
        """Seconds from nominal to this row."""
        return None if self.nominal is None else (self.at - self.nominal).total_seconds()


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits to be sent by hand of one entry, in one way."""

    entry: str
    #: ``trigger``, ``backfill`` or ``settled`` (a slot that was due before an edit).
    how: str
    count: int
    #: When the next of them is tried.
    at: datetime
    #: Their first and last slot.
    first: datetime
    last: datetime


def happened(row: Mapping[str, str]) -> Happened:
    """A row of the ledger, as it is shown."""

    def instant(key: str) -> datetime | None:
        try:
            return moment(int(row.get(key, "-")))
        except (ValueError, OverflowError):  # none, or beyond the calendar
            return None

    return Happened(
        what=row.get("is", "?"),
        entry=row.get("entry", ""),
        at=instant("at") or datetime.fromtimestamp(0, UTC),
        nominal=instant("nominal"),
        task_id=row.get("id"),
        epoch=int(row["epoch"]) if row.get("epoch", "").isdigit() else None,
        by=row.get("by"),
        why=row.get("why"),
        how=row.get("how"),
        first=instant("from"),
        last=instant("to"),
        count=int(row.get("count", 1)),
        at_least="least" in row,
    )
