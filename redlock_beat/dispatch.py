"""Due occurrences -> messages -> one commit.

A turn reads what is due, plans each entry's slots by its policies, has them rendered and commits
them in batches. One entry that does not decode, compute or render is one bad entry: it is set aside
with its reason and tried again, and all others are on time.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from . import __version__, hooks
from .cache import Cache
from .clock import MICROS, monotonic, score
from .codec import compact, decode
from .config import Settings
from .connection import TROUBLE
from .entry import Entry
from .errors import BrokerAway, Deposed, InvalidSchedule, Replaced, mask, traceback_of
from .express import BYTES, Express
from .item import AS_IT_IS, Item, stamp, unstamp
from .lease import Lease, Term
from .manual import ManualItem
from .outbox import Fault, Publisher
from .policies import Missed, act_at, first_slot, plan
from .reasons import OTHERS
from .render import Rendered, Renderer, task_id
from .schedules import Once
from .state import State, parse_state
from .steps import ANY, DROP, KEEP, Edit, Stored
from .store import Due, DueItem, Occurrence, Store

logger = logging.getLogger("redlock_beat")

#: A batch is committed when it is full, or when rendering it has taken so long.
RENDER_SPAN = 0.1
#: Occurrences in one commit of commit.lua, which takes each by itself.
MOST = 200
#: Times an entry may overrun `render_limit`, alone, before it is set aside.
OVERRUNS = 3
#: The longest pause before an occurrence that failed is tried again.
RETRY_LIMIT = 60 * MICROS
#: How long a trigger, backfill or settled slot that cannot be rendered is tried.
MANUAL_LIMIT = 3600 * MICROS


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn did, and when to take the next."""

    now: int
    next_at: int | None
    sent: int
    #: Something was due; look again at once.
    busy: bool
    #: The outbox is full: look again in a moment.
    blocked: bool


@dataclass(slots=True)
class _Batched:
    """An occurrence in a batch, with what is needed once it is committed."""

    occurrence: Occurrence
    entry: Entry
    nominal: int | None
    id: str
    items: list[Item]
    missed: Missed | None = None
    how: str | None = None


@dataclass(slots=True)
class _Open:
    """An occurrence whose commit was not answered."""

    #: The entry's name, or the manual item.
    key: str
    #: The state that the commit leaves behind, '' when the entry goes; None for a manual item.
    after: str | None
    #: What is to be done once, if it took place.
    done: Callable[[], None]
    epoch: int
    happened: bool = False


class SlowWatch:
    """Notes an entry whose rendering outlasts its time, from a thread: the loop may never come back.

    It notes, and nothing else: renewing the lease is the loop's alone.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._current: tuple[str, float, float] | None = None
        self._noted: str | None = None
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, name: str, limit: float) -> None:
        """Rendering of an entry begins; it should take less than *limit* seconds."""
        self._current = (name, monotonic(), limit)
        if not self._wake.is_set():
            self._wake.set()
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="redlock-beat-watch", daemon=True)
            self._thread.start()

    def end(self) -> bool:
        """Rendering has ended; whether it overran."""
        current, self._current = self._current, None
        noted, self._noted = self._noted, None
        if current is None:
            return False
        overran = monotonic() - current[1] > current[2]
        if overran and noted != current[0]:
            self._note(current[0])
        return overran

    def rest(self) -> None:
        """Nothing is rendered for a while: the thread sleeps."""
        self._wake.clear()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            current = self._current
            if current is not None:
                name, began, limit = current
                left = began + limit - monotonic()
                if left <= 0 and self._noted != name:
                    self._noted = name
                    self._note(name)
                time.sleep(max(0.02, min(left if left > 0 else limit, 0.5)))
            else:
                time.sleep(0.1)

    def _note(self, name: str) -> None:
        try:
            self.store.note_slow(name)
        except TROUBLE as exc:
            logger.debug("That entry %r renders slowly could not be noted: %s", name, mask(exc))


class Dispatcher:
    """Sends what is due, on the strength of a term."""

    def __init__(
        self, settings: Settings, store: Store, lease: Lease, renderer: Renderer, publisher: Publisher
    ) -> None:
        self.settings = settings
        self.store = store
        self.lease = lease
        self.renderer = renderer
        self.publisher = publisher
        publisher.on_published = self._accepted
        publisher.on_refused = self._refused
        self.cache = Cache(settings.cache_size)
        self.watch = SlowWatch(store)
        self.broker_db = 0
        self.sent_total = 0
        #: Why it is not known whether the broker is this Redis; then nothing is sent.
        self.unproved: str | None = None
        #: Entries there were at the last look; None before the first.
        self.entries: int | None = None
        # The process that answered last; and what the last heartbeat says that is known to stand in Redis.
        self._server = ""
        self._beaten: int | None = None
        #: The configuration's mark, as Redis last said it.
        self.mark = ""
        self._slow: dict[str, int] = {}
        self._bad: set[str] = set()
        self._silent: set[str] = set()
        self._batch: list[_Batched] = []
        self._batch_began, self._batch_room = 0.0, BYTES
        self._sent = 0
        # Something failed on the way: the outbox may hold what the publisher has not heard of.
        self._unsure = False
        self._open: list[_Open] = []
        # Since when it has held more than the publisher has in hand; and what in it cannot be read.
        self._longer_since: float | None = None
        self._unreadable: set[str] = set()
        # Entries of which the broker refuses a message, at the beginning of this turn.
        self._faults: dict[str, Fault] = {}
        self._beaten_at = float("-inf")
        self._pulse_text, self._pulse_at = "", float("-inf")
        self.express = Express(
            settings, store, lease, renderer, self.now, self._expressed, self._left_open, self._looked, self._pulse,
            self._render, self._row, publisher.submit, self.cache, size=min(200, settings.batch_size),
        )  # fmt: skip

    # --- a new term ---

    def begin(self, term: Term) -> None:
        """A new term: know the slow entries, give those in quarantine another chance, take over the outbox."""
        self._settle(term)
        self._batch.clear()
        self._beaten_at = self._pulse_at = float("-inf")
        self._beaten = None
        self.express.failed.clear()
        self._slow = self.store.slow()
        self.publisher.lead(term)
        self._take_over_outbox(term)
        self._retry_quarantine(term)

    def _take_over_outbox(self, term: Term) -> None:
        def load() -> list[Item]:
            items, unreadable = [], set()
            for item_id, stamped in self.store.outbox_load(term.fence):
                try:
                    items.append(unstamp(item_id, stamped))
                except ValueError:
                    unreadable.add(item_id)
                self.lease.renew_if_needed(term)
            for item_id in sorted(unreadable - self._unreadable):
                logger.error("The outbox holds an item %r that cannot be read; it is left where it is.", item_id)
            self._unreadable = unreadable
            items.sort(key=lambda item: (item.nominal, item.id))
            return items

        found = self.publisher.take_over(load)
        if found:
            logger.info("Publishing %d messages that were claimed before.", found)
        self._unsure, self._longer_since = False, None

    def _watch_outbox(self, term: Term, length: int, in_hand: int) -> None:
        """Read the outbox again when it has held more for a TTL than the publisher has *in_hand*.

        What was under way when one term ended and the next began, and failed after that, is such.
        """
        if length - len(self._unreadable) <= in_hand:
            self._longer_since = None
        elif self._longer_since is None:
            self._longer_since = monotonic()
        elif monotonic() - self._longer_since > self.lease.ttl:
            self._take_over_outbox(term)

    def _retry_quarantine(self, term: Term) -> None:
        reports = self.store.quarantined()
        self._bad = set(reports)
        for name in sorted(reports):
            self.lease.renew_if_needed(term)
            now, (stored,) = self.store.read([name])
            if stored.definition is None:
                self.store.acquit(name)
                self._bad.discard(name)
                continue
            try:
                edit = _reinstated(name, stored, now)
            except Exception as exc:  # noqa: BLE001 - still bad: it stays where it is
                logger.warning("Entry %r stays in quarantine: %s", name, mask(exc))
            else:
                self.store.edit([edit], fence=term.fence, each=True)

    # --- a turn ---

    def now(self) -> int:
        """Redis's time, carried on by the local monotonic clock since it was last asked."""
        return self.lease.clock.now()

    def turn(self, term: Term) -> Turn:
        """Send what is due now: as much of it as the quick way takes, and one batch of the rest."""
        try:
            if self._unsure:
                self._settle(term)
                self._take_over_outbox(term)
            return self._send(term)
        except BaseException:
            self._unsure = True  # a reply was lost, perhaps that of a claim
            raise

    def hold(self, term: Term) -> Turn:
        """Look what is due and send nothing of it: where it would go to is not known."""
        due = self._due(term, 0)
        return Turn(due.now, None, 0, busy=False, blocked=False)

    def _send(self, term: Term) -> Turn:
        express = self.express
        express.prepare()
        if self.renderer.stale:
            raise BrokerAway("its connection is another than the one that was proved")
        limit = express.fetch
        in_hand = self.publisher.outstanding()
        self._faults = self.publisher.faults()
        # What the broker refuses takes no other entry's room.
        express.outbox_limit = self.settings.outbox_limit + self.publisher.at_fault()
        if not express.direct:  # no more than there is room for, about; how much there is Redis will say
            limit = max(1, min(limit, express.outbox_limit - in_hand))
        due = self._due(term, limit)
        self._watch_outbox(term, due.outbox, in_hand)
        room = None if express.direct else max(0, express.outbox_limit - due.outbox)
        if room == 0 and (due.entries or due.manual):
            return Turn(due.now, due.next_at, 0, busy=False, blocked=True)
        self._sent = 0
        self._batch.clear()  # what a turn that failed has left
        if due.entries or due.manual:
            manual = due.manual[:room]
            self._manual(term, manual)
            self._flush(term)
            aside = {*self._slow, *self._bad, *self._faults} if self._slow or self._bad or self._faults else ()
            express.broker_db = self.broker_db
            entries = express.run(term, replace(due, outbox=due.outbox + len(manual)), aside)
            self._entries(term, entries, express.room)
            self._flush(term)
            express.failed.difference_update(item.name for item in entries)
            self.watch.rest()
        busy = bool(due.entries or due.manual)
        return Turn(due.now, due.next_at, self._sent, busy=busy, blocked=False)

    def _due(self, term: Term, limit: int) -> Due:
        started = monotonic()
        heartbeat = ""
        if started - self._beaten_at > self.lease.ttl / 3:  # an idle leader: its renewal carries it along
            heartbeat, self._beaten_at = self.heartbeat("leader", term), started
        due = self.store.due(term.fence, limit, self.lease.token, heartbeat)
        self.lease.trust(term, started)
        self.lease.clock.told(due.now, started)
        self._looked(due, term)
        self._recognize(due, heartbeat)
        return due

    def _recognize(self, due: Due, heartbeat: str) -> None:
        """Whether it is the server that is known here, with what was written to it; :class:`Replaced` when not."""
        server, self._server = self._server, due.server or self._server
        beaten = self._beaten
        if due.before:
            self._beaten = _at(heartbeat)
        # A commit may have written a heartbeat made half a second before: so little older is no loss.
        older = beaten - (_at(due.before) or beaten) if due.before not in ("", "-") and beaten is not None else 0
        lost = beaten is not None and (due.before == "-" or older > MICROS)
        if lost or (server and server != self._server):
            self.cache.clear()
            raise Replaced(older / MICROS if lost else None)

    def _looked(self, due: Due, term: Term) -> None:
        """Redis has said what is due."""
        self.mark, self.entries = due.mark, due.total
        self.lease.noted(due.seen)
        if hooks.listening():
            hooks.emit(
                hooks.Turned(
                    due.now / MICROS, "leader", term.epoch, due.total, due.backlog, due.outbox, due.quarantined
                )
            )

    def _expressed(self, name: str, task: str, nominal: int, id_: str, term: Term) -> None:
        """An occurrence was sent or claimed by the quick way."""
        self._sent += 1
        self.sent_total += 1
        if not self.express.direct:  # else it is sent when the broker has accepted it
            return
        if logger.isEnabledFor(logging.INFO):
            late = (self.now() - nominal) / 1000
            logger.info("Scheduler: Sending due task %s (%s) id=%s %.1f ms late", name, task, id_, late)
        if hooks.listening():
            hooks.emit(hooks.Sent(self.now() / MICROS, name, task, nominal / MICROS, id_, term.epoch))

    def _pulse(self, term: Term) -> str:
        """The heartbeat a commit carries along; said anew twice a second, not in each."""
        now = monotonic()
        if now - self._pulse_at > 0.5:
            self._pulse_text, self._pulse_at = self.heartbeat("leader", term), now
        return self._pulse_text

    def _put_off(self, term: Term, items: list[DueItem]) -> list[DueItem]:
        """What is left of these without the entries of which the broker refuses a message.

        Those wait until it is gone, and what came due meanwhile then falls under `missed`.
        """
        left, later = [], []
        for item in items:
            until = self._refused_until(item.name, parse_state(item.state))
            if until is None:
                left.append(item)
            else:
                later.append((item.name, item.score, item.state or "", until))
        self.store.put_off(term.fence, later, ())
        return left

    def _refused_until(self, name: str, state: State | None) -> int | None:
        """When to look again at an entry of which the broker refuses a message; None when it refuses none."""
        fault = self._faults.get(name)
        if fault is None or state is None or state.uid != fault.uid:
            return None
        if state.revision != fault.revision:
            self.publisher.hasten(name)
            return None
        return self.now() + round(max(0.5, fault.retry_at - monotonic() + 0.2) * MICROS)

    def _entries(self, term: Term, items: list[DueItem], room: int | None) -> None:
        if self._faults and items:
            items = self._put_off(term, items)
        found: list[tuple[DueItem, State, Entry]] = []
        missing: list[tuple[DueItem, State]] = []
        for item in items:
            state = parse_state(item.state)
            if state is None:
                self._set_aside(term, item.name, item.state or "", None, "it has no readable state in Redis")
                continue
            entry = self.cache.get(item.name, state)
            if entry is None:
                missing.append((item, state))
            else:
                found.append((item, state, entry))
        if missing:
            texts = self.store.definitions([item.name for item, _ in missing])
            for (item, state), text in zip(missing, texts, strict=True):
                entry = self._decoded(term, item, state, text)
                if entry is not None:
                    found.append((item, state, entry))
        # Slow entries come last and alone, so that nobody waits for them who need not.
        found.sort(key=lambda one: one[2].name in self._slow)
        left = room
        for item, state, entry in found:
            if left is not None and left <= 0:
                return
            planned = self._entry(term, item, state, entry, left)
            if left is not None:
                left -= planned

    def _decoded(self, term: Term, item: DueItem, state: State, text: str | None) -> Entry | None:
        try:
            if text is None:
                raise InvalidSchedule("it is due, but has no definition")
            entry = decode(item.name, text)
            if (entry.uid, entry.revision) != (state.uid, state.revision):
                # Read between an edit's two sides it cannot be; so it was edited since: the next turn sees it.
                again = self.store.read([item.name])[1][0]
                if again.state != item.state:
                    return None
                raise InvalidSchedule("its state belongs to another revision")
        except InvalidSchedule as exc:
            self._set_aside(term, item.name, item.state or "", text, str(exc))
            return None
        self.cache.put(entry)
        if entry.name in self._slow:  # perhaps edited since: an edit gives it another chance
            self._slow = self.store.slow()
        return entry

    def _entry(self, term: Term, item: DueItem, state: State, entry: Entry, room: int | None) -> int:
        """Plan and render what is due of one entry; how many messages that may be."""
        now = self.now()
        if state.nominal is None:
            self._add(term, self._advance(item, entry, state, [], None, now), entry, None, "", [])
            return 0
        self.lease.renew_if_needed(term)
        try:
            limit = self.settings.catchup_limit if room is None else max(1, min(self.settings.catchup_limit, room))
            todo = plan(entry, state.nominal, state.count, now, limit, self.settings.cron_grace)
        except Exception as exc:  # noqa: BLE001 - a schedule class may raise anything
            self._failed(term, item, state, entry, state.nominal, exc, "compute")
            return 0
        rows = [self._missed_row(entry, todo.missed, term)] if todo.missed else []
        missed = todo.missed
        if not todo.sends:
            occurrence = self._advance(item, entry, state, rows, todo.pending, now)
            self._add(term, occurrence, entry, None, "", [], missed)
            return 0
        expected, text, before = item.score, item.state or "", state
        for i, nominal in enumerate(todo.sends):
            following = todo.sends[i + 1] if i + 1 < len(todo.sends) else todo.pending
            id_ = task_id(self.settings.prefix, entry.uid, nominal)
            try:
                rendered = self._render(term, entry, nominal, id_, self.express.why.get(entry.name, OTHERS))
            except Exception as exc:  # noqa: BLE001 - user code may raise anything
                here = replace(item, score=expected, state=text)
                self._failed(term, here, before, entry, nominal, exc, "render")
                return i
            occurrence = self._advance(replace(item, score=expected, state=text), entry, before, rows, following, now)
            self._fill(occurrence, entry, nominal, id_, rendered, term, "")
            items = self._outbox_items(occurrence, entry, nominal, id_, rendered, term, "")
            self._add(term, occurrence, entry, nominal, id_, items, missed)
            rows, missed = [], None
            before = replace(before, nominal=following, last=now, count=before.count + 1, attempts=0)
            expected, text = occurrence.score_after, occurrence.state_after
        return len(todo.sends)

    def _advance(
        self, item: DueItem, entry: Entry, state: State, rows: list[list[Any]], following: int | None, now: int
    ) -> Occurrence:
        after = replace(state, nominal=following, attempts=0)
        retry = now + retry_pause(state.attempts + 1)
        occurrence = Occurrence(
            name=item.name,
            expected=item.score,
            state=item.state or "",
            score_after="" if following is None else score(act_at(entry, following)),
            state_after=after.text(),
            retry_score=score(retry),
            retry_state=replace(state, attempts=state.attempts + 1).text(),
            rows=list(rows),
        )
        if following is None and isinstance(entry.schedule, Once) and not entry.keep:
            occurrence.state_after = ""
        return occurrence

    def _fill(
        self, occurrence: Occurrence, entry: Entry, nominal: int, id_: str, rendered: Rendered, term: Term, how: str
    ) -> None:
        """Put the messages of one occurrence, and its rows of the ledger, into it."""
        if not occurrence.manual and occurrence.state_after:
            after = State.parse(occurrence.state_after)
            occurrence.state_after = replace(after, last=self.now(), count=after.count + 1).text()
        row = self._row("sent", entry.name, nominal, id_, term, how)
        occurrence.failed_row = self._row("failed", entry.name, nominal, id_, term, how)
        if rendered.direct:
            occurrence.pushes = rendered.pushes
            occurrence.away = self.broker_db != self.store.keys.db
        if (rendered.direct and not rendered.pushes) or (not rendered.direct and not rendered.calls):
            occurrence.rows.append(self._row("published nothing", entry.name, nominal, id_, term, how))
            if entry.name not in self._silent:
                self._silent.add(entry.name)
                logger.warning(
                    "Entry %r published nothing: its task decided not to send, or used a producer of its own. "
                    "That is in the ledger; it is said here once.",
                    entry.name,
                )
        elif rendered.direct:
            occurrence.rows.append(row)

    def _outbox_items(
        self, occurrence: Occurrence, entry: Entry, nominal: int, id_: str, rendered: Rendered, term: Term, how: str,
        again: str = "",
    ) -> list[Item]:  # fmt: skip
        if rendered.direct:
            return []
        items = []
        once = entry.delivery == "at_most_once"
        uid = entry.uid if occurrence.state_after else ""  # a one-shot is gone with this commit
        if len(rendered.calls) > 1:
            again = AS_IT_IS
        for i, call in enumerate(rendered.calls):
            row = self._row("sent", entry.name, nominal, id_, term, f"part {i + 1}" if i else how)
            text = stamp(
                term.epoch, entry.name, nominal, id_, once, row, call, uid, entry.revision, self.now(), again
            )  # fmt: skip
            item = unstamp(f"{id_}:{i}", text)
            item.due, item.task = nominal if occurrence.manual else act_at(entry, nominal), entry.task
            occurrence.pushes.append(["HSET", self.store.keys.outbox, item.id, text])
            items.append(item)
        return items

    # --- triggers, backfills, settled slots ---

    def _manual(self, term: Term, waiting: list[tuple[str, str]]) -> None:
        items: list[tuple[str, ManualItem]] = []
        for text, _ in waiting:
            try:
                items.append((text, ManualItem.parse(text)))
            except ValueError as exc:
                logger.warning("A manual item cannot be read and is dropped: %.200s (%.200s)", text, exc)
                row = ["is", "skipped", "epoch", term.epoch, "why", f"a manual item that cannot be read: {text[:200]}"]
                self.store.drop_manual(term.fence, text, row)
        if not items:
            return
        stored = self.store.read([item.entry for _, item in items])[1]
        later: list[tuple[str, int]] = []
        for (text, item), one in zip(items, stored, strict=True):
            state = parse_state(one.state)
            entry = None
            if state is not None and one.definition is not None:
                entry = self.cache.get(item.entry, state)
                try:
                    entry = entry or decode(item.entry, one.definition)
                except InvalidSchedule as exc:
                    self._drop(term, text, item.entry, item.how, str(exc), reason="unreadable")
                    continue
            if entry is None or entry.uid != item.uid:
                self._drop(term, text, item.entry, item.how, "the entry was removed")
                continue
            until = self._refused_until(item.entry, state) if self._faults else None
            if until is not None:
                later.append((text, until))
                continue
            self._send_manual(term, text, item, entry)
        if later:
            self.store.put_off(term.fence, (), later)

    def _send_manual(self, term: Term, text: str, item: ManualItem, entry: Entry) -> None:
        now, nominal, how = self.now(), item.nominal, item.how
        occurrence = Occurrence(entry.name, text, "", "", KEEP, score(now + retry_pause(3)), KEEP, manual=True)
        if item.missed is not None:
            occurrence.rows.append(self._missed_row(entry, item.missed, term))
        if nominal is None:
            self._add(term, occurrence, entry, None, "", [], item.missed)
            return
        if how == "settled" and not entry.enabled:  # jitter held it back, and then the entry was paused
            self._drop(term, text, entry.name, how, "the entry is paused", reason="paused")
            return
        id_ = task_id(self.settings.prefix, entry.uid, nominal, item.request)
        try:
            rendered = self._render(term, entry, nominal, id_, f"it is sent by hand ({how})")
        except Exception as exc:  # noqa: BLE001 - user code may raise anything
            # As old as it is, so long it waits before the next attempt; after an hour it is given up.
            age = now - item.at
            again = now + min(RETRY_LIMIT, max(MICROS, age)) if age < MANUAL_LIMIT else None
            self._drop(term, text, entry.name, how, f"it could not be rendered: {exc!r}", "failed", again)
            return
        self._fill(occurrence, entry, nominal, id_, rendered, term, how)
        once_more = replace(item, missed=None).text()
        items = self._outbox_items(occurrence, entry, nominal, id_, rendered, term, how, once_more)
        self._add(term, occurrence, entry, nominal, id_, items, item.missed, how)

    def _drop(
        self, term: Term, text: str, name: str, how: str, why: str, what: str = "skipped", again: int | None = None,
        reason: str = "removed",
    ) -> None:  # fmt: skip
        later = "" if again is None else "; it is tried again"
        logger.warning("Entry %r: a waiting %s is not sent: %s%s", name, how, mask(why), later)
        row = ["is", what, "entry", name, "how", how, "epoch", term.epoch, "why", mask(why)[:300]]
        self.store.drop_manual(term.fence, text, row, again)
        if what == "failed":
            self._tell_failed(name, "render", mask(why))
        elif hooks.listening():
            hooks.emit(hooks.Skipped(self.now() / MICROS, name, reason))

    # --- rendering ---

    def _render(self, term: Term, entry: Entry, nominal: int, id_: str, why: str) -> Rendered:
        """The messages of one occurrence, rendered by themselves; *why* they are not filled in."""
        kept = self.express.kept.pop((entry.name, nominal), None)
        if isinstance(kept, Exception):
            raise kept
        if kept is not None:
            return kept
        overruns = self._slow.get(entry.name, 0)
        if overruns:
            rendered = self._render_alone(term, entry, nominal, id_, overruns)
        else:
            rendered = self._render_watched(term, entry, nominal, id_)
        reason = self.express.reasons.count(why)
        if hooks.listening():
            hooks.emit(hooks.Rendered(self.now() / MICROS, entry.name, reason))
        return rendered

    def _render_watched(self, term: Term, entry: Entry, nominal: int, id_: str) -> Rendered:
        self.lease.renew_if_needed(term)
        self.watch.begin(entry.name, self.lease.ttl / 2)
        try:
            return self.renderer.render(entry, nominal, id_, self.now())
        finally:
            if self.watch.end():
                self._slow[entry.name] = 1
                logger.warning(
                    "Entry %r took more than half a lease to render; from now on it renders alone.", entry.name
                )

    def _render_alone(self, term: Term, entry: Entry, nominal: int, id_: str, overruns: int) -> Rendered:
        self._flush(term)
        limit = self.settings.render_limit
        if overruns > OVERRUNS:
            raise InvalidSchedule(
                f"rendering it has taken more than {limit:g} s {overruns - 1} times; an edit of the entry gives it "
                "another chance"
            )
        self.lease.renew(term, limit)
        self.watch.begin(entry.name, limit)
        began = monotonic()
        try:
            return self.renderer.render(entry, nominal, id_, self.now())
        finally:
            if self.watch.end():
                self._slow[entry.name] = overruns + 1
            elif monotonic() - began < self.lease.ttl / 4:
                self._forget_slow(entry.name)  # it was slow once, or this process was frozen meanwhile
            elif overruns > 1:
                self._slow[entry.name] = 1

    def _forget_slow(self, name: str) -> None:
        self._slow.pop(name, None)
        try:
            self.store.forget_slow(name)
        except TROUBLE as exc:
            logger.debug("Could not note that %r rendered in time: %s", name, mask(exc))

    # --- the batch ---

    def _add(
        self, term: Term, occurrence: Occurrence, entry: Entry, nominal: int | None, id_: str,
        items: list[Item], missed: Missed | None = None, how: str | None = None,
    ) -> None:  # fmt: skip
        if not self._batch:
            self._batch_began, self._batch_room = monotonic(), BYTES
        self._batch.append(_Batched(occurrence, entry, nominal, id_, items, missed, how))
        self._batch_room -= sum(len(word) for push in occurrence.pushes for word in push if isinstance(word, str))
        full = len(self._batch) >= min(self.settings.batch_size, MOST) or self._batch_room < 0
        if full or monotonic() - self._batch_began > RENDER_SPAN:
            self._flush(term)

    def _flush(self, term: Term) -> None:
        batch, self._batch = self._batch, []
        if not batch:
            return
        started = monotonic()
        try:
            results = self.store.commit(
                term.fence, [one.occurrence for one in batch], self.broker_db, self.lease.token,
                self.heartbeat("leader", term),
            )  # fmt: skip
        except Deposed:
            raise
        except BaseException:
            for one in batch:
                what = one.occurrence
                key, after = (what.expected, None) if what.manual else (what.name, what.state_after)
                self._left_open(key, after, partial(self._done, one, term), term)
            raise
        self.lease.trust(term, started)
        publish: list[Item] = []
        recovered = []
        for one, result in zip(batch, results, strict=True):
            if result == "ok":
                self._done(one, term)
                publish.extend(one.items)
                if one.entry.name in self._bad:
                    self._bad.discard(one.entry.name)
                    recovered.append(one.entry.name)
            elif result == "stale":
                logger.debug("Entry %r changed while it was being sent; it is looked at again.", one.entry.name)
            else:
                logger.warning(
                    "Entry %r: occurrence %s could not be enqueued (%s). Nothing of it was sent; it is tried again.",
                    one.entry.name, one.id, mask(result.removeprefix("failed: ")),
                )  # fmt: skip
                self._tell_failed(one.entry.name, "enqueue", mask(result.removeprefix("failed: ")))
        self.publisher.submit(publish)
        self.store.acquit(*recovered)

    def _done(self, one: _Batched, term: Term) -> None:
        """It is committed."""
        if one.nominal is not None:
            self._sent += 1
            self.sent_total += 1
            if not one.items:  # else it is sent when the broker has accepted it
                self._say(one)
        if hooks.listening():
            self._tell(one, term)

    # --- what was committed although the answer was lost ---

    def _left_open(self, key: str, after: str | None, done: Callable[[], None], term: Term) -> None:
        """A commit was not answered: whether it took place shows the state of the entry."""
        self._open.append(_Open(key, after, done, term.epoch))

    def _settle(self, term: Term) -> None:
        """Tell of what was committed although nobody has said so; before anything else moves those entries."""
        # Of another term nothing can be told: others may have sent since.
        self._open = [one for one in self._open if one.epoch == term.epoch]
        if not self._open:
            return
        names = list({one.key: None for one in self._open if one.after is not None})
        states = {stored.name: stored.state for stored in self.store.read(names)[1]} if names else {}
        items = [one.key for one in self._open if one.after is None]
        waiting = self.store.waiting(items) if items else set()
        took_place: set[str] = set()
        # One commit may move an entry several times: the last state says that all of them took place.
        for one in reversed(self._open):
            if one.after is None:
                one.happened = one.key not in waiting
            else:
                one.happened = one.key in took_place or _same_state(states[one.key], one.after)
                if one.happened:
                    took_place.add(one.key)
        settled, self._open = self._open, []
        for one in settled:
            if one.happened:
                one.done()

    def _say(self, one: _Batched) -> None:
        if logger.isEnabledFor(logging.INFO):
            assert one.nominal is not None
            late = (self.now() - act_at(one.entry, one.nominal)) / 1000 if not one.entry.jitter else None
            logger.info(
                "Scheduler: Sending due task %s (%s) id=%s%s",
                one.entry.name, one.entry.task, one.id, "" if late is None else f" {late:.1f} ms late",
            )  # fmt: skip

    # --- who wants to know ---

    def _tell(self, one: _Batched, term: Term) -> None:
        at, name, missed = self.now() / MICROS, one.entry.name, one.missed
        if missed is not None:
            hooks.emit(hooks.Missed(at, name, missed.first / MICROS, missed.last / MICROS, missed.count, missed.why))
        if one.nominal is None:
            return
        if not one.occurrence.pushes:
            hooks.emit(hooks.Skipped(at, name, "published nothing"))
        elif not one.items:  # else it is sent when the broker has accepted it
            hooks.emit(hooks.Sent(at, name, one.entry.task, one.nominal / MICROS, one.id, term.epoch, one.how))

    def _accepted(self, item: Item) -> None:
        """The broker has accepted a message; called by the publisher."""
        said = logger.isEnabledFor(logging.INFO)
        if not said and not hooks.listening():
            return
        task = item.task or str(json.loads(item.call)["headers"].get("task", ""))
        if said:
            late = (self.now() - (item.due or item.nominal)) / 1000
            logger.info("Scheduler: Sending due task %s (%s) id=%s %.1f ms late", item.name, task, item.task_id, late)
        if not hooks.listening():
            return
        row = dict(zip(item.row[::2], item.row[1::2], strict=False))
        hooks.emit(
            hooks.Sent(
                self.now() / MICROS, item.name, task, item.nominal / MICROS, item.task_id, int(row.get("epoch", 0)),
                row.get("how"),
            )
        )  # fmt: skip

    def _refused(self, item: Item, why: str) -> None:
        """The broker has not accepted a message; called by the publisher."""
        self._tell_failed(item.name, "publish", why)

    def _tell_failed(self, name: str, step: str, why: str) -> None:
        if hooks.listening():
            hooks.emit(hooks.Failed(self.now() / MICROS, name, step, why))

    # --- what goes wrong with one entry ---

    def _failed(
        self, term: Term, item: DueItem, state: State, entry: Entry, nominal: int, exc: BaseException, step: str
    ) -> None:
        """It did not compute or render: noted in quarantine, and tried again after a pause."""
        self._flush(term)
        pause = retry_pause(state.attempts + 1)
        done = "rendered" if step == "render" else "computed"
        said = traceback_of(exc) if state.attempts == 0 else mask(repr(exc))
        logger.error(
            "Entry %r could not be %s: %s. Nothing of it was sent; it is tried again in %.1f s. Others go on.",
            item.name, done, said, pause / MICROS,
        )  # fmt: skip
        now = self.now()
        report = compact({"error": mask(repr(exc))[:2000], "at": now, "step": step, "epoch": term.epoch})
        row = [*self._row("failed", item.name, nominal, "", term, ""), "why", mask(repr(exc))[:300]]
        then = replace(state, attempts=state.attempts + 1).text()
        self.store.quarantine(term.fence, item.name, item.state or "", report, now + pause, then, row)
        self._bad.add(item.name)
        self._tell_failed(item.name, step, mask(repr(exc)))

    def _set_aside(self, term: Term, name: str, state: str, definition: str | None, why: str) -> None:
        """It does not decode: it leaves `due`, and is kept whole in quarantine until the next term or edit."""
        logger.error("Entry %r is set aside: %s. It is kept in quarantine; all others go on.", name, mask(why))
        report = compact(
            {"error": mask(why)[:2000], "at": self.now(), "step": "decode", "definition": definition,
             "epoch": term.epoch}
        )  # fmt: skip
        row = ["is", "failed", "entry", name, "epoch", term.epoch, "why", mask(why)[:300]]
        self.store.quarantine(term.fence, name, state, report, None, "", row)
        self._bad.add(name)
        self._tell_failed(name, "decode", mask(why))

    # --- rows and heartbeats ---

    def _row(self, what: str, name: str, nominal: int, id_: str, term: Term, how: str = "") -> list[Any]:
        row: list[Any] = ["is", what, "entry", name, "nominal", nominal, "epoch", term.epoch, "by", self.lease.owner]
        if id_:
            row += ["id", id_]
        if how:
            row += ["how", how]
        return row

    def _missed_row(self, entry: Entry, missed: Missed, term: Term) -> list[Any]:
        return [
            "is", "missed", "entry", entry.name, "from", missed.first, "to", missed.last, "count", missed.count,
            "epoch", term.epoch, "by", self.lease.owner, "why", missed.why,
            *(("least", 1) if missed.at_least else ()),
        ]  # fmt: skip

    def heartbeat(self, role: str, term: Term | None) -> str:
        """What this replica says of itself."""
        return compact(
            {
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "version": __version__,
                "role": role,
                "epoch": term.epoch if term else None,
                "at": self.now(),
                "ttl": self.lease.ttl,
                "skew": self.lease.clock.skew,
                "delivery": "commit" if self.renderer.direct else "outbox",
                "sent": self.sent_total,
                "rendered": self.express.reasons.summary(),
                "broker": self.publisher.failing or self.unproved,
                "refused": self.publisher.refused(),
            }
        )


def _reinstated(name: str, stored: Stored, now: int) -> Edit:
    """Put an entry that was set aside back where it belongs; raises when it is still bad."""
    assert stored.definition is not None
    state = parse_state(stored.state)
    entry = decode(name, stored.definition, state)
    if state is None or (state.uid, state.revision) != (entry.uid, entry.revision):
        state = State(entry.uid, entry.revision, first_slot(entry, now))
    when = DROP
    if entry.enabled and state.nominal is not None:
        when = score(max(now, act_at(entry, state.nominal)))
    return Edit(name, stored.state or ANY, state=replace(state, attempts=0).text(), score=when)


def _same_state(state: str | None, after: str) -> bool:
    """Whether a commit has left an entry so; an edit since may have raised its revision."""
    found, left = parse_state(state), parse_state(after)
    return found == left if found is None or left is None else replace(found, revision=left.revision) == left


def _at(heartbeat: str) -> int | None:
    """When a heartbeat was made, in Redis's time."""
    try:
        return int(json.loads(heartbeat)["at"])
    except (ValueError, KeyError, TypeError):
        return None


def retry_pause(attempts: int) -> int:
    """Microseconds before attempt number *attempts* + 1: a second, then ever more, a minute at most.

    >>> retry_pause(1)
    1000000
    """
    return min(RETRY_LIMIT, MICROS << min(max(attempts, 1) - 1, 10))


def prune_beats(store: Store, now: int, after: int = 3600 * MICROS) -> None:
    """Forget the heartbeats of replicas that were last heard of long ago."""
    gone: list[str] = []
    for token, text in store.beats().items():
        try:
            old = now - int(json.loads(text)["at"]) > after
        except (ValueError, KeyError, TypeError):
            old = True
        if old:
            gone.append(token)
    store.forget_beats(gone)
