"""The figures of the documentation are what scripts/make_figures.py draws."""

from __future__ import annotations

import importlib.util
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "make_figures.py"


@pytest.fixture
def make(monkeypatch):
    spec = importlib.util.spec_from_file_location("make_figures", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module.sys, "argv", ["make_figures", "--check"])
    return module


def test_the_figures_are_those_of_the_script(make):
    make.main()


def test_a_figure_that_differs_is_found_and_drawn(make, tmp_path, monkeypatch):
    monkeypatch.setattr(make, "FOLDER", tmp_path)
    with pytest.raises(SystemExit, match=r"python scripts/make_figures\.py"):
        make.main()
    monkeypatch.setattr(make.sys, "argv", ["make_figures"])
    make.main()
    assert {ET.parse(path).getroot().tag for path in tmp_path.iterdir()} == {"{http://www.w3.org/2000/svg}svg"}


def test_the_slots_of_the_figure_are_those_of_the_package(make):
    autumn = make.CHANGES[1][0]
    assert make.slots("30 2 * * *", autumn, {"dst_fold": "both"}) == [
        datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
        datetime(2026, 10, 25, 1, 30, tzinfo=UTC),
    ]
