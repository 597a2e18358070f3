"""How messages are written: the JSON of Celery and kombu, byte for byte, and patterns of it with places to fill in."""

from __future__ import annotations

import json
from binascii import b2a_base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any


def _encoder() -> Callable[[Any], str]:
    """``json.dumps`` without a new encoder for each value: CPython's own, if it is as expected."""
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    try:
        encode = make(
            None, json.JSONEncoder().default, json.encoder.encode_basestring_ascii, None, ": ", ", ", False, False, True
        )
        encode([{}], 0)
    except TypeError:  # pragma: no cover - another Python's json
        return json.JSONEncoder().encode
    return lambda value: "".join(encode(value, 0))


#: As kombu writes a message.
dump = _encoder()
#: As this package writes a call to publish, for the outbox.
dump_call = json.JSONEncoder(separators=(",", ":")).encode
#: The JSON of a text.
quoted = json.encoder.encode_basestring_ascii


def pattern_of(text: str, marks: Mapping[str, str]) -> tuple[bytes, tuple[str, ...]]:
    """A text with ``%b`` at each of its *marks*, and the names of the marks in the order in which they stand.

    >>> pattern_of('{"id": "<1>", "at": <2>}', {"id": "<1>", "at": "<2>"})
    (b'{"id": "%b", "at": %b}', ('id', 'at'))
    """
    names, pattern = list(marks), text.replace("%", "%%")
    for i, mark in enumerate(marks.values()):
        pattern = pattern.replace(mark, f"\0{i}\0")
    pieces = pattern.split("\0")
    return "%b".join(pieces[::2]).encode(), tuple(names[int(one)] for one in pieces[1::2])


#: The places of a message whose headers are written anew.
PLACES = ("body", "headers", "id", "tag")


@dataclass(slots=True)
class Writer:
    """Writes messages that differ in body, headers, id and delivery tag alone."""

    #: Whether they are calls to publish, for the outbox.
    calls: bool
    pattern: bytes
    pick: Callable[[tuple[bytes, ...]], tuple[bytes, ...]]

    @classmethod
    def of(cls, message: dict[str, Any], marks: Mapping[str, str], calls: bool) -> Writer:
        """Of a message that has *marks* in its places."""
        bare = ("headers", "body") if calls else ("headers",)  # they bring quotes of their own, or are no text
        texts = {name: f'"{mark}"' if name in bare else mark for name, mark in marks.items()}
        pattern, names = pattern_of((dump_call if calls else dump)(message), texts)
        return cls(calls, pattern, itemgetter(*(PLACES.index(name) for name in names)))

    def write(self, body: Any, headers: Any, id_: str, tag: str) -> bytes:
        """A message; TypeError, ValueError or RecursionError where plain JSON cannot carry body or headers."""
        text = dump(body)
        values = (
            quoted(text).encode() if self.calls else b2a_base64(text.encode(), newline=False),
            (dump_call if self.calls else dump)(headers).encode(),
            id_.encode(),
            tag.encode(),
        )
        return self.pattern % self.pick(values)
