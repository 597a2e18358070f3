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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from .. import __version__, hooks
from ..clock import MICROS, from_score, monotonic, score
from ..entries.codec import compact, decode
from ..entries.entry import Entry
from ..entries.policies import COUNT_SECONDS, Missed, Plan, act_at, next_slot, plan
from ..entries.state import State, parse_state
from ..entries.waiting import ManualItem
from ..errors import BrokerAway, Deposed, InvalidSchedule, Replaced, mask
from ..messages.reasons import OTHERS
from ..messages.renderer import Rendered, Renderer, task_id
from ..recurrence import Once
from ..settings import Settings
from ..store.item import AS_IT_IS, Item, stamp, unstamp
from ..store.store import Store
from ..store.values import ANY, DROP, KEEP, Drop, Due, DueItem, Edit, Occurrence, SetAside, Stored
from .broker import Broker
from .cache import Cache
from .express import BYTES, Express
from .failures import Failure, FailureLog
from .faults import Fault
from .lease import Lease, Term
from .publisher import Publisher
from .usercode import UserCode, UserError

logger = logging.getLogger("redlock_beat")

#: A batch is committed when it is full, or when rendering it has taken so long.
RENDER_SPAN = 0.1
#: Occurrences in one commit of commit.lua, which takes each by itself.
MOST = 200
#: A turn ends after so many failed attempts, or after one and so many seconds: what is good must not wait.
FAILURES, FAILING_SPAN = 200, 0.1
#: Seconds one turn may spend on counting slots that were missed.
COUNTING_SPAN = 0.2
#: Entries whose items by hand are known to fail, at most; and items that come forward in one turn after an edit.
HELD, FORWARD = 10_000, 250
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
    #: When it was to be sent: its slot and jitter.
    act: int | None = None
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


@dataclass(frozen=True, slots=True)
class _Held:
    """What is sent by hand of an entry waits together: one of them was tried, and failed."""

    uid: str
    revision: int
    until: int


class Dispatcher:
    """Sends what is due, on the strength of a term."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        lease: Lease,
        renderer: Renderer,
        publisher: Publisher,
        broker: Broker,
    ) -> None:
        self.settings = settings
        self.store = store
        self.lease = lease
        self.renderer = renderer
        self.publisher = publisher
        self.broker = broker
        publisher.outcomes.on_published = self._accepted
        publisher.outcomes.on_refused = self._refused
        self.cache = Cache(settings.cache_size)
        self.code = UserCode(settings, store, lease, self._flush)
        self.failure_log = FailureLog()
        self.sent_total = 0
        #: Entries there were at the last look; None before the first.
        self.entries: int | None = None
        # The process that answered last; and what the last heartbeat says that is known to stand in Redis.
        self._server = ""
        self._beaten: int | None = None
        #: The configuration's mark, as Redis last said it.
        self.mark = ""
        self._bad: set[str] = set()
        self._silent: set[str] = set()
        self._batch: list[_Batched] = []
        self._batch_began, self._batch_room = 0.0, BYTES
        self._sent, self._turn_at = 0, 0
        # What failed in this turn: to be said; and those of it that are to be noted in quarantine.
        self._failures: list[Failure] = []
        self._aside: list[SetAside] = []
        self._counting = COUNTING_SPAN
        # Entries of which nothing by hand is tried for a while; and those whose items come forward again.
        self._held: dict[str, _Held] = {}
        self._forward: dict[str, int] = {}
        # Those in quarantine, tried again a page a turn.
        self._second_chances: Iterator[None] | None = None
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
            self._render, self._row, publisher.submit, self.cache, self.code.run, self._not_enqueued,
            size=min(200, settings.batch_size),
        )  # fmt: skip

    # --- a new term ---

    def begin(self, term: Term) -> None:
        """A new term: know the slow entries, take over the outbox, give those in quarantine another chance."""
        self._settle(term)
        self._batch.clear()
        self._beaten_at = self._pulse_at = float("-inf")
        self._beaten = None
        self._held.clear()
        self._forward.clear()
        self._bad.clear()
        self.failure_log.begin()
        self.code.learn()
        self.publisher.lead(term)
        self._take_over_outbox(term)
        self._second_chances = self._retry_quarantine(term)

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
                logger.error("Item %r of the outbox cannot be read, so it is never published; it stays there.", item_id)
            self._unreadable = unreadable
            items.sort(key=lambda item: (item.nominal, item.id))
            return items

        found = self.publisher.take_over(load)
        if found:
            logger.info("Publishing %d messages that were waiting in the outbox.", found)
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

    def _retry_quarantine(self, term: Term) -> Iterator[None]:
        """Try what is in quarantine again, a page after each turn: there may be thousands."""
        cursor = ""
        while cursor != "0":
            cursor, reports = self.store.quarantined(cursor or "0")
            self._bad.update(reports)
            names = list(reports)
            for i in range(0, len(names), MOST):
                self._retry_page(term, names[i : i + MOST])
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
                edits.append(self.code.run(term, stored.name, partial(_reinstated, stored, now)))
            except UserError as exc:  # still bad: it stays where it is
                self._failures.append(Failure(stored.name, "decode", repr(exc.cause), None, exc.cause))
        self.code.watch.rest()
        if edits:
            self.store.edit(edits, fence=term.fence, each=True)
        self.store.acquit(*gone)
        self._bad.difference_update(gone)

    def _give_second_chances(self, term: Term) -> bool:
        """Take the next page of the quarantine; whether there may be more."""
        if self._second_chances is None:
            return False
        try:
            next(self._second_chances)
        except StopIteration:
            self._second_chances = None
        except BaseException:
            self._second_chances = self._retry_quarantine(term)  # an iterator that raised is over
            raise
        return self._second_chances is not None

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
        finally:
            failures, self._failures = self._failures, []
            self.failure_log.say(failures)

    def hold(self, term: Term) -> Turn:
        """Look what is due and send nothing of it: where it would go to is not known."""
        due = self._due(term, 0)
        return Turn(due.now, None, 0, busy=False, blocked=False)

    def _send(self, term: Term) -> Turn:
        express = self.express
        express.prepare()
        if self.renderer.stale:
            raise BrokerAway("its connection is another than the one that was proved")
        self._bring_forward(term)
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
        self._sent, self._turn_at, self._counting = 0, due.now, COUNTING_SPAN
        self._batch.clear()  # what a turn that failed has left
        self._aside.clear()
        if due.entries or due.manual:
            manual = due.manual[:room]
            self._manual(term, manual)
            self._flush(term)
            aside = {*self.code.slow, *self._bad, *self._faults} if self.code.slow or self._bad or self._faults else ()
            express.broker_db = self.broker.db
            entries = express.run(term, replace(due, outbox=due.outbox + len(manual)), aside)
            self._entries(term, entries, express.room)
            self._note(term)
            self._flush(term)
            self.code.watch.rest()
        more = self._give_second_chances(term)
        busy = bool(due.entries or due.manual) or more
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
            # Our idea of Redis's time may have been ahead: what is written from now on is not older than Redis says.
            at = _at(heartbeat)
            self._beaten = None if at is None else min(at, due.now)
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

    def _expressed(self, name: str, task: str, nominal: int, id_: str, due: str, term: Term) -> None:
        """An occurrence was sent or claimed by the quick way; *due* is the score at which it was to be sent."""
        self._sent += 1
        self.sent_total += 1
        if not self.express.direct:  # else it is sent when the broker has accepted it
            return
        if logger.isEnabledFor(logging.INFO):
            self._sending(name, task, id_, from_score(due))
        if hooks.listening():
            hooks.emit(hooks.Sent(self.now() / MICROS, name, task, nominal / MICROS, id_, term.epoch))

    def _sending(self, name: str, task: str, id_: str, due: int) -> None:
        late = (self.now() - due) / 1000
        logger.info("Scheduler: Sending due task %s (%s) id=%s %.1f ms late", name, task, id_, late)

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
        """Plan and render what the quick way has left: first what never failed, last what is slow, alone.

        A turn ends after so many failures: there may be thousands, and what is good must not wait for them.
        """
        if self._faults and items:
            items = self._put_off(term, items)
        until, before = monotonic() + FAILING_SPAN, len(self._failures)
        items = self._in_order(items)
        for i in range(0, len(items), MOST):
            for item, state, entry in self._found(term, items[i : i + MOST]):
                if room is not None and room <= 0:
                    return
                planned = self._entry(term, item, state, entry, room)
                if room is not None:
                    room -= planned
                failed = len(self._failures) - before
                if failed >= FAILURES or (failed and monotonic() > until):
                    return

    def _in_order(self, items: list[DueItem]) -> list[DueItem]:
        fresh: list[DueItem] = []
        failing: list[DueItem] = []
        slow: list[DueItem] = []
        for item in items:
            fine = (item.state or "").endswith(" 0")
            (slow if item.name in self.code.slow else fresh if fine else failing).append(item)
        # The oldest and the newest by turns: when the turn is cut short, what came last is not behind all that fails.
        half = (len(fresh) + 1) // 2
        fresh[::2], fresh[1::2] = fresh[:half], fresh[half:][::-1]
        return fresh + failing + slow

    def _found(self, term: Term, items: list[DueItem]) -> list[tuple[DueItem, State, Entry]]:
        """The entries of what is due, in the same order; what does not decode is set aside."""
        states = [parse_state(item.state) for item in items]
        entries = [None if state is None else self.cache.get(item.name, state)
                   for item, state in zip(items, states, strict=True)]  # fmt: skip
        missing = [i for i, state in enumerate(states) if state is not None and entries[i] is None]
        texts = self.store.definitions([items[i].name for i in missing]) if missing else []
        for i, text in zip(missing, texts, strict=True):
            state = states[i]
            assert state is not None
            entries[i] = self._decoded(term, items[i], state, text)
        found = []
        for item, state, entry in zip(items, states, entries, strict=True):
            if state is None:
                self._set_aside(term, item.name, item.state or "", None, "it has no readable state in Redis")
            elif entry is not None:
                found.append((item, state, entry))
        return found

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
        if entry.name in self.code.slow:  # perhaps edited since: an edit gives it another chance
            self.code.learn()
        return entry

    def _entry(self, term: Term, item: DueItem, state: State, entry: Entry, room: int | None) -> int:
        """Plan and render what is due of one entry; how many messages that may be."""
        now = self.now()
        if state.nominal is None:
            self._add(term, self._advance(item, entry, state, [], None, now, None), entry, None, "", [])
            return 0
        try:
            todo, acts = self.code.run(term, entry.name, partial(self._planned, entry, state.nominal, state.count, now))
        except UserError as exc:
            self._failed(term, item, state, entry, state.nominal, exc.cause, "compute")
            return 0
        done = self._occurrences(term, item, state, entry, todo, acts, now, room)
        self.code.done(entry.name)
        return done

    def _planned(self, entry: Entry, nominal: int, count: int, now: int) -> tuple[Plan, dict[int | None, int]]:
        """What to do about what is due of an entry, and when to act on each of its slots."""
        began = monotonic()
        limit, cron_grace = self.settings.catchup_limit, self.settings.cron_grace
        todo = plan(entry, nominal, count, now, limit, cron_grace, min(COUNT_SECONDS, self._counting))
        if todo.missed is not None:
            self._counting = max(0.0, self._counting - (monotonic() - began))
        return todo, {at: act_at(entry, at) for at in (*todo.sends, todo.pending) if at is not None}

    def _occurrences(
        self, term: Term, item: DueItem, state: State, entry: Entry, todo: Plan, acts: dict[int | None, int], now: int,
        room: int | None,
    ) -> int:  # fmt: skip
        rows = [self._missed_row(entry, todo.missed, term)] if todo.missed else []
        missed = todo.missed
        if not todo.sends:
            occurrence = self._advance(item, entry, state, rows, todo.pending, now, acts.get(todo.pending))
            self._add(term, occurrence, entry, None, "", [], missed=missed)
            return 0
        expected, text, before = item.score, item.state or "", state
        coming = (*todo.sends[1:], todo.pending)
        for i, (nominal, following) in enumerate(zip(todo.sends[:room], coming, strict=False)):
            id_ = task_id(self.settings.prefix, entry.uid, nominal)
            here = replace(item, score=expected, state=text)
            try:
                rendered = self._render(term, entry, nominal, id_, self.express.why.get(entry.name, OTHERS))
            except UserError as exc:
                self._failed(term, here, before, entry, nominal, exc.cause, "render")
                return i
            occurrence = self._advance(here, entry, before, rows, following, now, acts.get(following))
            self._fill(occurrence, entry, nominal, id_, rendered, term, "")
            items = self._outbox_items(occurrence, entry, nominal, id_, rendered, term, "")
            self._add(term, occurrence, entry, nominal, id_, items, acts[nominal], missed)
            rows, missed = [], None
            before = replace(before, nominal=following, last=now, count=before.count + 1, attempts=0)
            expected, text = occurrence.score_after, occurrence.state_after
        return len(todo.sends[:room])

    def _advance(
        self, item: DueItem, entry: Entry, state: State, rows: list[list[Any]], following: int | None, now: int,
        act: int | None,
    ) -> Occurrence:  # fmt: skip
        after = replace(state, nominal=following, attempts=0)
        retry = now + retry_pause(state.attempts + 1)
        occurrence = Occurrence(
            name=item.name,
            expected=item.score,
            state=item.state or "",
            score_after="" if act is None else score(act),
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
            occurrence.away = self.broker.db != self.store.keys.db
        if (rendered.direct and not rendered.pushes) or (not rendered.direct and not rendered.calls):
            occurrence.rows.append(self._row("published nothing", entry.name, nominal, id_, term, how))
            if entry.name not in self._silent:
                self._silent.add(entry.name)
                logger.warning(
                    "Entry %r published nothing: its task decided not to send, or used a producer of its own. "
                    "The ledger has each such occurrence; the log says it once.",
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
            item.due, item.task = nominal, entry.task
            occurrence.pushes.append(["HSET", self.store.keys.outbox, item.id, text])
            items.append(item)
        return items

    # --- triggers, backfills, settled slots ---

    def _manual(self, term: Term, waiting: list[tuple[str, str]]) -> None:
        """Send what waits to be sent by hand. Of an entry that fails one is tried, and the others wait with it."""
        drops: list[Drop] = []
        items: list[tuple[str, int, ManualItem]] = []
        for text, due in waiting:
            try:
                items.append((text, from_score(due), ManualItem.parse(text)))
            except ValueError as exc:
                logger.warning(
                    "A trigger or backfilled slot in Redis cannot be read and is dropped: %.200s (%.200s)", text, exc
                )
                row = ["is", "skipped", "epoch", term.epoch, "why", f"a manual item that cannot be read: {text[:200]}"]
                drops.append(Drop(text, row=row))
        names = list(dict.fromkeys(item.entry for _, _, item in items))
        entries = {one.name: self._stored(one) for one in self.store.read(names)[1]} if names else {}
        given_up: dict[str, list[tuple[str, ManualItem]]] = {}
        for text, when, item in items:
            entry = entries[item.entry]
            if isinstance(entry, InvalidSchedule):
                drops.append(self._drop(term, text, item, str(entry), "unreadable"))
            elif entry is None or entry.uid != item.uid:
                drops.append(self._drop(term, text, item, "the entry was removed", "removed"))
            elif item.how == "settled" and not entry.enabled:  # jitter held it back, and then the entry was paused
                drops.append(self._drop(term, text, item, "the entry is paused", "paused"))
            elif (until := self._refused_until(entry.name, State(entry.uid, entry.revision, None))) is not None:
                drops.append(Drop(text, until))
            elif self._waits(entry):
                drops.append(Drop(text, self._held[entry.name].until))
            elif item.entry in given_up and self._again(item) is None:
                given_up[item.entry].append((text, item))
            else:
                drops += self._send_manual(term, text, when, item, entry, given_up)
        for group in given_up.values():
            drops += self._gave_up(term, group)
        self.store.drop_manual(term.fence, drops)

    def _stored(self, stored: Stored) -> Entry | InvalidSchedule | None:
        state = parse_state(stored.state)
        if state is None or stored.definition is None:
            return None
        try:
            return self.cache.get(stored.name, state) or decode(stored.name, stored.definition)
        except InvalidSchedule as exc:
            return exc

    def _waits(self, entry: Entry) -> bool:
        held = self._held.get(entry.name)
        return held is not None and (held.uid, held.revision) == (entry.uid, entry.revision) and held.until > self.now()

    def _send_manual(
        self, term: Term, text: str, when: int, item: ManualItem, entry: Entry,
        given_up: dict[str, list[tuple[str, ManualItem]]],
    ) -> list[Drop]:  # fmt: skip
        now, nominal, how = self.now(), item.nominal, item.how
        again = self._again(item) or now + RETRY_LIMIT
        occurrence = Occurrence(entry.name, text, "", "", KEEP, score(again), KEEP, manual=True)
        if item.missed is not None:
            occurrence.rows.append(self._missed_row(entry, item.missed, term))
        if nominal is None:
            self._add(term, occurrence, entry, None, "", [], missed=item.missed)
            return []
        id_ = task_id(self.settings.prefix, entry.uid, nominal, item.request)
        try:
            rendered = self._render(term, entry, nominal, id_, f"it is sent by hand ({how})")
        except UserError as exc:
            return self._manual_failed(term, text, item, entry, exc.cause, given_up)
        self._fill(occurrence, entry, nominal, id_, rendered, term, how)
        once_more = replace(item, missed=None).text()
        items = self._outbox_items(occurrence, entry, nominal, id_, rendered, term, how, once_more)
        self._add(term, occurrence, entry, nominal, id_, items, when, item.missed, how)
        if entry.name in self._held:  # one is tried, before the others are
            self._flush(term)
        return []

    def _again(self, item: ManualItem) -> int | None:
        """When to try an item again: as old as it is, so long it waits; None when it is given up, after an hour."""
        now = self._turn_at  # the same for all that fail in one turn: they wait together
        age = now - item.at
        return now + min(RETRY_LIMIT, max(MICROS, age)) if age < MANUAL_LIMIT else None

    def _manual_failed(
        self, term: Term, text: str, item: ManualItem, entry: Entry, exc: Exception,
        given_up: dict[str, list[tuple[str, ManualItem]]],
    ) -> list[Drop]:  # fmt: skip
        again = self._again(item)
        pause = None if again is None else (again - self.now()) / MICROS
        self._failures.append(Failure(item.entry, "render", repr(exc), pause, exc, item.how))
        self._tell_failed(item.entry, "render", mask(repr(exc)))
        if again is None:
            given_up[item.entry] = [(text, item)]
            return []
        self._hold(entry, again)
        row = ["is", "failed", "entry", item.entry, "how", item.how, "epoch", term.epoch]
        return [Drop(text, again, [*row, "why", mask(f"it could not be rendered: {exc!r}")[:300]])]

    def _hold(self, entry: Entry, until: int) -> None:
        if len(self._held) >= HELD:
            self._held.clear()
        self._held[entry.name] = _Held(entry.uid, entry.revision, until)

    def _gave_up(self, term: Term, group: list[tuple[str, ManualItem]]) -> list[Drop]:
        """Items of one entry that could not be rendered for an hour, in one row of the ledger."""
        first = group[0][1]
        slots = [item.nominal for _, item in group if item.nominal is not None]
        row = ["is", "failed", "entry", first.entry, "how", first.how, "epoch", term.epoch,
               "why", "it could not be rendered for an hour, and is given up"]  # fmt: skip
        if len(group) > 1:
            row += ["from", min(slots), "to", max(slots), "count", len(group)]
        return [Drop(text, row=row if i == 0 else []) for i, (text, _) in enumerate(group)]

    def _drop(self, term: Term, text: str, item: ManualItem, why: str, reason: str) -> Drop:
        logger.warning("Entry %r: what was to be sent by hand (%s) is dropped: %s", item.entry, item.how, mask(why))
        if hooks.listening():
            hooks.emit(hooks.Skipped(self.now() / MICROS, item.entry, reason))
        row = ["is", "skipped", "entry", item.entry, "how", item.how, "epoch", term.epoch, "why", mask(why)[:300]]
        return Drop(text, row=row)

    def _bring_forward(self, term: Term) -> None:
        """An entry that was edited is tried at once: what waits with it comes forward, a page a turn."""
        if self._held:
            names = list(self._held)[:MOST]
            for name, state in zip(names, map(parse_state, self.store.states(names)), strict=True):
                held = self._held[name]
                if state is None or (state.uid, state.revision) != (held.uid, held.revision):
                    del self._held[name]
                    self._forward[name] = held.until
        for name, until in list(self._forward.items()):
            texts = [text for text in self.store.manual_at(until, FORWARD) if _is_of(text, name)]
            self.store.drop_manual(term.fence, [Drop(text, self.now()) for text in texts])
            if not texts:
                del self._forward[name]

    # --- rendering ---

    def _render(self, term: Term, entry: Entry, nominal: int, id_: str, why: str) -> Rendered:
        """The messages of one occurrence, rendered by themselves; *why* they are not filled in."""
        kept = self.express.kept.pop((entry.name, nominal), None)
        if isinstance(kept, Exception):
            raise UserError(kept)
        if kept is not None:
            return kept
        rendered = self.code.run(term, entry.name, lambda: self.renderer.render(entry, nominal, id_, self.now()))
        reason = self.express.reasons.count(why)
        if hooks.listening():
            hooks.emit(hooks.Rendered(self.now() / MICROS, entry.name, reason))
        return rendered

    # --- the batch ---

    def _add(
        self, term: Term, occurrence: Occurrence, entry: Entry, nominal: int | None, id_: str,
        items: list[Item], act: int | None = None, missed: Missed | None = None, how: str | None = None,
    ) -> None:  # fmt: skip
        if not self._batch:
            self._batch_began, self._batch_room = monotonic(), BYTES
        for item in items:
            item.due = item.due if act is None else act
        self._batch.append(_Batched(occurrence, entry, nominal, id_, items, act, missed, how))
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
                term.fence, [one.occurrence for one in batch], self.broker.db, self.lease.token,
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
                again = from_score(one.occurrence.retry_score)
                self._not_enqueued(one.entry.name, result.removeprefix("failed: "), (again - self.now()) / MICROS)
                if one.how:
                    self._hold(one.entry, again)
        self.publisher.submit(publish)
        self.store.acquit(*recovered)

    def _done(self, one: _Batched, term: Term) -> None:
        """It is committed."""
        if one.nominal is not None:
            self._sent += 1
            self.sent_total += 1
            if not one.items and logger.isEnabledFor(logging.INFO):  # else when the broker has accepted it
                self._sending(one.entry.name, one.entry.task, one.id, one.act or one.nominal)
        if one.how:
            self._held.pop(one.entry.name, None)
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

    def _not_enqueued(self, name: str, why: str, pause: float) -> None:
        self._failures.append(Failure(name, "enqueue", why, pause))
        self._tell_failed(name, "enqueue", mask(why))

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
        self, term: Term, item: DueItem, state: State, entry: Entry, nominal: int, exc: Exception, step: str
    ) -> None:
        """It did not compute or render: noted in quarantine, and tried again after a pause."""
        pause, now = retry_pause(state.attempts + 1), self.now()
        report = compact({"error": mask(repr(exc))[:2000], "at": now, "step": step, "epoch": term.epoch})
        row = [*self._row("failed", item.name, nominal, "", term, ""), "why", mask(repr(exc))[:300]]
        then = replace(state, attempts=state.attempts + 1).text()
        self._put_aside(term, SetAside(item.name, item.state or "", report, row, now + pause, then))
        self._failures.append(Failure(item.name, step, repr(exc), pause / MICROS, exc))
        self._tell_failed(item.name, step, mask(repr(exc)))

    def _set_aside(self, term: Term, name: str, state: str, definition: str | None, why: str) -> None:
        """It does not decode: it leaves `due`, and is kept whole in quarantine until the next term or edit."""
        report = compact(
            {"error": mask(why)[:2000], "at": self.now(), "step": "decode", "definition": definition,
             "epoch": term.epoch}
        )  # fmt: skip
        row = ["is", "failed", "entry", name, "epoch", term.epoch, "why", mask(why)[:300]]
        self._put_aside(term, SetAside(name, state, report, row))
        self._failures.append(Failure(name, "decode", why, None))
        self._tell_failed(name, "decode", mask(why))

    def _put_aside(self, term: Term, one: SetAside) -> None:
        self._aside.append(one)
        self._bad.add(one.name)
        if len(self._aside) >= MOST or sum(len(one.report) for one in self._aside) > BYTES:
            self._note(term)

    def _note(self, term: Term) -> None:
        """Note what failed, all of it in one script; after the commit, for that is what their states follow."""
        aside, self._aside = self._aside, []
        if aside:
            self._flush(term)
            self.store.quarantine(term.fence, aside)

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
                "broker": self.publisher.failing or self.broker.unproved,
                "refused": self.publisher.refused(),
            }
        )


def _is_of(text: str, name: str) -> bool:
    """Whether a manual item is of an entry."""
    try:
        return ManualItem.parse(text).entry == name
    except ValueError:
        return False


def _reinstated(stored: Stored, now: int) -> Edit:
    """Put an entry that was set aside back where it belongs; raises when it is still bad."""
    name = stored.name
    assert stored.definition is not None
    state = parse_state(stored.state)
    entry = decode(name, stored.definition, state)
    if state is None or (state.uid, state.revision) != (entry.uid, entry.revision):
        state = State(entry.uid, entry.revision, next_slot(entry, now))
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
