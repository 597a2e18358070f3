"""Messages at fault: what the broker refuses of each entry, and when to try again.

The first item of an entry at fault is tried again after a pause that grows; its other items wait behind it, in order.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from ..clock import monotonic
from ..entries.state import parse_state
from ..entries.waiting import ManualItem
from ..errors import mask
from ..store.item import AS_IT_IS, Item
from ..store.store import Store
from .lease import Term

#: Entries at fault that the heartbeat names.
SHOWN = 10
#: The longest pause of an item at fault.
ITEM_PAUSE = 60.0
#: Seconds until the next attempt with an item that was put back.
PUT_BACK = 0.25


@dataclass(slots=True)
class Fault:
    """The items of one entry at fault: the first is tried again, the others wait behind it."""

    #: The entry as it was claimed; after an edit the fault no longer applies.
    uid: str
    revision: int
    why: str
    items: deque[Item] = field(default_factory=deque)
    #: When the first is tried again (monotonic).
    retry_at: float = float("inf")


class Faults:
    """The entries at fault. The loop reads it, the publisher's thread writes it."""

    def __init__(self) -> None:
        self._by_entry: dict[str, Fault] = {}
        self._retries: list[tuple[float, str]] = []
        self._hastened: deque[str] = deque()

    def clear(self) -> None:
        """Forget all: the next term reads the outbox itself."""
        self._by_entry = {}

    def current(self) -> dict[str, Fault]:
        """The faults at this moment, by entry."""
        return dict(self._by_entry)

    def count(self) -> int:
        """How many items wait."""
        return sum(len(fault.items) for fault in tuple(self._by_entry.values())) if self._by_entry else 0

    def reasons(self) -> dict[str, str]:
        """Why the broker refuses messages, by entry, for people; a few of them."""
        if not self._by_entry:
            return {}
        return {name: fault.why[:300] for name, fault in sorted(self.current().items())[:SHOWN]}

    # --- an item and the fault of its entry ---

    def of(self, item: Item) -> Fault | None:
        """The fault whose first item this is."""
        fault = self._by_entry.get(item.name)
        return fault if fault is not None and fault.items and fault.items[0] is item else None

    def join(self, item: Item) -> bool:
        """Let an item wait when its entry is at fault; whether it is."""
        fault = self._by_entry.get(item.name)
        if fault is None or (fault.uid, fault.revision) != (item.uid, item.revision):
            return False
        fault.items.append(item)
        return True

    def add(self, item: Item, why: str, longest: float | None = None) -> float | None:
        """The broker refuses an item: the pause before the next attempt, or None when it waits behind another."""
        fault = self._by_entry.get(item.name)
        if fault is not None and fault.items and fault.items[0] is not item:
            fault.items.append(item)
            fault.uid, fault.revision = item.uid, item.revision
            return None
        if fault is None:
            fault = self._by_entry[item.name] = Fault(item.uid, item.revision, why, deque([item]))
        fault.why = why
        item.attempts += 1
        pause: float = min(ITEM_PAUSE if longest is None else longest, 0.5 * 2 ** min(item.attempts, 10))
        self.schedule(fault, monotonic() + pause)
        return pause

    def release(self, name: str, fault: Fault) -> deque[Item]:
        """Remove a fault whose first item is gone; the others, which are no longer at fault."""
        if self._by_entry.get(name) is fault:
            del self._by_entry[name]
        return fault.items

    # --- when ---

    def schedule(self, fault: Fault, at: float) -> None:
        """Try the first item of a fault at this time, not before."""
        fault.retry_at = at
        heapq.heappush(self._retries, (at, fault.items[0].name))

    def hasten(self, name: str) -> None:
        """The entry was edited: try at once what can be rendered anew. Called by the loop."""
        self._hastened.append(name)

    def hurry(self) -> None:
        """Do what :meth:`hasten` asked for. Called by the thread."""
        while self._hastened:
            fault = self._by_entry.get(self._hastened.popleft())
            if fault is not None and fault.items[0].again != AS_IT_IS:
                self.schedule(fault, monotonic())

    def due(self, now: float) -> Fault | None:
        """A fault whose first item is to be tried now."""
        while self._retries and self._retries[0][0] <= now:
            at, name = heapq.heappop(self._retries)
            fault = self._by_entry.get(name)
            if fault is not None and fault.retry_at == at and fault.items:
                return fault
        return None

    def pause(self, now: float) -> float:
        """Seconds until a fault is due; one when there is none."""
        return self._retries[0][0] - now if self._retries else 1.0


# --- an entry that was edited or removed while its message was at fault ---


def outdated(store: Store, item: Item) -> bool:
    """Whether an item's entry was edited or removed since the claim."""
    if not item.uid:
        return False
    state = parse_state(store.state(item.name))
    if state is None or state.uid != item.uid:
        return True
    return state.revision != item.revision and item.again != AS_IT_IS


def replace(store: Store, fault: Fault, term: Term) -> tuple[list[Item], str]:
    """Have items rendered anew, or give them up when their entry is gone: which items, and what the log says."""
    first = fault.items[0]
    state = parse_state(store.state(first.name))
    alike = [item for item in tuple(fault.items) if (item.uid, item.revision) == (first.uid, first.revision)]
    if state is not None and state.uid == first.uid:
        now = store.now()
        store.outbox_again(term.fence, [(item.id, item.stamped, _once_more(item, now), []) for item in alike])
        return alike, "was edited since; they are rendered anew"
    why = f"the entry was removed; the broker refused it: {fault.why}"
    store.outbox_again(term.fence, [(item.id, item.stamped, "", row_of(item, "skipped", why)) for item in alike])
    return alike, "was removed since; they are given up"


def row_of(item: Item, what: str, why: str) -> list[Any]:
    """The ledger row of an item, with another outcome."""
    row = {**dict(zip(item.row[::2], item.row[1::2], strict=True)), "is": what, "why": mask(why)[:300]}
    return [word for pair in row.items() for word in pair]


def _once_more(item: Item, now: int) -> str:
    """The manual item that has an occurrence rendered anew and sent, with the same task id."""
    return item.again or ManualItem(item.name, item.uid, "settled", item.nominal, now).text()
