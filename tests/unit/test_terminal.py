"""What people read and write on the command line: tables that fit, and times by one rule."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from redlock_beat import InvalidSchedule
from redlock_beat.cli.terminal import Column, clean, fitted, table, width_of
from redlock_beat.cli.times import instant

COLUMNS = (
    Column("NAME", least=10), Column("TASK", 2, 5), Column("NEXT"), Column("WHY", 3, below=True),
)  # fmt: skip
NOON = datetime(2027, 1, 1, 12, tzinfo=UTC)  # 13:00 in Berlin


def shown(capsys, monkeypatch, columns: int, rows) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns))
    table(COLUMNS, rows)
    return capsys.readouterr().out.splitlines()


def test_room_goes_to_the_name_and_what_matters_least_goes_first():
    natural = {0: 40, 1: 20, 2: 8}
    assert fitted(COLUMNS, natural, 100) == {0: 40, 1: 20, 2: 8}
    assert fitted(COLUMNS, natural, 60) == {0: 40, 1: 8, 2: 8}
    assert fitted(COLUMNS, natural, 40) == {0: 23, 1: 5, 2: 8}
    assert fitted(COLUMNS, {0: 40, 1: 20, 2: 20}, 36) == {0: 14, 2: 20}
    assert sum(fitted(COLUMNS, {0: 40, 1: 20, 2: 60}, 40).values()) <= 40


def test_a_reason_stands_below_its_row_rather_than_being_cut(capsys, monkeypatch):
    rows = [("a", "t", "now", "the broker refuses it"), ("b" * 30, "t" * 30, "now", "")]
    assert "the broker refuses it" in shown(capsys, monkeypatch, 120, rows)[1]
    lines = shown(capsys, monkeypatch, 60, rows)
    assert lines[2] == "    the broker refuses it"
    assert lines[3].startswith("b" * 30)


def test_a_column_without_a_value_is_not_shown(capsys, monkeypatch):
    assert "TASK" not in shown(capsys, monkeypatch, 80, [("a", "", "now", "")])[0]
    assert "TASK" in shown(capsys, monkeypatch, 80, [])[0]


def test_what_is_joined_of_several_characters_has_the_width_that_is_counted(capsys, monkeypatch):
    assert width_of(clean("🧑‍🚀☁️")) == 5
    assert clean("a\u202eb\x1b[2J") == "a�b�[2J"


@pytest.mark.parametrize(
    ("text", "past", "expected"),
    [
        ("2027-02-01T07:00", False, "2027-02-01T06:00"),
        ("2027-02-01 07:00", False, "2027-02-01T06:00"),
        ("2027-02-01", False, "2027-01-31T23:00"),
        ("2027-02-01T07:00+05:00", False, "2027-02-01T02:00"),
        ("14:00", False, "2027-01-01T13:00"),
        ("10:00", False, "2027-01-02T09:00"),
        ("10:00", True, "2027-01-01T09:00"),
        ("14:00:30", True, "2026-12-31T13:00:30"),
        ("today 10:00", False, "2027-01-01T09:00"),
        ("tomorrow 07:00", False, "2027-01-02T06:00"),
        ("yesterday", True, "2026-12-30T23:00"),
        ("now", True, "2027-01-01T12:00"),
        ("in 5 min", False, "2027-01-01T12:05"),
        ("in 5 min", True, "2027-01-01T12:05"),
        ("+1h30m", False, "2027-01-01T13:30"),
        ("1h", True, "2027-01-01T11:00"),
        ("1h", False, "2027-01-01T13:00"),
        ("2d ago", False, "2026-12-30T12:00"),
    ],
)  # fmt: skip
def test_times_are_read_in_the_zone_and_seen_from_now(text, past, expected):
    found = instant(text, "Europe/Berlin", lambda: NOON, past=past)
    assert found == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "soon", "10", "3600", "25:00", "2027-13-01", "in", "ago", "1x", "in 999999999d",
                                  "2027-03-28T02:30"])  # fmt: skip
def test_what_is_no_time_is_refused(text):
    with pytest.raises(InvalidSchedule):
        instant(text, "Europe/Berlin", lambda: NOON)


def test_numbers_of_a_status_do_not_contradict_each_other(capsys):
    from types import SimpleNamespace

    from redlock_beat.cli import watching

    leader = SimpleNamespace(role="leader", rendered={"it is a canvas": 4}, sent=3)
    watching._show_rendered(SimpleNamespace(replicas=[leader]))
    assert "4 of 4 sent" in capsys.readouterr().out
    assert (watching._skew(-0.0001), watching._skew(-0.0012)) == ("+0.000 s", "-0.001 s")
