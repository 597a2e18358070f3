"""Requests that come too late, or twice: each compares what it was made from."""

from __future__ import annotations

import pytest

from redlock_beat.store.keys import Keys
from redlock_beat.store.values import Quarantined

K = Keys("redlock-beat")
STATE = "u 1 1000000 - 0 0"


@pytest.fixture
def leading(server, candidate):
    """The store of one that leads, its fence, and a client."""
    lease = candidate(server, "a")
    return lease.store, lease.acquire().fence, server.client()


def test_what_is_no_longer_in_the_outbox_is_not_rendered_anew(leading):
    """It was asked for twice, and sent after the first time."""
    store, fence, client = leading
    client.hset(K.outbox, mapping={"there:0": "1 x", "anew:0": "1 rendered anew"})
    items = [
        ("sent:0", "1 x", "one item", []),
        ("there:0", "1 x", "another", []),
        ("anew:0", "1 refused", "a third", []),
    ]
    store.outbox_again(fence, items)
    assert client.zrange(K.manual, 0, -1) == ["another"]
    assert client.hgetall(K.outbox) == {"anew:0": "1 rendered anew"}


@pytest.mark.parametrize(
    ("score", "state"), [(2.0, STATE), (1.0, "u 2 1000000 - 0 0"), (None, STATE)], ids=["moved", "edited", "gone"]
)
def test_an_entry_that_has_changed_is_not_put_off(leading, score, state):
    store, fence, client = leading
    client.hset(K.state, mapping={"a": state, "b": STATE})
    client.zadd(K.due, {"b": 1.0, **({} if score is None else {"a": score})})
    store.put_off(fence, [("a", "1", STATE, 9_000_000), ("b", "1", STATE, 9_000_000)], [("gone", 9_000_000)])
    assert client.zscore(K.due, "a") == score
    assert client.zscore(K.due, "b") == 9.0
    assert client.zcard(K.manual) == 0


def test_an_entry_that_has_changed_is_not_set_aside(leading):
    store, fence, client = leading
    client.hset(K.state, mapping={"a": "u 2 1000000 - 0 0", "b": STATE})
    row = ["is", "failed"]
    assert store.quarantine(fence, [Quarantined("a", STATE, "{}", row), Quarantined("b", STATE, "{}", row)]) == 1
    assert client.hkeys(K.quarantine) == ["b"]
    assert client.xlen(K.ledger) == 1


def test_a_mark_is_set_only_in_the_place_of_the_one_that_the_sync_began_with(leading):
    store, fence, client = leading
    client.set(K.config, "1:~begun")
    assert not store.config_mark(fence, "1:~other", "1:done")
    assert client.get(K.config) == "1:~begun"
    assert store.config_mark(fence, "1:~begun", "1:done")
    assert client.get(K.config) == "1:done"


def test_a_removal_that_is_repeated_is_noted_once(leading):
    store, _, client = leading
    client.hset(K.outbox, "i:0", "1 x")
    for expected in (1, 0):
        assert store.outbox_done([("i:0", True, ["is", "sent"])]) == expected
    assert client.xlen(K.ledger) == 1
