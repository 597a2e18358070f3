"""Slots that are skipped: each is accounted for, no other is, and nothing takes their place."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redlock_beat import Crontab, Interval, Once
from redlock_beat.entries.codec import decode, encode
from redlock_beat.entries.entry import Entry, Skip
from redlock_beat.entries.policies import next_slot, plan, simulate
from redlock_beat.entries.state import State
from redlock_beat.entries.timing import CLOSER, Timings

from ..values import T0, S, entry


def skipping(first: int, last: int, **more) -> Entry:
    """An entry of ten seconds that skips its slots number *first* to *last*."""
    skip = Skip(T0 + 10 * first * S, T0 + 10 * last * S, last - first + 1, "ann", "why", T0 + 10 * (last + 1) * S)
    return replace(entry(**more), skip=skip)


def walked(one: Entry, nominal: int, until: int, step: int) -> tuple[list[int], list[tuple[str, int, int]]]:
    """What a beat that looks every *step* sends, and what it notes."""
    sent, noted = [], []
    pending, now = nominal, nominal
    while now <= until:
        while pending is not None and pending <= now:
            todo = plan(one, pending, len(sent), now, 1000)
            if todo.missed is not None:
                noted.append((todo.missed.what, todo.missed.first, todo.missed.last))
            sent += todo.sends
            pending = todo.pending
        now += step
    return sent, noted


@given(
    st.integers(1, 12),
    st.integers(0, 8),
    st.integers(1, 200),
    st.sampled_from(["once", "all"]),
    st.sampled_from([0.0, 9.0]),
)
def test_every_slot_is_sent_missed_or_skipped_whenever_beat_looks(first, more, step, missed, jitter):
    one = skipping(first, first + more, missed=missed, jitter=jitter)
    sent, noted = walked(one, T0 + 10 * S, T0 + 300 * S, step * S)
    accounted = list(sent)
    for what, start, end in noted:
        slots = list(range(start, end + 1, 10 * S))
        assert {one.skips(slot) for slot in slots} == {what == "skipped"}
        accounted += slots
    assert sorted(accounted) == list(range(T0 + 10 * S, max(accounted) + 1, 10 * S))
    assert not any(one.skips(slot) for slot in sent)


def test_the_slot_before_a_skip_is_caught_up_though_slots_of_the_skip_are_due():
    one = skipping(3, 5)
    todo = plan(one, T0 + 10 * S, 0, T0 + 45 * S)
    assert (todo.sends, todo.missed.last, todo.pending) == ((T0 + 20 * S,), T0 + 10 * S, T0 + 30 * S)
    todo = plan(one, todo.pending, 1, T0 + 45 * S)
    assert (todo.sends, todo.missed.what, todo.missed.count, todo.pending) == ((), "skipped", 2, T0 + 50 * S)
    assert todo.missed.why == "skip by ann: why"


def test_a_skip_is_no_run_and_a_late_slot_before_it_keeps_its_grace():
    one = skipping(1, 2, max_runs=1)
    assert plan(one, T0 + 10 * S, 0, T0 + 10 * S).pending == T0 + 20 * S
    assert plan(one, T0 + 30 * S, 0, T0 + 30 * S).sends == (T0 + 30 * S,)
    late = skipping(2, 3, grace=5.0)
    assert plan(late, T0 + 10 * S, 0, T0 + 25 * S).missed.why == "grace"


def test_a_one_shot_that_is_skipped_has_no_further_slot():
    one = replace(entry(Once(T0 + S)), skip=Skip(T0 + S, T0 + S, 1, "ann"))
    assert plan(one, T0 + S, 0, T0 + S).pending is None


def test_what_an_outage_would_do():
    found = simulate(skipping(3, 5), 0, T0 + 5 * S, T0 + 75 * S)
    assert [one.what for one in found] == ["missed", "sent", "skipped", "missed", "sent", "sent"]
    assert [one.what for one in simulate(skipping(1, 5), 0, T0 + 5 * S, T0 + 15 * S)] == ["skipped", "skipped"]


@pytest.mark.parametrize("spec", [Interval.of(60), Crontab.parse("* * * * *")])
def test_the_quick_way_looks_closer_until_a_skip_is_over(spec):
    one = replace(entry(spec), skip=Skip(T0 + 60 * S, T0 + 120 * S, 2, "ann"))
    from redlock_beat.entries.codec import definition

    data, timings = definition(one), Timings(None)
    for number in (1, 2):
        at = T0 + number * 60 * S
        assert timings.following("a", data, at, 0, at) is CLOSER
    assert timings.following("a", data, T0 + 180 * S, 0, T0 + 180 * S) == T0 + 240 * S


def test_next_due_is_the_slot_that_is_sent_next_and_a_skip_ends_with_its_last_slot():
    one = skipping(1, 2).with_state(State("u", 1, T0 + 10 * S))
    assert one.next_due.timestamp() * S == T0 + 30 * S
    assert one.as_of(T0) is one
    over = one.with_state(State("u", 1, T0 + 30 * S)).as_of(T0)
    assert (over.skip, over.next_due.timestamp() * S) == (None, T0 + 30 * S)
    assert decode("a", encode(one), one.state) == one
    assert next_slot(one, T0) == T0 + 10 * S
