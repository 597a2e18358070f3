"""What is done to many entries at once: those that were chosen, or all that a search finds.

Without ``confirmed`` nothing is done: the page says how many entries it would be, and asks. A request does so much as
it can in a few seconds, and the page then offers to go on with the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice

from ...errors import BatchFailed, InvalidSchedule, RedisUnavailable
from ...schedule.schedule import Batch
from ..catalogue import COUNTED
from ..guard import Refused
from ..routes import Done, Param, Route, Shown
from ..rows import Row, rows_of
from ..search import PARAMS, Search, by_name
from ..times import instant
from ..visit import Visit

#: Entries of one request, of one round trip, and names that the question shows.
MOST, PAGE, NAMED = 2_000, 250, 10


@dataclass(frozen=True, slots=True)
class Bulk:
    """Something that is done to many entries."""

    verb: str
    #: As a command, and as what was done.
    words: str
    done: str
    #: Whether it would change an entry.
    concerns: Callable[[Row], bool]
    #: What it is for one entry of a batch.
    each: Callable[[Batch, str, Visit], None]


def _paused(row: Row) -> bool:
    return row.state == "paused"


def _pause(batch: Batch, name: str, visit: Visit) -> None:
    batch.pause(name, visit["note"], until=_until(visit), actor=visit.actor)


def _resume(batch: Batch, name: str, visit: Visit) -> None:
    batch.resume(name, actor=visit.actor, why=visit["note"])


def _run(batch: Batch, name: str, visit: Visit) -> None:
    batch.trigger(name, actor=visit.actor, why=visit["note"])


def _until(visit: Visit) -> datetime | None:
    return instant(visit["until"], visit.zone) if visit["until"] else None


def _readable(row: Row) -> bool:
    return row.entry is not None


ALL = {
    "pause": Bulk("pause", "Pause", "Paused", lambda row: _readable(row) and not _paused(row), _pause),
    "resume": Bulk("resume", "Resume", "Resumed", _paused, _resume),
    "run": Bulk("run", "Run now", "Sent now:", _readable, _run),
}


def _view(bulk: Bulk) -> Callable[[Visit], Done | Shown]:
    def view(visit: Visit) -> Done | Shown:
        search = Search.of(visit.values)
        names = visit["name"] or []
        if not visit["all"] and not names:
            raise Refused(422, "No entry was chosen: check some, or choose all that are listed.")
        chosen = _Chosen(visit, search, None if visit["all"] else names[:MOST])
        expected = visit["expected"]
        more = expected is not None and visit["after"] is None and chosen.count > expected
        try:
            until = _until(visit)
            if until is not None and until <= visit.now:
                raise InvalidSchedule("It is past: the pause would be over before it begins.")
        except InvalidSchedule as exc:
            return replace(_question(visit, bulk, chosen, errors={"until": str(exc)}), status=422)
        if not visit["confirmed"] or more:
            return _question(visit, bulk, chosen)
        outcome = _carry_out(visit, bulk, chosen)
        if outcome.after is not None:
            return _question(visit, bulk, chosen, outcome)
        to = visit.url("/", **(search.query() if visit["all"] else {}))
        return Done(
            to, f"{bulk.done} {outcome.said}", {"changed": outcome.done, "refused": outcome.refused, "after": None}
        )

    return view


class _Chosen:
    """The entries that a visitor means."""

    def __init__(self, visit: Visit, search: Search, names: Sequence[str] | None) -> None:
        self.visit, self.search, self.names = visit, search, names
        self._known = visit.site.catalogue.known()

    @property
    def count(self) -> int:
        """How many there are, about."""
        return len(self.names) if self.names is not None else self._known.count(self.search.q, self.search.may_fit)

    def each(self, after: str | None = None) -> Iterator[tuple[str, str]]:
        """Their names, each with its place, from a place on."""
        if self.names is not None:
            return iter([(name, name) for name in sorted(set(self.names))])
        return by_name(self.visit, self._known, self.search, after)

    def pages(self, after: str | None) -> Iterator[tuple[str, list[Row]]]:
        """Pages of those that fit as they are now, each with the last place that was looked at."""
        names = self.each(after)
        while page := list(islice(names, PAGE)):
            rows = rows_of(self.visit, [name for name, _ in page])
            yield page[-1][1], [row for row in rows if self.names is not None or self.search.fits(row)]


@dataclass(slots=True)
class _Outcome:
    """What came of a request."""

    done: int = 0
    refused: int = 0
    why: str = ""
    #: Where to go on; None at the end.
    after: str | None = None

    @property
    def said(self) -> str:
        """In words, after what was done."""
        words = f"{self.done:,} {'entry' if self.done == 1 else 'entries'}."
        return words + (f" {self.refused:,} were refused, one of them because {self.why}" if self.refused else "")


def _carry_out(visit: Visit, bulk: Bulk, chosen: _Chosen) -> _Outcome:
    outcome = _Outcome()
    looked_at = 0
    for place, rows in chosen.pages(visit["after"]):
        _apply(visit, bulk, [row.name for row in rows if bulk.concerns(row)], outcome)
        looked_at += PAGE
        if looked_at >= MOST and chosen.names is None:
            outcome.after = place
            break
    if outcome.after is not None and next(chosen.each(outcome.after), None) is None:
        outcome.after = None
    return outcome


def _apply(visit: Visit, bulk: Bulk, names: Sequence[str], outcome: _Outcome) -> None:
    """One page in one step; where one entry refuses, each for itself."""
    try:
        with visit.schedule.batch() as batch:
            for name in names:
                bulk.each(batch, name, visit)
        outcome.done += len(names)
    except BatchFailed as exc:
        if isinstance(exc.cause, RedisUnavailable):
            raise
        if len(names) == 1:
            outcome.refused += 1
            outcome.why = str(exc.cause)[:200]
            return
        for name in names:
            _apply(visit, bulk, [name], outcome)


def _question(
    visit: Visit,
    bulk: Bulk,
    chosen: _Chosen,
    outcome: _Outcome | None = None,
    errors: Mapping[str, str] | None = None,
) -> Shown:
    """What would be done, before it is; or what was done, where more is left."""
    count = chosen.count
    names = [name for name, _ in islice(chosen.each(outcome.after if outcome else None), NAMED)]
    data = {
        "confirmed": False,
        "count": count,
        "names": names,
        "changed": outcome.done if outcome else 0,
        "after": outcome.after if outcome else None,
    }
    extra = {
        "bulk": bulk,
        "search": chosen.search,
        "chosen": chosen.names,
        "count": count,
        "counted": f"{count:,}" + ("+" if count == COUNTED and chosen.names is None else ""),
        "names": names,
        "outcome": outcome,
        "note": visit["note"],
        "until": visit["until"],
        "errors": errors or {},
        "changed": visit["confirmed"] and outcome is None and not errors,
    }
    return Shown(data, extra)


_PARAMS = (
    *PARAMS,
    Param("name", "texts", "The entries that were chosen.", most=500),
    Param("all", "flag", "All entries that the search finds, instead of chosen ones.", default=False),
    Param("note", words="Why.", most=1_000),
    Param("until", words="Of a pause: when it ends by itself, such as 2027-01-01T07:00.", most=64),
    Param("confirmed", "flag", "Do it; without it, the answer says how many entries it would be.", default=False),
    Param("expected", "integer", "Do it only if there are no more than so many.", most=10**9),
    Param("after", words="Where to go on.", most=600),
)

#: Without ``confirmed``, and where more is left, there is no ``done``.
_SCHEMA = {
    "type": "object",
    "required": ["changed", "after"],
    "properties": {
        "done": {"type": "string"},
        "changed": {"type": "integer"},
        "refused": {"type": "integer"},
        "after": {"type": ["string", "null"]},
        "count": {"type": "integer"},
        "names": {"type": "array", "items": {"type": "string"}},
    },
}

ROUTES = tuple(
    Route(
        f"/bulk/{verb}",
        _view(bulk),
        f"{bulk.words} many entries" if verb != "run" else "Send many entries now",
        f"{bulk.words}: every chosen entry, or all that a search finds; {MOST} are looked at in one request.",
        "POST",
        verb,
        _PARAMS,
        template="bulk.html",
        schema=_SCHEMA,
    )
    for verb, bulk in ALL.items()
)
