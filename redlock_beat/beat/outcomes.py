"""What became of a message, and of the broker: said, noted, and answered by a pause."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable

from ..clock import monotonic
from ..errors import mask
from ..store.client import TROUBLE, Pauses
from ..store.item import Item
from ..store.store import Store
from .backlog import Backlog
from .confirms import BLOCKED, NoRoute
from .faults import Faults, row_of

logger = logging.getLogger("redlock_beat")

#: The longest pause of an item under which connections are lost: perhaps it was the broker, after all.
LOSS_PAUSE = 10.0
#: Connections lost under a message until it counts as the reason, whatever else the broker takes.
LOSSES = 3


class Outcomes:
    """The answers of the broker, and its silence."""

    def __init__(self, store: Store, backlog: Backlog, faults: Faults, longest_pause: float) -> None:
        #: Whether the broker refuses at present, and why.
        self.failing: str | None = None
        #: Nothing is published before this time (monotonic).
        self.retry_at = 0.0
        self.on_published: Callable[[Item], None] | None = None
        self.on_refused: Callable[[Item, str], None] | None = None
        self.store = store
        self._backlog = backlog
        self._faults = faults
        # Messages the broker has taken since the process began.
        self._taken = 0
        self._pauses = Pauses(longest_pause)

    # --- one message ---

    def unknown(self, item: Item, exc: Exception) -> None:
        """At most once: it is taken out already, so it is not repeated."""
        self._backlog.gone(item)
        if isinstance(exc, NoRoute):
            self.note(item, "failed", exc)
            said = "the broker has no queue for %s (%s)"
        else:
            self.note(item, "unknown", exc)
            said = "the broker's answer to %s is unknown (%s)"
        logger.warning(f"Entry %r: {said}; at_most_once, so it is not repeated.", item.name, item.task_id, mask(exc))

    def accepted(self, item: Item) -> None:
        """The broker has taken it."""
        self._taken += 1
        self._backlog.done(item)
        if self.failing is not None:
            self._well()
        self._pauses.reset()
        if self.on_published is not None:
            with contextlib.suppress(Exception):
                self.on_published(item)

    def at_fault(self, item: Item, exc: BaseException, longest: float | None = None) -> None:
        """The broker refuses this very message: it is tried again by itself, its entry's others behind it."""
        if item.term is not self._backlog.term:
            return
        said = mask(f"{type(exc).__name__}: {exc}")
        pause = self._faults.add(item, said, longest)
        if pause is None:
            return
        self.note(item, "failed", exc)
        self._tell_refused(item, said)
        logger.warning(
            "Entry %r: the broker refused the message %s (%s); it is tried again in %.0f s. The entry sends nothing "
            "more until the broker takes it. Other entries go on.",
            item.name, item.task_id, said, pause,
        )  # fmt: skip

    def note(self, item: Item, what: str, exc: BaseException) -> None:
        """A row in the ledger, if Redis takes it."""
        with contextlib.suppress(*TROUBLE):
            self.store.outbox_done([("-", False, row_of(item, what, f"{type(exc).__name__}: {exc}"))])

    def _tell_refused(self, item: Item, why: str) -> None:
        if self.on_refused is not None:
            with contextlib.suppress(Exception):
                self.on_refused(item, why)

    # --- the broker is away, or reads nothing ---

    def away(self, exc: BaseException) -> None:
        """It cannot be reached."""
        self._refuses(exc)
        item = self._backlog.peek()
        if item is not None:
            self._tell_refused(item, mask(f"{type(exc).__name__}: {exc}"))

    def lost(self, items: list[Item], exc: Exception) -> None:
        """The connection was lost under these."""
        alone = items[0] if len(items) == 1 else None
        if alone is not None and alone.losses and (alone.losses >= LOSSES - 1 or alone.lost_at < self._taken):
            # So often, though connecting works; or again, and others were taken since: the broker is well.
            self.at_fault(alone, exc, LOSS_PAUSE)
            self.pause()
            return
        for item in items:
            item.losses, item.lost_at, item.alone = item.losses + 1, self._taken, True
        # One that was alone has had its turn: perhaps it is why, and another one will tell.
        self._backlog.put_back(items, last=alone is not None)
        self._refuses(exc)
        if items:
            self._tell_refused(items[0], mask(f"{type(exc).__name__}: {exc}"))

    def pause(self) -> None:
        """Redis or the broker was silent: wait a little longer each time."""
        self.retry_at = monotonic() + self._pauses.next()

    def _refuses(self, exc: BaseException) -> None:
        pause = self._pauses.next()
        self.retry_at = monotonic() + pause
        said = mask(f"{type(exc).__name__}: {exc}")
        if self.failing is None:
            logger.warning(
                "The broker refuses: %s. %d messages wait in the outbox; trying again in %.2f s, then less often.",
                said, self._backlog.waiting(), pause,
            )  # fmt: skip
        self.failing = said

    def reads(self, reads: bool) -> None:
        """Whether the broker reads what is written to it."""
        if reads:
            if self.failing == BLOCKED:
                self._well()
        elif self.failing != BLOCKED:
            self.failing = BLOCKED
            logger.warning(
                "The broker takes no messages: %s. %d wait in the outbox. Nothing more is published until the broker "
                "takes messages again.",
                BLOCKED, self._backlog.waiting(),
            )  # fmt: skip

    def _well(self) -> None:
        self.failing = None
        logger.warning("The broker takes messages again.")
