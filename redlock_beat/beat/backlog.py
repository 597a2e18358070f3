"""The outbox items of one term that this process has in hand, from the claim to the removal.

An item is *known* until the broker has taken it, and *held* while it is under way, or accepted and not yet removed.
Either way this process never publishes it again.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from ..clock import monotonic
from ..errors import mask
from ..log import log
from ..store.client import TROUBLE
from ..store.item import Item
from ..store.store import Store
from .faults import PUT_BACK, Fault, Faults
from .lease import Term

#: Accepted items leave the outbox so many at a time, or when none waits.
ACK_BATCH = 100


class Backlog:
    """Items that wait, in their order; items under way; and items to remove from the outbox."""

    def __init__(self, store: Store, faults: Faults) -> None:
        self.store = store
        self.faults = faults
        #: The term whose items these are; None for nothing at all.
        self.term: Term | None = None
        #: Under way, or accepted and not yet removed.
        self.held: set[str] = set()
        self._queue: deque[Item] = deque()
        self._known: set[str] = set()
        self._done: list[tuple[str, bool, list[Any]]] = []
        # Removed since the outbox was last about to be read, see :meth:`take_over`.
        self._removed: set[str] | None = None

    # --- for the loop ---

    def lead(self, term: Term | None) -> None:
        """Hold the items of this term from now on."""
        self.term = term
        if term is None:
            self._queue.clear()
            self.faults.clear()
            self._known.clear()

    def submit(self, items: list[Item]) -> None:
        """Add these, in this order."""
        for item in items:
            if item.id not in self._known and item.id not in self.held:
                item.term = self.term
                self._known.add(item.id)
                self._queue.append(item)

    def unknown(self, load: Callable[[], list[Item]]) -> list[Item]:
        """The items that *load* reads from the outbox and that are not in hand here."""
        removed: set[str] = set()
        self._removed = removed  # what is removed while it is read is not published once more
        try:
            # In the order in which an item moves on, so that none slips through.
            places = (self._known, self.held, removed)
            return [item for item in load() if not any(item.id in place for place in places)]
        finally:
            self._removed = None

    def waiting(self) -> int:
        """Items not yet accepted."""
        return len(self._queue) + self.faults.count()

    def outstanding(self) -> int:
        """Items not yet accepted, or accepted and not yet removed."""
        return len(self._known | self.held)

    # --- for the publisher's thread ---

    @property
    def empty(self) -> bool:
        """Whether nothing waits but items at fault."""
        return not self._queue

    def peek(self) -> Item | None:
        """The item in front."""
        with contextlib.suppress(IndexError):
            return self._queue[0]
        return None

    def next(self) -> Item | None:
        """The next item of this term; items of an entry at fault wait behind the first of it."""
        while True:
            try:
                item = self._queue.popleft()
            except IndexError:
                return None
            if item.term is self.term and not self.faults.join(item):
                return item

    def put_back(self, items: Iterable[Item], *, last: bool = False) -> None:
        """Put back items that are not published: to the front, or behind all others."""
        for item in reversed(tuple(items)):
            if item.term is not self.term:
                continue  # the new term reads the outbox itself
            fault = self.faults.of(item)
            if fault is not None:
                self.faults.schedule(fault, monotonic() + PUT_BACK)
            elif last:
                self._queue.append(item)
            else:
                self._queue.appendleft(item)

    def gone(self, item: Item) -> None:
        """Forget an item that is not published again; if it was at fault, its entry goes on."""
        self._known.discard(item.id)
        fault = self.faults.of(item)
        if fault is not None:
            fault.items.popleft()
            self.put_back(self.faults.release(item.name, fault))

    def replaced(self, fault: Fault, items: list[Item]) -> None:
        """Forget items of an entry at fault that have left the outbox; the others go on."""
        removed = self._removed
        for item in items:
            if removed is not None:
                removed.add(item.id)
            self._known.discard(item.id)
            fault.items.remove(item)
        self.put_back(self.faults.release(items[0].name, fault))

    # --- out of the outbox ---

    def done(self, item: Item) -> None:
        """The broker has taken an item: remove it from the outbox, with others."""
        self.over(item, item.row)

    def over(self, item: Item, row: list[Any]) -> None:
        """An item has its outcome: remove it from the outbox, with its row of the ledger, whose turn it is then."""
        self.held.add(item.id)
        self.gone(item)
        self._done.append((item.id, True, row))

    @property
    def removed(self) -> bool:
        """Whether everything that the broker has taken has left the outbox."""
        return not self._done

    @property
    def many_done(self) -> bool:
        """Whether there are as many to remove as are removed at a time."""
        return len(self._done) >= ACK_BATCH

    @property
    def much_done(self) -> bool:
        """Whether it is time to remove items."""
        return self.many_done or not self._queue

    def remove(self, *, last: bool = False) -> None:
        """Remove from the outbox what the broker has taken; *last* when nobody tries again after a failure."""
        while self._done:
            batch = self._done[:ACK_BATCH]
            try:
                self.store.outbox_done(batch)
            except TROUBLE as exc:
                log.debug("outbox.not_removed", "Published messages are still in the outbox: %(why)s", why=mask(exc))
                if not last:
                    time.sleep(0.05)
                return
            ids = {item_id for item_id, _, _ in batch}
            removed = self._removed
            if removed is not None:
                removed.update(ids)
            self.held.difference_update(ids)
            del self._done[: len(batch)]
