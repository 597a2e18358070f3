"""A channel on which an AMQP broker answers for each message in its own time.

RabbitMQ has four answers to a message, and only the first says that it is in a queue:

- *ack*: the broker has taken it. It acks a message without a queue, too, so messages that need a queue are published
  as *mandatory*: the broker returns those first.
- *return*: no queue takes it; perhaps somebody has deleted the queue.
- *nack*: the broker could not take it, for instance because a queue is full and rejects what is published to it.
- it closes the channel (no such exchange), or the connection (it cannot even read the message).

Under a memory or disk alarm it does not answer: it says ``connection.blocked`` and reads nothing more of this
connection until the alarm ends. It then takes what was written before, even if the connection is closed meanwhile. So
beat keeps a blocked connection, and writes nothing more.
"""

from __future__ import annotations

import contextlib
import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..clock import monotonic
from ..store.item import Item
from .packer import Packer

#: Messages under way at most, and messages that are written together.
MOST, TOGETHER = 200, 100
#: Bytes written to the broker's socket at a time, about.
FRAMES = 1_000_000
#: Seconds between two reads of a connection that is blocked.
LOOK = 1.0

BLOCKED = "it has blocked this connection: a memory or disk alarm, see its log"


class NotTaken(Exception):
    """The broker's answer about one message: no."""


class NoRoute(NotTaken):
    """There is no queue for it, so it is nowhere."""


@contextmanager
def bounded(amqp: Any, seconds: float) -> Iterator[None]:
    """Bound each wait on a connection of py-amqp; the reason why it is closed meanwhile comes out."""
    sock = amqp.transport.sock
    before = sock.gettimeout()
    sock.settimeout(seconds)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # it is closed
            sock.settimeout(before)


Call = dict[str, Any]


@dataclass(slots=True)
class _UnderWay:
    """A message without an answer."""

    item: Item
    #: Exchange, routing key and correlation id, by which it is known when it is returned.
    address: tuple[Any, Any, Any]
    #: When it was written (monotonic).
    since: float


class Confirms:
    """A channel of py-amqp with many messages under way, which counts the answers."""

    def __init__(self, connection: Any, producer: Any, accepted: Callable[[Item], None], waits: Callable[[], bool]):
        amqp = connection.connection
        channel = amqp.channel()
        channel.confirm_select()
        channel.events["basic_ack"].add(self._ack)
        channel.events["basic_nack"].add(self._nack)
        channel.events["basic_return"].add(self._returned)
        amqp.on_blocked, amqp.on_unblocked = self._block, self._unblock
        self._channel = channel
        self._amqp = amqp
        self._packer = Packer(amqp, channel, producer(channel, auto_declare=False))
        self._accepted = accepted
        #: Called once a second while the connection is blocked; False when waiting has no use any more.
        self._waits = waits
        self._written = 0
        self._tag = 0
        self._unanswered: dict[int, _UnderWay] = {}
        # Items handed over that are neither answered nor given back; and when the broker last read nothing.
        self._open: dict[str, Item] = {}
        self._blocked_at = 0.0
        #: Whether the broker reads nothing now.
        self.blocked = False
        #: What the broker has not taken of those published last, and why.
        self.refused: list[tuple[Item, NotTaken]] = []

    @property
    def under_way(self) -> bool:
        """Whether messages are without an answer."""
        return bool(self._unanswered)

    def publish(
        self, more: Callable[[], list[tuple[Item, Call]]], meanwhile: Callable[[], None], seconds: float
    ) -> list[Item]:
        """Publish what *more* gives until it gives nothing, and wait for the answer to each.

        The items that were not even written come back. `refused` are then those that the broker has not taken;
        `accepted` is called with each that it has. *meanwhile* is called while messages are under way.
        """
        self.refused, self._open = [], {}
        with bounded(self._amqp, min(seconds, LOOK)):  # once for all, and not for each read
            while True:
                under_way = len(self._unanswered)
                items = more() if under_way <= MOST - TOGETHER and not (self.blocked and under_way) else []
                if items:
                    self._open.update((item.id, item) for item, _ in items)
                    unwritten = self._write(items, seconds)
                    meanwhile()
                    if unwritten:
                        self._await(seconds)
                        return unwritten
                elif self._unanswered:
                    self._read(seconds)
                else:
                    return []

    def left(self) -> list[Item]:
        """The items without an answer among those published last."""
        return list(self._open.values())

    def close(self) -> None:
        """Close the channel; py-amqp opens a new one where the broker has closed it."""
        self._channel.close()

    def tend(self) -> None:
        """Read what the broker says while nothing is under way; raises when the connection is lost."""
        while select.select([self._amqp.transport.sock], (), (), 0)[0]:
            with contextlib.suppress(TimeoutError), bounded(self._amqp, LOOK):
                self._amqp.drain_events()

    # --- writing ---

    def _write(self, items: list[tuple[Item, Call]], seconds: float) -> list[Item]:
        """Write messages until the connection is blocked; the items that were not written."""
        done = 0
        while done < len(items):
            count = self._pack(items[done:], seconds)
            self.tend()
            if self.blocked:
                self._forget_unwritten()
                break
            self._flush(seconds)
            done += count
        unwritten = [item for item, _ in items[done:]]
        for item in unwritten:
            del self._open[item.id]
        return unwritten

    def _pack(self, items: list[tuple[Item, Call]], seconds: float) -> int:
        """Pack as many messages as are written at a time, and count them as the broker does; how many."""
        count, now = 0, monotonic()
        try:
            for item, call in items:
                self._packer.pack(item, call)
                self._tag += 1
                self._unanswered[self._tag] = _UnderWay(item, _address(item, call), now)
                count += 1
                if len(self._packer.buffer) > FRAMES:
                    break
        except Exception:  # one of them cannot be packed: those that are written have their answers first
            self._forget_unwritten()
            self._await(seconds)
            raise
        return count

    def _flush(self, seconds: float) -> None:
        frames, self._packer.buffer = self._packer.buffer, bytearray()
        with bounded(self._amqp, seconds):
            self._amqp.transport.write(frames)
        self._written = self._tag

    def _forget_unwritten(self) -> None:
        for tag in range(self._written + 1, self._tag + 1):
            del self._unanswered[tag]
        self._tag = self._written
        self._packer.buffer = bytearray()

    # --- the answers ---

    def _await(self, seconds: float) -> None:
        while self._unanswered:
            self._read(seconds)

    def _read(self, seconds: float) -> None:
        """Read one thing that the broker says; TimeoutError when it has not answered for so long."""
        try:
            self._amqp.drain_events()
        except TimeoutError:
            if self.blocked and not self._waits():
                raise
        if self.blocked:
            self._blocked_at = monotonic()
        elif self._unanswered:
            first = next(iter(self._unanswered.values()))
            if monotonic() > max(first.since, self._blocked_at) + seconds:
                raise TimeoutError(f"the broker has not confirmed within {seconds:g} s")

    def _answered(self, tag: int, multiple: bool) -> list[Item]:
        unanswered = self._unanswered
        tags = [one for one in unanswered if one <= tag] if multiple else [tag]
        items = [unanswered.pop(one).item for one in tags if one in unanswered]
        for item in items:
            self._open.pop(item.id, None)
        return items

    def _ack(self, delivery_tag: int, multiple: bool) -> None:
        for item in self._answered(delivery_tag, multiple):
            self._accepted(item)

    def _nack(self, delivery_tag: int, multiple: bool) -> None:
        for item in self._answered(delivery_tag, multiple):
            self.refused.append((item, NotTaken("the broker did not take it (nack): its queue may be full")))

    def _returned(self, exc: Exception, exchange: str, routing_key: str, message: Any) -> None:
        """A return has no number, but comes before the ack of its message; of equal messages any will do."""
        id_ = message.properties.get("correlation_id")
        for tag, one in self._unanswered.items():
            if one.address == (exchange, routing_key, id_):
                self._answered(tag, multiple=False)
                self.refused.append((one.item, NoRoute(f"no queue takes it ({exc})")))
                return

    def _block(self, reason: str) -> None:
        self.blocked = True

    def _unblock(self) -> None:
        self.blocked = False


def _address(item: Item, call: Call) -> tuple[Any, Any, Any]:
    # A message that is filled in has the id of its occurrence; one of a group has its own.
    id_ = item.task_id if item.filled is not None else call["properties"].get("correlation_id")
    return call["exchange"], call["routing_key"], id_
