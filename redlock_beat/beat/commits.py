"""Commits on their way to Redis, and what became of each item.

Two batches are under way, so that Redis works while Python reads the answer to the one before and makes the next; each
may also ask what is due after it::

    Python   make A | make B           | read A, make C   | read B, make D   | ...
    Redis           | commit A, due->C | commit B, due->D | commit C, due->E | ...

A batch is at most two scripts: ``commit_many`` for items that are one message for one list, and ``commit``, which deals
with each item by itself, for all others. How long Redis needs for a batch decides how many items the next ones have.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from redis.exceptions import NoScriptError

from ..clock import monotonic
from ..log import log
from ..settings import Settings
from ..store import requests
from ..store.pipeline import Pipeline
from ..store.store import Store
from ..store.values import CommitItem, Due
from . import unanswered
from .lease import Lease, Term

#: Seconds that Redis should need for a batch; the fewest and the most items in one, and the number at first.
AIM, FEWEST, MOST, FIRST = 0.004, 25, 1_000, 200
#: The most items in a batch that are dealt with one by one, which takes longer.
EACH = 200
#: Bytes of messages in one commit, about.
BYTES = 1_000_000
#: One batch in so many is timed, which means waiting for it.
TIMED = 16
#: What a commit says of an item while a run of its entry is under way.
_OVERLAPS = ("skipped", "waits", "cancels")


class Batch:
    """Items of one commit: those that are one message for one list, by that list; and all others."""

    __slots__ = ("began", "lists", "others", "room", "size")

    def __init__(self) -> None:
        self.lists: dict[str, list[CommitItem]] = {}
        self.others: list[CommitItem] = []
        self.size, self.room = 0, BYTES
        #: When it began (monotonic).
        self.began = monotonic()

    def add(self, item: CommitItem, message: bytes | str) -> None:
        """Add an item of which a list gets one message."""
        self.size += 1
        self.room -= len(message)
        group = self.lists.get(item.key)
        if group is None:
            group = self.lists[item.key] = []
        group.append(item)

    def add_other(self, item: CommitItem) -> None:
        """Add any other item."""
        self.size += 1
        self.room -= len(item.message or ())
        self.room -= sum(len(word) for push in item.pushes for word in push if isinstance(word, str))
        self.others.append(item)

    def items(self) -> Iterable[CommitItem]:
        """All items."""
        for group in self.lists.values():
            yield from group
        yield from self.others


@dataclass(slots=True)
class _Sent:
    """A batch whose answer is not read yet."""

    batch: Batch
    started: float
    #: How many of what is due next it asks for; 0 when it does not ask.
    asked: int
    #: Whether beat measures how long Redis needs for it.
    timed: bool


class Commits:
    """The commits of one leader."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        lease: Lease,
        heartbeat: Callable[[Term], str],
        committed: Callable[[list[CommitItem], int], None],
        refused: Callable[[CommitItem, str], None],
        overlapped: Callable[[CommitItem, str, str], None],
    ) -> None:
        self.settings = settings
        self.store = store
        self.lease = lease
        #: Makes the pipeline; tests put another one here.
        self.pipeline: Callable[[object, set[str], str], Pipeline] = Pipeline
        #: Items in a batch, as of now.
        self.size = FIRST
        #: What is due next, as it came with the answers to commits; and how many each had asked for.
        self.arrived: deque[tuple[Due, int]] = deque()
        self.under_way: deque[_Sent] = deque()
        #: Whether Redis has forgotten the scripts: then this turn sends nothing more.
        self.forgotten = False
        self._heartbeat = heartbeat
        self._committed = committed
        self._refuse = refused
        self._overlapped = overlapped
        self._batch = Batch()
        self._term: Term | None = None
        self._broker_db = 0
        self._pipeline: Pipeline | None = None
        self._loaded: set[str] = set()
        self._count = 0
        self._refused: list[CommitItem] = []
        # Items whose commit has no answer, with their term.
        self._open: list[tuple[CommitItem, int]] = []

    # --- a turn ---

    def begin(self, term: Term, broker_db: int) -> None:
        """Begin a turn; nothing is left of the one before."""
        self._term, self._broker_db = term, broker_db
        self._batch, self._refused = Batch(), []
        self.under_way.clear()
        self.arrived.clear()
        self.forgotten = False
        self._pipeline = self.pipeline(self.store.client, self._loaded, self.store.keys.lease)
        self._pipeline.load("commit_many", "commit", "due")

    def end(self) -> None:
        """End the turn. What has no answer until now is settled later."""
        assert self._term is not None
        for sent in self.under_way:
            self._open += [(item, self._term.epoch) for item in sent.batch.items()]
        self.under_way.clear()
        if self._pipeline is not None:
            self._pipeline.close()
            self._pipeline = None
        if self.forgotten:
            log.debug("scripts.forgotten", "Redis has forgotten the scripts; beat loads them and takes the turn again.")

    # --- sending ---

    @property
    def ready(self) -> int:
        """Items that are ready and not sent yet."""
        return self._batch.size

    @property
    def in_flight(self) -> int:
        """Items that are ready or under way."""
        return self._batch.size + sum(sent.batch.size for sent in self.under_way)

    @property
    def asked(self) -> int:
        """How many of what is due next were asked for, without an answer yet."""
        return sum(sent.asked for sent in self.under_way)

    def items(self) -> Iterator[CommitItem]:
        """Items that are ready or under way."""
        for sent in self.under_way:
            yield from sent.batch.items()
        yield from self._batch.items()

    @property
    def age(self) -> float:
        """Seconds since the last batch was sent."""
        return monotonic() - self._batch.began

    def add(self, item: CommitItem) -> None:
        """Commit an item, together with others."""
        batch, message = self._batch, item.message
        if message is None or item.alone or item.rows:
            batch.add_other(item)
        else:
            batch.add(item, message)
        # A page has as many items as a batch shall have, and may bring some more.
        if batch.size > 2 * self.size or batch.room < 0 or len(batch.others) >= EACH:
            self.send()

    def send(self, asked: int = 0, skip: tuple[int, int] = (0, 0)) -> None:
        """Send what is ready, and ask for *asked* of what is due after the first *skip*."""
        assert self._pipeline is not None
        assert self._term is not None
        self._count += 1
        timed = self._count % TIMED == 1 and bool(self._batch.lists)
        while len(self.under_way) > (0 if timed else 1):
            self.read()
        batch = self._batch
        if self.forgotten or not (batch.size or asked):
            return
        self._batch = Batch()
        sent = _Sent(batch, monotonic(), asked, timed)
        commands = [self._pipeline.request(one) for one in self._requests(batch, asked, skip)]
        self.under_way.append(sent)
        self._pipeline.send(*commands)
        if timed:
            self.read()

    def _requests(self, batch: Batch, asked: int, skip: tuple[int, int]) -> Iterator[requests.Request[Any]]:
        assert self._term is not None
        fence, keys, size, db = self._term.fence, self.store.keys, self.settings.ledger_size, self._broker_db
        beat = self.lease.token, self._heartbeat(self._term), self.lease.owner
        if batch.lists:
            yield requests.commit_many(keys, fence, batch.lists, size, db, beat)
        if batch.others:
            yield requests.commit(keys, fence, batch.others, size, db, beat)
        if asked:
            yield requests.due(keys, fence, asked, self.lease.token, "", skip)

    def flush(self) -> None:
        """Send what is ready, and wait for all answers."""
        while (self._batch.size or self.under_way) and not self.forgotten:
            self.send()
            while self.under_way:
                self.read()

    def measured(self, size: int, took: float) -> None:
        """Redis has needed so long for so many: compute how many a batch has from now on."""
        if size >= FEWEST:
            aim = max(0.5, min(1.5, AIM / max(took, 1e-6) * size / self.size))
            self.size = max(FEWEST, min(MOST, round(self.size * aim)))

    # --- answers ---

    def read(self) -> None:
        """Read what became of the batch that was sent first, and what is due next if it asked."""
        assert self._term is not None
        sent = self.under_way[0]
        batch, answered = sent.batch, False
        if batch.lists:
            many = self._answer()
            lists, batch.lists = batch.lists, {}
            if many is not None:
                self._trust(sent, answered)
                answered = True
                self._account([one for group in lists.values() for one in group], *many)
        if batch.others:
            each = self._answer()
            others, batch.others = batch.others, []
            if each is not None:
                self._trust(sent, answered)
                answered = True
                self._account_each(others, each)
        if sent.timed:
            self.measured(batch.size, monotonic() - sent.started)
        found = self._answer() if sent.asked else None
        self.under_way.popleft()
        if found is not None:
            self._trust(sent, answered or bool(found.hold))
            self.arrived.append((found, sent.asked))
        refused, self._refused = self._refused, []
        for item in refused:  # each is tried by itself, and fails or waits by itself
            item.alone = True
            self.add(item)

    def _trust(self, sent: _Sent, answered: bool) -> None:
        """A script of a batch has run, and so has renewed the term."""
        if not answered and self._term is not None:
            self.lease.trust(self._term, sent.started)

    def _answer(self) -> Any:
        """The next answer; None when Redis had forgotten the script, and did nothing."""
        assert self._pipeline is not None
        try:
            return self._pipeline.read()
        except NoScriptError:
            self.forgotten = True
            return None

    def _account(self, items: list[CommitItem], letters: str, _why: str) -> None:
        assert self._term is not None
        done = []
        for item, letter in zip(items, letters, strict=True):
            if letter == "o" or letter == "c":
                done.append(item)
            elif letter == "k":
                self._overlapped(item, "skipped", "another run")
            elif letter == "f" or letter == "h":  # its list takes nothing, or a run of its entry is under way
                self._refused.append(item)
            else:
                self._stale(item)
        self._committed(done, self._term.epoch)

    def _account_each(self, items: list[CommitItem], results: list[str]) -> None:
        assert self._term is not None
        done = []
        for item, result in zip(items, results, strict=True):
            word, _, why = result.partition(": ")
            if word in ("ok", "cancels"):
                done.append(item)
            elif word == "stale":
                self._stale(item)
            elif word == "failed":
                self._refuse(item, why)
            if word in _OVERLAPS:
                self._overlapped(item, word, why)
        self._committed(done, self._term.epoch)

    def _stale(self, item: CommitItem) -> None:
        words = "Entry %(entry)r changed while it was being sent; beat looks at it again."
        log.debug("entry.changed", words, entry=item.occurrence.name)

    # --- what was committed although the answer was lost ---

    def settle(self, term: Term) -> None:
        """Find out what was committed although the answer was lost, before anything else moves those entries."""
        # Of another term nobody can tell: another leader may have sent since.
        items = [item for item, epoch in self._open if epoch == term.epoch]
        self._open = [(item, term.epoch) for item in items]
        if items:
            took_place = unanswered.took_place(self.store, items)
            self._open = []
            self._committed(took_place, term.epoch)
