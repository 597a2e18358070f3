"""What is filled into frames is byte for byte what kombu and py-amqp write."""

from __future__ import annotations

import random
import uuid
from contextlib import contextmanager

import pytest
from kombu import Connection, Queue

from redlock_beat.beat.packer import Packer
from redlock_beat.entries.build import make_entry
from redlock_beat.messages.renderer import Renderer
from redlock_beat.messages.template import Filled, template_of
from redlock_beat.store.item import Item
from tests.beats import make_app
from tests.servers import rabbitmq

#: Past midnight of 2026, in microseconds.
NOW = 1_767_225_600_000_000
ENTRIES = {
    "nothing": {},
    "keywords": {"args": (1,), "kwargs": {"y": None}},
    "texts": {"args": ("it's", 'ä"日本🎉\x00')},
    "deep": {"args": ([1, [2, {"a": [3, "b"]}]], {"k": 1.5})},
    "queue": {"options": {"queue": "other"}},
    "priority": {"options": {"priority": 7}},
    "expires": {"expires": 90},
    "headers": {"options": {"headers": {"tenant": "a%b", "n": 1, "big": 2**40, "deep": {"a": [None, True, -1.5]}}}},
    "limits": {"options": {"time_limit": 5, "soft_time_limit": 4, "ignore_result": True, "shadow": "other name"}},
    "properties": {"options": {"reply_to": "r", "expiration": 60, "delivery_mode": 1, "mandatory": True}},
    "percent": {"args": ("100 %d %%", "%b"), "options": {"headers": {"%b": "%"}}},
    "one run at a time": {"overlap": "skip"},
}


@pytest.fixture
def app():
    return make_app(rabbitmq(), timezone="Europe/Berlin", task_queues=[Queue("celery"), Queue("other")])


@contextmanager
def packer_of(app):
    with Connection(rabbitmq()) as connection:
        amqp = connection.connection
        channel = amqp.channel()
        yield Packer(amqp, channel, app.amqp.Producer(channel, auto_declare=False))


def filled_item(template, entry, nominal, now):
    id_ = str(uuid.uuid4())
    values = template.values(list(entry.args), dict(entry.kwargs), entry.name, id_, nominal, now)
    text = template.write(values, "").decode()
    return Item(f"{id_}:0", "", entry.name, nominal, id_, False, [], text, filled=Filled(text, template, values))


def taken(packer):
    frames, packer.buffer = bytes(packer.buffer), bytearray()
    return frames


def packed(packer, item):
    """What is written for an item, and what py-amqp writes for it: one in trouble is always left to py-amqp."""
    found = []
    for alone in (False, True):
        item.alone = alone
        packer.pack(item, {**item.filled.routing(), "declare": []})
        found.append(taken(packer))
    return found


@pytest.mark.parametrize("what", ENTRIES)
def test_the_frames_are_those_of_py_amqp(app, what, monkeypatch):
    renderer, chance = Renderer(app, 1.0), random.Random(7)
    entry = make_entry(app, "first", "tasks.add", 30, **ENTRIES[what])
    template = template_of(renderer, entry, NOW, 0.0)
    with packer_of(app) as packer:
        written, by_amqp = [], packer._by_amqp
        monkeypatch.setattr(packer, "_by_amqp", lambda call: written.append(call) or by_amqp(call))
        for i in range(20):
            one = make_entry(app, f"entry {i} ä\"'\\%b🎉", "tasks.add", 30, **ENTRIES[what])
            at = NOW + chance.randrange(10**9)
            quick, slow = packed(packer, filled_item(template, one, NOW - chance.randrange(10**12), at))
            assert quick == slow
            assert len(written) == 3 + i  # two to learn from the first, and each that is said to be alone


def test_messages_of_one_template_with_arguments_of_their_own(app):
    template = template_of(Renderer(app, 1.0), make_entry(app, "a", "tasks.add", 30, (1, 2)), NOW, 0.0)
    with packer_of(app) as packer:
        for args in ((), ("x" * 3000,), (None, True), ("x" * 200_000,), ([[[[1]]]],), (10**30, -0.0), ("é" * 90_000,)):
            entry = make_entry(app, "b", "tasks.add", 30, args)
            quick, slow = packed(packer, filled_item(template, entry, NOW, NOW))
            assert quick == slow


def test_a_template_that_is_not_understood_is_left_to_py_amqp(app, monkeypatch):
    template = template_of(Renderer(app, 1.0), make_entry(app, "a", "tasks.add", 30, (1, 2)), NOW, 0.0)
    monkeypatch.setattr("redlock_beat.beat.frames.Frames.fill", lambda self, values: b"something else")
    with packer_of(app) as packer:
        quick, slow = packed(packer, filled_item(template, make_entry(app, "b", "tasks.add", 30), NOW, NOW))
        assert quick == slow != b""


def test_what_cannot_be_written_says_so_and_leaves_nothing_behind(app):
    entry = make_entry(app, "a", "tasks.add", 30, options={"headers": {"n": 2**70}})
    template = template_of(Renderer(app, 1.0), entry, NOW, 0.0)
    with packer_of(app) as packer:
        item = filled_item(template, entry, NOW, NOW)
        with pytest.raises(Exception, match=r"(?i)int|long|range|header"):
            packer.pack(item, {**item.filled.routing(), "declare": []})
        assert taken(packer) == b""
