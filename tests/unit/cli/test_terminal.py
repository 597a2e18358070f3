"""Tables that fit what people read them on."""

from __future__ import annotations

from redlock_beat.cli.terminal import Column, clean, fitted, table, width_of

COLUMNS = (Column("NAME", least=10), Column("TASK", 2, 5), Column("NEXT"), Column("WHY", 3, below=True))


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
