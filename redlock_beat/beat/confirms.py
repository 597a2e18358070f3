"""A channel on which an AMQP broker answers for each message in its own time.

RabbitMQ has four answers to a message, and only the first says that it is in a queue:

- *ack*: taken. Sent also for a message that no queue was there for, so messages that need a queue are
  published as *mandatory*: those are returned first.
- *return*: no queue takes it; perhaps somebody has deleted the queue.
- *nack*: the broker could not take it; a full queue that rejects what is published to it, say.
- the channel is closed (no such exchange), or the connection (a message that it cannot even read).

Under a memory or disk alarm it answers nothing: it says ``connection.blocked`` and reads nothing more of
this connection until the alarm is over. What is written by then is taken when it ends, even if the
connection is closed meanwhile. So a blocked connection is kept, and nothing more is written.
"""

from __future__ import annotations

import contextlib
import select
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..clock import monotonic
from ..messages.renderer import publish_call
from ..store.item import Item

#: Bytes written to the broker's socket at a time, about.
FRAMES = 1_000_000
#: Seconds between two looks at a connection that is blocked.
LOOK = 1.0

BLOCKED = "it has blocked this connection: a memory or disk alarm, see its log"


class NotTaken(Exception):
    """The broker's answer about one message: no."""


class NoRoute(NotTaken):
    """There is no queue for it; it is nowhere."""


@contextmanager
def bounded(amqp: Any, seconds: float) -> Iterator[None]:
    """A bound for each wait on a connection of py-amqp's; why it was closed meanwhile is not hidden."""
    sock = amqp.transport.sock
    before = sock.gettimeout()
    sock.settimeout(seconds)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # it is closed
            sock.settimeout(before)


class Confirms:
    """A channel of py-amqp's; many messages are under way at a time, and each answer is counted."""

    def __init__(self, connection: Any, producer: Any, accepted: Callable[[Item], None], waits: Callable[[], bool]):
        from amqp import spec
        from amqp.method_framing import frame_writer

        amqp = connection.connection
        channel = amqp.channel()
        channel.confirm_select()
        # kombu's connection makes each publish wait for its confirmation; here they are counted instead.
        channel.basic_publish = self._counted
        channel.events["basic_ack"].add(self._ack)
        channel.events["basic_nack"].add(self._nack)
        channel.events["basic_return"].add(self._returned)
        amqp.on_blocked, amqp.on_unblocked = self._block, self._unblock
        self._channel = channel
        self._method = spec.Basic.Publish
        self._amqp = amqp
        self._writer = frame_writer(amqp, self)
        self._producer = producer(channel, auto_declare=False)
        self._accepted = accepted
        #: Called once a second while the connection is blocked; False when it is not worth waiting any more.
        self._waits = waits
        self._frames = bytearray()
        self._written = 0
        self._tag = 0
        self._current: tuple[Item, Mapping[str, Any]] | None = None
        self._unanswered: dict[int, tuple[Item, Mapping[str, Any]]] = {}
        #: Whether the broker reads nothing at present.
        self.blocked = False
        self._taken: set[str] = set()
        #: What the broker has not taken of those published last, and why.
        self.refused: list[tuple[Item, NotTaken]] = []

    def publish(self, items: list[tuple[Item, dict[str, Any]]], seconds: float) -> list[Item]:
        """Publish these and wait until the broker has answered for each; what was not even written.

        `refused` are then those that the broker has not taken; `accepted` is told of each that it has.
        """
        self.refused, self._taken = [], set()
        with bounded(self._amqp, min(seconds, LOOK)):  # once for all, and not for each read
            written = self._write_all(items, seconds)
            self._await(seconds)
        return [item for item, _ in items[written:]]

    def left(self, items: list[tuple[Item, dict[str, Any]]]) -> list[Item]:
        """Which of those published last have no answer."""
        answered = self._taken.union(item.id for item, _ in self.refused)
        return [item for item, _ in items if item.id not in answered]

    def close(self) -> None:
        """Close the channel; py-amqp opens one anew that the broker has closed."""
        self._channel.close()

    def tend(self) -> None:
        """Read what the broker has to say when nothing is under way; raises when the connection is lost."""
        while select.select([self._amqp.transport.sock], (), (), 0)[0]:
            with contextlib.suppress(TimeoutError), bounded(self._amqp, LOOK):
                self._amqp.drain_events()

    # --- writing ---

    def _write_all(self, items: list[tuple[Item, dict[str, Any]]], seconds: float) -> int:
        """Write messages until the connection is blocked; how many were written."""
        done = 0
        while done < len(items):
            count = done
            with self._buffered():
                for self._current in items[done:]:
                    publish_call(self._producer, self._current[1])
                    count += 1
                    if len(self._frames) > FRAMES:
                        break
            self.tend()
            if self.blocked:
                self._forget_unwritten()
                break
            self._flush(seconds)
            done = count
        return done

    @contextmanager
    def _buffered(self) -> Iterator[None]:
        # py-amqp writes each message to the socket by itself; here they go together.
        writer, self._amqp.frame_writer = self._amqp.frame_writer, self._writer
        try:
            yield
        finally:
            self._amqp.frame_writer = writer

    def write(self, frames: Any) -> None:
        """Called by py-amqp's writer."""
        self._frames += frames

    def _flush(self, seconds: float) -> None:
        frames, self._frames = self._frames, bytearray()
        with bounded(self._amqp, seconds):
            self._amqp.transport.write(frames)
        self._written = self._tag

    def _forget_unwritten(self) -> None:
        for tag in range(self._written + 1, self._tag + 1):
            del self._unanswered[tag]
        self._tag = self._written
        self._frames = bytearray()

    def _counted(
        self, message: Any, exchange: str = "", routing_key: str = "", mandatory: bool = False, **_: Any
    ) -> None:
        """What kombu calls to publish a message: it is counted, as the broker counts it."""
        arguments = (0, exchange, routing_key, mandatory, False)
        self._channel.send_method(self._method, "Bssbb", arguments, message)
        self._tag += 1
        assert self._current is not None
        self._unanswered[self._tag] = self._current

    # --- the answers ---

    def _await(self, seconds: float) -> None:
        deadline = monotonic() + seconds
        while self._unanswered:
            try:
                self._amqp.drain_events()
            except TimeoutError:
                if self.blocked and not self._waits():
                    raise
            if self.blocked:
                deadline = monotonic() + seconds
            elif monotonic() > deadline and self._unanswered:
                raise TimeoutError(f"the broker has not confirmed within {seconds:g} s")

    def _answered(self, tag: int, multiple: bool) -> list[Item]:
        tags = [one for one in self._unanswered if one <= tag] if multiple else [tag]
        return [self._unanswered.pop(one)[0] for one in tags if one in self._unanswered]

    def _ack(self, delivery_tag: int, multiple: bool) -> None:
        for item in self._answered(delivery_tag, multiple):
            self._taken.add(item.id)
            self._accepted(item)

    def _nack(self, delivery_tag: int, multiple: bool) -> None:
        for item in self._answered(delivery_tag, multiple):
            self.refused.append((item, NotTaken("the broker did not take it (nack): its queue may be full")))

    def _returned(self, exc: Exception, exchange: str, routing_key: str, message: Any) -> None:
        """A return carries no number, but comes before the ack of its message; equal ones are alike."""
        id_ = message.properties.get("correlation_id")
        for tag, (item, call) in self._unanswered.items():
            there = (call["exchange"], call["routing_key"], call["properties"].get("correlation_id"))
            if there == (exchange, routing_key, id_):
                del self._unanswered[tag]
                self.refused.append((item, NoRoute(f"no queue takes it ({exc})")))
                return

    def _block(self, reason: str) -> None:
        self.blocked = True

    def _unblock(self) -> None:
        self.blocked = False
