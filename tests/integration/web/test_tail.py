"""The newest rows of the ledger as the page keeps them."""

from __future__ import annotations

import threading

import pytest

from redlock_beat.web import tail
from redlock_beat.web.tail import Tail


@pytest.fixture
def ledger(valkey, schedule):
    """Add rows of an entry to the ledger."""
    client = valkey.client()

    def add(first, many, entry="a"):
        pipe = client.pipeline()
        for i in range(first, first + many):
            pipe.xadd(schedule.keys.ledger, {"is": "sent", "entry": entry, "at": i, "nominal": i, "id": f"i{i}"})
        pipe.execute()

    return add


def ids(rows):
    return [row.task_id for row in rows]


def test_it_follows_in_pages_and_who_is_far_behind_begins_with_the_newest(schedule, ledger, monkeypatch):
    monkeypatch.setattr(tail, "PAGE", 5)
    kept = Tail(schedule)
    assert kept.rows() == []
    ledger(0, 3)
    assert ids(kept.rows()) == ["i0", "i1", "i2"]
    ledger(3, 14)  # three pages, the last of which is not full
    assert ids(kept.rows()) == [f"i{i}" for i in range(17)]
    ledger(17, 15)  # three full pages: there may be any number more
    assert ids(kept.rows()) == [f"i{i}" for i in range(27, 32)]
    assert ids(kept.rows()) == [f"i{i}" for i in range(27, 32)]
    ledger(32, 1)
    assert ids(kept.rows()) == [f"i{i}" for i in range(27, 33)]


def test_of_many_entries_it_gives_the_newest_rows_of_some_and_keeps_so_many_in_all(schedule, ledger, monkeypatch):
    monkeypatch.setattr(tail, "KEPT", 6)
    kept = Tail(schedule)
    ledger(0, 3, "a")
    ledger(3, 2, "b")
    assert {name: ids(one.row for one in found) for name, found in kept.of(["a", "b", "c"], 2).items()} == {
        "a": ["i1", "i2"],
        "b": ["i3", "i4"],
        "c": [],
    }
    ledger(5, 4, "c")  # the oldest three go
    assert {name: ids(one.row for one in found) for name, found in kept.of(["a", "b", "c"], 9).items()} == {
        "a": [],
        "b": ["i3", "i4"],
        "c": ["i5", "i6", "i7", "i8"],
    }
    assert ids(kept.rows()) == [f"i{i}" for i in range(3, 9)]


def test_older_rows_are_looked_for_among_so_many(schedule, ledger, monkeypatch):
    monkeypatch.setattr(tail, "PAGE", 5)
    monkeypatch.setattr(tail, "BACK", 3)
    kept = Tail(schedule)
    ledger(0, 3, "b")
    ledger(3, 9)
    assert ids(kept.older(lambda row: row.entry == "b", 2)[0]) == ["i2", "i1"]
    assert kept.older(lambda row: row.entry == "c", 2) == ([], None)
    ledger(12, 15)
    assert kept.older(lambda row: row.entry == "b", 2) == ([], 15)


def test_a_visit_waits_for_no_other_that_waits_for_redis(schedule, ledger, monkeypatch):
    ledger(0, 2)
    kept = Tail(schedule)
    assert len(kept.rows()) == 2
    asks, answers, ask = threading.Event(), threading.Event(), schedule.ask

    def slow(request):
        asks.set()
        assert answers.wait(60)
        return ask(request)

    monkeypatch.setattr(schedule, "ask", slow)
    ledger(2, 1)
    reader = threading.Thread(target=kept.rows)
    reader.start()
    assert asks.wait(60)
    assert len(kept.rows()) == 2  # what is known, although the other waits
    answers.set()
    reader.join()
    assert len(kept.rows()) == 3
