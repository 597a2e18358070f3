"""What is known of all entries: kept in this process, so that a search asks Redis for one page of entries.

The names are read in pages (``HSCAN``), in the background when there are many, and only while somebody looks. Between
two such walks the edit log says which entries were edited. So a listing is never wrong about an entry that it shows,
since that is read anew; it may only miss, or look at in vain, what was changed by no edit since the last walk.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from ..clock import monotonic
from ..errors import RedlockBeatError
from ..schedule.schedule import Schedule
from ..store import listing, requests
from .names import Collector, Facts, Index, Place, Wanted, facts_of, folded

#: Entries in one round trip of a walk, and entries that are known at most.
PAGE, MOST = 250, 2_000_000
#: Seconds of a walk that a visit does itself; a longer one goes on in the background.
PATIENCE = 0.04
#: After a visit it rests for so many seconds as long as it works, times this: visits come first.
SEEN, REST = 2.0, 2.0
#: Pages that a visit reads in any case: so a small schedule is always known as a whole.
FIRST = 4
#: A walk is repeated after so many times as long as it took, but not before so many seconds.
RESTS, LEAST = 20.0, 2.0
#: Rows of the edit log that a visit follows, and edited entries that are kept beside the walk.
ROWS, BESIDE = 200, 2_000
#: Seconds that a visit waits for another that reads.
TURN = 0.5
#: Names that a search counts.
COUNTED = 10_000


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of all entries at one moment."""

    index: Index = field(default_factory=Index)
    #: Entries that were edited since, with their facts; None for one that is gone.
    edited: dict[str, Facts | None] = field(default_factory=dict)
    #: Whether the walk over all of them has come to its end.
    complete: bool = False

    def find(self, search: str, wanted: Wanted | None = None, after: Place | None = None) -> Iterator[Place]:
        """The names that a search finds after a place, in order."""
        needle = folded(search)
        fresh = [
            place
            for name, facts in self.edited.items()
            if facts is not None
            and (wanted is None or wanted(facts))
            and (place := Place.of(name, needle)) is not None
            and (after is None or place > after)
        ]
        walked = (one for one in self.index.find(search, wanted, after) if one.name not in self.edited)
        return heapq.merge(walked, sorted(fresh))

    def count(self, search: str, wanted: Wanted | None = None) -> int:
        """How many names a search finds; of :data:`COUNTED` or more it is not known how many more."""
        if self.edited and len(self.index) <= BESIDE:
            return sum(1 for _ in islice(self.find(search, wanted), COUNTED))
        return self.index.count(search, wanted, COUNTED)

    def common(self, part: str, most: int = 50) -> list[str]:
        """The most common tasks, queues or labels."""
        counter: Counter[str] = Counter()
        for one, many in zip(self.index.kinds, self.index.counts, strict=True):
            value = getattr(one, part)
            texts = [f"{name}={text}" for name, text in value or ()] if part == "labels" else [value]
            counter.update({text: many for text in texts if text and many})
        return sorted(text for text, _ in counter.most_common(most))


class Catalogue:
    """Keeps what is known of all entries up to date while somebody looks."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._lock = threading.Lock()
        self._known = Known()
        self._walk: Walk | None = None
        self._next = float("-inf")
        self._row = ""
        self._suggested: tuple[Index, dict[str, list[str]]] | None = None
        self._seen = float("-inf")

    def known(self) -> Known:
        """What is known now."""
        self._seen = monotonic()
        if self._lock.acquire(timeout=TURN):
            try:
                self._refresh()
            finally:
                self._lock.release()
        return self._known

    def suggestions(self) -> dict[str, list[str]]:
        """The most common tasks, queues and labels: what a filter may ask for."""
        index = self._known.index
        if self._suggested is None or self._suggested[0] is not index:
            parts = {part: self._known.common(part) for part in ("task", "queue", "labels")}
            self._suggested = (index, parts)
        return self._suggested[1]

    def _refresh(self) -> None:
        if self._walk is None and monotonic() >= self._next:
            self._begin()
        elif self._known.complete:
            self._follow()

    def _begin(self) -> None:
        walk = Walk(self._schedule)
        if walk.go(PATIENCE):
            self._take(walk)
            return
        self._walk = walk
        if not self._known.complete:
            self._known = Known(walk.so_far())
        threading.Thread(target=self._finish, args=(walk,), name="redlock-beat-catalogue", daemon=True).start()

    def _finish(self, walk: Walk) -> None:
        """The rest of a long walk, in the background."""
        shown, before = walk.count, walk.took
        try:
            while not walk.go(0.0):
                rest = REST * (walk.took - before) if monotonic() - self._seen < SEEN else 0.0
                time.sleep(rest)
                before = walk.took
                if not self._known.complete and walk.count > 4 * shown:
                    shown, self._known = walk.count, Known(walk.so_far())
            index = walk.so_far()
        except RedlockBeatError:  # the visits say so; the next one begins anew
            self._walk = None
            return
        with self._lock:
            self._take(walk, index)

    def _take(self, walk: Walk, index: Index | None = None) -> None:
        self._known = Known(walk.so_far() if index is None else index, complete=True)
        self._row = walk.row
        self._walk = None
        self._next = monotonic() + max(LEAST, RESTS * walk.took)

    def _follow(self) -> None:
        """Look at what was edited since."""
        schedule = self._schedule
        rows = schedule.ask(requests.edit_log(schedule.keys, f"({self._row}" if self._row else "-", "+", ROWS))
        if not rows:
            return
        names = {name for _, row in rows for name in (row.get("entry"), row.get("source")) if name}
        many = any(not row.get("entry") for _, row in rows)  # of a whole configuration
        self._row = rows[0][0]
        _, stored = schedule.ask(requests.read(schedule.keys, sorted(names)[:PAGE])) if names else (0, [])
        fresh = {one.name: None if one.definition is None else facts_of(one.definition, one.state) for one in stored}
        self._known = Known(self._known.index, {**self._known.edited, **fresh}, complete=True)
        if len(rows) >= ROWS or many or len(self._known.edited) > BESIDE:
            self._next = float("-inf")


class Walk:
    """One walk over all entries, in pages."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._collector = Collector()
        self._cursor = ""
        self._waiting: dict[str, str] = {}
        self._pages = 0
        #: Entries to ask for at a time: fewer where their definitions are long.
        self._many = PAGE
        #: The newest row of the edit log when it began: what comes after it may be missing.
        self.row = ""
        #: Seconds that it has worked.
        self.took = 0.0

    @property
    def count(self) -> int:
        """Entries that it has seen."""
        return self._collector.count

    def go(self, seconds: float) -> bool:
        """Go on for a while; whether it is at its end."""
        began = monotonic()
        try:
            while not self._page():
                if self._pages >= FIRST and monotonic() - began > seconds:
                    return False
            return True
        finally:
            self.took += monotonic() - began

    def _page(self) -> bool:
        """One page; whether it was the last. The states of a page come along with the page after it."""
        schedule = self._schedule
        if not self._cursor:
            rows = schedule.ask(requests.edit_log(schedule.keys, "-", "+", 1))
            self.row = rows[0][0] if rows else "0-0"
        self._pages += 1
        last = self._cursor == "0"
        names = list(self._waiting)
        if last:
            states = schedule.ask(requests.some(schedule.keys.state, names)) if names else []
            scanned = listing.Scanned("0", {}, states)
        else:
            scanned = schedule.ask(listing.scan(schedule.keys, self._cursor or "0", self._many, names))
            size = sum(map(len, scanned.definitions.values()))
            self._many = max(1, min(PAGE, 2 * self._many, self._many * listing.BYTES // max(1, size)))
        for name, state in zip(names, scanned.states, strict=True):
            self._collector.add(name, facts_of(self._waiting[name], state))
        self._waiting, self._cursor = scanned.definitions, scanned.cursor
        return last or self.count >= MOST

    def so_far(self) -> Index:
        """The index of what it has seen."""
        return self._collector.index()
