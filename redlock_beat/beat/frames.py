"""What py-amqp writes to an AMQP broker for messages of one template, with places for what differs.

A message is three frames: the method (where it goes), the header (its properties, a table of Celery's headers among
them) and the body. py-amqp packs that table anew for each message, which takes longer than all else. Messages of one
template differ in a few values, so py-amqp writes one message with marks in their places, and here it is cut there::

    method | header: sizes, content type, table: ... id .. arguments .. name ..., correlation id | body

A text in the table has its length before it, a table and a frame have theirs; an id and a time are always as long.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from operator import itemgetter
from struct import Struct
from typing import Any

from ..messages.template import Values

_HEAD, _SIZE, _TIME = Struct(">BHI"), Struct(">I"), Struct(">d")
#: A header's class, weight and body size; and before them its own size.
_BODY_SIZE, _SIZES = Struct(">HHQ"), Struct(">IHHQ")
_METHOD, _HEADER, _BODY, _END = 1, 2, 3, b"\xce"
#: How long a task id is.
_ID = 36
#: Flags of the properties that come before the table of headers, each a text; and the flag of the table.
_BEFORE, _TABLE = (0x8000, 0x4000), 0x2000


def marks() -> Values:
    """Values that stand nowhere else, to find the places by."""
    body, argsrepr, kwargsrepr, name, expires = (secrets.token_hex(16) for _ in range(5))
    due = float(secrets.randbits(53))
    return body, secrets.token_hex(_ID // 2), argsrepr, kwargsrepr, name, due, expires


class Frames:
    """The frames of one message, cut at its places; ValueError when they are not what is expected."""

    def __init__(self, frames: bytes, said: Values) -> None:
        """Cut what py-amqp has written of a message with *said* at its places, see :func:`marks`."""
        (method, _), (header, channel), (body, _) = _split(frames)
        if body != said[0].encode():
            raise ValueError("the body is not written as it is")
        class_, weight, size = _BODY_SIZE.unpack_from(header)
        flags = int.from_bytes(header[12:14], "big")
        at = 14
        for flag in _BEFORE:
            at += 1 + header[at] if flags & flag else 0
        if not flags & _TABLE or size != len(body):
            raise ValueError("it has no headers")
        rest = at + 4 + int.from_bytes(header[at : at + 4], "big")
        self._before = frames[: len(method) + 8] + _HEAD.pack(_HEADER, channel, 0)[:3]
        self._class = class_, weight
        self._properties = header[12:at]
        self._table, self._of_table = _cut(header[at + 4 : rest], said)
        self._rest, self._of_rest = _cut(header[rest:], said)
        self._body = _END + _HEAD.pack(_BODY, channel, 0)[:3]

    def fill(self, values: Values) -> bytes:
        """The frames of a message with these values."""
        body, id_, argsrepr, kwargsrepr, name, due, expires = values
        data = body.encode()
        if len(id_) != _ID:
            raise ValueError("its id is not as long as others")
        said = (
            id_.encode(),
            _TIME.pack(due),
            _text(argsrepr),
            _text(kwargsrepr),
            _text(name),
            _text(expires),
        )
        table, rest = self._table % self._of_table(said), self._rest % self._of_rest(said)
        size, properties = len(data), self._properties
        header = 12 + len(properties) + 4 + len(table) + len(rest)
        return b"".join(
            (
                self._before,
                _SIZES.pack(header, *self._class, size),
                properties,
                _SIZE.pack(len(table)),
                table,
                rest,
                self._body,
                _SIZE.pack(size),
                data,
                _END,
            )
        )


def _split(frames: bytes) -> list[tuple[bytes, int]]:
    """What is in each of the frames, and their channel."""
    found, at = [], 0
    for expected in (_METHOD, _HEADER, _BODY):
        kind, channel, size = _HEAD.unpack_from(frames, at)
        end = at + _HEAD.size + size
        if kind != expected or frames[end : end + 1] != _END:
            raise ValueError("it is not three frames")
        found.append((frames[at + _HEAD.size : end], channel))
        at = end + 1
    if at != len(frames):
        raise ValueError("it is more than three frames")
    return found


def _text(text: str) -> bytes:
    """A text in a table, with its length."""
    data = text.encode("utf-8", "surrogatepass")
    return _SIZE.pack(len(data)) + data


def _cut(part: bytes, said: Values) -> tuple[bytes, Callable[[Any], Any]]:
    """A pattern with ``%b`` at each place, and what picks the values for them."""
    _, id_, argsrepr, kwargsrepr, name, due, expires = said
    written = [id_.encode(), _TIME.pack(due), *map(_text, (argsrepr, kwargsrepr, name, expires))]
    pieces = re.split(b"(" + b"|".join(map(re.escape, written)) + b")", part)
    places = [written.index(one) for one in pieces[1::2]]
    if not places:
        raise ValueError("nothing in it differs")
    return b"%b".join(piece.replace(b"%", b"%%") for piece in pieces[::2]), itemgetter(*places)
