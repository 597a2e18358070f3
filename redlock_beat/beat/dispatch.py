"""From due to sent: due entries and manual items become messages, and messages are committed.

"Sent" means in the queue, or for another broker in the outbox. A turn reads what is due, plans the slots of each entry
by its policies, makes their messages and commits them in batches. A burst is one turn: while Redis commits one batch,
beat makes the next of what came with the answer to the one before (see ``commits``). What takes long or has failed
before comes after everything else. An entry that does not decode, compute or render goes to quarantine with the
reason and is tried again, and all others are on time.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..clock import MICROS, monotonic
from ..entries.state import parse_state
from ..errors import BrokerAway
from ..messages.renderer import Renderer
from ..settings import Settings
from ..store.store import Store
from ..store.values import CommitItem, Due, DueItem
from .broker import Broker
from .commits import Commits
from .countdowns import Countdowns
from .due_entries import DueEntries
from .failures import Failure
from .holding import Holding
from .lease import Lease, Term
from .lookahead import LookAhead, Page
from .making import Maker
from .manual import Manual
from .outbox import Outbox
from .overlap import Canceller
from .publisher import Publisher
from .quarantine import Quarantine, retry_pause
from .reader import Reader
from .recorder import Recorder
from .refusing import Refusing
from .usercode import UserCode

#: Seconds that a burst, and what it has put off, may take before the loop does anything else.
SPAN = 0.4
#: Entries that a burst puts off at most.
PUT_OFF = 10_000
#: A turn ends after so many failed attempts, or after one and so many seconds: entries that work must not wait.
FAILURES, FAILING_SPAN = 200, 0.1


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn did, and when to take the next."""

    now: int
    next_at: int | None
    sent: int
    #: Whether something was due: then the next turn follows at once.
    busy: bool
    #: Whether the outbox is full: then the next turn follows in a moment.
    blocked: bool


class Dispatcher:
    """Sends what is due while a term lasts."""

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
        self.recorder = Recorder(self.now)
        publisher.outcomes.on_published = self.recorder.accepted
        publisher.outcomes.on_refused = self.recorder.refused
        self.reader = Reader(store, lease, self._facts)
        self.commits = Commits(
            settings, store, lease, self.reader.pulse, self._committed, self._refused, self._overlapped
        )
        self.code = UserCode(settings, store, lease, lambda term: self.commits.flush())
        self.maker = Maker(lease, renderer, self.code)
        self.messages = self.maker.messages
        self.quarantine = Quarantine(store, self.code, self.recorder, lease.owner, self.commits.flush)
        self.outbox = Outbox(store, lease, publisher)
        self.canceller = Canceller(renderer.app, store, settings)
        self.refusing = Refusing(store, publisher, self.now)
        self._ahead = LookAhead()
        self.entries = DueEntries(settings, store, self.maker, self.commits, self.quarantine, self._ahead)
        self.manual = Manual(settings, store, self.maker, self.commits, self.recorder, self._ahead, self.refusing)
        self.countdowns = Countdowns(settings, store, lease, renderer, publisher.submit, self.recorder)
        # Whether a turn failed: the outbox may then hold items that the publisher does not know.
        self._unsure = False
        # Whether messages go to this Redis itself, not to the outbox; and how long the outbox may become.
        self._direct = False
        self._outbox_limit = 0
        # Entries that were in quarantine and work again.
        self._recovered: list[str] = []
        self.holding = Holding(store, publisher, self.now)

    # --- a term and its turns ---

    @property
    def sent_total(self) -> int:
        """Occurrences sent or claimed since the process began."""
        return self.recorder.sent_total

    def now(self) -> int:
        """Redis's time: what Redis last said, and what the monotonic clock has counted since; never ahead of it."""
        return self.lease.clock.at_least()

    def begin(self, term: Term) -> None:
        """Begin a term: learn the slow entries, take over the outbox, try again what is in quarantine."""
        self.commits.settle(term)
        self.reader.begin()
        self.manual.begin()
        self.recorder.begin()
        self.code.learn()
        self._recovered.clear()
        self.holding.begin()
        self.publisher.lead(term)
        self.outbox.take_over(term)
        self.canceller.begin()
        self._unsure = False
        self.quarantine.begin(term)

    def turn(self, term: Term) -> Turn:
        """Send what is due now."""
        try:
            if self._unsure:
                self.commits.settle(term)
                self.countdowns.settle(term)
                self.outbox.take_over(term)
                self.canceller.begin()
                self._unsure = False
            return self._send(term)
        except BaseException:
            self._unsure = True  # a reply was lost, perhaps that of a claim, or is not read
            raise
        finally:
            self.recorder.say_failures()

    def only_look(self, term: Term) -> Turn:
        """Read what is due and send nothing: beat does not know yet which way messages go."""
        due = self.reader.read(term, 0)
        held = self.holding.saw(term, due)
        return Turn(due.now, self.holding.again(due) if held else None, 0, busy=False, blocked=False)

    def _send(self, term: Term) -> Turn:
        self.maker.begin(term)
        self._direct = self.messages.prepare()
        if self.renderer.stale:
            raise BrokerAway("beat has not proved the broker's new connection yet")
        self.manual.bring_forward(term)
        in_hand = self.publisher.outstanding()
        self.refusing.begin()
        # What the broker refuses does not take the room of other entries.
        self._outbox_limit = self.settings.outbox_limit + self.publisher.at_fault()
        limit = 2 * self.commits.size
        if not self._direct:  # about as many as there is room for; how much that is, Redis says
            limit = max(1, min(limit, self._outbox_limit - in_hand))
        due = self.reader.read(term, limit)
        if self.holding.saw(term, due):
            return Turn(due.now, self.holding.again(due), 0, busy=False, blocked=False)
        self.outbox.watch(term, due.outbox, in_hand)
        found = bool(due.entries or due.manual)
        self._has_room(due)
        if (found or due.countdowns_due) and self.maker.room == 0:
            return Turn(due.now, due.next_at, 0, busy=False, blocked=True)
        self.recorder.turn()
        if found:
            self._send_found(term, due)
        if due.countdowns_due:
            self.countdowns.send(term, self.reader.pulse(term), self.broker.db, self.maker.room)
        self.quarantine.acquit(self._recovered)
        self._recovered.clear()
        more = self.quarantine.give_second_chances(term)
        busy = found or bool(due.countdowns_due) or more
        return Turn(due.now, due.next_at, self.recorder.sent, busy=busy, blocked=False)

    def _send_found(self, term: Term, due: Due) -> None:
        self.entries.begin({*self.code.slow, *self.quarantine.names, *self.refusing.faults})
        self.quarantine.forget()
        self.manual.turn(term.epoch, due.now)
        try:
            with _uncollected():
                self.commits.begin(term, self.broker.db)
                self._burst(term, due)
                self._rest(term)
                self.quarantine.note()
                self.commits.flush()
        finally:
            self.commits.end()
        self.manual.note(term)
        self.code.watch.rest()

    # --- the burst, and what it has put off ---

    def _burst(self, term: Term, due: Due) -> None:
        """Send what is due, page after page, and put off what may take long."""
        commits, until, size = self.commits, monotonic() + SPAN, self.commits.size
        pages = deque([Page(due.entries[:size], due.manual[:size]), Page(due.entries[size:], due.manual[size:])])
        more = due.backlog > len(due.entries) + len(due.manual)
        self._ahead.begin()
        while pages or commits.under_way:
            if pages:
                self._page(pages.popleft())
                put_off = len(self.entries.put_off) + len(self.manual.put_off)
                more = more and put_off < PUT_OFF and not commits.forgotten and monotonic() < until
                if commits.ready or (more and not pages and not commits.under_way):
                    self._send_and_look(pages, more)
            if commits.under_way and (len(commits.under_way) > 1 or not pages):
                commits.read()
            while commits.arrived:
                self._arrived(term, *commits.arrived.popleft(), pages)
            if commits.forgotten:
                pages.clear()

    def _send_and_look(self, pages: deque[Page], more: bool) -> None:
        """Commit what is ready and, if *more* may be due, ask what is due after all that beat has already."""
        size, room = self.commits.size, self.maker.room
        asked = 0 if not more else size if room is None else min(size, room)
        self.commits.send(asked, self._ahead.skip(pages, self.commits.asked))

    def _arrived(self, term: Term, due: Due, asked: int, pages: deque[Page]) -> None:
        self.reader.looked(due, term)
        self._has_room(due)
        self._ahead.saw(due, asked)
        page = self._ahead.fresh(due, pages, self.commits.items())
        if page:
            pages.append(page)

    def _page(self, page: Page) -> None:
        self.maker.hurry()
        now = self.now()
        for waiting in self.manual.found(page.waiting):
            if self.maker.full:
                return
            self.manual.send(waiting, now)
        for item in self.entries.readable(page.entries):
            if self.maker.full:
                return
            self.entries.send(item, now)

    def _rest(self, term: Term) -> None:
        """Send what the burst has put off: first what never failed, last what is slow and runs alone."""
        self.maker.take_time()
        items = self.entries.take_put_off()
        items = self.refusing.put_off(term, items)
        if self.code.slow and (items or self.manual.put_off):
            self.code.learn()  # an edit since then gives a slow entry another chance
        began, failures = monotonic(), self.recorder.failures
        before, until = len(failures), began + FAILING_SPAN
        for item in _in_order(items, self.code.slow):
            if self.commits.forgotten or self.maker.full or monotonic() - began > SPAN:
                break
            self.entries.send(item, self.now())
            failed = len(failures) - before
            if failed >= FAILURES or (failed and monotonic() > until):
                break
        self.manual.send_put_off(began + SPAN)

    def _has_room(self, due: Due) -> None:
        """Compute how many more the outbox takes, besides what it has and what is under way."""
        used = due.outbox + self.commits.in_flight
        self.maker.room = None if self._direct else max(0, self._outbox_limit - used)

    # --- what became of it ---

    def _committed(self, items: list[CommitItem], epoch: int) -> None:
        """Note what was committed."""
        self.recorder.committed(items, epoch)
        self.publisher.submit([one for item in items if item.claimed for one in item.claimed])
        self.manual.sent(items)
        names = self.quarantine.names
        if names:
            self._recovered += [item.occurrence.name for item in items if item.occurrence.name in names]

    def _refused(self, item: CommitItem, why: str) -> None:
        """Note an item whose queue took nothing: beat tries again later."""
        one, now = item.occurrence, self.now()
        state = parse_state(item.state)
        again = item.retry or now + retry_pause(state.attempts + 1 if state else 1)
        self.recorder.failed(Failure(one.name, "enqueue", why, (again - now) / MICROS))
        if item.retry is not None:
            self.manual.hold(one.name, one.uid, one.revision, again)

    def _overlapped(self, item: CommitItem, what: str, why: str) -> None:
        """A run of an item's entry is under way: the item is skipped, or waits, or that run is cancelled."""
        if what == "cancels":
            self.canceller.cancel(why, item.overlap is not None and item.overlap.terminate)
        else:
            self.recorder.overlapped(item, what, why)

    def _facts(self) -> dict[str, Any]:
        """What a heartbeat says about sending."""
        return {
            "delivery": "commit" if self.renderer.direct else "outbox",
            "sent": self.recorder.sent_total,
            "rendered": self.messages.reasons.summary(),
            "broker": self.publisher.failing or self.broker.unproved,
            "refused": self.publisher.refused(),
        }


@contextmanager
def _uncollected() -> Iterator[None]:
    """No garbage is looked for: what a turn makes is freed as it is sent, and a look through all else takes 0.1 s."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _in_order(items: list[DueItem], slow_ones: Container[str]) -> list[DueItem]:
    fresh: list[DueItem] = []
    failing: list[DueItem] = []
    slow: list[DueItem] = []
    for item in items:
        fine = item.state.endswith(" 0")
        (slow if item.name in slow_ones else fresh if fine else failing).append(item)
    # The oldest and the newest in turn, so that a turn that ends early has sent some of what came last, too.
    half = (len(fresh) + 1) // 2
    fresh[::2], fresh[1::2] = fresh[:half], fresh[half:][::-1]
    return fresh + failing + slow
