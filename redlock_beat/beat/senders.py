"""The connection to the broker, and the two ways to send by it.

A *plain* sender is kombu's: one message at a time, which counts as taken when it is written. With a *confirming* one an
AMQP broker answers for each message in its own time, so that many are under way (:mod:`~redlock_beat.beat.confirms`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from ..errors import mask
from ..log import log
from ..messages.calls import publish_call
from ..messages.connections import bounded_connection
from ..store.item import Item
from .confirms import TOGETHER, Call, Confirms, NoRoute, NotTaken, bounded

#: Queues and exchanges that a link remembers as declared.
DECLARED = 1_000
#: The longest farewell to a broker that is well, in seconds.
FAREWELL = 1.0

#: Gives the next messages to send; none when that is all.
More = Callable[[], list[tuple[Item, Call]]]


class Sender(Protocol):
    """How a connection sends messages."""

    #: Messages that may be sent together.
    at_once: int

    @property
    def under_way(self) -> bool:
        """Whether messages are without an answer."""

    @property
    def blocked(self) -> bool:
        """Whether the broker reads nothing now."""

    @property
    def refused(self) -> list[tuple[Item, NotTaken]]:
        """The items that the broker has not taken of those sent last, and why."""

    def send(self, item: Item, call: Call) -> bool:
        """Send one, and raise when the broker does not take it; whether it was written at all."""

    def send_many(self, more: More, meanwhile: Callable[[], None]) -> list[Item]:
        """Send what *more* gives, *meanwhile* doing other things; those that were not even written.

        `refused` are then those that the broker has not taken.
        """

    def left(self) -> list[Item]:
        """The items without an answer among those of :meth:`send_many`."""

    def has_declared(self, call: Call) -> bool:
        """Whether what a message needs is declared already."""

    def declare(self, call: Call) -> None:
        """Declare in advance what a message needs, so that an error is about no other message."""

    def forget_declared(self) -> None:
        """Declare everything anew: somebody has deleted it."""

    def tend(self) -> None:
        """Read what the broker says while nothing is sent."""


class PlainSender:
    """Kombu's own way: kombu declares what a message needs, and the message counts as taken when it is written."""

    at_once = 1
    under_way = blocked = False
    refused: list[tuple[Item, NotTaken]] = []  # noqa: RUF012 - it refuses by an error, so this stays empty

    def __init__(self, producer: Any, accepted: Callable[[Item], None]) -> None:
        self._producer = producer
        self._accepted = accepted

    def send(self, item: Item, call: Call) -> bool:
        """Send one, and raise when the broker does not take it."""
        publish_call(self._producer, call)
        self._accepted(item)
        return True

    def send_many(self, more: More, meanwhile: Callable[[], None]) -> list[Item]:
        """Send what *more* gives, one after the other."""
        while items := more():
            for item, call in items:
                self.send(item, call)
            meanwhile()
        return []

    def left(self) -> list[Item]:
        """None: it sends one at a time, and the caller knows which."""
        return []

    def has_declared(self, call: Call) -> bool:
        """Kombu declares as it sends."""
        return True

    def declare(self, call: Call) -> None:
        """Does nothing: kombu declares as it sends."""

    def forget_declared(self) -> None:
        """Does nothing: kombu remembers what it declared."""

    def tend(self) -> None:
        """Does nothing: the broker says nothing between two messages."""


class ConfirmingSender:
    """Sends many messages at a time; the broker answers for each."""

    at_once = TOGETHER

    def __init__(self, link: Link, producer: Any, confirms: Confirms) -> None:
        self.confirms = confirms
        self._link = link
        self._producer = producer

    @property
    def under_way(self) -> bool:
        """Whether messages are without an answer."""
        return self.confirms.under_way

    @property
    def blocked(self) -> bool:
        """Whether the broker reads nothing now."""
        return self.confirms.blocked

    @property
    def refused(self) -> list[tuple[Item, NotTaken]]:
        """The items that the broker has not taken of those sent last, and why."""
        return self.confirms.refused

    def send(self, item: Item, call: Call) -> bool:
        """Send one, and raise when the broker does not take it; whether it was written, which a blocked one is not."""
        entities = call["declare"]
        if item.attempts:
            self.forget_declared()  # perhaps somebody has deleted what it needs
        self.declare(call)
        if self._send_one(item, call):
            return False
        if entities and self.refused and isinstance(self.refused[0][1], NoRoute):
            self.forget_declared()
            self.declare({**call, "declare": entities})
            self._send_one(item, call)
        if self.refused:
            raise self.refused[0][1]
        return True

    def _send_one(self, item: Item, call: Call) -> list[Item]:
        items = [[(item, call)]]
        return self.send_many(lambda: items.pop() if items else [], lambda: None)

    def send_many(self, more: More, meanwhile: Callable[[], None]) -> list[Item]:
        """Send what *more* gives and wait for the answers, *meanwhile* doing other things; what was not written."""
        return self.confirms.publish(more, meanwhile, self._link.timeout)

    def left(self) -> list[Item]:
        """The items without an answer among those sent last."""
        return self.confirms.left()

    def has_declared(self, call: Call) -> bool:
        """Whether what a message needs is declared already."""
        return all(id(entity) in self._link.declared for entity in call["declare"])

    def declare(self, call: Call) -> None:
        """Declare in advance what a message needs, so that an error is about no other message."""
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
        """Declare everything anew: somebody has deleted it."""
        self._link.forget_declared()

    def tend(self) -> None:
        """Read what the broker says while nothing is sent: that it blocks, unblocks or goes."""
        self.confirms.tend()


class Link:
    """The connection to the broker, and the sender that its transport allows."""

    def __init__(self, app: Any, timeout: float, accepted: Callable[[Item], None], waits: Callable[[], bool]) -> None:
        self.app = app
        self.timeout = timeout
        #: Whether the connection is new: then the first message goes alone.
        self.fresh = True
        #: How messages are sent; None while there is no connection or no channel.
        self.sender: Sender | None = None
        #: Queues and exchanges declared on this connection; kept, so that no other object gets their ids.
        self.declared: dict[int, Any] = {}
        self._accepted = accepted
        self._waits = waits
        self._connection: Any = None
        self._producer: Any = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as this process knows."""
        return self._connection is not None

    @property
    def reads(self) -> bool:
        """Whether the broker reads what beat writes to it."""
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
        """A sender by a channel that confirms; None where the transport has none."""
        if self._connection.transport.driver_type == "amqp":
            with contextlib.suppress(AttributeError), self.bounded():  # another library behind the name
                confirms = Confirms(self._connection, self.app.amqp.Producer, self._took, self._waits)
                return ConfirmingSender(self, self._producer, confirms)
        return None

    @contextmanager
    def bounded(self) -> Iterator[None]:
        """Bound what waits for an answer of an AMQP broker."""
        if self._connection.transport.driver_type != "amqp":
            yield
        else:
            with bounded(self._connection.connection, self.timeout):
                yield

    def forget_declared(self) -> None:
        """Let the next messages declare anew what they need."""
        self.declared.clear()
        self._connection.declared_entities.clear()  # kombu remembers it, too

    def close(self, *, farewell: bool = False) -> None:
        """Close the connection, with a *farewell* to a broker that is well; a dead one would never answer."""
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
        """Take another channel for the next message; the connection, and what is declared, stay."""
        sender = self.sender
        if not isinstance(sender, ConfirmingSender):
            self.close(farewell=True)
            return
        self.sender = None
        try:
            with self.bounded():
                sender.confirms.close()
        except Exception as exc:  # noqa: BLE001 - whatever it is, the connection is of no use
            log.debug("broker.channel_stuck", "The channel could not be closed: %(why)s", why=mask(exc))
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
    """Whether a message without a queue is lost, and not one that nobody has to hear.

    It is lost when it goes to a queue by its name, or to the exchange and with the key that bind the queue it declares.
    With other keys, and other kinds of exchange (fan-outs, delays), it is normal that nobody takes it.
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
