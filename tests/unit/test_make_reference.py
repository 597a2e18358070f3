"""The tables of docs/reference/ are what scripts/make_reference.py makes of the code, and pages name what the code has."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import redlock_beat
from redlock_beat.entries import codec
from redlock_beat.messages import headers
from redlock_beat.schedule.answers import OUTCOMES

ROOT = Path(__file__).parent.parent.parent
SCRIPT = ROOT / "scripts" / "make_reference.py"
REFERENCE = ROOT / "docs" / "reference"


def script():
    spec = importlib.util.spec_from_file_location("make_reference", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text("utf-8")


def cells(name: str) -> set[str]:
    """What stands in code type in the first cell of a row of a page."""
    rows = [line.split("|")[1] for line in page(name).splitlines() if line.startswith("| ")]
    return {one for row in rows for one in re.findall(r"`([^`]+)`", row)}


def test_the_tables_are_what_the_code_says():
    subprocess.run([sys.executable, str(SCRIPT), "--check"], check=True)


def test_a_table_that_differs_is_found_and_written(tmp_path, monkeypatch):
    make = script()
    monkeypatch.setattr(make, "FOLDER", tmp_path)
    for path in REFERENCE.glob("*.md"):
        (tmp_path / path.name).write_text(path.read_text("utf-8"), "utf-8")
    settings = tmp_path / "settings.md"
    settings.write_text(settings.read_text("utf-8").replace("| `prefix` |", "| `prefiks` |"), "utf-8")
    monkeypatch.setattr(make.sys, "argv", ["make_reference", "--check"])
    with pytest.raises(SystemExit, match=r"python scripts/make_reference\.py"):
        make.main()
    monkeypatch.setattr(make.sys, "argv", ["make_reference"])
    make.main()
    assert settings.read_text("utf-8") == page("reference/settings.md")
    settings.unlink()
    with pytest.raises(SystemExit, match="settings"):
        make.main()


def test_every_setting_policy_and_metric_is_described():
    make = script()
    for table in make.TABLES.values():
        for row in table().splitlines()[2:]:
            assert not row.endswith("|  |"), row


def test_every_header_and_every_key_of_a_definition_is_named():
    known = cells("reference/wire.md")
    assert {value for name, value in vars(headers).items() if name.startswith("HEADER_")} <= known
    assert set(codec._PLAIN.values()) <= known


def test_every_kind_of_row_in_the_ledger_is_named():
    folder = Path(redlock_beat.__file__).parent
    written = {"ran"}
    for path in folder.rglob("*.lua"):
        written |= set(re.findall(r"note_occurrence\(ledger, ledger_size, '([a-z ]+)'", path.read_text("utf-8")))
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.List) and node.elts and ast.unparse(node.elts[0]) == "'is'":
                kind = node.elts[1]
                written |= {str(kind.value)} if isinstance(kind, ast.Constant) else set()
    assert len(written) > 5
    assert written <= cells("reference/ledger.md")
    assert set(OUTCOMES) <= cells("runs.md")


def test_every_public_name_is_in_the_reference():
    text = page("reference/api.md") + page("reference/events.md")
    errors = [name for name in redlock_beat.__all__ if getattr(redlock_beat, name).__class__ is type]
    by_module = {name for name in errors if getattr(redlock_beat, name).__module__ == "redlock_beat.errors"}
    missing = {name for name in redlock_beat.__all__ if not re.search(rf"redlock_beat\.{name}\b", text)}
    assert missing - by_module - {"__version__"} == set()


def records() -> dict[str, set[str]]:
    """The level of each event that the package logs; 'at' where it is computed."""
    found: dict[str, set[str]] = {}
    for path in Path(redlock_beat.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("log.") and path.name != "log.py":
                level = node.func.attr
                event = node.args[1 if level == "at" else 0] if node.args else None
                if isinstance(event, ast.Constant) and level in {"warning", "error", "critical", "at"}:
                    found.setdefault(str(event.value), set()).add(level)
    return found


def test_troubleshooting_has_every_record_that_a_person_should_see():
    listed = {one for one in cells("troubleshooting.md") if re.fullmatch(r"[a-z_]+\.[a-z_]+", one)}
    assert set(records()) - listed == set(), "logged, and not in docs/troubleshooting.md"
    assert listed - set(records()) == set(), "in docs/troubleshooting.md, and not logged"


def test_troubleshooting_quotes_what_the_records_say():
    texts = [" ".join(one) for path in Path(redlock_beat.__file__).parent.rglob("*.py") for one in strings(path)]
    for line in page("troubleshooting.md").splitlines():
        if found := re.match(r"\| `[a-z_]+\.[a-z_]+` \| (.*?) \| ", line):
            for words in filter(None, re.split(r"\s*…\s*", found[1])):
                assert any(" ".join(words.split()) in text for text in texts), words


def strings(path: Path) -> list[list[str]]:
    """The words of each text in a module, with what is filled in left out."""
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [re.sub(r"%\(\w+\)\S*", " ", text).split() for text in texts]
