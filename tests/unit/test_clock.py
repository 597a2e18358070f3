"""Instants, and the scores they are in Redis."""

from __future__ import annotations

from datetime import UTC, datetime

from redlock_beat.clock import from_score, micros, score

from .values import T0, S


def test_scores_are_exact_to_the_microsecond():
    for at in (
        0,
        1,
        -1,
        -S,
        -5 * S - 7,
        -86400 * S + 3,
        T0 + 1,
        micros(datetime(2242, 1, 1, 0, 0, 0, 999_999, tzinfo=UTC)),
    ):
        assert from_score(float(score(at))) == at
        assert from_score(score(at)) == at
