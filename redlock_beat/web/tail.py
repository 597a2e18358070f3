"""The newest rows of the ledger, kept in this process: all visits together ask Redis for each row once."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..schedule.answers import LedgerRow, ledger_row
from ..schedule.schedule import Schedule
from ..store import requests

#: Rows that are kept, rows in one round trip, and round trips in one visit.
KEPT, PAGE, TRIPS = 20_000, 1_000, 3
#: Seconds that the first visits wait for one that reads; later ones show what is known.
TURN = 0.5
#: Round trips in which a visit looks for older rows.
BACK = 10


@dataclass(slots=True)
class Occurred:
    """What became of one occurrence of an entry, as far as the ledger says."""

    row: LedgerRow
    #: What its run came to, where workers tell.
    run: LedgerRow | None = None

    @property
    def state(self) -> str:
        """In one word: how its run ended, or else what became of the occurrence."""
        return self.run.outcome or "ran" if self.run is not None else self.row.what

    @property
    def took(self) -> float | None:
        """Seconds that its run took."""
        return None if self.run is None else self.run.took


class Tail:
    """The newest rows of the ledger, oldest first."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        #: Who reads. The lock of the rows is nobody's while Redis is asked.
        self._turn, self._lock = threading.Lock(), threading.Lock()
        self._rows: deque[LedgerRow] = deque()
        # The same rows by entry: a page shows fifty entries, and the rows may be of a million.
        self._by_entry: dict[str, deque[LedgerRow]] = {}
        self._last = ""

    def rows(self) -> list[LedgerRow]:
        """The rows up to now; while another visit reads, those that are known.

        Who is far behind begins with the newest page: no visit reads without a bound.
        """
        self._catch_up()
        with self._lock:
            return list(self._rows)

    def older(self, fits: Callable[[LedgerRow], bool], most: int) -> tuple[list[LedgerRow], int | None]:
        """Rows that fit, newest first, read back to the oldest; and among how many: None for all of them."""
        found: list[LedgerRow] = []
        high = "+"
        for _ in range(BACK):
            rows = self._schedule.ask(requests.ledger(self._schedule.keys, "-", high, PAGE, newest_first=True))
            found += [row for row in (ledger_row(fields) for _, fields in rows) if fits(row)]
            if len(found) >= most or len(rows) < PAGE:
                return found[:most], None
            high = f"({rows[-1][0]}"
        return found, BACK * PAGE

    def of(self, names: Iterable[str], most: int) -> dict[str, list[Occurred]]:
        """The newest occurrences of some entries, oldest first, *most* of each."""
        self._catch_up()
        with self._lock:
            rows = {name: list(self._by_entry.get(name, ())) for name in names}
        return {name: _occurred(mine)[-most:] for name, mine in rows.items()}

    def _catch_up(self) -> None:
        if self._turn.acquire(timeout=0 if self._last else TURN):
            try:
                self._follow()
            finally:
                self._turn.release()

    def _follow(self) -> None:
        """Read what is new: in pages, or from the newest page on when there is too much of it."""
        for _ in range(TRIPS if self._last else 0):
            rows = self._schedule.ask(requests.ledger_news(self._schedule.keys, self._last, PAGE, 0))
            self._add(rows)
            if len(rows) < PAGE:
                return
        rows = self._schedule.ask(requests.ledger(self._schedule.keys, "-", "+", PAGE, newest_first=True))
        self._add(rows[::-1], anew=True)

    def _add(self, rows: Sequence[tuple[str, dict[str, str]]], anew: bool = False) -> None:
        fresh = [ledger_row(row) for _, row in rows]
        with self._lock:
            if anew:
                self._rows.clear()
                self._by_entry.clear()
            for row in fresh:
                if len(self._rows) == KEPT:
                    self._drop_oldest()
                self._rows.append(row)
                self._by_entry.setdefault(row.entry, deque()).append(row)
        if rows:
            self._last = rows[-1][0]

    def _drop_oldest(self) -> None:
        entry = self._rows.popleft().entry
        mine = self._by_entry[entry]
        mine.popleft()
        if not mine:
            del self._by_entry[entry]


def _occurred(rows: Iterable[LedgerRow]) -> list[Occurred]:
    """The occurrences that rows of one entry tell of, each with its run."""
    found: list[Occurred] = []
    by_id: dict[str, Occurred] = {}
    for row in rows:
        if row.what == "ran":
            known = by_id.get(row.task_id or "")
            if known is not None:
                known.run = row
                continue
            known = Occurred(row, row)
        else:
            known = Occurred(row)
        found.append(known)
        if row.task_id:
            by_id[row.task_id] = known
    return found
