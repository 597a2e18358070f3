"""What a schedule answers, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from ..clock import moment
from ..words import one_line

#: How a run may end, as a worker tells it; ``dropped`` did not begin, of ``lost`` nothing was heard any more.
OUTCOMES = ("succeeded", "failed", "retried", "rejected", "revoked", "ignored", "dropped", "lost")


@dataclass(frozen=True, slots=True)
class Slot:
    """A coming slot of an entry, as :meth:`Schedule.preview` shows it."""

    name: str
    nominal: datetime
    #: Why this process cannot compute the slots of the entry after *nominal*; None for an ordinary slot.
    why: str | None = None
    #: Whether it is skipped, as somebody has asked (:meth:`Schedule.skip`).
    skipped: bool = False


@dataclass(frozen=True, slots=True)
class SimulatedRow:
    """A row of :meth:`Schedule.simulate`: what an outage would do to one slot, or to several that are missed.

    *what* is ``sent``, ``missed`` or ``skipped`` (*count* slots from *nominal* on), or ``unknown`` (this process cannot
    compute the slots of the entry; *why* says why).
    """

    name: str
    what: str
    nominal: datetime
    at: datetime
    count: int = 1
    why: str | None = None
    #: There are more than *count*: they were not counted to the end.
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """A row of the ledger: what became of an occurrence, of several that were missed, or of a run on a worker."""

    #: ``sent``, ``missed``, ``failed``, ``skipped``, ``buffered``, ``unknown``, ``published nothing`` or ``ran``.
    what: str
    #: The name of the entry; '' for a call with a countdown or eta.
    entry: str
    #: When it happened, by Redis's clock.
    at: datetime
    #: The slot; None in a row of several.
    nominal: datetime | None
    #: The id of the task that was sent, or would have been.
    task_id: str | None
    #: The term in which it happened, and host and process of the beat that led it.
    epoch: int | None
    by: str | None
    #: The reason, where it was not sent.
    why: str | None
    #: ``trigger``, ``backfill`` or ``settled`` for a manual item; None for a slot of the schedule's own.
    source: str | None
    #: In a row of several: the first and the last slot, and how many.
    first: datetime | None = None
    last: datetime | None = None
    count: int = 1
    #: There are more than *count*: they were not counted to the end.
    at_least: bool = False
    #: The task, where no entry is behind it: a call with a countdown or eta.
    task: str | None = None
    #: Of what ``ran``: succeeded, failed, retried, rejected, revoked, ignored, dropped (it did not begin) or lost.
    outcome: str | None = None
    #: When it began, and how many seconds it took; *by* is then the worker's name.
    began: datetime | None = None
    took: float | None = None

    @property
    def lateness(self) -> float | None:
        """Seconds from the slot to this row; None in a row of several."""
        return None if self.nominal is None else (self.at - self.nominal).total_seconds()


@dataclass(frozen=True, slots=True)
class Waiting:
    """Manual items of one entry and one kind that wait to be sent."""

    entry: str
    #: ``trigger``, ``backfill``, ``settled`` (a slot that was due before an edit) or ``buffered`` (it waits for a run).
    source: str
    count: int
    #: When the next of them is sent.
    at: datetime
    #: Their first and last slot.
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Countdown:
    """A call with a countdown or eta that the schedule keeps until its time."""

    #: The task's id.
    id: str
    #: The task; '' when what stands in Redis cannot be read.
    task: str
    #: When it is sent.
    at: datetime
    #: When the call was made.
    made: datetime | None
    #: How its arguments look.
    args: str
    kwargs: str
    #: When it expires, as the message says it; None for never.
    expires: str | None


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold of everything: nothing is sent until it is released, or until its time has come."""

    #: What names it; another one has another.
    id: str
    since: datetime
    #: None where only a release ends it.
    until: datetime | None
    #: Who holds.
    actor: str
    note: str | None
    #: Whether the leader has said that it sends nothing more; with no leader, nobody could.
    confirmed: bool

    @property
    def words(self) -> str:
        """By whom, until when and why, in one line.

        >>> at = datetime(2027, 1, 1, 7, tzinfo=UTC)
        >>> Hold("a", at, at, "ann@web-1", "new database", True).words
        'by ann@web-1 until 2027-01-01 07:00:00 UTC: new database'
        """
        end = "until it is released" if self.until is None else f"until {self.until:%Y-%m-%d %H:%M:%S %Z}"
        return one_line(f"by {self.actor} {end}" + (f": {self.note}" if self.note else ""))


@dataclass(frozen=True, slots=True)
class TaskLock:
    """The lock of a unique task, as :meth:`Schedule.locks` shows it."""

    #: What names it: a digest of the task and its key.
    digest: str
    #: The task.
    task: str
    #: The arguments that count, in short.
    key: str
    #: The id of the call that holds it.
    holder: str
    #: ``taken`` (its message is being sent), ``waiting`` for a worker, or ``running``.
    phase: str
    since: datetime
    #: When it lapses, unless its worker renews it.
    ends: datetime
    #: The token of the worker that runs it.
    worker: str | None
    #: The id of the call that waits for this one to end.
    next: str | None


def ledger_row(row: Mapping[str, str]) -> LedgerRow:
    """A row of the ledger, from its fields in Redis."""

    def instant(key: str) -> datetime | None:
        try:
            return moment(int(row.get(key, "-")))
        except (ValueError, OverflowError):  # none, or beyond the calendar
            return None

    return LedgerRow(
        what=row.get("is", "?"),
        entry=row.get("entry", ""),
        at=instant("at") or datetime.fromtimestamp(0, UTC),
        nominal=instant("nominal"),
        task_id=row.get("id"),
        epoch=int(row["epoch"]) if row.get("epoch", "").isdigit() else None,
        by=row.get("by"),
        why=row.get("why"),
        source=row.get("how"),
        first=instant("from"),
        last=instant("to"),
        count=int(row.get("count", 1)),
        at_least="least" in row,
        outcome=row.get("outcome"),
        began=instant("started"),
        took=_seconds(row.get("took")),
        task=row.get("task"),
    )


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
