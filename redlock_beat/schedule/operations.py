"""What users do to a schedule, written once for :class:`Schedule` and :class:`AsyncSchedule`.

An operation is a generator: it yields one :class:`~redlock_beat.store.requests.Request` after the other and gets the
answers, so it knows nothing of sockets, event loops and retries. Every edit, alone or in a batch, goes through
:meth:`Operations.apply`: it reads the entries, computes the edits, and applies them in one script, which compares what
they were made of.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from ..clock import MICROS, instant_of, moment, score
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
from ..store.requests import PAGE, Operation, Request
from ..store.values import DROP, KEEP, PRESENT, Conflict, Edit, Stored
from .answers import OUTCOMES, LedgerRow, SimulatedRow, Slot, Waiting, ledger_row
from .bulk import LOGGED, Page, failed, in_quarantine, meant, pages, some_names
from .changes import Change, Transfer, uncomputable
from .edit_log import EditRow, Signature, edit_row
from .edits import combined, readable
from .filters import ALL, Filter
from .given import as_text, is_number, named, whole
from .health import Health, schedule_health
from .hold import Holds
from .status import Status, status_of

#: Slots in one call of `backfill`.
BACKFILL_LIMIT = 100_000
#: Manual items in one script.
MANUAL_PAGE = 250
#: Changes in one batch.
BATCH_LIMIT = 1_000_000
#: How often an edit is made anew because the entry changed in between.
ATTEMPTS = 200
#: Slots and rows in one answer.
MOST_SLOTS, MOST_ROWS = 100_000, 100_000_000
#: Entries in one answer whose slots cannot be computed.
UNKNOWN = 100
#: Rows of the ledger that the lateness in `status` is computed from.
LATENESS_ROWS = 1_000


class Editing(Holds):
    """The operations that edit."""

    def entry(self, name: str) -> Operation[tuple[int, Entry]]:
        """Redis's time, and the entry of this name."""
        now, (stored,) = yield requests.read(self.keys, [named(name)])
        return now, self.entry_of(stored, now)

    def apply(self, changes: Sequence[Change | Transfer]) -> Operation[list[Any]]:
        """Apply changes, all or none; the answer of each."""
        read = [name for change in changes for name in change.names]
        names = list(dict.fromkeys(read))
        several = len(names) < len(read)  # edits of one entry: each is made of what the one before leaves behind
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
                    if row := self._log_row(change, there[change.name], made[-1]):
                        made[-1].rows.append(row)
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
                    if several:
                        there[edit.name] = _as_if(there[edit.name], edit)
            asked = [edit for edit in edits.values() if not edit.nothing]
            if not asked:
                return answers
            request, log_size = secrets.token_hex(12), self.settings.edit_log_size
            got = yield requests.edit(self.keys, asked, request=request, log_size=log_size)
            if not isinstance(got, Conflict):
                return answers
            # The leader moved one of them meanwhile, or another edit came first: read them again.
        raise ScheduleBusy(names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} others", ATTEMPTS)

    def _log_row(self, change: Change | Transfer, before: Stored, made: Edit) -> list[Any]:
        """The row of the edit log; none where none is kept."""
        if not self.settings.edit_log_size:
            return []
        return change.log_row(change.signature or self.signature(None, None), before, made)

    def _nothing_waits(self, changes: Sequence[Change | Transfer]) -> Operation[None]:
        """Refuse to rename an entry of which manual items wait: they name it."""
        leaving = {change.name: i for i, change in enumerate(changes) if isinstance(change, Transfer) and change.leaves}
        seen = 0
        while leaving:
            items = yield requests.newest_manual(self.keys, seen, PAGE)
            for text in items:
                name = _name_in(text)
                if name in leaving:
                    error = _waits(name)
                    error.index = leaving[name]
                    raise error
            seen += len(items)
            if len(items) < PAGE:
                return

    def one(self, change: Change | Transfer) -> Operation[Any]:
        """Apply one change."""
        return (yield from self.apply([change]))[0]

    def many(
        self, changes: Sequence[Change | Transfer], progress: Callable[[int], None] | None = None
    ) -> Operation[list[Any]]:
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

    def bulk(
        self,
        which: Filter,
        make: Callable[[str], Change],
        actor: str | None,
        why: str | None,
        progress: Callable[[int], None] | None = None,
    ) -> Operation[int]:
        """Edit each entry that is meant, in pages, each all or none; how many there were."""
        what = make("any").what
        which, done = meant(which, what), 0
        for names in (yield from pages(self.keys, which, glob(which.prefix) if which.prefix else None)):
            page = Page(which, (yield from in_quarantine(self.keys, which, names)))
            logged = done < LOGGED
            changes = [page.change(self.signed(make(name), actor, why), logged) for name in names]
            if not logged:
                changes.append(page.noting(what, names[-1], changes[-1].signature or self.signature(actor, why)))
            try:
                yield from self.apply(changes)
            except RedlockBeatError as exc:
                raise failed(exc, done, names) from exc
            done += len(page.taken)
            if progress is not None:
                progress(len(names))
        return done

    def counted(self, which: Filter) -> Operation[int]:
        """How many entries are meant, also of those that cannot be read."""
        count = 0
        for names in (yield from pages(self.keys, which, glob(which.prefix) if which.prefix else None)):
            page = Page(which, (yield from in_quarantine(self.keys, which, names)))
            now, stored = yield requests.read(self.keys, names)
            count += sum(page.fits(one, now) for one in stored)
        return count

    def backfill(
        self,
        name: str,
        start: datetime,
        end: datetime,
        rate: float,
        progress: Callable[[int], None] | None = None,
        signature: Signature | None = None,
    ) -> Operation[int]:
        """Send the slots between two instants."""
        begin, until = instant_of(start, "start"), instant_of(end, "end")
        if not is_number(rate) or not 0 < rate <= 100_000:
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
            if i == 0:
                edit.rows.append((signature or Signature(self.actor)).row("backfilled", name, count=len(items)))
            log_size = self.settings.edit_log_size
            got = yield requests.edit(self.keys, [edit], request=f"{request}:{i}", log_size=log_size)
            if isinstance(got, Conflict):
                raise NoSuchEntry(name)
            if progress is not None:
                progress(len(edit.manual))
        return len(items)

    def waiting(self, name: str | None) -> Operation[list[Waiting]]:
        """The manual items that wait to be sent, of one entry or of all."""
        found, _ = yield from self.some_waiting(name)
        return found

    def some_waiting(self, name: str | None, pages: int | None = None) -> Operation[tuple[list[Waiting], bool]]:
        """The same among so many pages of them; and whether those were all."""
        found: dict[tuple[str, str], Waiting] = {}
        seen: set[str] = set()
        cursor = ""
        while cursor != "0" and pages != 0:
            pages = None if pages is None else pages - 1
            cursor, page = yield requests.manual_page(self.keys, cursor or "0", MANUAL_PAGE)
            for text, when in page:
                item = _manual_item(text)
                if item is None or item.nominal is None or text in seen or name not in (None, item.entry):
                    continue
                seen.add(text)
                at, slot = moment(when), moment(item.nominal)
                one = found.get((item.entry, item.source)) or Waiting(item.entry, item.source, 0, at, slot, slot)
                found[item.entry, item.source] = replace(
                    one, count=one.count + 1, at=min(one.at, at), first=min(one.first, slot), last=max(one.last, slot)
                )
        return sorted(found.values(), key=lambda one: (one.at, one.entry, one.source)), cursor == "0"

    def cancel(self, name: str, signature: Signature | None = None) -> Operation[int]:
        """Cancel the triggers and backfilled slots of an entry that wait, or the call of a task id that is kept.

        Settled slots stay: they are the schedule's own.
        """
        gone = len((yield from self.cancel_countdowns([name])))
        signature = signature or Signature(self.actor)
        cursor = ""
        while cursor != "0":
            cursor, page = yield requests.manual_page(self.keys, cursor or "0", MANUAL_PAGE)
            items = [(text, item) for text, _ in page if (item := _manual_item(text)) is not None]
            for source in ("trigger", "backfill", "buffered"):
                mine = [(text, item.nominal) for text, item in items if (item.entry, item.source) == (name, source)]
                slots = [at for _, at in mine if at is not None]
                if slots:
                    why = f"cancelled by {signature.actor}"
                    row: list[Any] = ["is", "skipped", "entry", name, "how", source, "why", why]
                    row += ["from", min(slots), "to", max(slots)]
                    sizes = self.settings.ledger_size, self.settings.edit_log_size
                    log_row = signature.row("cancelled", name)
                    texts, request = [text for text, _ in mine], secrets.token_hex(12)
                    gone += yield requests.cancel(self.keys, texts, *sizes, row, log_row, request)
        return gone


class Operations(Editing):
    """Every operation on one schedule, as generators of requests."""

    def exists(self, name: str) -> Request[bool]:
        """Whether there is an entry of this name."""
        return requests.exists(self.keys, name)

    def size(self) -> Request[int]:
        """How many entries there are."""
        return requests.size(self.keys)

    def page(self, cursor: str, which: Filter = ALL) -> Operation[tuple[str, list[Entry]]]:
        """Some entries that fit, and where to go on ("0": that was all). What cannot be read is in quarantine."""
        prefix = which.prefix
        cursor, names = yield requests.names(self.keys, cursor, glob(prefix) if prefix else None, PAGE)
        found = []
        for some in some_names(filter(which.names, names)):
            aside = yield from in_quarantine(self.keys, which, some)
            now, page = yield requests.read(self.keys, some)
            for stored in page:
                entry = readable(stored, now, self.calendars)
                if entry is not None and which.fits(entry) and (not which.quarantined or entry.name in aside):
                    found.append(entry)
        return cursor, found

    def preview(self, name: str | None, n: int, after: datetime | None, which: Filter = ALL) -> Operation[list[Slot]]:
        """The next slots, soonest first; at the end the entries whose slots cannot be computed."""
        whole(n, "n", 1, MOST_SLOTS)
        now = instant_of(after, "after") if after is not None else (yield requests.now(self.keys))
        found: list[Slot] = []
        unknown: list[Slot] = []
        last: datetime | None = None  # slots after it are not among the first, so nobody computes them

        def first(slots: list[Slot]) -> list[Slot]:
            return sorted(slots, key=lambda slot: (slot.nominal, slot.name))[:n]

        def visit(entry: Entry) -> None:
            nonlocal last
            at = now
            try:
                for at in _coming(entry, now, n):
                    slot = Slot(entry.name, moment(at), skipped=entry.skips(at))
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

        yield from self._each(name, visit, which)
        return first(found) + sorted(unknown, key=lambda slot: slot.name)

    def simulate(
        self, outage: tuple[datetime, datetime], name: str | None, which: Filter = ALL
    ) -> Operation[list[SimulatedRow]]:
        """What an outage would do."""
        try:
            start, end = outage
        except (TypeError, ValueError):
            raise InvalidSchedule(f"outage is {outage!r}, but must be two times: its start and its end.") from None
        begin, until = instant_of(start, "the start of the outage"), instant_of(end, "the end of the outage")
        if until < begin:
            raise InvalidSchedule("the outage ends before it starts.")
        found: list[SimulatedRow] = []

        def visit(entry: Entry) -> None:
            if not entry.enabled or entry.state is None or entry.state.nominal is None:
                return
            after = max(begin, entry.state.nominal)
            if after > until:
                return
            try:
                simulated = simulate(entry, entry.state.count, after, until, *self._catching_up)
            except Exception as exc:  # as above
                error = uncomputable(entry.name, exc)
                if name is not None:
                    raise error from exc
                found.append(SimulatedRow(entry.name, "unknown", moment(after), end, 1, str(error)))
                return
            for one in simulated:
                row = SimulatedRow(entry.name, one.what, moment(one.nominal), moment(one.at))
                if (gone := one.missed) is not None:
                    row = replace(row, count=gone.count, why=gone.why, at_least=gone.at_least)
                found.append(row)

        yield from self._each(name, visit, which)
        return sorted(found, key=lambda one: (one.at, one.name, one.nominal))

    def _each(self, name: str | None, visit: Callable[[Entry], None], which: Filter = ALL) -> Operation[None]:
        """Visit one entry or, one page after the other, all that fit."""
        if name is not None:
            visit((yield from self.entry(name))[1])
            return
        cursor = "0"
        while True:
            cursor, page = yield from self.page(cursor, which)
            for entry in page:
                visit(entry)
            if cursor == "0":
                return

    def history(
        self, name: str | None, since: datetime | None, n: int, outcome: str | None = None, which: Filter = ALL
    ) -> Operation[list[LedgerRow]]:
        """The newest rows of the ledger, newest first; with a filter those of the entries that fit now."""
        if outcome is not None and outcome not in OUTCOMES:
            raise InvalidSchedule(f"outcome is {outcome!r}, but must be one of {', '.join(OUTCOMES)}.")
        whole(n, "n", 0, MOST_ROWS)
        low = "-" if since is None else f"{max(0, instant_of(since, 'since')) // 1000}-0"
        names = yield from self.names(which)
        _, found = yield from self._rows(name, low, n, outcome, names)
        if name is not None and not found:
            yield from self._known(name)
        return found

    def _rows(
        self,
        name: str | None,
        low: str,
        n: int,
        outcome: str | None = None,
        names: Container[str] | None = None,
    ) -> Operation[tuple[str, list[LedgerRow]]]:
        """The id of the newest row of all, and the newest *n* rows of an entry (or of all), newest first.

        With an *outcome* those of runs that ended so.
        """
        newest = "0-0"
        found: list[LedgerRow] = []
        filtered = name is not None or outcome is not None or names is not None
        high, size = "+", 500 if filtered or n > 500 else max(1, n)
        while True:
            rows = yield requests.ledger(self.keys, low, high, size, newest_first=True)
            if high == "+" and rows:
                newest = rows[0][0]
            for _, row in rows:
                fits = outcome is None or row.get("outcome") == outcome
                fits = fits and (names is None or row.get("entry", "") in names)
                if len(found) < n and fits and (name is None or row.get("entry") == name):
                    found.append(ledger_row(row))
            if len(rows) < size or len(found) >= n:
                return newest, found
            high = f"({rows[-1][0]}"

    def _known(self, name: str) -> Operation[None]:
        """NoSuchEntry for a name that neither an entry nor a row of the ledger has."""
        if (yield requests.exists(self.keys, named(name))):
            return
        _, found = yield from self._rows(name, "-", 1)
        if not found:
            raise NoSuchEntry(name)

    def names(self, which: Filter) -> Operation[set[str] | None]:
        """The names of the entries that fit; None for all."""
        if which is ALL:
            return None
        names: set[str] = set()
        yield from self._each(None, lambda entry: names.add(entry.name), which)
        return names

    def last_news(
        self, name: str | None, last: int, names: Container[str] | None = None
    ) -> Operation[tuple[str, list[LedgerRow]]]:
        """The last rows of an entry (or of all), oldest first, and the row after which to read on."""
        newest, found = yield from self._rows(name, "-", last, names=names)
        if name is not None and not found:
            yield from self._known(name)
        return newest, found[::-1]

    def news(self, after: str, wait_ms: int) -> Operation[list[tuple[str, LedgerRow]]]:
        """Rows of the ledger after a row id, each with its id; waits a while for the first."""
        rows = yield requests.ledger_news(self.keys, after, 500, wait_ms)
        return [(row_id, ledger_row(row)) for row_id, row in rows]

    def log(
        self, name: str | None, since: datetime | None, n: int, actor: str | None = None
    ) -> Operation[list[EditRow]]:
        """The newest rows of the edit log, newest first; *actor* may have wildcards."""
        whole(n, "n", 0, MOST_ROWS)
        as_text(actor, "actor")
        low = "-" if since is None else f"{max(0, instant_of(since, 'since')) // 1000}-0"
        high, found = "+", list[EditRow]()
        while True:
            rows = yield requests.edit_log(self.keys, low, high, PAGE)
            for row in (edit_row(row) for _, row in rows):
                fits = name in (None, row.entry, row.source) and (actor is None or fnmatchcase(row.actor, actor))
                if fits and len(found) < n:
                    found.append(row)
            if len(rows) < PAGE or len(found) >= n:
                return found
            high = f"({rows[-1][0]}"

    def acknowledge(self, actor: str | None, why: str | None) -> Operation[str | None]:
        """Acknowledge what Redis has lost."""
        row = self._log_rows(self.signature(actor, why).row("acknowledged", ""))
        known: str | None = yield requests.acknowledge(
            self.keys, self.settings.edit_log_size, row, secrets.token_hex(12)
        )
        return known

    def health(self, max_lag: float) -> Operation[Health]:
        """Whether the schedule is well."""
        return schedule_health(self.keys, max_lag)

    def status(self) -> Operation[Status]:
        """Who leads, what waits, what is wrong."""
        now = yield requests.now(self.keys)
        standing = yield requests.snapshot(self.keys, now)
        rows = yield requests.ledger(self.keys, "-", "+", LATENESS_ROWS, newest_first=True)
        shown = [ledger_row(row) for _, row in rows]
        late = sorted(
            (one.at - one.nominal).total_seconds()
            for one in shown
            if one.what == "sent" and one.nominal is not None and one.source is None
        )
        ends = Counter(one.outcome for one in shown if one.outcome is not None)
        return status_of(standing, late, ends)


def _as_if(stored: Stored, edit: Edit) -> Stored:
    """What an edit leaves behind, for the next one of the same batch."""

    def then(before: str | None, value: str) -> str | None:
        return before if value == KEEP else None if value == DROP else value

    parts = (then(getattr(stored, part), getattr(edit, part)) for part in ("definition", "state", "score"))
    return Stored(stored.name, *parts)


def _manual(edit: Edit | None) -> list[tuple[str, str]]:
    return [] if edit is None else edit.manual


def _waits(name: str) -> InvalidSchedule:
    return InvalidSchedule(
        f"entry {name!r} cannot be renamed now: a trigger, a backfilled or a settled slot waits to be sent under this "
        "name. Rename the entry after that, or copy it."
    )


def _name_in(text: str) -> str | None:
    """The entry of a manual item; None for rubbish."""
    try:
        return ManualItem.parse(text).entry
    except ValueError:
        return None


def _pages(changes: Sequence[Change | Transfer]) -> Iterator[list[Change | Transfer]]:
    """Pages of changes with at most :data:`PAGE` names."""
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
    """The entry with an anchor before *start*, in phase."""
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
    runs = n if entry.max_runs is None else entry.max_runs - state.count
    at: int | None = state.nominal if state.nominal > now else next_slot(entry, max(now, state.nominal))
    while at is not None and n > 0 and runs > 0:
        yield at
        n -= 1
        runs -= not entry.skips(at)
        at = next_slot(entry, at)


def _manual_item(text: str) -> ManualItem | None:
    try:
        return ManualItem.parse(text)
    except ValueError:
        return None


def glob(prefix: str) -> str:
    """Redis's pattern for names that begin with *prefix*."""
    return "".join(f"\\{c}" if c in "*?[]\\" else c for c in prefix) + "*"
