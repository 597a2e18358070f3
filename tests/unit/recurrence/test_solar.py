"""The sun rises and sets when Celery says, and only at a place."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from celery.schedules import solar as celery_solar

from redlock_beat import InvalidSchedule, Solar, next_due


def test_solar_as_celery_computes_it():
    after = datetime(2026, 6, 1, tzinfo=UTC)
    theirs = celery_solar("sunset", 52.5, 13.4, nowfun=lambda: after)
    theirs.__dict__["tz"] = UTC
    expected = after + theirs.remaining_estimate(after)
    assert abs(next_due(theirs, after) - expected) < timedelta(seconds=2)
    polar = next_due(Solar("sunset", 78.0, 15.0), datetime(2026, 5, 15, tzinfo=UTC))
    assert polar > datetime(2026, 8, 1, tzinfo=UTC)
    with pytest.raises(InvalidSchedule):
        Solar("teatime", 0, 0)


@pytest.mark.parametrize("place", [(math.nan, 0), (0, math.inf), (91, 0), (0, -181), ("5", 0)])
def test_the_sun_does_not_rise_where_there_is_no_place(place):
    with pytest.raises(InvalidSchedule, match="must be a number from"):
        Solar("sunset", *place)
