"""Names and facts of all entries, in little memory: what a search looks through.

The names stand in one text in order, folded (a search is not about case), and where each begins in an array; so a
million names take some 50 MB, and are looked through in some ten milliseconds. Entries of which a filter would say the
same are of one kind, and each kind knows its entries.
"""

from __future__ import annotations

import heapq
import json
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import NamedTuple

#: Between two names: no UTF-8 has this byte.
_BETWEEN = b"\xff"
#: Names that are sorted at a time: merged, they are sorted without a long step in between.
_RUN = 10_000
#: Kinds of entries that are told apart; those beyond are looked at one by one.
MOST_KINDS = 200_000
#: Filters whose kinds are remembered.
MOST_FILTERS = 32
#: Entries of wanted kinds that are put in order; where there are more, they are met soon enough on the way.
_FEW = 50_000


class Facts(NamedTuple):
    """What a filter asks of an entry; None where only the entry itself can tell.

    >>> facts_of('{"task": "tasks.mail", "enabled": false, "options": {"queue": "slow"}}', None)
    Facts(task='tasks.mail', queue='slow', origin='api', state='paused', labels=())
    """

    task: str | None = None
    queue: str | None = None
    origin: str | None = None
    state: str | None = None
    labels: tuple[tuple[str, str], ...] | None = None


UNKNOWN = Facts()


def facts_of(definition: str, state: str | None) -> Facts:
    """The facts of an entry as it stands in Redis; it is not decoded as a whole, since this is done to all of them."""
    try:
        data = json.loads(definition)
        options, labels = data.get("options"), data.get("labels")
        return Facts(
            str(data["task"]),
            str(options.get("queue") or "") if options else "",
            str(data.get("from", "api")),
            _standing(data, state),
            tuple(sorted((str(name), str(text)) for name, text in labels.items())) if labels else (),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return UNKNOWN


def _standing(data: dict[str, object], state: str | None) -> str | None:
    if data.get("enabled") is False:
        return "paused"
    if "until" in data:  # a pause that ends by itself
        return None
    parts = (state or "").split(" ", 3)
    return "finished" if len(parts) > 2 and parts[2] == "-" else "active"


def folded(text: str) -> bytes:
    """A text as it is searched."""
    return text.casefold().encode("utf-8", "surrogatepass").replace(b"\0", b"\1")


def _as_text(key: bytes) -> str:
    return key.decode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a name stands among those that a search finds: names that begin with it come first.

    >>> Place.parse(Place(1, b"mail", "Mail").text(), "ai") == Place(1, b"mail", "Mail")
    True
    """

    #: 0 for a name that begins with what is searched, 1 for another that contains it.
    phase: int
    key: bytes
    name: str

    def text(self) -> str:
        """As a cursor."""
        return f"{self.phase}{self.name}"

    @classmethod
    def parse(cls, text: str, search: str) -> Place:
        """The place of a cursor; ValueError for one that is none."""
        if text[:1] not in ("0", "1"):
            raise ValueError(text[:20])
        return cls(int(text[0]), folded(text[1:]), text[1:])

    @classmethod
    def of(cls, name: str, search: bytes) -> Place | None:
        """The place of a name; None when a search does not find it."""
        key = folded(name)
        if key.startswith(search):
            return cls(0, key, name)
        return cls(1, key, name) if search in key else None


Wanted = Callable[[Facts], bool]


class Index:
    """The names and facts of all entries at one moment."""

    def __init__(self, names: Iterable[tuple[bytes, str | None, int]] = (), kinds: Sequence[Facts] = ()) -> None:
        """Of names in order: as they are searched, as they are written where that differs, and their kinds."""
        text = bytearray(_BETWEEN)
        self._starts = array("Q")
        self._written: dict[int, str] = {}
        self._kinds = array("I")
        for i, (key, written, kind) in enumerate(names):
            self._starts.append(len(text))
            text += key
            text += _BETWEEN
            self._kinds.append(kind)
            if written is not None:
                self._written[i] = written
        self._text = bytes(text)
        self.kinds = tuple(kinds)
        self.counts, self._order, self._first = self._by_kind()
        self._filters: dict[Wanted, frozenset[int]] = {}

    def _by_kind(self) -> tuple[list[int], array[int], list[int]]:
        """How many entries each kind has, all entries ordered by their kind, and where each kind begins in that."""
        counts = [0] * len(self.kinds)
        for kind in self._kinds:
            counts[kind] += 1
        first = [0, *accumulate(counts)]
        order, place = array("I", bytes(4 * len(self))), first[:]
        for i, kind in enumerate(self._kinds):
            order[place[kind]] = i
            place[kind] += 1
        return counts, order, first

    def __len__(self) -> int:
        return len(self._starts)

    def find(self, search: str, wanted: Wanted | None = None, after: Place | None = None) -> Iterator[Place]:
        """The names that a search finds after a place, in order."""
        needle = folded(search)
        kinds = None if wanted is None else self._wanted(wanted)
        for phase in (0, 1):
            if after is None or after.phase <= phase:
                first = 0 if after is None or after.phase < phase else self._after(after.key, after.name)
                yield from (Place(phase, self._key(i), self._name(i)) for i in self._found(needle, kinds, phase, first))

    def count(self, search: str, wanted: Wanted | None, most: int) -> int:
        """How many names a search finds; *most* stands for more where it has to look for them."""
        needle = folded(search)
        kinds = None if wanted is None else self._wanted(wanted)
        if not needle:
            return len(self) if kinds is None else sum(self.counts[kind] for kind in kinds)
        if kinds is None:
            many = self._after(needle + _BETWEEN, "") - self._after(needle, "")
        else:
            many = sum(1 for _ in islice(self._found(needle, kinds, 0, 0), most))
        return min(most, many + sum(1 for _ in islice(self._found(needle, kinds, 1, 0), max(0, most - many))))

    def _wanted(self, wanted: Wanted) -> frozenset[int]:
        """The kinds that a filter wants; remembered, since a page and those after it ask the same."""
        found = self._filters.get(wanted)
        if found is None:
            found = frozenset(kind for kind, one in enumerate(self.kinds) if self.counts[kind] and wanted(one))
            if len(self._filters) >= MOST_FILTERS:
                self._filters.clear()
            self._filters[wanted] = found
        return found

    def _found(self, needle: bytes, kinds: frozenset[int] | None, phase: int, first: int) -> Iterator[int]:
        """Those from *first* on that begin with a text (0), or else contain it (1)."""
        if kinds is None:
            return self._containing(needle, first) if phase else self._beginning(needle, first)
        if sum(self.counts[kind] for kind in kinds) > _FEW:
            found = self._containing(needle, first) if phase else self._beginning(needle, first)
            return (i for i in found if self._kinds[i] in kinds)
        few = sorted(i for kind in kinds for i in self._order[self._first[kind] : self._first[kind + 1]] if i >= first)
        if not phase:
            return (i for i in few if self._text.startswith(needle, self._starts[i]))
        return (i for i in few if needle and not (key := self._key(i)).startswith(needle) and needle in key)

    def _key(self, i: int) -> bytes:
        return self._text[self._starts[i] : (self._starts[i + 1] if i + 1 < len(self) else len(self._text)) - 1]

    def _name(self, i: int) -> str:
        written = self._written.get(i)
        return _as_text(self._key(i)) if written is None else written

    def _after(self, key: bytes, name: str) -> int:
        """The first name after one."""
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if (self._key(middle), self._name(middle)) <= (key, name):
                low = middle + 1
            else:
                high = middle
        return low

    def _beginning(self, needle: bytes, first: int) -> Iterator[int]:
        i = max(first, self._after(needle, ""))
        while i < len(self) and self._text.startswith(needle, self._starts[i]):
            yield i
            i += 1

    def _containing(self, needle: bytes, first: int) -> Iterator[int]:
        if not needle:  # every name begins with it
            return
        at = self._starts[first] if first < len(self) else len(self._text)
        while (at := self._text.find(needle, at)) >= 0:
            i = bisect_right(self._starts, at) - 1
            if not self._text.startswith(needle, self._starts[i]):
                yield i
            if i + 1 >= len(self):
                return
            at = self._starts[i + 1]


class Collector:
    """Collects names and facts in any order, and makes an index of them.

    Each entry is one row of bytes that sorts by its name: name as it is searched, NUL, name as it is written, NUL,
    number of its kind. Tuples would take three times as much memory.
    """

    def __init__(self) -> None:
        self._runs: list[list[bytes]] = []
        self._run: list[bytes] = []
        self._numbers: dict[Facts, int] = {UNKNOWN: 0}
        self.count = 0

    def add(self, name: str, facts: Facts) -> None:
        """One more entry; one that comes twice counts once."""
        number = self._numbers.get(facts)
        if number is None:
            number = len(self._numbers) if len(self._numbers) < MOST_KINDS else 0
            if number:
                self._numbers[facts] = number
        key, raw = folded(name), name.encode("utf-8", "surrogatepass")
        self._run.append(b"%b\0%b\0%b" % (key, raw, number.to_bytes(4, "big")))
        self.count += 1
        if len(self._run) >= _RUN:
            self._close()

    def index(self) -> Index:
        """The index of what was collected."""
        self._close()
        return Index(self._merged(), tuple(self._numbers))

    def _merged(self) -> Iterator[tuple[bytes, str | None, int]]:
        before = None
        for row in heapq.merge(*self._runs):
            name = row[:-5]
            if name != before:
                key, _, raw = name.partition(b"\0")
                yield key, None if raw == key else _as_text(raw), int.from_bytes(row[-4:], "big")
            before = name

    def _close(self) -> None:
        if self._run:
            self._run.sort()
            self._runs.append(self._run)
            self._run = []
