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

While the broker refuses, one item is tried per pause. An item that is itself at fault (a queue
declared otherwise, an exchange that does not exist) waits by itself, and the others go on.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .clock import monotonic
from .connection import TROUBLE, Pauses
from .errors import Deposed, mask, traceback_of
from .lease import Term
from .render import bounded_connection, publish_call, read_call
from .store import Store

logger = logging.getLogger("redlock_beat")

#: Accepted items are removed from the outbox so many at a time, or when none is waiting.
ACK_BATCH = 100
#: Messages published before the broker's confirmations are waited for.
MANY = 100
#: Bytes written to the broker's socket at a time, about.
FRAMES = 1_000_000
#: Queues and exchanges remembered as declared.
DECLARED = 1_000
#: The longest pause of an item that is itself at fault.
ITEM_PAUSE = 60.0

_dump = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


@dataclass(slots=True)
class Item:
    """One message in the outbox."""

    id: str
    stamped: str  # as it stands in Redis, see :func:`stamp`
    name: str
    nominal: int
    task_id: str
    at_most_once: bool
    row: list[Any]
    call: str
    attempts: int = 0
    #: At most once: a take was answered by silence, so whether the item is ours is unknown.
    unclear: bool = False
    #: On the strength of which term it is to be published. A new term reads the outbox itself, so what
    #: the publisher still has in hand of the one before is left to that.
    term: Term | None = None


def stamp(epoch: int, name: str, nominal: int, id_: str, at_most_once: bool, row: list[Any], call: str) -> str:
    """An item as it stands in Redis: the epoch, what is said of the call, and on a line of its own the call."""
    return f"{epoch} {_dump([name, nominal, id_, int(at_most_once), row])}\n{call}"


def unstamp(item_id: str, stamped: str) -> Item:
    """The item of a text; ValueError when it is none."""
    head, call = stamped.split("\n", 1)
    name, nominal, id_, once, row = json.loads(head.split(" ", 1)[1])
    return Item(item_id, stamped, str(name), int(nominal), str(id_), bool(once), list(row), call)


class Confirms:
    """A channel of py-amqp's on which the broker confirms what it has taken, many at a time."""

    def __init__(self, connection: Any, producer: Any) -> None:
        from amqp.method_framing import frame_writer

        channel = connection.channel()
        channel.confirm_select()
        # kombu's connection makes each publish wait for its confirmation; here they are counted instead.
        channel.basic_publish = self._counted
        channel.events["basic_ack"].add(self._ack)
        channel.events["basic_nack"].add(self._nack)
        self._plain = channel._basic_publish
        self._connection = connection
        self._amqp = channel.connection
        self._writer = frame_writer(self._amqp, self)
        self._producer = producer(channel, auto_declare=False)
        self._frames = bytearray()
        self._tag = 0
        self._item: Item | None = None
        self._waiting: dict[int, Item] = {}
        #: What the broker has taken of those published last.
        self.accepted: list[Item] = []

    def publish(self, items: list[tuple[Item, dict[str, Any]]], seconds: float) -> None:
        """Publish these and wait until the broker has answered for each; `accepted` are those it has taken."""
        self.accepted = []
        # py-amqp writes each message to the socket by itself; here they go together.
        writer, self._amqp.frame_writer = self._amqp.frame_writer, self._writer
        try:
            for self._item, call in items:
                publish_call(self._producer, call)
        finally:
            self._amqp.frame_writer = writer
        self._flush()
        deadline = monotonic() + seconds
        with self._amqp.transport.having_timeout(seconds):  # once for all, and not for each read
            while self._waiting:
                self._connection.drain_events()
                if monotonic() > deadline and self._waiting:
                    raise TimeoutError(f"the broker has not confirmed within {seconds:g} s")

    def write(self, frames: Any) -> None:
        """Called by py-amqp's writer."""
        self._frames += frames
        if len(self._frames) > FRAMES:
            self._flush()

    def _flush(self) -> None:
        frames, self._frames = self._frames, bytearray()
        self._amqp.transport.write(frames)

    def _counted(self, *args: Any, **kwargs: Any) -> Any:
        self._tag += 1
        assert self._item is not None
        self._waiting[self._tag] = self._item
        return self._plain(*args, **kwargs)

    def _answered(self, tag: int, multiple: bool) -> list[Item]:
        tags = [one for one in self._waiting if one <= tag] if multiple else [tag]
        return [self._waiting.pop(one) for one in tags if one in self._waiting]

    def _ack(self, delivery_tag: int, multiple: bool) -> None:
        self.accepted += self._answered(delivery_tag, multiple)

    def _nack(self, delivery_tag: int, multiple: bool) -> None:
        self._answered(delivery_tag, multiple)


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
        self._later: list[tuple[float, int, Item]] = []
        self._done: list[tuple[str, bool, list[Any]]] = []
        self._known: set[str] = set()
        # Under way, or accepted and not yet removed: never published again by this process.
        self._held: set[str] = set()
        # Removed since the outbox was last about to be read, see :meth:`take_over`.
        self._removed: set[str] | None = None
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._connection: Any = None
        self._producer: Any = None
        self._confirms: Confirms | None = None
        # Queues and exchanges declared on this connection; held, so that their ids are nobody else's.
        self._declared: dict[int, Any] = {}
        #: How many of the next items are published one by one.
        self._singly = 0
        self._pauses = Pauses(longest_pause)
        self._retry_at = 0.0

    def lead(self, term: Term | None) -> None:
        """Publish on the strength of this term from now on; None for nothing at all."""
        self._term = term
        if term is None:
            self._queue.clear()
            self._later.clear()
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
        return len(self._queue) + len(self._later)

    def outstanding(self) -> int:
        """Items of the outbox that are in hand: not yet accepted, or accepted and not yet removed."""
        return len(self._known | self._held)

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
        self._disconnect()

    def _turn(self) -> None:
        now = monotonic()
        while self._later and self._later[0][0] <= now:
            self._queue.append(heapq.heappop(self._later)[2])
        term = self._term
        pause = self._retry_at - now
        if not self._queue or term is None or pause > 0 or now >= term.trusted_until:
            self._acknowledge()
            left = [0.25 if now >= (term.trusted_until if term else 0) and self._queue else 1.0]
            if self._queue and pause > 0:
                left.append(pause)
            if self._later:
                left.append(self._later[0][0] - now)
            self._wake.wait(max(0.001, min(left)))
            self._wake.clear()
            return
        if self._singly:
            self._singly -= 1
        elif len(self._queue) > 1 and self._publish_many(term):
            return
        try:
            item = self._queue.popleft()
        except IndexError:
            return
        if item.term is self._term:
            self._publish(item, term)
        if len(self._done) >= ACK_BATCH:
            self._acknowledge()

    # --- many at a time, where the broker confirms without being waited for each time ---

    def _publish_many(self, term: Term) -> bool:
        """Publish the next items without waiting for each; False when that is not possible here."""
        try:
            confirms = self._confirming()
        except Exception as exc:  # noqa: BLE001 - whatever a transport raises, the broker is away
            self._refused_first(exc)
            return True
        items = self._next_many() if confirms is not None else []
        if confirms is None or len(items) < 2:
            self._queue.extendleft(reversed([item for item, _ in items]))
            return False
        self.busy = True
        try:
            # Looked at only now, after `busy` is set: a handler that saw it unset has stopped us.
            if self.stopping or self._term is not term or monotonic() >= term.trusted_until:
                self._queue.extendleft(reversed([item for item, _ in items]))
                return True
            self._send_many(items, confirms)
        finally:
            self.busy = False
        if len(self._done) >= ACK_BATCH:
            self._acknowledge()
        return True

    def _next_many(self) -> list[tuple[Item, dict[str, Any]]]:
        """Items from the front that may be published so."""
        found: list[tuple[Item, dict[str, Any]]] = []
        while len(found) < MANY:
            try:
                item = self._queue.popleft()
            except IndexError:
                break
            if item.term is not self._term:
                continue
            call = self._among_many(item)
            if call is None:
                self._queue.appendleft(item)
                break
            found.append((item, call))
        if self._singly:  # a declaration was refused, and closed the channels: begin again, with that one alone
            self._queue.extendleft(reversed([item for item, _ in found]))
            self._singly = len(found) + 1
            return []
        return found

    def _among_many(self, item: Item) -> dict[str, Any] | None:
        """An item's call, if it goes to a queue by its name, which no error can answer; else None."""
        if item.at_most_once or item.attempts:
            return None
        try:
            call = read_call(item.call)
        except Exception:  # noqa: BLE001 - it is at fault itself, and the other way says so
            return None
        return call if not call["exchange"] and not call["mandatory"] and self._declare(call) else None

    def _declare(self, call: dict[str, Any]) -> bool:
        """Declare what a message needs beforehand: an error then is no other message's."""
        try:
            for entity in call["declare"]:
                if id(entity) not in self._declared:
                    self._producer.maybe_declare(entity)
                    if len(self._declared) >= DECLARED:
                        self._declared.clear()
                    self._declared[id(entity)] = entity
        except Exception as exc:  # noqa: BLE001 - its own publish will fail alike, and say so
            logger.debug("A declaration was refused: %s", mask(exc))
            self._disconnect()
            self._singly = 1
            return False
        call["declare"] = []
        return True

    def _send_many(self, items: list[tuple[Item, dict[str, Any]]], confirms: Confirms) -> None:
        waiting = {item.id: item for item, _ in items}
        self._held.update(waiting)
        try:
            confirms.publish(items, self.timeout)
        except Exception as exc:  # noqa: BLE001 - transports raise what they like
            self._accepted_of(confirms, waiting)
            self._held.difference_update(waiting)
            lost = self._is_lost(exc)
            self._disconnect()
            self._queue.extendleft(reversed(list(waiting.values())))
            if not lost:
                self._singly = len(waiting)  # one of them is at fault itself: by itself it is found out
            elif waiting:
                self._refused_first(exc)
            return
        self._accepted_of(confirms, waiting)
        for item in waiting.values():  # the broker said no to these
            self._held.discard(item.id)
            self._at_fault(item, ConnectionError("the broker did not take it (nack)"))

    def _accepted_of(self, confirms: Confirms, waiting: dict[str, Item]) -> None:
        for item in confirms.accepted:
            del waiting[item.id]
            self._accepted(item)

    def _is_lost(self, exc: Exception) -> bool:
        """Whether an error says that the connection is lost, and not that this message is at fault."""
        connection = self._connection
        lost = (*connection.recoverable_connection_errors, *connection.connection_errors, OSError)
        return isinstance(exc, lost) and not isinstance(exc, connection.recoverable_channel_errors)

    def _accepted(self, item: Item) -> None:
        self._known.discard(item.id)
        self._done.append((item.id, not item.at_most_once, item.row))
        if self.failing is not None:
            logger.warning("The broker takes messages again.")
            self.failing = None
        self._pauses.reset()
        if self.on_published is not None:
            with contextlib.suppress(Exception):
                self.on_published(item)

    def _confirming(self) -> Confirms | None:
        """A channel of the broker's that confirms in its own time; None where the transport has none."""
        self._connected()
        if self._confirms is None and self._connection.transport.driver_type == "amqp":
            with contextlib.suppress(AttributeError):  # another library behind the name
                self._confirms = Confirms(self._connection, self.app.amqp.Producer)
        return self._confirms

    def _publish(self, item: Item, term: Term) -> None:
        try:
            producer = self._connected()
        except Exception as exc:  # noqa: BLE001 - whatever a transport raises, the broker is away
            self._refused(item, exc)
            return
        self.busy = True
        try:
            # Looked at only now, after `busy` is set: a handler that saw it unset has stopped us.
            if self.stopping or self._term is not term or monotonic() >= term.trusted_until:
                self._queue.appendleft(item)
                return
            if item.at_most_once and not self._take(item, term):
                return
            self._send(item, producer)
        finally:
            self.busy = False

    def _take(self, item: Item, term: Term) -> bool:
        try:
            if self.store.outbox_take(term.fence, item.id, item.stamped):
                return True
            self._known.discard(item.id)
            if item.unclear:
                self._note(item, "unknown", TimeoutError("Redis did not say whether the item was taken"))
        except Deposed:
            self._known.discard(item.id)
        except TROUBLE:
            # Taken or not, it must not be sent: the reply may be lost. The next try tells.
            item.unclear = True
            self._queue.appendleft(item)
            self._retry_at = monotonic() + self._pauses.next()
        return False

    def _send(self, item: Item, producer: Any) -> None:
        self._held.add(item.id)
        try:
            publish_call(producer, read_call(item.call))
        except Exception as exc:  # noqa: BLE001 - transports raise what they like
            self._held.discard(item.id)
            if item.at_most_once:
                self._known.discard(item.id)
                self._note(item, "unknown", exc)
                self._disconnect()
                logger.warning(
                    "Entry %r: the broker's answer to %s is unknown (%s); at_most_once, so it is not repeated.",
                    item.name, item.task_id, mask(exc),
                )  # fmt: skip
            elif self._is_lost(exc):
                self._disconnect()
                self._refused(item, exc)
            else:
                self._disconnect()  # a channel error closes the channel
                self._at_fault(item, exc)
            return
        self._accepted(item)

    def _connected(self) -> Any:
        if self._producer is None:
            connection = bounded_connection(self.app, self.timeout)
            connection.ensure_connection(max_retries=1, timeout=self.timeout)
            self._connection = connection
            self._producer = self.app.amqp.Producer(connection, auto_declare=False)
        return self._producer

    def _disconnect(self) -> None:
        connection, self._connection, self._producer = self._connection, None, None
        self._confirms = None
        self._declared.clear()
        if connection is not None:
            with contextlib.suppress(Exception):
                # collapse() closes the socket without a farewell that a dead broker would never answer.
                getattr(connection, "collapse", connection.release)()

    def _refused(self, item: Item, exc: BaseException) -> None:
        self._queue.appendleft(item)
        pause = self._pauses.next()
        self._retry_at = monotonic() + pause
        said = mask(f"{type(exc).__name__}: {exc}")
        if self.failing is None:
            logger.warning(
                "The broker refuses: %s. %d messages wait in the outbox; trying again in %.2f s, then more seldom.",
                said, self.waiting(), pause,
            )  # fmt: skip
        self.failing = said
        self._tell_refused(item, said)

    def _refused_first(self, exc: BaseException) -> None:
        """The broker refuses, whatever comes first."""
        try:
            item = self._queue.popleft()
        except IndexError:  # the term is over
            return
        self._refused(item, exc)

    def _tell_refused(self, item: Item, why: str) -> None:
        if self.on_refused is not None:
            with contextlib.suppress(Exception):
                self.on_refused(item, why)

    def _at_fault(self, item: Item, exc: BaseException) -> None:
        item.attempts += 1
        pause = min(ITEM_PAUSE, 0.5 * 2 ** min(item.attempts, 10))
        heapq.heappush(self._later, (monotonic() + pause, id(item), item))
        self._note(item, "failed", exc)
        self._tell_refused(item, mask(f"{type(exc).__name__}: {exc}"))
        logger.warning(
            "Entry %r: the broker refused the message %s by itself (%s: %s); trying it again in %.0f s. "
            "Others go on.",
            item.name, item.task_id, type(exc).__name__, mask(exc), pause,
        )  # fmt: skip

    def _note(self, item: Item, what: str, exc: BaseException) -> None:
        row = list(item.row)
        row[row.index("is") + 1] = what
        row += ["why", mask(f"{type(exc).__name__}: {exc}")[:300]]
        with contextlib.suppress(*TROUBLE):
            self.store.outbox_done([("-", False, row)])

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
