"""How much is due when: the slots of many entries, counted in columns of one size."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from ..entries.entry import Entry
from ..entries.policies import next_slot
from .changes import uncomputable

#: Slots of one entry, and of all, that are counted at most.
MOST_OF_ENTRY, MOST = 100_000, 2_000_000
#: Entries that cannot be counted and are named.
NAMED = 100


class Load:
    """The slots from *start* on in *columns* of *size* microseconds each.

    >>> load = Load(0, 60_000_000, 60)
    >>> load.add(entry)   # doctest: +SKIP
    >>> load.most         # doctest: +SKIP
    (0, 17)
    """

    def __init__(self, start: int, size: int, columns: int, *, of_entry: int = MOST_OF_ENTRY, most: int = MOST) -> None:
        self.start, self.size = start, size
        #: Slots in each column, and the first entry that was found there.
        self.counts = [0] * columns
        self.first = [""] * columns
        self.entries = 0
        self.total = 0
        #: Whether there are more than were counted.
        self.at_least = False
        #: Entries whose slots this process cannot compute, with the reason.
        self.unknown: dict[str, str] = {}
        self._of_entry, self._most = of_entry, most

    @property
    def end(self) -> int:
        """Where the last column ends."""
        return self.start + self.size * len(self.counts)

    @property
    def full(self) -> bool:
        """Whether no more slots are counted."""
        return self.total >= self._most

    @property
    def most(self) -> tuple[int, int]:
        """The column with the most slots, and how many those are."""
        many = max(self.counts)
        return self.counts.index(many), many

    def add(self, entry: Entry) -> None:
        """Count the slots of an entry."""
        self.entries += 1
        room = min(self._of_entry, self._most - self.total)
        count = 0
        try:
            for at in islice(_coming(entry, self.start, self.end), room + 1):
                if count == room:
                    self.at_least = True
                    break
                count += 1
                place = (at - self.start) // self.size
                self.counts[place] += 1
                self.first[place] = self.first[place] or entry.name
        except Exception as exc:  # noqa: BLE001 - a schedule class may raise anything, or not be registered here
            if len(self.unknown) < NAMED:
                self.unknown[entry.name] = str(uncomputable(entry.name, exc))
        self.total += count


def _coming(entry: Entry, start: int, end: int) -> Iterator[int]:
    """The slots of an entry after *start*, to before *end*."""
    if not entry.enabled or entry.state is None or entry.state.nominal is None:
        return
    at: int | None = entry.state.nominal if entry.state.nominal > start else next_slot(entry, start)
    while at is not None and at < end:
        if not entry.skips(at):
            yield at
        at = next_slot(entry, at)
