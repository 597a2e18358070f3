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
import heapq
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..clock import monotonic
from ..entries.state import parse_state
from ..entries.waiting import ManualItem
from ..errors import Deposed, mask, traceback_of
from ..messages.renderer import bounded_connection, publish_call, read_call
from ..store.client import TROUBLE, Pauses
from ..store.item import AS_IT_IS, Item
from ..store.store import Store
from .confirms import BLOCKED, Confirms, NoRoute, NotTaken, bounded
from .lease import Term

logger = logging.getLogger("redlock_beat")

#: Accepted items are removed from the outbox so many at a time, or when none is waiting.
ACK_BATCH = 100
#: Messages published before the broker's confirmations are waited for.
MANY = 100
#: Queues and exchanges remembered as declared.
DECLARED = 1_000
#: Entries at fault that are named in the heartbeat.
SHOWN = 10
#: The longest pause of an item that is itself at fault.
ITEM_PAUSE = 60.0
#: The same where connections are lost under it: perhaps it was the broker, after all.
LOSS_PAUSE = 10.0
#: Connections lost under a message until it counts as the reason, whatever else the broker takes.
LOSSES = 3
#: The longest farewell to a broker that is well, in seconds.
FAREWELL = 1.0


@dataclass(slots=True)
class Fault:
    """What the broker refuses of one entry: the first item is tried again, the others wait for it."""

    #: The entry as it was claimed; an entry edited since is another matter.
    uid: str
    revision: int
    why: str
    items: deque[Item] = field(default_factory=deque)
    #: When the first is tried again (monotonic).
    retry_at: float = float("inf")


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
        self.store = store
        self.timeout = timeout
        #: Whether the broker refuses at present, and why.
        self.failing: str | None = None
        #: True while one message is between us and the broker. Read by a signal handler.
        self.busy = False
        #: Set to let nothing new begin.
        self.stopping = False
        self.on_published: Callable[[Item], None] | None = None
        self.on_refused: Callable[[Item, str], None] | None = None
        self._term: Term | None = None
        self._queue: deque[Item] = deque()
        self._faults: dict[str, Fault] = {}
        self._retries: list[tuple[float, str]] = []
        self._hastened: deque[str] = deque()
        self._done: list[tuple[str, bool, list[Any]]] = []
        self._known: set[str] = set()
        # Under way, or accepted and not yet removed: never published again by this process.
        self._held: set[str] = set()
        # Removed since the outbox was last about to be read, see :meth:`take_over`.
        self._removed: set[str] | None = None
        self._wake = Wakeup()
        self._thread: threading.Thread | None = None
        self._connection: Any = None
        self._producer: Any = None
        self._confirms: Confirms | None = None
        # Queues and exchanges declared on this connection; held, so that their ids are nobody else's.
        self._declared: dict[int, Any] = {}
        # The connection is new: the first message goes alone.
        self._probe = True
        # What was at fault has just been tried: it is the others' turn.
        self._retried = False
        # Messages the broker has taken since the process began.
        self._taken = 0
        self._pauses = Pauses(longest_pause)
        self._retry_at = 0.0

    def lead(self, term: Term | None) -> None:
        """Publish on the strength of this term from now on; None for nothing at all."""
        self._term = term
        if term is None:
            self._queue.clear()
            self._faults = {}
            self._known.clear()

    def submit(self, items: list[Item]) -> None:
        """Publish these, in this order. Called by the loop, after they are in the outbox."""
        for item in items:
            if item.id not in self._known and item.id not in self._held:
                item.term = self._term
                self._known.add(item.id)
                self._queue.append(item)
        if items:
            self._start()
            self._wake.set()

    def take_over(self, load: Callable[[], list[Item]]) -> int:
        """Publish what stands in the outbox, as *load* reads it: all but what is at hand here already."""
        removed: set[str] = set()
        self._removed = removed  # what is removed while it is read is not published once more
        try:
            # In the order in which an item moves on, so that none slips through between two looks.
            items = [
                item for item in load()
                if item.id not in self._known and item.id not in self._held and item.id not in removed
            ]  # fmt: skip
        finally:
            self._removed = None
        self.submit(items)
        return len(items)

    def waiting(self) -> int:
        """Items not yet accepted."""
        return len(self._queue) + self.at_fault()

    def at_fault(self) -> int:
        """Items that wait because the broker refuses one of their entry."""
        return sum(len(fault.items) for fault in tuple(self._faults.values())) if self._faults else 0

    def outstanding(self) -> int:
        """Items of the outbox that are in hand: not yet accepted, or accepted and not yet removed."""
        return len(self._known | self._held)

    def faults(self) -> dict[str, Fault]:
        """What the broker refuses at present, by entry, as it stands at this moment; for the loop."""
        return dict(self._faults)

    def refused(self) -> dict[str, str]:
        """Why the broker refuses messages of some entries, for people; a few of them."""
        return {name: fault.why[:300] for name, fault in sorted(self.faults().items())[:SHOWN]} if self._faults else {}

    def hasten(self, name: str) -> None:
        """Have what is at fault of an entry rendered anew at once: it was edited."""
        self._hastened.append(name)
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
        self._acknowledge()
        self._disconnect(farewell=True)

    def _turn(self) -> None:
        now = monotonic()
        term = self._term
        if term is None or now >= term.trusted_until or not self._reads():
            self._idle(0.25 if self._queue else 1.0)
            return
        self._hasten()
        if now < self._retry_at:
            self._idle(self._retry_at - now)
        elif not (self._retried and self._queue) and (fault := self._due_fault(now)) is not None:
            self._try_again(fault, term)
            self._retried = True
        elif self._queue:
            self._retried = False
            self._publish_next(term)
        else:
            self._idle(self._retries[0][0] - now if self._retries else 1.0)
        if len(self._done) >= ACK_BATCH or not self._queue:
            self._acknowledge()

    def _idle(self, seconds: float) -> None:
        """Nothing is to be published at this moment: catch up on the rest, and wait."""
        self._acknowledge()
        self._tend()
        self._wake.wait(max(0.001, min(seconds, 1.0)))

    def _reads(self) -> bool:
        """Whether the broker reads what is written to it."""
        return self._confirms is None or not self._confirms.blocked

    def _publish_next(self, term: Term) -> None:
        try:
            confirms = self._confirming()
        except Exception as exc:  # noqa: BLE001 - whatever a transport raises, the broker is away
            self._away(exc)
            return
        items = self._next_many() if confirms is not None and not self._probe else []
        if confirms is not None and items:
            with self._may_send(term, [item for item, _ in items]) as may:
                if may:
                    self._send_many(items, confirms)
            return
        item = self._next()
        if item is not None:
            self._publish(item, term)

    @contextmanager
    def _may_send(self, term: Term, items: list[Item]) -> Iterator[bool]:
        """Be busy; whether this term may still publish: else the items go back to where they were."""
        self.busy = True
        try:
            # Looked at only now, after `busy` is set: a handler that saw it unset has stopped us.
            may = not self.stopping and self._term is term and monotonic() < term.trusted_until
            if not may:
                self._put_back(items)
            yield may
        finally:
            self.busy = False

    def _next(self) -> Item | None:
        """The next item of this term; those of an entry at fault wait behind the one that is."""
        while True:
            try:
                item = self._queue.popleft()
            except IndexError:
                return None
            if item.term is not self._term:
                continue
            fault = self._faults.get(item.name)
            if fault is None or (fault.uid, fault.revision) != (item.uid, item.revision):
                return item
            fault.items.append(item)

    def _put_back(self, items: Iterable[Item], *, last: bool = False) -> None:
        """They are to be published yet: at once, or after all others."""
        for item in reversed(tuple(items)):
            if item.term is not self._term:
                continue  # the new term reads the outbox itself
            fault = self._faults.get(item.name)
            if fault is not None and fault.items and fault.items[0] is item:
                self._schedule(item.name, fault, monotonic() + 0.25)
            elif last:
                self._queue.append(item)
            else:
                self._queue.appendleft(item)

    # --- many at a time, where the broker confirms without being waited for each time ---

    def _next_many(self) -> list[tuple[Item, dict[str, Any]]]:
        """Items from the front that may be published together."""
        found: list[tuple[Item, dict[str, Any]]] = []
        while len(found) < MANY:
            item = self._next()
            if item is None:
                break
            call = self._among_many(item)
            if self._producer is None:  # a declaration was refused, and the connection is closed: begin anew
                self._put_back([*(one for one, _ in found), item])
                return []
            if call is None:
                self._put_back([item])
                break
            found.append((item, call))
        return found

    def _among_many(self, item: Item) -> dict[str, Any] | None:
        """An item's call, if it goes to a queue by its name, which closes no channel; else None."""
        if item.at_most_once or item.alone or item.attempts:
            return None
        try:
            call = read_call(item.call)
            if call["exchange"]:
                return None
            self._declare(call)
        except Exception as exc:  # noqa: BLE001 - by itself it will fail alike, and say so
            logger.debug("A message goes by itself: %s", mask(exc))
            item.alone = True
            if self._is_lost(exc) or self._is_of_channel(exc):
                self._disconnect(farewell=not self._is_lost(exc))
            return None
        return call

    def _declare(self, call: dict[str, Any]) -> None:
        """Declare what a message needs beforehand: an error then is no other message's."""
        call["mandatory"] = call["mandatory"] or _needs_queue(call)
        for entity in call["declare"]:
            if id(entity) not in self._declared:
                with self._bounded():
                    self._producer.maybe_declare(entity)
                if len(self._declared) >= DECLARED:
                    self._declared.clear()
                self._declared[id(entity)] = entity
        call["declare"] = []

    def _forget_declared(self) -> None:
        """Somebody has deleted what was declared: declare it anew."""
        self._declared.clear()
        self._connection.declared_entities.clear()  # kombu remembers it, too

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        """A bound for what waits for an answer of an AMQP broker."""
        if self._connection.transport.driver_type != "amqp":
            yield
        else:
            with bounded(self._connection.connection, self.timeout):
                yield

    def _send_many(self, items: list[tuple[Item, dict[str, Any]]], confirms: Confirms) -> None:
        ids = {item.id for item, _ in items}
        self._held.update(ids)
        try:
            unwritten = confirms.publish(items, self.timeout)
        except Exception as exc:  # noqa: BLE001 - transports raise what they like
            left = confirms.left(items)
            self._held.difference_update(item.id for item in left)
            self._say_no(confirms.refused)
            for item in left:
                item.alone = True  # one of them may be at fault itself: by itself it is found out
            if self._is_lost(exc):
                self._lost(left, exc)
            else:
                self._disconnect(farewell=True)
                self._put_back(left)
            return
        self._held.difference_update(item.id for item in unwritten)
        self._put_back(unwritten)
        self._say_no(confirms.refused)

    def _say_no(self, refused: list[tuple[Item, NotTaken]]) -> None:
        """The broker said no to these of many."""
        self._held.difference_update(item.id for item, _ in refused)
        deleted = [item for item, exc in refused if isinstance(exc, NoRoute)]
        if deleted:  # declared anew, each goes once more
            self._forget_declared()
            for item in deleted:
                item.alone = True
            self._put_back(deleted)
        for item, exc in refused:
            if not isinstance(exc, NoRoute):
                self._at_fault(item, exc)

    def _confirming(self) -> Confirms | None:
        """A channel of the broker's that confirms in its own time; None where the transport has none."""
        self._connected()
        if self._confirms is None and self._connection.transport.driver_type == "amqp":
            with contextlib.suppress(AttributeError), self._bounded():  # another library behind the name
                self._confirms = Confirms(self._connection, self.app.amqp.Producer, self._accepted, self._blocked)
        return self._confirms

    def _blocked(self) -> bool:
        """The broker reads nothing while messages are under way; whether to wait on."""
        self._note_blocked()
        self._acknowledge()
        return not self.stopping

    def _note_blocked(self) -> None:
        if self._reads():
            if self.failing == BLOCKED:
                self._well()
        elif self.failing != BLOCKED:
            self.failing = BLOCKED
            logger.warning(
                "The broker takes no messages: %s. %d wait in the outbox; what is under way is waited for, and nothing "
                "more is published until it reads again.",
                BLOCKED, self.waiting(),
            )  # fmt: skip

    def _tend(self) -> None:
        """Hear what the broker says while nothing is published: that it blocks, unblocks or goes."""
        if self._confirms is None:
            return
        try:
            self._confirms.tend()
        except Exception as exc:  # noqa: BLE001 - whatever it is, the next publish connects anew
            logger.debug("The broker has closed the connection: %s", mask(exc))
            self._disconnect()
        self._note_blocked()

    # --- one at a time ---

    def _publish(self, item: Item, term: Term) -> None:
        try:
            confirms = self._confirming()
        except Exception as exc:  # noqa: BLE001 - whatever a transport raises, the broker is away
            self._put_back([item])
            self._away(exc)
            return
        with self._may_send(term, [item]) as may:
            if may and (not item.at_most_once or self._take(item, term)):
                self._send(item, confirms)

    def _take(self, item: Item, term: Term) -> bool:
        try:
            if self.store.outbox_take(term.fence, item.id, item.stamped):
                return True
            self._gone(item)
            if item.unclear:
                self._note(item, "unknown", TimeoutError("Redis did not say whether the item was taken"))
        except Deposed:
            self._gone(item)
        except TROUBLE:
            # Taken or not, it must not be sent: the reply may be lost. The next try tells.
            item.unclear = True
            self._put_back([item])
            self._retry_at = monotonic() + self._pauses.next()
        return False

    def _send(self, item: Item, confirms: Confirms | None) -> None:
        self._held.add(item.id)
        try:
            call = read_call(item.call)
            if confirms is None:
                publish_call(self._producer, call)
                self._accepted(item)
            else:
                self._send_alone(item, call, confirms)
        except Exception as exc:  # noqa: BLE001 - transports raise what they like
            self._held.discard(item.id)
            lost = self._is_lost(exc)
            if item.at_most_once:
                self._unknown(item, exc)
                self._disconnect(farewell=not lost)
            elif lost:
                self._lost([item], exc)
            else:
                if isinstance(exc, self._connection.channel_errors):
                    self._close_channel()  # the broker has closed it
                elif not isinstance(exc, NotTaken):
                    self._disconnect(farewell=True)  # it may be written in part
                self._at_fault(item, exc)

    def _send_alone(self, item: Item, call: dict[str, Any], confirms: Confirms) -> None:
        declare = call["declare"]
        if item.attempts:
            self._forget_declared()  # perhaps somebody has deleted what it needs
        self._declare(call)
        if confirms.publish([(item, call)], self.timeout):
            self._held.discard(item.id)
            self._put_back([item])  # the broker has just said that it reads no more
            return
        if confirms.refused and declare and isinstance(confirms.refused[0][1], NoRoute):
            self._forget_declared()
            self._declare({**call, "declare": declare})
            confirms.publish([(item, call)], self.timeout)
        if confirms.refused:
            raise confirms.refused[0][1]

    def _unknown(self, item: Item, exc: Exception) -> None:
        """At most once: it is taken out already, so it is not repeated."""
        self._gone(item)
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
        self._probe = False
        self._gone(item)
        self._done.append((item.id, not item.at_most_once, item.row))
        if self.failing is not None:
            self._well()
        self._pauses.reset()
        if self.on_published is not None:
            with contextlib.suppress(Exception):
                self.on_published(item)

    def _gone(self, item: Item) -> None:
        """Whatever became of it, it is not published again; if it was at fault, its entry goes on."""
        self._known.discard(item.id)
        fault = self._faults.get(item.name)
        if fault is not None and fault.items and fault.items[0] is item:
            fault.items.popleft()
            self._release(item.name, fault)

    def _well(self) -> None:
        self.failing = None
        logger.warning("The broker takes messages again.")

    # --- the connection ---

    def _connected(self) -> Any:
        if self._producer is None:
            connection = bounded_connection(self.app, self.timeout)
            connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=self.timeout)
            self._connection, self._probe = connection, True
            self._producer = self.app.amqp.Producer(connection, auto_declare=False)
        return self._producer

    def _disconnect(self, *, farewell: bool = False) -> None:
        """Forget the connection; a broker that is well is told, one that is dead would never answer."""
        connection, self._connection, self._producer = self._connection, None, None
        confirms, self._confirms = self._confirms, None
        self._declared.clear()
        if connection is None:
            return
        with contextlib.suppress(Exception):
            if confirms is None:
                connection.release()
            elif farewell and not confirms.blocked:
                with bounded(connection.connection, FAREWELL):
                    connection.connection.close()
        with contextlib.suppress(Exception):
            if confirms is not None:
                connection.collect()  # closes the socket without a word

    def _close_channel(self) -> None:
        """Another channel for the next message; the connection, and what is declared, stay."""
        confirms, self._confirms = self._confirms, None
        if confirms is None:
            self._disconnect(farewell=True)
            return
        try:
            with self._bounded():
                confirms.close()
        except Exception as exc:  # noqa: BLE001 - whatever it is, the connection is of no use
            logger.debug("The channel could not be closed: %s", mask(exc))
            self._disconnect()

    def _is_lost(self, exc: Exception) -> bool:
        """Whether an error says that the connection is lost, and not that this message is at fault."""
        connection = self._connection
        if connection is None or isinstance(exc, NotTaken) or type(exc).__name__ == "MessageNacked":
            return False  # kombu lists a nack among the errors of a connection; it is an answer about a message
        lost = (*connection.recoverable_connection_errors, *connection.connection_errors, OSError)
        return isinstance(exc, lost) and not isinstance(exc, connection.recoverable_channel_errors)

    def _is_of_channel(self, exc: Exception) -> bool:
        connection = self._connection
        return connection is not None and isinstance(exc, connection.channel_errors)

    # --- the broker is away ---

    def _away(self, exc: BaseException) -> None:
        """It cannot be reached."""
        self._disconnect()
        self._pause(exc)
        with contextlib.suppress(IndexError):
            self._tell_refused(self._queue[0], mask(f"{type(exc).__name__}: {exc}"))

    def _lost(self, items: list[Item], exc: Exception) -> None:
        """The connection was lost under these."""
        self._disconnect()
        alone = items[0] if len(items) == 1 else None
        if alone is not None and alone.losses and (alone.losses >= LOSSES - 1 or alone.lost_at < self._taken):
            # So often, though connecting works; or again, and others were taken since: the broker is well.
            self._at_fault(alone, exc, LOSS_PAUSE)
            self._retry_at = monotonic() + self._pauses.next()
            return
        for item in items:
            item.losses, item.lost_at, item.alone = item.losses + 1, self._taken, True
        # One that was alone has had its turn: perhaps it is why, and another one will tell.
        self._put_back(items, last=alone is not None)
        self._pause(exc)
        if items:
            self._tell_refused(items[0], mask(f"{type(exc).__name__}: {exc}"))

    def _pause(self, exc: BaseException) -> None:
        pause = self._pauses.next()
        self._retry_at = monotonic() + pause
        said = mask(f"{type(exc).__name__}: {exc}")
        if self.failing is None:
            logger.warning(
                "The broker refuses: %s. %d messages wait in the outbox; trying again in %.2f s, then more seldom.",
                said, self.waiting(), pause,
            )  # fmt: skip
        self.failing = said

    def _tell_refused(self, item: Item, why: str) -> None:
        if self.on_refused is not None:
            with contextlib.suppress(Exception):
                self.on_refused(item, why)

    # --- a message is at fault ---

    def _at_fault(self, item: Item, exc: BaseException, longest: float = ITEM_PAUSE) -> None:
        if item.term is not self._term:
            return
        fault = self._faults.get(item.name)
        if fault is not None and fault.items and fault.items[0] is not item:
            fault.items.append(item)
            fault.uid, fault.revision = item.uid, item.revision
            return
        said = mask(f"{type(exc).__name__}: {exc}")
        if fault is None:
            fault = self._faults[item.name] = Fault(item.uid, item.revision, said, deque([item]))
        fault.why = said
        item.attempts += 1
        pause = min(longest, 0.5 * 2 ** min(item.attempts, 10))
        self._schedule(item.name, fault, monotonic() + pause)
        self._note(item, "failed", exc)
        self._tell_refused(item, said)
        logger.warning(
            "Entry %r: the broker refused the message %s by itself (%s); trying it again in %.0f s. The entry sends "
            "nothing more until it is taken; others go on.",
            item.name, item.task_id, said, pause,
        )  # fmt: skip

    def _schedule(self, name: str, fault: Fault, at: float) -> None:
        fault.retry_at = at
        heapq.heappush(self._retries, (at, name))

    def _hasten(self) -> None:
        while self._hastened:
            name = self._hastened.popleft()
            fault = self._faults.get(name)
            if fault is not None and fault.items[0].again != AS_IT_IS:
                self._schedule(name, fault, monotonic())

    def _due_fault(self, now: float) -> Fault | None:
        """The fault whose first item is to be tried again now."""
        while self._retries and self._retries[0][0] <= now:
            at, name = heapq.heappop(self._retries)
            fault = self._faults.get(name)
            if fault is not None and fault.retry_at == at and fault.items:
                return fault
        return None

    def _try_again(self, fault: Fault, term: Term) -> None:
        item = fault.items[0]
        self._schedule(item.name, fault, monotonic() + 1.0)  # whatever happens now, it comes up again
        try:
            if self._outdated(item):
                self._replace(fault, term)
                return
        except Deposed:
            return
        except TROUBLE as exc:
            # It may be on its way to be rendered anew, and only the answer was lost: published now it would come twice.
            logger.debug("Whether entry %r was edited is not known yet: %s", item.name, mask(exc))
            return
        self._publish(item, term)

    def _outdated(self, item: Item) -> bool:
        """Whether its entry was edited or removed since the claim."""
        if not item.uid:
            return False
        state = parse_state(self.store.state(item.name))
        if state is None or state.uid != item.uid:
            return True
        return state.revision != item.revision and item.again != AS_IT_IS

    def _replace(self, fault: Fault, term: Term) -> None:
        """The entry is another now: its occurrences are rendered anew, or with the entry removed given up."""
        first = fault.items[0]
        state = parse_state(self.store.state(first.name))
        alike = [item for item in tuple(fault.items) if (item.uid, item.revision) == (first.uid, first.revision)]
        if state is not None and state.uid == first.uid:
            now = self.store.now()
            self.store.outbox_again(term.fence, [(item.id, _once_more(item, now)) for item in alike])
            what = "was edited since; they are rendered anew"
        else:
            rows = [
                _row(item, "skipped", f"the entry was removed; the broker refused it: {fault.why}") for item in alike
            ]
            self.store.outbox_done([(item.id, True, row) for item, row in zip(alike, rows, strict=True)])
            what = "was removed since; they are given up"
        logger.warning("Entry %r: the broker refused %d of its messages, and it %s.", first.name, len(alike), what)
        for item in alike:
            self._known.discard(item.id)
            fault.items.remove(item)
        self._release(first.name, fault)

    def _release(self, name: str, fault: Fault) -> None:
        """The first is gone: the others are published like any."""
        if self._faults.get(name) is fault:
            del self._faults[name]
        self._put_back(fault.items)

    def _note(self, item: Item, what: str, exc: BaseException) -> None:
        with contextlib.suppress(*TROUBLE):
            self.store.outbox_done([("-", False, _row(item, what, f"{type(exc).__name__}: {exc}"))])

    def _acknowledge(self) -> None:
        while self._done:
            batch = self._done[:ACK_BATCH]
            try:
                self.store.outbox_done(batch)
            except TROUBLE as exc:
                logger.debug("Accepted messages could not be removed from the outbox yet: %s", mask(exc))
                if self.stopping:
                    return
                time.sleep(0.05)
                return
            removed = self._removed
            if removed is not None:
                removed.update(item_id for item_id, _, _ in batch)
            self._held.difference_update(item_id for item_id, _, _ in batch)
            del self._done[: len(batch)]


def _row(item: Item, what: str, why: str) -> list[Any]:
    """An item's row of the ledger, for another outcome."""
    row = list(item.row)
    row[row.index("is") + 1] = what
    return [*row, "why", mask(why)[:300]]


def _once_more(item: Item, now: int) -> str:
    """What has an item's occurrence rendered anew and sent, with the same task id."""
    return item.again or ManualItem(item.name, item.uid, "settled", item.nominal, now).text()


def _needs_queue(call: dict[str, Any]) -> bool:
    """Whether a message is lost when no queue is there for it, and not just heard by nobody.

    One to a queue by its name, or to the exchange and with the key by which the queue declared with it is bound. With
    other keys, and other kinds of exchange (fan-outs, delays), there may be nobody to take it, or nobody yet.
    """
    if not call["exchange"]:
        return True
    there = (call["exchange"], call["routing_key"])
    for entity in call["declare"]:
        exchange = getattr(entity, "exchange", None)
        if exchange is None or exchange.type not in ("direct", "topic"):
            continue
        if (exchange.name, entity.routing_key) == there:
            return True
    return False
