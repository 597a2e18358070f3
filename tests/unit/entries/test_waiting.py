"""Waiting items are read from any release, and rubbish is no item."""

from __future__ import annotations

import json

import pytest

from redlock_beat.entries.policies import Missed
from redlock_beat.entries.waiting import ManualItem

from ..values import T0


@pytest.mark.parametrize(
    "change",
    [
        {"nominal": "soon"},
        {"nominal": 5.5},
        {"nominal": True},
        {"nominal": 10**30},
        {"nominal": [1]},
        {"at": "x"},
        {"entry": 5},
        {"uid": None},
        {"how": {}},
        {"req": 7},
        {"missed": "all"},
        {"missed": [1, 2]},
        {"missed": [1, 2, "x", "y"]},
        {"missed": {"a": 1, "b": 2, "c": 3, "d": 4}},
        {"call": [1]},
        {"call": {"args": {}}},
        {"call": {"kwargs": None}},
        {"call": {"task": "other"}},
    ],
)
def test_a_manual_item_with_rubbish_in_it_does_not_read(change):
    good = json.loads(ManualItem("a", "u", "settled", T0, T0, "r", Missed(1, 2, 3, "grace", True)).text())
    with pytest.raises(ValueError, match=r"no manual item|instant|text|for once"):
        ManualItem.parse(json.dumps({**good, **change}))
    for text in ("", "[]", "null", "7", '"x"', "{", "[" * 100_000):
        with pytest.raises(ValueError):
            ManualItem.parse(text)


def test_manual_items_of_earlier_releases_are_read():
    text = '{"entry":"a","uid":"u","how":"settled","nominal":null,"req":"","at":5,"missed":[1,2,3,"grace"]}'
    assert ManualItem.parse(text).missed == Missed(1, 2, 3, "grace")
