"""What users do to a schedule, written once for :class:`Schedule` and :class:`AsyncSchedule`.

An operation is a generator: it yields one :class:`~redlock_beat.store.requests.Request` after the other and is
sent the answers, so it knows nothing of sockets, event loops and retries. Every edit, alone or in a
batch, goes through :meth:`Operations.apply`: read the entries as they stand, compute the edits, and
apply them in one script that compares what they were made from.
"""

from __future__ import annotations

import fnmatch
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from ..clock import MICROS, micros, moment, score
from ..entries.entry import Entry
from ..entries.policies import next_slot, simulate
from ..entries.waiting import ManualItem
from ..errors import (
    BatchFailed,
    InvalidSchedule,
    NoSuchEntry,
    RedlockBeatError,
    ScheduleBusy,
)
from ..recurrence import Interval
from ..store import requests
from ..store.requests import PAGE, Asking, Request
from ..store.values import DROP, KEEP, PRESENT, Conflict, Edit, Stored
from .answers import Foreseen, Happened, Slot, Waiting, happened
from .changes import Change, ChangeMaker, Transfer, present, somebody, uncomputable
from .edits import combined, readable
from .health import Verdict, whole
from .status import Status, status_of

#: Slots in one call of `backfill`.
BACKFILL_LIMIT = 100_000
#: Manual items in one script.
MANUAL_PAGE = 250
#: Changes in one batch.
BATCH_LIMIT = 1_000_000
#: How often an edit is made anew because the entry was changed by others in between.
ATTEMPTS = 200
#: Entries whose slots cannot be computed that one answer names.
UNKNOWN = 100
#: Rows of the ledger that the lateness in `status` is computed from.
LATENESS_ROWS = 1_000


class Editing(ChangeMaker):
    """The operations that edit."""

    def entry(self, name: str) -> Asking[tuple[int, Entry]]:
        """Redis's time, and the entry of this name."""
        now, (stored,) = yield requests.read(self.keys, [name])
        return now, present(stored)

    def apply(self, changes: Sequence[Change | Transfer]) -> Asking[list[Any]]:
        """Apply changes, all or none of them; what each is answered."""
        names = list(dict.fromkeys(name for change in changes for name in change.names))
        for _ in range(ATTEMPTS):
            yield from self._nothing_waits(changes)
            now, stored = yield requests.read(self.keys, names)
            there = {one.name: one for one in stored}
            edits: dict[str, Edit] = {}
            answers = []
            for index, change in enumerate(changes):
                try:
                    if isinstance(change, Transfer) and change.leaves and _manual(edits.get(change.name)):
                        raise _waits(change.name)
                    made = change.edits(there, now)
                except RedlockBeatError as exc:
                    exc.index = index
                    raise
                except Exception as exc:  # a schedule class of the user may raise anything
                    error = uncomputable(change.name, exc)
                    error.index = index
                    raise error from exc
                answers.append(change.answer(made[-1]))
                for edit in made:
                    before = edits.get(edit.name)
                    edits[edit.name] = edit if before is None else combined(before, edit)
                    there[edit.name] = _as_if(there[edit.name], edit)
            request = secrets.token_hex(12)
            got = yield requests.edit(self.keys, list(edits.values()), request=request)
            if not isinstance(got, Conflict):
                return answers
            # The leader moved one of them meanwhile, or somebody edited it: read them again.
        raise ScheduleBusy(names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} others", ATTEMPTS)

    def _nothing_waits(self, changes: Sequence[Change | Transfer]) -> Asking[None]:
        """Refuse to rename what has triggers or backfilled slots waiting: they are sent by name."""
        leaving = {change.name: i for i, change in enumerate(changes) if isinstance(change, Transfer) and change.leaves}
        seen = 0
        while leaving:
            items = yield requests.waiting(self.keys, seen, PAGE)
            for text in items:
                name = _name_in(text)
                if name in leaving:
                    error = _waits(name)
                    error.index = leaving[name]
                    raise error
            seen += len(items)
            if len(items) < PAGE:
                return

    def one(self, change: Change | Transfer) -> Asking[Any]:
        """Apply one change."""
        return (yield from self.apply([change]))[0]

    def many(
        self, changes: Sequence[Change | Transfer], progress: Callable[[int], None] | None = None
    ) -> Asking[list[Any]]:
        """Apply changes in pages, each all or nothing; :class:`BatchFailed` says what is in force."""
        answers: list[Any] = []
        for page in _pages(changes):
            done = len(answers)
            try:
                answers += yield from self.apply(page)
            except RedlockBeatError as exc:
                index = getattr(exc, "index", None)
                name = page[index].name if index is not None else None
                raise BatchFailed(exc, done, len(changes), len(page), name) from exc
            if progress is not None:
                progress(len(page))
        return answers

    def backfill(
        self, name: str, start: datetime, end: datetime, rate: float, progress: Callable[[int], None] | None = None
    ) -> Asking[int]:
        """Send the slots between two instants."""
        begin, until = _instant(start, "start"), _instant(end, "end")
        if not 0 < rate <= 100_000:
            raise InvalidSchedule(f"rate is {rate!r}, but must be slots a second, above 0 and at most 100000.")
        now, entry = yield from self.entry(name)
        request = secrets.token_hex(12)
        items: list[tuple[str, str]] = []
        for at in slots_between(entry, begin, until):
            if len(items) >= BACKFILL_LIMIT:
                raise InvalidSchedule(
                    f"there are more than {BACKFILL_LIMIT} slots between {start} and {end}: backfill in parts."
                )
            item = ManualItem(name, entry.uid, "backfill", at, now, request)
            items.append((item.text(), score(now + round(len(items) * MICROS / rate))))
        for i in range(0, len(items), MANUAL_PAGE):
            edit = Edit(name, PRESENT, manual=items[i : i + MANUAL_PAGE])
            got = yield requests.edit(self.keys, [edit], request=f"{request}:{i}")
            if isinstance(got, Conflict):
                raise NoSuchEntry(name)
            if progress is not None:
                progress(len(edit.manual))
        return len(items)

    def waiting(self, name: str | None) -> Asking[list[Waiting]]:
        """What waits to be sent by hand, of one entry or of all."""
        found: dict[tuple[str, str], Waiting] = {}
        seen: set[str] = set()
        cursor = ""
        while cursor != "0":
            cursor, page = yield requests.by_hand(self.keys, cursor or "0", MANUAL_PAGE)
            for text, when in page:
                item = _manual_item(text)
                if item is None or item.nominal is None or text in seen or name not in (None, item.entry):
                    continue
                seen.add(text)
                at, slot = moment(when), moment(item.nominal)
                one = found.get((item.entry, item.how)) or Waiting(item.entry, item.how, 0, at, slot, slot)
                found[item.entry, item.how] = replace(
                    one, count=one.count + 1, at=min(one.at, at), first=min(one.first, slot), last=max(one.last, slot)
                )
        return sorted(found.values(), key=lambda one: (one.at, one.entry, one.how))

    def cancel(self, name: str) -> Asking[int]:
        """Cancel what waits to be sent by hand of an entry. What an edit settled stays: it is the schedule's own."""
        cursor, gone = "", 0
        while cursor != "0":
            cursor, page = yield requests.by_hand(self.keys, cursor or "0", MANUAL_PAGE)
            items = [(text, item) for text, _ in page if (item := _manual_item(text)) is not None]
            for how in ("trigger", "backfill"):
                mine = [(text, item.nominal) for text, item in items if (item.entry, item.how) == (name, how)]
                slots = [at for _, at in mine if at is not None]
                if slots:
                    row = ["is", "skipped", "entry", name, "how", how, "why", f"cancelled by {somebody()}",
                           "from", min(slots), "to", max(slots)]  # fmt: skip
                    gone += yield requests.cancel(self.keys, [text for text, _ in mine], self.settings.ledger_size, row)
        return gone


class Operations(Editing):
    """Every operation on one schedule, as generators of requests."""

    def exists(self, name: str) -> Request[bool]:
        """Whether there is an entry of this name."""
        return requests.exists(self.keys, name)

    def size(self) -> Request[int]:
        """How many entries there are."""
        return requests.size(self.keys)

    def page(
        self, cursor: str, *, task: str | None = None, prefix: str | None = None, enabled: bool | None = None,
        origin: str | None = None, count: int = PAGE,
    ) -> Asking[tuple[str, list[Entry]]]:  # fmt: skip
        """Some entries that fit, and where to go on ("0": that was all). What cannot be read is in quarantine."""
        match = glob(prefix) if prefix else None
        cursor, names = yield requests.names(self.keys, cursor, match, min(count, PAGE))
        found = []
        for i in range(0, len(names), PAGE):
            _, page = yield requests.read(self.keys, names[i : i + PAGE])
            found += [entry for stored in page if (entry := readable(stored)) is not None]
        return cursor, [
            entry for entry in found
            if (task is None or fnmatch.fnmatchcase(entry.task, task))
            and (enabled is None or entry.enabled == enabled)
            and (origin is None or entry.origin == origin)
        ]  # fmt: skip

    def preview(self, name: str | None, n: int, after: datetime | None) -> Asking[list[Slot]]:
        """The next slots, soonest first; after them those entries of which they cannot be computed."""
        if not 1 <= n <= 100_000:
            raise InvalidSchedule(f"n is {n!r}, but must be from 1 to 100000.")
        now = _instant(after, "after") if after is not None else (yield requests.now(self.keys))
        found: list[Slot] = []
        unknown: list[Slot] = []
        last: datetime | None = None  # what comes after it is not among the first, so it need not be computed

        def first(slots: list[Slot]) -> list[Slot]:
            return sorted(slots, key=lambda slot: (slot.nominal, slot.name))[:n]

        def look(entry: Entry) -> None:
            nonlocal last
            at = now
            try:
                for at in _coming(entry, now, n):
                    slot = Slot(entry.name, moment(at))
                    if last is not None and slot.nominal > last:
                        break
                    found.append(slot)
            except Exception as exc:  # a schedule class may raise anything, or not be registered here
                error = uncomputable(entry.name, exc)
                if name is not None:
                    raise error from exc
                if len(unknown) < UNKNOWN:
                    unknown.append(Slot(entry.name, moment(at), str(error)))
            if len(found) > 4 * n + 1000 or (last is None and len(found) >= n):
                found[:] = first(found)
                last = found[-1].nominal

        yield from self._each(name, look)
        return first(found) + sorted(unknown, key=lambda slot: slot.name)

    def simulate(self, outage: tuple[datetime, datetime], name: str | None) -> Asking[list[Foreseen]]:
        """What an outage would do."""
        start, end = outage
        begin, until = _instant(start, "the start of the outage"), _instant(end, "the end of the outage")
        if until < begin:
            raise InvalidSchedule("the outage ends before it starts.")
        found: list[Foreseen] = []

        def look(entry: Entry) -> None:
            if not entry.enabled or entry.state is None or entry.state.nominal is None:
                return
            after = max(begin, entry.state.nominal)
            if after > until:
                return
            try:
                foreseen = simulate(entry, entry.state.count, after, until, *self._catching_up)
            except Exception as exc:  # as above
                error = uncomputable(entry.name, exc)
                if name is not None:
                    raise error from exc
                found.append(Foreseen(entry.name, "unknown", moment(after), end, 1, str(error)))
                return
            for one in foreseen:
                row = Foreseen(entry.name, one.what, moment(one.nominal), moment(one.at))
                if (gone := one.missed) is not None:
                    row = replace(row, count=gone.count, why=gone.why, at_least=gone.at_least)
                found.append(row)

        yield from self._each(name, look)
        return sorted(found, key=lambda one: (one.at, one.name, one.nominal))

    def _each(self, name: str | None, look: Callable[[Entry], None]) -> Asking[None]:
        """Look at one entry or, one page after the other, at all of them."""
        if name is not None:
            look((yield from self.entry(name))[1])
            return
        cursor = "0"
        while True:
            cursor, page = yield from self.page(cursor)
            for entry in page:
                look(entry)
            if cursor == "0":
                return

    def history(self, name: str | None, since: datetime | None, n: int) -> Asking[list[Happened]]:
        """The newest rows of the ledger, newest first."""
        low = "-" if since is None else f"{max(0, _instant(since, 'since')) // 1000}-0"
        _, found = yield from self._rows(name, low, n)
        if name is not None and not found:
            yield from self._known(name)
        return found

    def _rows(self, name: str | None, low: str, n: int) -> Asking[tuple[str, list[Happened]]]:
        """The id of the newest row of all, and the newest *n* rows of an entry (or of all), newest first."""
        newest = "0-0"
        found: list[Happened] = []
        high, size = "+", 500 if name is not None or n > 500 else max(1, n)
        while True:
            rows = yield requests.ledger(self.keys, low, high, size, newest_first=True)
            if high == "+" and rows:
                newest = rows[0][0]
            for _, row in rows:
                if len(found) < n and (name is None or row.get("entry") == name):
                    found.append(happened(row))
            if len(rows) < size or len(found) >= n:
                return newest, found
            high = f"({rows[-1][0]}"

    def _known(self, name: str) -> Asking[None]:
        """NoSuchEntry for a name that neither an entry nor a row of the ledger has."""
        if (yield requests.exists(self.keys, name)):
            return
        _, found = yield from self._rows(name, "-", 1)
        if not found:
            raise NoSuchEntry(name)

    def last_news(self, name: str | None, last: int) -> Asking[tuple[str, list[Happened]]]:
        """The last rows of an entry (or of all), oldest first, and the row after which to go on."""
        newest, found = yield from self._rows(name, "-", last)
        if name is not None and not found:
            yield from self._known(name)
        return newest, found[::-1]

    def news(self, after: str, wait_ms: int) -> Asking[list[tuple[str, Happened]]]:
        """Rows of the ledger after a row id, each with its own, waiting for some for a while."""
        rows = yield requests.ledger_news(self.keys, after, 500, wait_ms)
        return [(row_id, happened(row)) for row_id, row in rows]

    def acknowledge(self) -> Asking[str | None]:
        """Somebody has taken note of what Redis has lost."""
        known: str | None = yield requests.acknowledge(self.keys)
        return known

    def health(self, max_lag: float) -> Asking[Verdict]:
        """Whether the schedule as a whole is well."""
        return whole(self.keys, max_lag)

    def status(self) -> Asking[Status]:
        """How things stand."""
        now = yield requests.now(self.keys)
        standing = yield requests.standing(self.keys, now)
        rows = yield requests.ledger(self.keys, "-", "+", LATENESS_ROWS, newest_first=True)
        late = sorted(
            (one.at - one.nominal).total_seconds()
            for one in (happened(row) for _, row in rows)
            if one.what == "sent" and one.nominal is not None and one.how is None
        )
        return status_of(standing, late)


def _as_if(stored: Stored, edit: Edit) -> Stored:
    """What would stand there after an edit, for the next one of the same batch."""

    def then(before: str | None, value: str) -> str | None:
        return before if value == KEEP else None if value == DROP else value

    return Stored(
        stored.name, then(stored.definition, edit.definition), then(stored.state, edit.state),
        then(stored.score, edit.score),
    )  # fmt: skip


def _instant(value: Any, what: str) -> int:
    """The instant of an aware datetime that somebody gives."""
    if not isinstance(value, datetime):
        raise InvalidSchedule(f"{what} is {value!r}, but must be an aware datetime.")
    if value.tzinfo is None:
        raise InvalidSchedule(f"{what} must be an aware datetime: a naive one means another instant in each zone.")
    return micros(value)


def _manual(edit: Edit | None) -> list[tuple[str, str]]:
    return [] if edit is None else edit.manual


def _waits(name: str) -> InvalidSchedule:
    return InvalidSchedule(
        f"entry {name!r} cannot be renamed now: a trigger, a backfilled slot or one settled by an edit waits to be "
        "sent under this name. Rename it when that is sent, or copy it."
    )


def _name_in(text: str) -> str | None:
    """The entry that a waiting item is of; None for rubbish."""
    try:
        return ManualItem.parse(text).entry
    except ValueError:
        return None


def _pages(changes: Sequence[Change | Transfer]) -> Iterator[list[Change | Transfer]]:
    """Changes of at most :data:`PAGE` names at a time."""
    page: list[Change | Transfer] = []
    names = 0
    for change in changes:
        if names + len(change.names) > PAGE:
            yield page
            page, names = [], 0
        page.append(change)
        names += len(change.names)
    if page:
        yield page


def reaching_back(entry: Entry, start: int) -> Entry:
    """The entry with its slots carried on backwards in phase, to before *start*."""
    spec = entry.schedule
    if not isinstance(spec, Interval) or entry.starts is not None or entry.anchor < start:
        return entry
    turns = (entry.anchor - start) // spec.every + 1
    return replace(entry, anchor=entry.anchor - turns * spec.every)


def slots_between(entry: Entry, start: int, end: int) -> Iterator[int]:
    """The slots of an entry from one instant to another."""
    entry = reaching_back(entry, start)
    try:
        at = next_slot(entry, start - 1)
        while at is not None and at <= end:
            yield at
            at = next_slot(entry, at)
    except Exception as exc:  # a schedule class may raise anything, or not be registered here
        raise uncomputable(entry.name, exc) from exc


def _coming(entry: Entry, now: int, n: int) -> Iterator[int]:
    state = entry.state
    if not entry.enabled or state is None or state.nominal is None:
        return
    left = n if entry.max_runs is None else min(n, entry.max_runs - state.count)
    at: int | None = state.nominal if state.nominal > now else next_slot(entry, max(now, state.nominal))
    while at is not None and left > 0:
        yield at
        left -= 1
        at = next_slot(entry, at)


def _manual_item(text: str) -> ManualItem | None:
    try:
        return ManualItem.parse(text)
    except ValueError:
        return None


def glob(prefix: str) -> str:
    """A pattern of Redis for names that begin so."""
    return "".join(f"\\{c}" if c in "*?[]\\" else c for c in prefix) + "*"
