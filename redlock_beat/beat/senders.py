"""The connection to the broker, and the two ways to send by it.

A *plain* sender is kombu's: one message at a time, taken when it is written. A *confirming* one has an AMQP broker
answer for each message in its own time, so that many are under way (:mod:`~redlock_beat.beat.confirms`).
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from ..errors import mask
from ..messages.renderer import bounded_connection, publish_call
from ..store.item import Item
from .confirms import Confirms, NoRoute, NotTaken, bounded

logger = logging.getLogger("redlock_beat")

#: Messages published before the broker's confirmations are waited for.
MANY = 100
#: Queues and exchanges remembered as declared.
DECLARED = 1_000
#: The longest farewell to a broker that is well, in seconds.
FAREWELL = 1.0

Call = dict[str, Any]


class Sender(Protocol):
    """How messages are sent by a connection."""

    #: Messages that may be under way together.
    at_once: int

    @property
    def blocked(self) -> bool:
        """Whether the broker reads nothing at present."""

    @property
    def refused(self) -> list[tuple[Item, NotTaken]]:
        """What the broker has not taken of those sent last, and why."""

    def send(self, item: Item, call: Call) -> bool:
        """Send one; raises what says that it is not taken. Whether it was written at all."""

    def send_many(self, items: list[tuple[Item, Call]]) -> list[Item]:
        """Send these; what was not even written. `refused` are then those that the broker has not taken."""

    def left(self, items: list[tuple[Item, Call]]) -> list[Item]:
        """Which of those sent last have no answer."""

    def declare(self, call: Call) -> None:
        """Declare what a message needs beforehand: an error then is no other message's."""

    def forget_declared(self) -> None:
        """Somebody has deleted what was declared: declare it anew."""

    def tend(self) -> None:
        """Hear what the broker says while nothing is sent."""


class PlainSender:
    """Kombu's own way: it declares what a message needs, and a message is taken when it is written."""

    at_once = 1
    blocked = False
    refused: list[tuple[Item, NotTaken]] = []  # noqa: RUF012 - it says no by an error, so nothing is ever in it

    def __init__(self, producer: Any, accepted: Callable[[Item], None]) -> None:
        self._producer = producer
        self._accepted = accepted

    def send(self, item: Item, call: Call) -> bool:
        """Send one; raises what says that it is not taken."""
        publish_call(self._producer, call)
        self._accepted(item)
        return True

    def send_many(self, items: list[tuple[Item, Call]]) -> list[Item]:
        """Send these, one after the other."""
        for item, call in items:
            self.send(item, call)
        return []

    def left(self, items: list[tuple[Item, Call]]) -> list[Item]:
        """None has an answer but by an error."""
        return [item for item, _ in items]

    def declare(self, call: Call) -> None:
        """Kombu does it as it sends."""

    def forget_declared(self) -> None:
        """Kombu remembers it by connection."""

    def tend(self) -> None:
        """Nothing is said between two messages."""


class ConfirmingSender:
    """Many messages are under way at a time, and the broker answers for each."""

    at_once = MANY

    def __init__(self, link: Link, producer: Any, confirms: Confirms) -> None:
        self.confirms = confirms
        self._link = link
        self._producer = producer

    @property
    def blocked(self) -> bool:
        """Whether the broker reads nothing at present."""
        return self.confirms.blocked

    @property
    def refused(self) -> list[tuple[Item, NotTaken]]:
        """What the broker has not taken of those sent last, and why."""
        return self.confirms.refused

    def send(self, item: Item, call: Call) -> bool:
        """Send one; raises what says that it is not taken. Whether it was written: not to one that blocks."""
        entities = call["declare"]
        if item.attempts:
            self.forget_declared()  # perhaps somebody has deleted what it needs
        self.declare(call)
        if self.send_many([(item, call)]):
            return False
        if entities and self.refused and isinstance(self.refused[0][1], NoRoute):
            self.forget_declared()
            self.declare({**call, "declare": entities})
            self.send_many([(item, call)])
        if self.refused:
            raise self.refused[0][1]
        return True

    def send_many(self, items: list[tuple[Item, Call]]) -> list[Item]:
        """Send these and wait for the answers; what was not even written."""
        return self.confirms.publish(items, self._link.timeout)

    def left(self, items: list[tuple[Item, Call]]) -> list[Item]:
        """Which of those sent last have no answer."""
        return self.confirms.left(items)

    def declare(self, call: Call) -> None:
        """Declare what a message needs beforehand: an error then is no other message's."""
        call["mandatory"] = call["mandatory"] or _needs_queue(call)
        declared = self._link.declared
        for entity in call["declare"]:
            if id(entity) not in declared:
                with self._link.bounded():
                    self._producer.maybe_declare(entity)
                if len(declared) >= DECLARED:
                    declared.clear()
                declared[id(entity)] = entity
        call["declare"] = []

    def forget_declared(self) -> None:
        """Somebody has deleted what was declared: declare it anew."""
        self._link.forget_declared()

    def tend(self) -> None:
        """Hear what the broker says while nothing is sent: that it blocks, unblocks or goes."""
        self.confirms.tend()


class Link:
    """The connection to the broker, and the sender that its transport allows."""

    def __init__(self, app: Any, timeout: float, accepted: Callable[[Item], None], waits: Callable[[], bool]) -> None:
        self.app = app
        self.timeout = timeout
        #: The connection is new: the first message goes alone.
        self.fresh = True
        #: How messages are sent; None while there is no connection or no channel.
        self.sender: Sender | None = None
        #: Queues and exchanges declared on this connection; held, so that their ids are nobody else's.
        self.declared: dict[int, Any] = {}
        self._accepted = accepted
        self._waits = waits
        self._connection: Any = None
        self._producer: Any = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._connection is not None

    @property
    def reads(self) -> bool:
        """Whether the broker reads what is written to it."""
        return self.sender is None or not self.sender.blocked

    def open(self) -> Sender:
        """Connect if need be; raises whatever the transport does when the broker is away."""
        if self._connection is None:
            connection = bounded_connection(self.app, self.timeout)
            connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=self.timeout)
            producer = self.app.amqp.Producer(connection, auto_declare=False)
            self._connection, self._producer, self.fresh = connection, producer, True
        if self.sender is None:
            self.sender = self._confirming() or PlainSender(self._producer, self._took)
        return self.sender

    def _took(self, item: Item) -> None:
        self.fresh = False
        self._accepted(item)

    def _confirming(self) -> Sender | None:
        """A channel of the broker's that confirms in its own time; None where the transport has none."""
        if self._connection.transport.driver_type == "amqp":
            with contextlib.suppress(AttributeError), self.bounded():  # another library behind the name
                confirms = Confirms(self._connection, self.app.amqp.Producer, self._took, self._waits)
                return ConfirmingSender(self, self._producer, confirms)
        return None

    @contextmanager
    def bounded(self) -> Iterator[None]:
        """A bound for what waits for an answer of an AMQP broker."""
        if self._connection.transport.driver_type != "amqp":
            yield
        else:
            with bounded(self._connection.connection, self.timeout):
                yield

    def forget_declared(self) -> None:
        """What is to be sent by this connection declares anew what it needs."""
        self.declared.clear()
        self._connection.declared_entities.clear()  # kombu remembers it, too

    def close(self, *, farewell: bool = False) -> None:
        """Forget the connection; a broker that is well is told, one that is dead would never answer."""
        connection, self._connection, self._producer = self._connection, None, None
        sender, self.sender = self.sender, None
        self.declared.clear()
        if connection is None:
            return
        confirming = isinstance(sender, ConfirmingSender)
        with contextlib.suppress(Exception):
            if sender is None or not confirming:
                connection.release()
            elif farewell and not sender.blocked:
                with bounded(connection.connection, FAREWELL):
                    connection.connection.close()
        with contextlib.suppress(Exception):
            if confirming:
                connection.collect()  # closes the socket without a word

    def close_channel(self) -> None:
        """Another channel for the next message; the connection, and what is declared, stay."""
        sender = self.sender
        if not isinstance(sender, ConfirmingSender):
            self.close(farewell=True)
            return
        self.sender = None
        try:
            with self.bounded():
                sender.confirms.close()
        except Exception as exc:  # noqa: BLE001 - whatever it is, the connection is of no use
            logger.debug("The channel could not be closed: %s", mask(exc))
            self.close()

    def is_lost(self, exc: Exception) -> bool:
        """Whether an error says that the connection is lost, and not that this message is at fault."""
        connection = self._connection
        if connection is None or isinstance(exc, NotTaken) or type(exc).__name__ == "MessageNacked":
            return False  # kombu lists a nack among the errors of a connection; it is an answer about a message
        lost = (*connection.recoverable_connection_errors, *connection.connection_errors, OSError)
        return isinstance(exc, lost) and not isinstance(exc, connection.recoverable_channel_errors)

    def is_of_channel(self, exc: Exception) -> bool:
        """Whether the broker has closed the channel."""
        connection = self._connection
        return connection is not None and isinstance(exc, connection.channel_errors)


def _needs_queue(call: Call) -> bool:
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
