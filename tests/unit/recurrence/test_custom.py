"""Classes of a user's own are schedules once they are registered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from celery.schedules import BaseSchedule

from redlock_beat import InvalidSchedule, next_due, register_schedule
from redlock_beat.recurrence import Custom, Rules, as_spec, from_data


class Tick(BaseSchedule):
    """Celery's protocol."""

    def __init__(self, seconds=1.0, **kwargs):
        super().__init__(**kwargs)
        self.seconds = seconds

    def remaining_estimate(self, last_run_at):
        return last_run_at + timedelta(seconds=self.seconds) - self.now()


class DueOnly(BaseSchedule):
    def is_due(self, last_run_at):
        return False, 5.0


def test_registered_classes():
    register_schedule("tick", Tick, dump=lambda one: {"seconds": one.seconds})
    register_schedule("due-only", DueOnly, dump=lambda one: {}, load=lambda data: DueOnly())
    after = datetime(2026, 1, 1, tzinfo=UTC)
    assert next_due(Tick(3), after) == after + timedelta(seconds=3)
    assert next_due(DueOnly(), after) == after + timedelta(seconds=5)
    assert from_data("custom", as_spec(Tick(3)).data()) == as_spec(Tick(3))
    with pytest.raises(InvalidSchedule, match="after"):
        next_due(Tick(-3), after)
    with pytest.raises(InvalidSchedule, match="not registered"):
        Custom("unknown", "{}").next(0, Rules())
    with pytest.raises(InvalidSchedule, match="taken"):
        register_schedule("interval", Tick, dump=lambda one: {})
    register_schedule("odd", Odd, dump=lambda one: {"x": object()})
    with pytest.raises(InvalidSchedule, match="JSON"):
        as_spec(Odd())


class Odd(Tick):
    pass


class Last:
    def next_slot(self, after):
        return None


def test_a_class_may_end():
    register_schedule("last", Last, dump=lambda one: {})
    assert next_due(Last(), datetime(2026, 1, 1, tzinfo=UTC)) is None
