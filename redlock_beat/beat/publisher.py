"""Publishing to a broker that is not this Redis.

The commit puts each message into the outbox as a self-contained item, in the same step that advances the entry; from
there it cannot be lost. A thread publishes it, so that a broker that hangs cannot hang the loop, and so that a SIGTERM
in the middle of a publish can wait for the end of that one message.

*At least once* (the default): the thread publishes only before the term's ``trusted_until``, then removes the item by
its id, unfenced. A message is repeated only if death, a pause or a broken connection falls between the broker's accept
and the removal.
*At most once*: a fenced script marks the item as taken, and only its winner publishes; when the outcome is unclear the
ledger says ``unknown``, and nobody repeats it. A leader says so, too, of what another had taken and did not note.

The broker may be away, or refuse one message. The thread tells the two apart:

- While the broker is away, one message is tried in each pause, and on each new connection one goes first and alone:
  what is under way when a connection is lost may have arrived, so as little as possible is under way until the broker
  has answered.
- A message that the broker refuses is *at fault*: it waits, the other messages of its entry wait behind it, and the
  entry claims nothing more until it is gone (:meth:`Publisher.faults`). Other entries go on.
- A message under which connections are lost, while the broker takes others, is at fault, too.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from ..clock import monotonic
from ..errors import mask, traceback_of
from ..log import log
from ..store.item import Item
from ..store.store import Store
from .backlog import Backlog
from .delivery import Delivery
from .faults import Fault, Faults
from .lease import Term
from .outcomes import Outcomes
from .senders import Link


class Wakeup:
    """Ends another thread's wait.

    An Event holds a lock while it is being set, so a signal handler that interrupts that and sets it, too, would wait
    for ever. This queue takes a call at any moment.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[None] = queue.SimpleQueue()

    def set(self) -> None:
        """End the wait, or the next one."""
        if self._calls.empty():
            self._calls.put(None)

    def wait(self, seconds: float) -> None:
        """Wait for :meth:`set`, at most so long."""
        with contextlib.suppress(queue.Empty):
            self._calls.get(timeout=seconds)


class Publisher:
    """The thread that publishes the outbox, one term after the other."""

    def __init__(self, app: Any, store: Store, timeout: float) -> None:
        self.app = app
        self.store = store
        self._faults = Faults()
        self._backlog = Backlog(store, self._faults)
        #: What becomes of messages, and of the broker.
        self.outcomes = Outcomes(store, self._backlog, self._faults)
        #: The connection to the broker.
        self.link = Link(app, timeout, self.outcomes.accepted, self._blocked)
        self._delivery = Delivery(store, self._backlog, self._faults, self.outcomes, self.link)
        self._wake = Wakeup()
        self._thread: threading.Thread | None = None
        # An item at fault was just tried: it is the others' turn.
        self._retried = False

    # --- for the loop ---

    @property
    def started(self) -> bool:
        """Whether there was anything to publish yet."""
        return self._thread is not None

    @property
    def failing(self) -> str | None:
        """Why the broker refuses now; None when it does not."""
        return self.outcomes.failing

    @property
    def busy(self) -> bool:
        """True while a message is on its way to the broker. A signal handler reads it."""
        return self._delivery.busy

    @property
    def quiet(self) -> bool:
        """Whether no message is on its way to the broker, and what it has accepted has left the outbox."""
        return not self._delivery.busy and self._backlog.removed

    @property
    def stopping(self) -> bool:
        """Whether nothing new begins any more."""
        return self._delivery.stopping

    def stop(self) -> None:
        """Let nothing new begin."""
        self._delivery.stopping = True

    def lead(self, term: Term | None) -> None:
        """Publish for this term from now on; None for no term, and nothing."""
        self._backlog.lead(term)

    def submit(self, items: list[Item]) -> None:
        """Publish these items in this order. The loop calls it once they are in the outbox."""
        if items:
            self._backlog.submit(items)
            self._start()
            self._wake.set()

    def resume(self) -> None:
        """Publish again, now: the term allows it since a moment ago."""
        self._wake.set()

    def take_over(self, load: Callable[[], list[Item]]) -> int:
        """Publish what *load* reads from the outbox, but for what is in hand here already; how many items."""
        found = self._backlog.unknown(load)
        items = [item for item in found if not item.taken]
        for item in found:
            if item.taken:
                self.outcomes.unknown(item, RuntimeError("the beat that had it in hand is gone"))
        self.submit(items)
        if len(items) < len(found):
            self._start()
            self._wake.set()
        return len(items)

    def waiting(self) -> int:
        """Items not yet accepted."""
        return self._backlog.waiting()

    def at_fault(self) -> int:
        """Items of entries at fault."""
        return self._faults.count()

    def outstanding(self) -> int:
        """Items in hand: not yet accepted, or accepted and not yet removed."""
        return self._backlog.outstanding()

    def faults(self) -> dict[str, Fault]:
        """What the broker refuses at this moment, by entry; for the loop."""
        return self._faults.current()

    def refused(self) -> dict[str, str]:
        """Why the broker refuses messages, by entry, for people; a few of them."""
        return self._faults.reasons()

    def hasten(self, name: str) -> None:
        """An entry at fault was edited: have its messages rendered anew at once."""
        self._faults.hasten(name)
        self._wake.set()

    def finish(self, seconds: float) -> bool:
        """Let nothing new begin, and wait for the message under way; safe inside a signal handler."""
        self.stop()
        deadline = monotonic() + seconds
        while self.busy and monotonic() < deadline:
            time.sleep(0.002)
        return not self.busy

    def close(self) -> None:
        """Stop the thread, which first removes from the outbox what the broker has accepted, if it can."""
        self.stop()
        self._wake.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(1.0)

    # --- the thread ---

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="redlock-beat-publisher", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self.stopping:
            try:
                self._turn()
            except Exception as exc:  # noqa: BLE001 - this thread outlives whatever happens
                words = "The publisher goes on after an error: %(why)s"
                log.error("publisher.error", words, why=traceback_of(exc))
                time.sleep(0.1)
        self._remove()
        self.link.close(farewell=True)

    def _turn(self) -> None:
        now = monotonic()
        term, backlog = self._backlog.term, self._backlog
        if term is None or now >= term.trusted_until or not self.link.reads:
            self._idle(1.0 if backlog.empty else 0.25)
            return
        self._faults.hurry()
        if now < self.outcomes.retry_at:
            self._idle(self.outcomes.retry_at - now)
        elif (backlog.empty or not self._retried) and (fault := self._faults.due(now)) is not None:
            self._delivery.try_again(fault, term)
            self._retried = True
        elif not backlog.empty:
            self._retried = False
            self._delivery.publish_next(term)
        else:
            self._idle(self._faults.pause(now))
        if backlog.much_done:
            self._remove()

    def _idle(self, seconds: float) -> None:
        """There is nothing to publish now: do what is left, and wait."""
        self._remove()
        self._tend()
        self._wake.wait(max(0.001, min(seconds, 1.0)))

    def _tend(self) -> None:
        """Read what the broker says meanwhile: that it blocks, unblocks or goes."""
        sender = self.link.sender
        if sender is None:
            return
        try:
            sender.tend()
        except Exception as exc:  # noqa: BLE001 - whatever it is, the next publish connects anew
            log.debug("broker.closed", "The broker has closed the connection: %(why)s", why=mask(exc))
            self.link.close()
        self.outcomes.reads(self.link.reads)

    def _remove(self) -> None:
        self._backlog.remove(last=self.stopping)

    def _blocked(self) -> bool:
        """The broker reads nothing while messages are under way; whether to go on waiting."""
        self.outcomes.reads(self.link.reads)
        self._remove()
        return not self.stopping
