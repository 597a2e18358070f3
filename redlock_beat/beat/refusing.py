"""Entries of which the broker refuses a message: they send nothing more until the broker takes it."""

from __future__ import annotations

from collections.abc import Callable

from ..clock import MICROS, monotonic
from ..entries.state import parse_state
from ..store.store import Store
from ..store.values import DueItem
from .faults import Fault
from .lease import Term
from .publisher import Publisher


class Refusing:
    """The entries at fault as they are when a turn begins."""

    def __init__(self, store: Store, publisher: Publisher, now: Callable[[], int]) -> None:
        self.store = store
        self.publisher = publisher
        self.now = now
        self.faults: dict[str, Fault] = {}

    def begin(self) -> None:
        """A turn begins."""
        self.faults = self.publisher.faults()

    def put_off(self, term: Term, items: list[DueItem]) -> list[DueItem]:
        """Put off entries at fault, and return the others; `missed` decides about what comes due meanwhile."""
        if not self.faults:
            return items
        left, later = [], []
        for item in items:
            state = parse_state(item.state)
            until = None if state is None else self.until(item.name, state.uid, state.revision)
            if until is None:
                left.append(item)
            else:
                later.append((item.name, item.score, item.state, until))
        self.store.put_off(term.fence, later, ())
        return left

    def until(self, name: str, uid: str, revision: int) -> int | None:
        """When to try an entry again; None when the broker refuses none of its messages."""
        fault = self.faults.get(name)
        if fault is None or uid != fault.uid:
            return None
        if revision != fault.revision:
            self.publisher.hasten(name)
            return None
        return self.now() + round(max(0.5, fault.retry_at - monotonic() + 0.2) * MICROS)
