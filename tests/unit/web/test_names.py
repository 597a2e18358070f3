"""A search among the names and facts of all entries gives what a plain look at each of them would."""

from __future__ import annotations

import json
import random
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redlock_beat.web import names
from redlock_beat.web.names import UNKNOWN, Collector, Facts, Index, Place, facts_of, folded

NAMES = st.text(st.sampled_from("aAbBß-\0\x01\xff\u0130é\U0001f680\udcff"), min_size=1, max_size=6)
KINDS = [Facts("t.a", "", "api", "active", ()), Facts("t.b", "q", "config", "paused", (("team", "x"),)), UNKNOWN]


def index_of(found):
    collector = Collector()
    for name, facts in found.items():
        collector.add(name, facts)
    return collector.index()


def plainly(found, search, wanted=None):
    fits = [name for name, facts in found.items() if wanted is None or wanted(facts)]
    places = [Place.of(name, folded(search)) for name in fits]
    return [one.name for one in sorted(place for place in places if place is not None)]


def paused(facts):
    return facts.state in (None, "paused")


@given(st.dictionaries(NAMES, st.sampled_from(KINDS), max_size=20), NAMES | st.just(""), st.booleans(), st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_search_finds_what_a_look_at_each_name_finds(found, search, filtered, few):
    wanted = paused if filtered else None
    index = index_of(found)
    before, names._FEW = names._FEW, 50_000 if few else 0
    try:
        places = list(index.find(search, wanted))
        assert [one.name for one in places] == plainly(found, search, wanted)
        assert index.count(search, wanted, 10_000) == len(places)
        assert index.count(search, wanted, 1) >= min(1, len(places))
        for i, place in enumerate(places):  # each place is one to go on from
            again = Place.parse(place.text(), search)
            assert [one.name for one in index.find(search, wanted, again)] == [one.name for one in places[i + 1 :]]
    finally:
        names._FEW = before


def test_going_on_after_a_name_that_is_gone_goes_on_where_it_was():
    index = index_of(dict.fromkeys(["a1", "a3", "ba"], UNKNOWN))
    assert [one.name for one in index.find("a", None, Place.parse("0a2", "a"))] == ["a3", "ba"]
    for text in ("", "2a", "x"):
        with pytest.raises(ValueError):
            Place.parse(text, "a")


def test_many_names_are_in_order_and_one_that_comes_twice_counts_once(monkeypatch):
    monkeypatch.setattr(names, "_RUN", 100)
    every = [f"{'Mail' if i % 2 else 'mail'}-{i:04d}" for i in range(1000)]
    random.Random(1).shuffle(every)
    collector = Collector()
    for name in [*every, *every[:300]]:
        collector.add(name, KINDS[0])
    index = collector.index()
    assert (len(index), index.counts) == (1000, [0, 1000])
    assert [one.name for one in islice(index.find("MAIL-00"), 3)] == ["mail-0000", "Mail-0001", "mail-0002"]
    assert index.count("mail-0", None, 10_000) == 1000


def test_kinds_beyond_the_limit_are_not_told_apart(monkeypatch):
    monkeypatch.setattr(names, "MOST_KINDS", 2)
    index = index_of({name: KINDS[0]._replace(task=name) for name in ("a", "b", "c")})
    assert index.kinds == (UNKNOWN, KINDS[0]._replace(task="a"))
    assert [one.name for one in index.find("", lambda facts: facts.task in (None, "b"))] == ["b", "c"]


def test_filters_are_remembered_and_not_for_ever(monkeypatch):
    monkeypatch.setattr(names, "MOST_FILTERS", 2)
    index = index_of({"a": KINDS[0]})
    asked = []

    def wanted(facts):
        asked.append(facts)
        return True

    for _ in range(3):
        assert len(list(index.find("", wanted))) == 1
    assert len(asked) == 1
    for i in range(5):
        index.count("", lambda facts, i=i: True, 10)
    assert len(index._filters) <= 2


def test_an_index_of_nothing_finds_nothing():
    assert list(Index().find("a")) == list(Index().find("")) == []
    assert Index().count("a", None, 5) == 0


@pytest.mark.parametrize(
    ("data", "state", "facts"),
    [
        ({"task": "t", "from": "config"}, "u 1 5 - 0 0", Facts("t", "", "config", "active", ())),
        ({"task": "t"}, "u 1 - 5 1 0", Facts("t", "", "api", "finished", ())),
        ({"task": "t", "until": 5}, "u 1 5 - 0 0", Facts("t", "", "api", None, ())),
        (
            {"task": "t", "labels": {"b": "2", "a": "1"}},
            None,
            Facts("t", "", "api", "active", (("a", "1"), ("b", "2"))),
        ),
        ({}, None, UNKNOWN),
        ([], None, UNKNOWN),
        ({"task": "t", "options": [1]}, None, UNKNOWN),
        ({"task": "t", "labels": 7}, None, UNKNOWN),
    ],
)
def test_facts_of_what_stands_in_redis(data, state, facts):
    assert facts_of(json.dumps(data), state) == facts
    assert facts_of("{", state) == UNKNOWN
    assert facts_of("[" * 10**6, state) == UNKNOWN
