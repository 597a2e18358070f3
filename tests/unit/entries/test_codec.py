"""What JSON carries: the short way of proving it says what the long one says."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

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


def outcome(value):
    try:
        return codec.carried(value, "it")
    except InvalidSchedule:
        return InvalidSchedule


@settings(max_examples=500, deadline=None, derandomize=True)
@given(VALUES)
@example({"__type__": "decimal", "__value__": "1"})  # would come back as a Decimal
@example([True, {"a": (1, 2)}])
def test_what_is_simple_is_carried_as_json_carries_it(value):
    short, simple = outcome(value), codec._simple
    codec._simple = lambda value: False
    try:
        assert outcome(value) == short
    finally:
        codec._simple = simple


def test_what_holds_itself_or_is_too_deep_is_left_to_the_long_way():
    round_and_round: list = []
    round_and_round.append(round_and_round)
    assert not codec._simple(round_and_round)
    assert outcome(round_and_round) is InvalidSchedule
