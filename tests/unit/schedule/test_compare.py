"""What django-celery-beat sends, held against the slots here: between two readings of its tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from redlock_beat.clock import micros
from redlock_beat.schedule.compare import Comparison
from redlock_beat.schedule.migrate import django_rows

START = datetime(2027, 1, 4, 12, 0, 30, tzinfo=UTC)
MODELS = {
    "intervalschedule": {"1": {"every": 60, "period": "seconds"}},
    "crontabschedule": {
        "1": {"minute": "0", "hour": "*", "day_of_month": "*", "month_of_year": "*", "day_of_week": "*"}
    },
    "clockedschedule": {"1": {"clocked_time": "2027-01-04T13:00:00Z"}},
}


def row(minutes=0.0, count=0, *, kind="interval", **parts):
    """A row that was sent for the last time so many minutes after the start."""
    last = (START + timedelta(minutes=minutes)).isoformat() if count else None
    told = {"name": "a", "task": "t", kind: 1, "last_run_at": last, "total_run_count": count}
    return {**told, "enabled": True, "date_changed": START.isoformat(), **parts}


class Tables:
    """Readings of the tables, so many minutes after the start."""

    def __init__(self):
        self.comparison = Comparison(tolerance=5)

    def read(self, minutes, *rows):
        now = micros(START + timedelta(minutes=minutes))
        found = self.comparison.read(list(django_rows(rows, MODELS, None, now)), now)
        return [(one.sent, one.slots, one.late, one.same) for one in found]


@pytest.fixture
def tables():
    return Tables()


def test_each_send_has_its_slot(tables):
    assert tables.read(0, row(0, 1)) == []
    assert tables.read(1, row(0, 1)) == []
    assert tables.read(3, row(2.02, 3)) == [(2, 2, 1.2, True)]
    assert tables.read(4, row(3.02, 4)) == [(1, 1, 0, True)]  # it counts from there


def test_lateness_of_an_interval_adds_up_there(tables):
    tables.read(0, row(0, 1))
    assert tables.read(12, row(11 + 8 / 60, 12)) == [(11, 11, 8, True)]


def test_a_send_too_many_a_send_too_few_and_a_late_one(tables):
    tables.read(0, row(0, 1))
    assert tables.read(1, row(0.5, 2)) == [(1, 0, None, False)]
    assert tables.read(5, row(4.5, 3)) == [(1, 4, 0, False)]
    assert tables.read(6, row(5.7, 4)) == [(1, 1, 12, False)]


def test_what_was_not_sent_at_all(tables):
    tables.read(0, row(0, 1, kind="crontab"))
    for minutes, names in ((61, []), (64.6, ["a"])):
        assert tables.read(minutes, row(0, 1, kind="crontab")) == []
        assert [one.name for one in tables.comparison.unsent(micros(START + timedelta(minutes=minutes)))] == names


@pytest.mark.parametrize(
    "after", [{"count": 1}, {"task": "other"}, {"enabled": False}, {"count": 0}, {"kind": "crontab", "interval": None}]
)
def test_an_edit_begins_anew(tables, after):
    """What was sent before and after the edit is in one number: the first send after it is not compared."""
    tables.read(0, row(0, 2))
    edited = {"minutes": 0, "count": 2, **after}
    assert tables.read(2, row(**edited)) == []
    assert tables.comparison.edited == {"a"}
    assert list(tables.comparison.unsent(micros(START + timedelta(hours=9)))) == []
    again = {**edited, "minutes": 59.5, "count": 9, "enabled": True}
    assert tables.read(60, row(**again)) == []


def test_one_shots_are_switched_off_there_when_they_are_sent(tables):
    off = {"enabled": False, "last_run_at": None}
    tables.read(0, row(kind="clocked", one_off=True))
    assert tables.read(61, row(kind="clocked", one_off=True, **off)) == [(1, 1, None, True)]
    assert tables.comparison.edited == set()
    tables = Tables()
    tables.read(0, row(one_off=True))
    assert tables.read(2, row(one_off=True, **off)) == [(1, 1, None, True)]
    assert tables.comparison.edited == set()


def test_rows_come_and_go(tables):
    tables.read(0, row(0, 1))
    tables.read(1)
    assert (tables.comparison.edited, tables.comparison.names) == ({"a"}, set())
    tables.read(2, row(0, 1, name="b"), row(name="c", interval=None))
    assert tables.comparison.edited == {"a", "b"}
    assert tables.comparison.left_out.keys() == {"c"}
