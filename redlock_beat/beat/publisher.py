"""Publishing to a broker that is not this Redis.

The commit puts each message into the outbox as a self-contained item, in the same step that
advances the entry; from there it cannot be lost. A thread of its own publishes, so that a broker
that hangs cannot hang the loop, and SIGTERM in the middle of a publish can wait for the end of that
one message.

*At least once* (default): published only before the term's ``trusted_until``, then removed by id,
unfenced. It is repeated only if death, a pause or a broken connection falls between the broker's accept
and our removal.
*At most once*: a fenced script removes the item, and only its winner publishes; when the outcome is
unclear the ledger says ``unknown``, and it is not repeated.

The broker may be away, or say no to one message, and the two are told apart:

- While it is away one message is tried per pause, and on each new connection one goes alone first: what is under
  way when a connection is lost may have arrived, so as little as possible is until the broker has answered.
- A message it says no to is *at fault*: it waits by itself, the other messages of its entry behind it, and
  the entry claims no more until it is gone (:meth:`Publisher.faults`). Others go on.
- A message under which connections are lost, while the broker takes others, is at fault, too.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..clock import monotonic
from ..errors import Deposed, mask, traceback_of
from ..messages.renderer import read_call
from ..store.client import TROUBLE, Pauses
from ..store.item import Item
from ..store.store import Store
from .backlog import Backlog
from .confirms import BLOCKED, NoRoute, NotTaken
from .faults import Fault, Faults, outdated, replace, row_of
from .lease import Term
from .senders import Call, Link, Sender

logger = logging.getLogger("redlock_beat")

#: The longest pause of an item under which connections are lost: perhaps it was the broker, after all.
LOSS_PAUSE = 10.0
#: Connections lost under a message until it counts as the reason, whatever else the broker takes.
LOSSES = 3


class Wakeup:
    """Ends another thread's wait.

    An Event holds a lock while it is set, so a signal handler that interrupts that, and sets it too, would
    wait for ever. This queue may be put to at any moment.
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
    """The thread that publishes the outbox of one term after the other."""

    def __init__(self, app: Any, store: Store, timeout: float, longest_pause: float) -> None:
        self.app = app
        #: Whether the broker refuses at present, and why.
        self.failing: str | None = None
        #: True while one message is between us and the broker. Read by a signal handler.
        self.busy = False
        #: Set to let nothing new begin.
        self.stopping = False
        self.on_published: Callable[[Item], None] | None = None
        self.on_refused: Callable[[Item, str], None] | None = None
        self.store = store
        #: The connection to the broker.
        self.link = Link(app, timeout, self._accepted, self._blocked)
        self._faults = Faults()
        self._backlog = Backlog(store, self._faults)
        self._wake = Wakeup()
        self._thread: threading.Thread | None = None
        # What was at fault has just been tried: it is the others' turn.
        self._retried = False
        # Messages the broker has taken since the process began.
        self._taken = 0
        self._pauses = Pauses(longest_pause)
        self._retry_at = 0.0

    # --- for the loop ---

    @property
    def started(self) -> bool:
        """Whether there has been anything to publish."""
        return self._thread is not None

    def lead(self, term: Term | None) -> None:
        """Publish on the strength of this term from now on; None for nothing at all."""
        self._backlog.lead(term)

    def submit(self, items: list[Item]) -> None:
        """Publish these, in this order. Called by the loop, after they are in the outbox."""
        self._backlog.submit(items)
        if items:
            self._start()
            self._wake.set()

    def take_over(self, load: Callable[[], list[Item]]) -> int:
        """Publish what stands in the outbox, as *load* reads it: all but what is at hand here already."""
        items = self._backlog.unknown(load)
        self.submit(items)
        return len(items)

    def waiting(self) -> int:
        """Items not yet accepted."""
        return self._backlog.waiting()

    def at_fault(self) -> int:
        """Items that wait because the broker refuses one of their entry."""
        return self._faults.count()

    def outstanding(self) -> int:
        """Items of the outbox that are in hand: not yet accepted, or accepted and not yet removed."""
        return self._backlog.outstanding()

    def faults(self) -> dict[str, Fault]:
        """What the broker refuses at present, by entry, as it stands at this moment; for the loop."""
        return self._faults.current()

    def refused(self) -> dict[str, str]:
        """Why the broker refuses messages of some entries, for people; a few of them."""
        return self._faults.reasons()

    def hasten(self, name: str) -> None:
        """Have what is at fault of an entry rendered anew at once: it was edited."""
        self._faults.hasten(name)
        self._wake.set()

    def finish(self, seconds: float) -> bool:
        """Let nothing new begin and wait for the message under way; safe inside a signal handler."""
        self.stopping = True
        deadline = monotonic() + seconds
        while self.busy and monotonic() < deadline:
            time.sleep(0.002)
        return not self.busy

    def close(self) -> None:
        """Stop the thread; what it had accepted is removed from the outbox first, if that is possible."""
        self.stopping = True
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
            except Exception as exc:  # noqa: BLE001 - this thread must outlive whatever happens
                logger.log(logging.ERROR, "The publisher goes on after an error: %s", traceback_of(exc))
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
        if now < self._retry_at:
            self._idle(self._retry_at - now)
        elif (backlog.empty or not self._retried) and (fault := self._faults.due(now)) is not None:
            self._try_again(fault, term)
            self._retried = True
        elif not backlog.empty:
            self._retried = False
            self._publish_next(term)
        else:
            self._idle(self._faults.pause(now))
        if backlog.much_done:
            self._remove()

    def _idle(self, seconds: float) -> None:
        """Nothing is to be published at this moment: catch up on the rest, and wait."""
        self._remove()
        self._tend()
        self._wake.wait(max(0.001, min(seconds, 1.0)))

    def _tend(self) -> None:
        """Hear what the broker says while nothing is published: that it blocks, unblocks or goes."""
        sender = self.link.sender
        if sender is None:
            return
        try:
            sender.tend()
        except Exception as exc:  # noqa: BLE001 - whatever it is, the next publish connects anew
            logger.debug("The broker has closed the connection: %s", mask(exc))
            self.link.close()
        self._note_blocked()

    def _remove(self) -> None:
        self._backlog.remove(last=self.stopping)

    # --- one at a time, or many where the broker confirms without being waited for each time ---

    def _publish_next(self, term: Term) -> None:
        try:
            sender = self.link.open()
        except Exception as exc:  # noqa: BLE001 - whatever a transport raises, the broker is away
            self._away(exc)
            return
        items = self._next_many(sender) if sender.at_once > 1 and not self.link.fresh else []
        if items:
            with self._may_send(term, [item for item, _ in items]) as may:
                if may:
                    self._send_many(items, sender)
            return
        item = self._backlog.next()
        if item is not None:
            self._publish(item, term)

    def _publish(self, item: Item, term: Term) -> None:
        try:
            sender = self.link.open()
        except Exception as exc:  # noqa: BLE001 - whatever a transport raises, the broker is away
            self._backlog.put_back([item])
            self._away(exc)
            return
        with self._may_send(term, [item]) as may:
            if may and (not item.at_most_once or self._take(item, term)):
                self._send(item, sender)

    @contextmanager
    def _may_send(self, term: Term, items: list[Item]) -> Iterator[bool]:
        """Be busy; whether this term may still publish: else the items go back to where they were."""
        self.busy = True
        try:
            # Looked at only now, after `busy` is set: a handler that saw it unset has stopped us.
            may = not self.stopping and self._backlog.term is term and monotonic() < term.trusted_until
            if not may:
                self._backlog.put_back(items)
            yield may
        finally:
            self.busy = False

    def _next_many(self, sender: Sender) -> list[tuple[Item, Call]]:
        """Items from the front that may be published together."""
        found: list[tuple[Item, Call]] = []
        while len(found) < sender.at_once:
            item = self._backlog.next()
            if item is None:
                break
            call = self._among_many(item, sender)
            if not self.link.connected:  # a declaration was refused, and the connection is closed: begin anew
                self._backlog.put_back([*(one for one, _ in found), item])
                return []
            if call is None:
                self._backlog.put_back([item])
                break
            found.append((item, call))
        return found

    def _among_many(self, item: Item, sender: Sender) -> Call | None:
        """An item's call, if it goes to a queue by its name, which closes no channel; else None."""
        if item.at_most_once or item.alone or item.attempts:
            return None
        try:
            call = read_call(item.call)
            if call["exchange"]:
                return None
            sender.declare(call)
        except Exception as exc:  # noqa: BLE001 - by itself it will fail alike, and say so
            logger.debug("A message goes by itself: %s", mask(exc))
            item.alone = True
            if self.link.is_lost(exc) or self.link.is_of_channel(exc):
                self.link.close(farewell=not self.link.is_lost(exc))
            return None
        return call

    def _send_many(self, items: list[tuple[Item, Call]], sender: Sender) -> None:
        held = self._backlog.held
        held.update(item.id for item, _ in items)
        try:
            unwritten = sender.send_many(items)
        except Exception as exc:  # noqa: BLE001 - transports raise what they like
            left = sender.left(items)
            held.difference_update(item.id for item in left)
            self._say_no(sender)
            for item in left:
                item.alone = True  # one of them may be at fault itself: by itself it is found out
            if self.link.is_lost(exc):
                self._lost(left, exc)
            else:
                self.link.close(farewell=True)
                self._backlog.put_back(left)
            return
        held.difference_update(item.id for item in unwritten)
        self._backlog.put_back(unwritten)
        self._say_no(sender)

    def _say_no(self, sender: Sender) -> None:
        """The broker said no to these of many."""
        refused = sender.refused
        self._backlog.held.difference_update(item.id for item, _ in refused)
        deleted = [item for item, exc in refused if isinstance(exc, NoRoute)]
        if deleted:  # declared anew, each goes once more
            sender.forget_declared()
            for item in deleted:
                item.alone = True
            self._backlog.put_back(deleted)
        for item, exc in refused:
            if not isinstance(exc, NoRoute):
                self._at_fault(item, exc)

    def _send(self, item: Item, sender: Sender) -> None:
        held = self._backlog.held
        held.add(item.id)
        try:
            if not sender.send(item, read_call(item.call)):
                held.discard(item.id)
                self._backlog.put_back([item])  # the broker has just said that it reads no more
        except Exception as exc:  # noqa: BLE001 - transports raise what they like
            held.discard(item.id)
            lost = self.link.is_lost(exc)
            if item.at_most_once:
                self._unknown(item, exc)
                self.link.close(farewell=not lost)
            elif lost:
                self._lost([item], exc)
            else:
                if self.link.is_of_channel(exc):
                    self.link.close_channel()  # the broker has closed it
                elif not isinstance(exc, NotTaken):
                    self.link.close(farewell=True)  # it may be written in part
                self._at_fault(item, exc)

    # --- what became of a message ---

    def _take(self, item: Item, term: Term) -> bool:
        """At most once: whether it is ours to publish, and out of the outbox."""
        try:
            if self.store.outbox_take(term.fence, item.id, item.stamped):
                return True
            self._backlog.gone(item)
            if item.unclear:
                self._note(item, "unknown", TimeoutError("Redis did not say whether the item was taken"))
        except Deposed:
            self._backlog.gone(item)
        except TROUBLE:
            # Taken or not, it must not be sent: the reply may be lost. The next try tells.
            item.unclear = True
            self._backlog.put_back([item])
            self._retry_at = monotonic() + self._pauses.next()
        return False

    def _unknown(self, item: Item, exc: Exception) -> None:
        """At most once: it is taken out already, so it is not repeated."""
        self._backlog.gone(item)
        if isinstance(exc, NoRoute):
            self._note(item, "failed", exc)
            said = "the broker has no queue for %s (%s)"
        else:
            self._note(item, "unknown", exc)
            said = "the broker's answer to %s is unknown (%s)"
        logger.warning(f"Entry %r: {said}; at_most_once, so it is not repeated.", item.name, item.task_id, mask(exc))

    def _accepted(self, item: Item) -> None:
        """The broker has taken it."""
        self._taken += 1
        self.link.fresh = False
        self._backlog.done(item)
        if self.failing is not None:
            self._well()
        self._pauses.reset()
        if self.on_published is not None:
            with contextlib.suppress(Exception):
                self.on_published(item)

    def _tell_refused(self, item: Item, why: str) -> None:
        if self.on_refused is not None:
            with contextlib.suppress(Exception):
                self.on_refused(item, why)

    def _note(self, item: Item, what: str, exc: BaseException) -> None:
        with contextlib.suppress(*TROUBLE):
            self.store.outbox_done([("-", False, row_of(item, what, f"{type(exc).__name__}: {exc}"))])

    # --- the broker is away, or reads nothing ---

    def _away(self, exc: BaseException) -> None:
        """It cannot be reached."""
        self.link.close()
        self._pause(exc)
        item = self._backlog.peek()
        if item is not None:
            self._tell_refused(item, mask(f"{type(exc).__name__}: {exc}"))

    def _lost(self, items: list[Item], exc: Exception) -> None:
        """The connection was lost under these."""
        self.link.close()
        alone = items[0] if len(items) == 1 else None
        if alone is not None and alone.losses and (alone.losses >= LOSSES - 1 or alone.lost_at < self._taken):
            # So often, though connecting works; or again, and others were taken since: the broker is well.
            self._at_fault(alone, exc, LOSS_PAUSE)
            self._retry_at = monotonic() + self._pauses.next()
            return
        for item in items:
            item.losses, item.lost_at, item.alone = item.losses + 1, self._taken, True
        # One that was alone has had its turn: perhaps it is why, and another one will tell.
        self._backlog.put_back(items, last=alone is not None)
        self._pause(exc)
        if items:
            self._tell_refused(items[0], mask(f"{type(exc).__name__}: {exc}"))

    def _pause(self, exc: BaseException) -> None:
        pause = self._pauses.next()
        self._retry_at = monotonic() + pause
        said = mask(f"{type(exc).__name__}: {exc}")
        if self.failing is None:
            logger.warning(
                "The broker refuses: %s. %d messages wait in the outbox; trying again in %.2f s, then less often.",
                said, self.waiting(), pause,
            )  # fmt: skip
        self.failing = said

    def _blocked(self) -> bool:
        """The broker reads nothing while messages are under way; whether to wait on."""
        self._note_blocked()
        self._remove()
        return not self.stopping

    def _note_blocked(self) -> None:
        if self.link.reads:
            if self.failing == BLOCKED:
                self._well()
        elif self.failing != BLOCKED:
            self.failing = BLOCKED
            logger.warning(
                "The broker takes no messages: %s. %d wait in the outbox. Nothing more is published until the broker "
                "takes messages again.",
                BLOCKED, self.waiting(),
            )  # fmt: skip

    def _well(self) -> None:
        self.failing = None
        logger.warning("The broker takes messages again.")

    # --- a message is at fault ---

    def _at_fault(self, item: Item, exc: BaseException, longest: float | None = None) -> None:
        if item.term is not self._backlog.term:
            return
        said = mask(f"{type(exc).__name__}: {exc}")
        pause = self._faults.add(item, said, longest)
        if pause is None:
            return
        self._note(item, "failed", exc)
        self._tell_refused(item, said)
        logger.warning(
            "Entry %r: the broker refused the message %s (%s); it is tried again in %.0f s. The entry sends nothing "
            "more until the broker takes it. Other entries go on.",
            item.name, item.task_id, said, pause,
        )  # fmt: skip

    def _try_again(self, fault: Fault, term: Term) -> None:
        item = fault.items[0]
        self._faults.schedule(fault, monotonic() + 1.0)  # whatever happens now, it comes up again
        try:
            if outdated(self.store, item):
                items, what = replace(self.store, fault, term)
                said = "Entry %r: the broker refused %d of its messages, and it %s."
                logger.warning(said, item.name, len(items), what)
                self._backlog.replaced(fault, items)
                return
        except Deposed:
            return
        except TROUBLE as exc:
            # It may be on its way to be rendered anew, and only the answer was lost: published now it would come twice.
            logger.debug("Whether entry %r was edited is not known yet: %s", item.name, mask(exc))
            return
        self._publish(item, term)
