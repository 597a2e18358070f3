"""Messages as bytes for an AMQP broker: as py-amqp writes them, and in bulk.

A message that was filled into a template is filled into the frames of it (see ``frames``), once that has given the very
bytes that py-amqp writes for one of them. All others are written by kombu and py-amqp.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import mask
from ..log import log
from ..messages.calls import publish_call, read_call
from ..messages.template import Filled, Template
from ..store.item import Item
from .frames import Frames, marks

#: Templates whose frames are kept.
TEMPLATES = 1_000


class Packer:
    """Writes the messages of a channel to a buffer, instead of to the broker's socket."""

    def __init__(self, amqp: Any, channel: Any, producer: Any) -> None:
        from amqp import spec
        from amqp.method_framing import frame_writer

        #: What is not written to the broker yet.
        self.buffer = bytearray()
        self._amqp = amqp
        self._channel = channel
        self._producer = producer
        self._method = spec.Basic.Publish
        self._writer = frame_writer(amqp, self)
        # kombu's connection makes each publish wait for its confirmation; here they are counted instead.
        channel.basic_publish = self._publish
        # None for a template whose messages py-amqp writes.
        self._frames: dict[Template, Frames | None] = {}

    def pack(self, item: Item, call: Mapping[str, Any]) -> None:
        """Write a message; of one that a template has filled in, the call needs to say no more than where it goes."""
        filled = item.filled
        if filled is None or item.alone or item.attempts:
            self._by_amqp(call if filled is None else _whole(filled.text, call))
            return
        if filled.template not in self._frames:
            self._learn(filled, call)
        frames = self._frames[filled.template]
        if frames is not None:
            data = frames.fill(filled.values)
            if len(data) <= self._amqp.frame_max - 8:  # else py-amqp writes its body in several frames
                self.buffer += data
                self._amqp.bytes_sent += 1  # messages, for the heartbeat
                return
        self._by_amqp(_whole(filled.text, call))

    def write(self, frames: Any) -> None:
        """Called by py-amqp's writer."""
        self.buffer += frames

    def _by_amqp(self, call: Mapping[str, Any]) -> None:
        writer, self._amqp.frame_writer = self._amqp.frame_writer, self._writer
        try:
            publish_call(self._producer, call)
        finally:
            self._amqp.frame_writer = writer

    def _publish(
        self, message: Any, exchange: str = "", routing_key: str = "", mandatory: bool = False, **_: Any
    ) -> None:
        """Called by kombu to publish a message."""
        arguments = (0, exchange, routing_key, mandatory, False)
        self._channel.send_method(self._method, "Bssbb", arguments, message)

    # --- frames of a template ---

    def _learn(self, filled: Filled, call: Mapping[str, Any]) -> None:
        """Cut the frames of a template; they must give what py-amqp writes for this message."""
        if len(self._frames) >= TEMPLATES:
            self._frames.clear()
        said, why = marks(), "the bytes differ"
        try:
            frames = Frames(self._written(_whole(filled.template.write(said, "").decode(), call)), said)
            if frames.fill(filled.values) == self._written(_whole(filled.text, call)):
                self._frames[filled.template] = frames
                return
        except Exception as exc:  # noqa: BLE001 - whatever it is, py-amqp writes them, or says what is wrong with them
            why = mask(exc)
        words = "Messages of task %(task)s are packed by py-amqp, which is slower: %(why)s"
        log.debug("messages.packed", words, task=filled.template.task, why=why)
        self._frames[filled.template] = None

    def _written(self, call: Mapping[str, Any]) -> bytes:
        """What py-amqp writes for a message that is not sent."""
        begin = len(self.buffer)
        try:
            self._by_amqp(call)
            return bytes(self.buffer[begin:])
        finally:
            del self.buffer[begin:]


def _whole(text: str, call: Mapping[str, Any]) -> dict[str, Any]:
    """The call of a text, as it goes to the broker: what it needs there is declared already."""
    return {**read_call(text), "mandatory": call["mandatory"], "declare": []}
