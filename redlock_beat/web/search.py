"""Which entries a visitor wants to see, and a page of them: found in the catalogue, and read anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any

from ..entries.entry import Entry
from ..entries.labels import bears
from ..store import listing
from .catalogue import COUNTED, Known
from .guard import Refused
from .names import Facts, Place, folded
from .routes import Param
from .rows import STATES, Row, rows_of
from .visit import Visit

#: Entries that one visit reads to find those of a page; a filter that fits few goes on at the place where it ends.
LOOKED_AT = 500
#: Names in quarantine that a visit reads.
QUARANTINED = 1_000

PARAMS = (
    Param("q", words="Part of their names; those that begin with it come first.", most=500),
    Param("state", "choice", "Their state.", choices=STATES),
    Param("task", words="Part of the name of their task; * and ? are wildcards.", most=500),
    Param("queue", words="The queue that they name.", most=500),
    Param("label", "texts", "A label that they bear: name, or name=value with * and ? as wildcards.", most=300),
    Param("origin", "choice", "config: from beat_schedule; api: made at runtime.", choices=("config", "api")),
)


@dataclass(frozen=True, slots=True)
class Search:
    """Which entries a visitor wants to see."""

    q: str = ""
    state: str | None = None
    task: str | None = None
    queue: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    origin: str | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Search:
        """The search of a page's parameters."""
        labels = []
        for one in filter(None, values["label"] or ()):
            name, sign, text = one.partition("=")
            labels.append((name, text if sign and text else "*"))
        return cls(values["q"] or "", values["state"], values["task"], values["queue"], tuple(labels), values["origin"])

    @property
    def filters(self) -> bool:
        """Whether it asks for more than a name."""
        return any((self.state, self.task, self.queue, self.labels, self.origin))

    @property
    def everything(self) -> bool:
        """Whether it asks for nothing in particular."""
        return not self.q and not self.filters

    def query(self) -> dict[str, Any]:
        """As parameters of a page."""
        labels = [f"{name}={text}" if text != "*" else name for name, text in self.labels]
        found = {"q": self.q, "state": self.state, "task": self.task, "queue": self.queue, "origin": self.origin}
        return {name: value for name, value in {**found, "label": labels}.items() if value}

    def may_fit(self, facts: Facts) -> bool:
        """Whether an entry of these facts may be wanted."""
        return (
            (self.state is None or facts.state in (None, self.state))
            and (self.task is None or facts.task is None or _like(facts.task, self.task))
            and (self.queue is None or facts.queue is None or facts.queue == self.queue)
            and (self.origin is None or facts.origin in (None, self.origin))
            and (not self.labels or facts.labels is None or self._bears(facts.labels))
        )

    def _bears(self, labels: tuple[tuple[str, str], ...]) -> bool:
        return all(
            (name, text) in labels or (bool({"*", "?", "["} & set(text)) and bears(dict(labels), {name: text}))
            for name, text in self.labels
        )

    def fits(self, row: Row) -> bool:
        """Whether an entry, as it is now, is wanted."""
        if folded(self.q) not in folded(row.name) or self.state not in (None, row.state):
            return False
        return not self.filters or self._fits_entry(row.entry)

    def _fits_entry(self, entry: Entry | None) -> bool:
        if entry is None:  # only its state is known
            return not any((self.task, self.queue, self.labels, self.origin))
        return (
            (self.task is None or _like(entry.task, self.task))
            and (self.queue is None or str(entry.options.get("queue") or "") == self.queue)
            and (self.origin is None or entry.origin == self.origin)
            and (not self.labels or bears(entry.labels, dict(self.labels)))
        )


def _like(task: str, wanted: str) -> bool:
    if "*" in wanted or "?" in wanted:
        return fnmatchcase(task, wanted)
    return wanted.casefold() in task.casefold()


@dataclass(frozen=True, slots=True)
class Found:
    """A page of entries."""

    rows: list[Row]
    #: Where to go on; None when that was all.
    after: str | None
    #: How many there are, by the catalogue; :data:`COUNTED` stands for that and more.
    count: int
    #: Whether the catalogue knows all entries already.
    complete: bool
    #: Entries that were looked at for this page.
    looked_at: int

    @property
    def counted(self) -> str:
        """How many there are, in words."""
        return f"{self.count:,}" + ("+" if self.count == COUNTED else "")


def found(visit: Visit, search: Search, *, size: int, after: str | None, by_next: bool = False) -> Found:
    """A page of the entries that a visitor wants to see."""
    known = visit.site.catalogue.known()
    names = _by_next(visit, after) if by_next else by_name(visit, known, search, after)
    rows: list[Row] = []
    looked_at, last, more = 0, None, True
    while len(rows) < size and looked_at < LOOKED_AT:
        page = list(islice(names, min(size, LOOKED_AT - looked_at)))
        if not page:
            more = False
            break
        looked_at += len(page)
        places = dict(page)
        for row in rows_of(visit, [name for name, _ in page]):
            if search.fits(row):
                rows.append(row)
                if len(rows) == size:
                    break
        last = places[rows[-1].name] if len(rows) == size else page[-1][1]
    if more and len(rows) == size:
        more = last != page[-1][1] or next(names, None) is not None
    if search.everything:
        count = visit.schedule.count()
    elif after is None and not more:
        count = len(rows)
    else:
        count = known.count(search.q, search.may_fit if search.filters else None)
    return Found(rows, last if more else None, count, known.complete, looked_at)


def by_name(visit: Visit, known: Known, search: Search, after: str | None) -> Iterator[tuple[str, str]]:
    """Names with their places, those that begin with what is searched first."""
    try:
        place = None if after is None else Place.parse(after, search.q)
    except ValueError:
        raise Refused(422, "after is not a place in this list.") from None
    if search.state == "quarantined":
        names = _quarantined(visit)
        places = sorted(one for name in names if (one := Place.of(name, folded(search.q))) is not None)
        yield from ((one.name, one.text()) for one in places if place is None or one > place)
        return
    wanted = search.may_fit if search.filters else None
    for one in known.find(search.q, wanted, place):
        yield one.name, one.text()


def _quarantined(visit: Visit) -> list[str]:
    """Names in quarantine: few, or else some."""
    names: list[str] = []
    cursor = "0"
    while True:
        cursor, page = visit.schedule.ask(listing.quarantined(visit.schedule.keys, cursor, 50))
        names += page
        if cursor == "0" or len(names) >= QUARANTINED:
            return names


def _by_next(visit: Visit, after: str | None) -> Iterator[tuple[str, str]]:
    """Names with their places, those that are sent next first."""
    low, skip = 0, 0
    if after is not None:
        at, _, many = after.partition("~")
        if not (at.isdecimal() and many.isdecimal() and len(after) < 40):
            raise Refused(422, "after is not a place in this list.")
        low, skip = int(at), int(many)
    schedule, size = visit.schedule, visit.options.page_size
    rank = schedule.ask(listing.before(schedule.keys, low)) + skip if after is not None else 0
    while True:
        page = schedule.ask(listing.coming(schedule.keys, rank, size))
        rank += len(page)
        for name, when in page:
            low, skip = (low, skip + 1) if when == low else (when, 1)
            yield name, f"{low}~{skip}"
        if len(page) < size:
            return
