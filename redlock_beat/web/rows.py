"""Entries as a listing shows them: with their state, their last run, and what became of those before it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..clock import micros
from ..entries.document import document
from ..entries.entry import Entry
from ..errors import InvalidSchedule
from ..schedule.configuration import edited
from ..store import listing
from ..store.values import Stored
from . import times
from .charts import RUNS, Bar
from .tail import Occurred
from .visit import Visit

STATES = ("active", "paused", "finished", "quarantined")


@dataclass(frozen=True, slots=True)
class Row:
    """One entry in a listing."""

    name: str
    #: None where it cannot be read.
    entry: Entry | None
    #: One of :data:`STATES`.
    state: str
    #: Why it is in quarantine.
    error: str | None
    #: Whether a configured entry was edited at runtime.
    edited: bool
    #: Its newest occurrences, oldest first.
    runs: Sequence[Occurred]
    #: Its definition as Redis has it, where it cannot be read.
    definition: str = ""

    @property
    def last(self) -> Occurred | None:
        """Its newest occurrence that the ledger still has."""
        return self.runs[-1] if self.runs else None

    @property
    def words(self) -> str:
        """When it is sent, in words; or why this process cannot say so."""
        return "" if self.entry is None else words_or_why(self.entry)

    @property
    def expression(self) -> str:
        """Its schedule as it was written, where the words say it in another way."""
        if self.entry is None or self.entry.schedule.kind in ("interval", "once"):
            return ""
        return str(self.entry.schedule)

    @property
    def paused_until(self) -> datetime | None:
        """When its pause ends by itself."""
        return None if self.entry is None else self.entry.paused_until

    def bars(self, zone: str) -> list[Bar]:
        """Its newest occurrences as a sparkline shows them."""
        return [Bar(one.state, one.took, words_of(one, zone)) for one in self.runs]

    def json(self) -> dict[str, Any]:
        """As JSON-able data: the entry as ``show --json`` prints it, and the rest."""
        entry = {"name": self.name} if self.entry is None else document(self.entry)
        runs = [{"at": one.row.at.isoformat(), "state": one.state, "took": one.took} for one in self.runs]
        return {**entry, "state": self.state, "error": self.error, "edited": self.edited, "runs": runs}


def words_of(one: Occurred, zone: str) -> str:
    """An occurrence in words: when, what became of it, how late and how long."""
    at = one.row.nominal or one.row.at
    parts = [f"{times.local(at, zone)}: {one.state}"]
    if one.took is not None:
        parts.append(f"took {times.span(one.took)}")
    if one.row.lateness is not None and one.row.what == "sent":
        parts.append(f"sent {times.span(max(0.0, one.row.lateness))} late")
    why = (one.run.why if one.run is not None else None) or one.row.why
    return ", ".join(parts) + (f" ({why[:200]})" if why else "")


def rows_of(visit: Visit, names: Sequence[str]) -> list[Row]:
    """Some entries as they are now, without those that are gone.

    It takes two round trips, more where definitions are very long, and what is new in the ledger.
    """
    schedule = visit.schedule
    there: list[tuple[Stored, str | None, str | None]] = []
    rest = names
    while rest:
        stored = schedule.ask(listing.page(schedule.keys, rest))
        beside = schedule.ask(listing.beside(schedule.keys, [one.name for one in stored]))
        found = zip(stored, beside.quarantine, beside.configured, strict=True)
        there += [one for one in found if one[0].definition is not None]
        rest = rest[len(stored) :]
    if not there:
        return []
    runs = visit.site.tail.of([one.name for one, _, _ in there], RUNS)
    return [_row(visit, one, report, digest, runs[one.name]) for one, report, digest in there]


def _row(visit: Visit, stored: Stored, report: str | None, digest: str | None, runs: Sequence[Occurred]) -> Row:
    error = None if report is None else _error(report)
    try:
        entry = visit.schedule.operations.entry_of(stored, micros(visit.now))
    except InvalidSchedule as exc:
        return Row(stored.name, None, "quarantined", error or str(exc), False, runs, stored.definition or "")
    state = "quarantined" if error is not None else entry.standing
    return Row(stored.name, visit.shown(entry), state, error, edited(entry, digest), runs)


def _error(report: str) -> str:
    try:
        return str(json.loads(report)["error"])[:1000]
    except (ValueError, KeyError, TypeError, RecursionError):
        return report[:200]


def words_or_why(entry: Entry) -> str:
    """When an entry is sent, in words; or why this process cannot say so."""
    try:
        return entry.words
    except InvalidSchedule as exc:
        return str(exc)
