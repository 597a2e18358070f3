"""The quarantine: entries that do not decode, compute or render, each with the reason.

One that does not decode leaves `due` until an edit or the next term. One that does not compute or render is tried again
after a pause, which grows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from ..clock import MICROS, score
from ..entries.codec import compact, decode
from ..entries.policies import act_at, next_slot
from ..entries.state import State, parse_state
from ..errors import mask
from ..recurrence import NO_CALENDARS, Calendars
from ..store.store import Store
from ..store.values import ANY, DROP, Edit, Quarantined, Stored
from .failures import Failure
from .lease import Term
from .recorder import Recorder
from .usercode import UserCode, UserError

#: Entries that one script notes or tries again, and bytes of their reports.
PAGE, BYTES = 200, 1_000_000
#: The longest pause before the next attempt with an occurrence that failed.
RETRY_LIMIT = 60 * MICROS


class Quarantine:
    """Entries that failed in a term. *flush* commits what is ready, which the states of these follow from."""

    def __init__(self, store: Store, code: UserCode, recorder: Recorder, owner: str, flush: Callable[[], None]) -> None:
        self.store = store
        self.owner = owner
        self.code = code
        self.recorder = recorder
        self.flush = flush
        #: The calendars that entries may name.
        self.calendars = NO_CALENDARS
        #: Names in quarantine, as far as this term knows.
        self.names: set[str] = set()
        self._noted: list[Quarantined] = []
        self._term: Term | None = None
        self._second_chances: Iterator[None] | None = None

    def begin(self, term: Term) -> None:
        """Begin a term: everything in quarantine gets another chance."""
        self._term = term
        self.names.clear()
        self._noted.clear()
        self._second_chances = self._retry(term)

    def forget(self) -> None:
        """Begin a turn: forget what a turn that failed has left."""
        self._noted.clear()

    # --- into it ---

    def failed(self, name: str, state: State, nominal: int, exc: Exception, step: str) -> None:
        """An entry in this state did not compute or render."""
        assert self._term is not None
        pause, now, why = retry_pause(state.attempts + 1), self.recorder.now(), mask(repr(exc))
        epoch = self._term.epoch
        report = compact({"error": why[:2000], "at": now, "step": step, "epoch": epoch})
        row = ["is", "failed", "entry", name, "nominal", nominal, "epoch", epoch, "by", self.owner, "why", why[:300]]
        then = replace(state, attempts=state.attempts + 1).text()
        self._put(Quarantined(name, state.text(), report, row, now + pause, then))
        self.recorder.failed(Failure(name, step, repr(exc), pause / MICROS, exc))

    def unreadable(self, name: str, state: str, definition: str | None, why: str) -> None:
        """An entry does not decode; the report has its definition."""
        assert self._term is not None
        now, epoch = self.recorder.now(), self._term.epoch
        what = {"error": mask(why)[:2000], "at": now, "step": "decode", "definition": definition, "epoch": epoch}
        row = ["is", "failed", "entry", name, "epoch", epoch, "why", mask(why)[:300]]
        self._put(Quarantined(name, state, compact(what), row))
        self.recorder.failed(Failure(name, "decode", why, None))

    def _put(self, one: Quarantined) -> None:
        self._noted.append(one)
        self.names.add(one.name)
        if len(self._noted) >= PAGE or sum(len(one.report) for one in self._noted) > BYTES:
            self.note()

    def note(self) -> None:
        """Write what failed to Redis, all of it in one script."""
        assert self._term is not None
        noted, self._noted = self._noted, []
        if noted:
            self.flush()
            self.store.quarantine(self._term.fence, noted)

    # --- and out of it ---

    def acquit(self, names: list[str]) -> None:
        """Take entries out of quarantine that were sent: they work again."""
        self.names.difference_update(names)
        self.store.acquit(*names)

    def give_second_chances(self, term: Term) -> bool:
        """Try the next page of the quarantine again; whether there may be more."""
        if self._second_chances is None:
            return False
        try:
            next(self._second_chances)
        except StopIteration:
            self._second_chances = None
        except BaseException:
            self._second_chances = self._retry(term)  # an iterator that raised is over
            raise
        return self._second_chances is not None

    def _retry(self, term: Term) -> Iterator[None]:
        """Try one page after each turn: there may be thousands of entries."""
        cursor = ""
        while cursor != "0":
            cursor, reports = self.store.quarantined(cursor or "0")
            self.names.update(reports)
            names = list(reports)
            for i in range(0, len(names), PAGE):
                self._retry_page(term, names[i : i + PAGE])
                yield

    def _retry_page(self, term: Term, names: list[str]) -> None:
        edits, gone = [], []
        now, page = self.store.read(names)
        for stored in page:
            state = parse_state(stored.state)
            if stored.definition is None or (state is not None and not state.attempts and stored.score is not None):
                gone.append(stored.name)  # removed, or sent in the meantime
                continue
            try:
                edits.append(self.code.run(term, stored.name, partial(_reinstated, stored, now, self.calendars)))
            except UserError as exc:  # it stays in quarantine
                self.recorder.failures.append(Failure(stored.name, "decode", repr(exc.cause), None, exc.cause))
            else:
                if state is not None and state.nominal is None:
                    gone.append(stored.name)  # it works again, and has no slot left with which to show that
        self.code.watch.rest()
        if edits:
            self.store.edit(edits, fence=term.fence, each=True)
        self.acquit(gone)


def _reinstated(stored: Stored, now: int, calendars: Calendars) -> Edit:
    """The edit that puts an entry in quarantine back to work; raises when it still does not work."""
    name = stored.name
    assert stored.definition is not None
    state = parse_state(stored.state)
    entry = decode(name, stored.definition, state).with_calendars(calendars)
    if state is None or (state.uid, state.revision) != (entry.uid, entry.revision):
        state = State(entry.uid, entry.revision, next_slot(entry, now))
    when = DROP
    if entry.enabled and state.nominal is not None:
        when = score(max(now, act_at(entry, state.nominal)))
    return Edit(name, stored.state or ANY, state=replace(state, attempts=0).text(), score=when)


def retry_pause(attempts: int) -> int:
    """Microseconds before attempt number *attempts* + 1: a second, then ever more, a minute at most.

    >>> retry_pause(1)
    1000000
    """
    return min(RETRY_LIMIT, MICROS << min(max(attempts, 1) - 1, 10))
