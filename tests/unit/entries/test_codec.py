"""What JSON carries: the short way of proving it says what the long one says."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from redlock_beat import Crontab
from redlock_beat.entries import codec
from redlock_beat.errors import InvalidSchedule

KEYS = st.text(max_size=3) | st.sampled_from(["__type__", "__value__"]) | st.integers(0, 2) | st.booleans() | st.none()
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(2**62, 2**66)
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["\ud800", "datetime", b"x", 1 + 2j, frozenset()]),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def outcome(carried, value):
    try:
        return carried(value, "it")
    except InvalidSchedule:
        return InvalidSchedule


@settings(max_examples=500, deadline=None, derandomize=True)
@given(VALUES)
@example({"__type__": "decimal", "__value__": "1"})  # would come back as a Decimal
@example([True, {"a": (1, 2)}])
def test_what_is_simple_is_carried_as_json_carries_it(value):
    assert outcome(codec.carried, value) == outcome(codec.proved, value)


def test_what_holds_itself_or_is_too_deep_is_left_to_the_long_way():
    round_and_round: list = []
    round_and_round.append(round_and_round)
    assert not codec.simple(round_and_round)
    assert outcome(codec.carried, round_and_round) is InvalidSchedule


CRONTAB = {"v": 1, "uid": "u", "rev": 3, "task": "t", "kind": "crontab", "s_cron": "0 7 * * 1-5", "at": 5, "args": [1]}


def test_what_the_first_version_wrote_is_read():
    entry = codec.decode("a", json.dumps(CRONTAB))
    assert (entry.schedule, entry.revision, entry.anchor, entry.args) == (Crontab.parse("0 7 * * 1-5"), 3, 5, (1,))
    interval = codec.decode("a", '{"v":1,"uid":"u","rev":1,"task":"t","kind":"interval","s_every":30,"at":7}')
    assert codec.decode("a", codec.encode(interval)) == interval


def test_a_crontab_is_written_without_its_kind_and_an_anchor():
    entry = codec.decode("a", json.dumps(CRONTAB))
    text = codec.encode(entry)
    assert text == '{"v":2,"uid":"u","rev":3,"task":"t","s_cron":"0 7 * * 1-5","args":[1]}'
    assert codec.decode("a", text) == entry.with_anchor(0)
    assert codec.definition(entry) == CRONTAB | {"args": (1,)}  # of which its digest is made, as ever


@pytest.mark.parametrize(
    "data",
    [
        {**CRONTAB, "v": 3},
        {**CRONTAB, "kind": None},
        {key: value for key, value in CRONTAB.items() if key != "kind"},
        {key: value for key, value in CRONTAB.items() if key != "at"},
        {"v": 2, "uid": "u", "rev": 1, "task": "t", "s_every": 30, "at": 0},
        {"v": 2, "uid": "u", "rev": 1, "task": "t", "kind": "interval", "s_every": 30},
        {"v": True, "uid": "u", "rev": 1, "task": "t", "s_cron": "0 7 * * *"},
    ],
)
def test_a_definition_that_lacks_something_is_refused(data):
    with pytest.raises(InvalidSchedule, match="the definition of 'a' cannot be"):
        codec.decode("a", json.dumps(data))


@pytest.mark.parametrize("key", ['"__type__"', '"\\u005f_type__"'])
def test_dates_and_the_like_are_read_however_they_are_escaped(key):
    text = json.dumps({**CRONTAB, "args": []})
    text = text.replace('"args": []', '"args": [{' + key + ': "bytes", "__value__": "x"}]')
    assert codec.decode("a", text).args == (b"x",)


@pytest.mark.parametrize("field", sorted(codec._PLAIN))
def test_an_entry_with_any_policy_of_its_own_is_not_plain(field):
    entry = codec.decode("a", json.dumps(CRONTAB))
    assert entry.is_plain
    object.__setattr__(entry, field, object())
    assert not entry.is_plain
