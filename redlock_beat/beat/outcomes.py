"""What became of a message, and of the broker: the log, the ledger and the pauses."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from ..clock import monotonic
from ..errors import mask
from ..log import log
from ..store.client import TROUBLE, Pauses
from ..store.item import Item
from ..store.store import Store
from .backlog import Backlog
from .confirms import BLOCKED, NoRoute
from .faults import Faults, row_of

#: The longest pause of an item under which connections are lost: perhaps the broker is the reason after all.
LOSS_PAUSE = 10.0
#: After so many lost connections the message counts as the reason, whatever else the broker takes.
LOSSES = 3


class Outcomes:
    """The answers of the broker, and its silence."""

    def __init__(self, store: Store, backlog: Backlog, faults: Faults) -> None:
        #: Why the broker refuses now; None when it does not.
        self.failing: str | None = None
        #: Publish nothing before this time (monotonic).
        self.retry_at = 0.0
        self.on_published: Callable[[Item], None] | None = None
        self.on_refused: Callable[[Item, str], None] | None = None
        self.store = store
        self._backlog = backlog
        self._faults = faults
        # Messages that the broker has taken since the process began.
        self._taken = 0
        self._pauses = Pauses()

    # --- one message ---

    def unknown(self, item: Item, exc: Exception) -> None:
        """At most once, and no answer: beat does not repeat it."""
        if isinstance(exc, NoRoute):
            outcome, what = "failed", "the broker has no queue for %(task_id)s (%(why)s)"
        else:
            outcome, what = "unknown", "the broker's answer to %(task_id)s is unknown (%(why)s)"
        self._backlog.over(item, row_of(item, outcome, f"{type(exc).__name__}: {exc}"))
        words = f"Entry %(entry)r: {what}. Its delivery is at_most_once, so beat does not repeat it."
        log.warning("message.not_repeated", words, entry=item.name, task_id=item.task_id, why=mask(exc))

    def accepted(self, item: Item) -> None:
        """The broker has taken an item."""
        self._taken += 1
        self._backlog.done(item)
        if self.failing is not None:
            self._well()
        self._pauses.reset()
        if self.on_published is not None:
            with contextlib.suppress(Exception):
                self.on_published(item)

    def at_fault(self, item: Item, exc: BaseException, longest: float | None = None) -> None:
        """The broker refuses this very message: try it again alone; the others of its entry wait behind it."""
        if item.term is not self._backlog.term:
            return
        said = mask(f"{type(exc).__name__}: {exc}")
        pause = self._faults.add(item, said, longest)
        if pause is None:
            return
        self.note(item, "failed", exc)
        self._tell_refused(item, said)
        log.warning(
            "message.refused",
            "Entry %(entry)r: the broker refused the message %(task_id)s (%(why)s). Beat tries again in %(pause).0f s; "
            "until the broker takes it the entry sends nothing more. Other entries go on.",
            entry=item.name,
            task_id=item.task_id,
            why=said,
            pause=pause,
        )

    def note(self, item: Item, what: str, exc: BaseException) -> None:
        """Write a row of the ledger, if Redis takes it."""
        with contextlib.suppress(*TROUBLE):
            self.store.outbox_done([("-", False, row_of(item, what, f"{type(exc).__name__}: {exc}"))])

    def _tell_refused(self, item: Item, why: str) -> None:
        if self.on_refused is not None:
            with contextlib.suppress(Exception):
                self.on_refused(item, why)

    # --- the broker is away, or reads nothing ---

    def away(self, exc: BaseException) -> None:
        """The broker cannot be reached."""
        self._refuses(exc)
        item = self._backlog.peek()
        if item is not None:
            self._tell_refused(item, mask(f"{type(exc).__name__}: {exc}"))

    def lost(self, items: list[Item], exc: Exception) -> None:
        """The connection was lost while these items were under way."""
        alone = items[0] if len(items) == 1 else None
        if alone is not None and alone.losses and (alone.losses >= LOSSES - 1 or alone.lost_at < self._taken):
            # Lost often, though connecting works; or lost again, and the broker took others since: it is well.
            self.at_fault(alone, exc, LOSS_PAUSE)
            self.pause()
            return
        for item in items:
            item.losses, item.lost_at, item.alone = item.losses + 1, self._taken, True
        # An item that was alone goes last: perhaps it is the reason, and the next one tells.
        self._backlog.put_back(items, last=alone is not None)
        self._refuses(exc)
        if items:
            self._tell_refused(items[0], mask(f"{type(exc).__name__}: {exc}"))

    def pause(self) -> None:
        """Redis or the broker did not answer: wait, a little longer each time."""
        self.retry_at = monotonic() + self._pauses.next()

    def _refuses(self, exc: BaseException) -> None:
        pause = self._pauses.next()
        self.retry_at = monotonic() + pause
        said = mask(f"{type(exc).__name__}: {exc}")
        if self.failing is None:
            log.warning(
                "broker.refuses",
                "The broker refuses: %(why)s. %(count)d messages wait in the outbox. Beat tries again in %(pause).2f "
                "s, then less often.",
                why=said,
                count=self._backlog.waiting(),
                pause=pause,
            )
        self.failing = said

    def reads(self, reads: bool) -> None:
        """Note whether the broker reads what beat writes to it."""
        if reads:
            if self.failing == BLOCKED:
                self._well()
        elif self.failing != BLOCKED:
            self.failing = BLOCKED
            words = "The broker takes no messages: %(why)s. %(count)d wait in the outbox until it does."
            log.warning("broker.blocked", words, why=BLOCKED, count=self._backlog.waiting())

    def _well(self) -> None:
        self.failing = None
        log.warning("broker.recovered", "The broker takes messages again.")
