"""Frames that are not what is expected are not cut."""

from __future__ import annotations

import pytest
from amqp.basic_message import Message
from amqp.method_framing import frame_writer

from redlock_beat.beat.frames import Frames, marks


class Wire:
    """A connection and a transport, as far as py-amqp's writer needs them."""

    def __init__(self):
        self.frame_max, self.bytes_sent, self.data = 131_072, 0, b""

    def write(self, frames):
        self.data += bytes(frames)


def written(body, headers=None, **properties):
    wire = Wire()
    message = Message(body, application_headers=headers, **properties)
    frame_writer(wire, wire)(1, 3, (60, 40), b"\0\0\0\1q\0", message)
    return wire.data


def test_a_message_is_cut_and_filled_again():
    said, others = marks(), ("[]", "i" * 36, "(1,)", "{}", "a name", 1.5, "soon")
    frames = [
        written(
            body,
            {"id": id_, "lang": "py", "due": due, "expires": expires, "args": args, "kwargs": kwargs, "name": name},
            content_type="application/json",
            correlation_id=id_,
        )
        for body, id_, args, kwargs, name, due, expires in (said, others)
    ]
    assert Frames(frames[0], said).fill(others) == frames[1]
    with pytest.raises(ValueError, match="as long"):
        Frames(frames[0], said).fill((*others[:1], "short", *others[2:]))


def test_frames_of_another_kind_are_refused():
    said = marks()
    body, id_ = said[:2]
    whole = written(body, {"id": id_}, correlation_id=id_)
    for frames, why in (
        (b"\1\0\1\0\0\0\0" + whole, "three frames"),
        (whole + b"\1", "more than three"),
        (whole[:-1] + b"\0", "three frames"),
        (written("another", {"id": id_}, correlation_id=id_), "body"),
        (written(body, None, correlation_id=id_), "no headers"),
        (written(body, {"id": id_}), "differs"),
        (written(body, {"id": "x"}, correlation_id=id_), "differs"),
    ):
        with pytest.raises(ValueError, match=why):
            Frames(frames, said)
