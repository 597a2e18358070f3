"""Every record of the log has a name and fields that a program can rely on, and docs/logging.md lists them."""

from __future__ import annotations

import ast
import io
import json
import logging
import re
from pathlib import Path

import pytest

import redlock_beat
from redlock_beat.errors import traceback_of
from redlock_beat.log import FIELDS, log, logger

PACKAGE = Path(redlock_beat.__file__).parent
DOCS = (Path(__file__).parents[2] / "docs" / "logging.md").read_text("utf-8")
LEVELS = ("debug", "info", "warning", "error", "critical")
MODULES = [path for path in PACKAGE.rglob("*.py") if path.name != "log.py"]
#: What logging, and Celery's formatters, put on a record themselves.
TAKEN = {*vars(logging.makeLogRecord({})), "message", "asctime", "task_name"}


def calls() -> list[tuple[str, str, str, set[str], str]]:
    """Module, level ('' for one that is computed), event, fields and source of each call of the log."""
    found = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {f"log.{level}" for level in (*LEVELS, "at")}:
                level = node.func.attr  # type: ignore[attr-defined]
                event = node.args[1 if level == "at" else 0]
                assert isinstance(event, ast.Constant), f"{path}:{node.lineno}: an event is written out"
                fields = {keyword.arg for keyword in node.keywords if keyword.arg}
                fields |= {"attempt", "pause"} if any(keyword.arg is None for keyword in node.keywords) else set()
                found.append((path.name, "" if level == "at" else level, str(event.value), fields, ast.unparse(node)))
    return found


def table(heading: str) -> list[list[str]]:
    section = DOCS.split(f"## {heading}\n")[1].split("\n## ")[0]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line.startswith("| `")]


def test_everything_is_logged_with_an_event():
    for path in MODULES:
        text = path.read_text("utf-8")
        assert "getLogger" not in text, path
        assert not re.search(r"\blogger\.(?!handlers|isEnabledFor)\w+\(", text), path


def test_events_are_named_alike():
    for module, _, event, _, _ in calls():
        assert re.fullmatch(r"[a-z_]+\.[a-z_]+", event), (module, event)


def test_the_documentation_lists_every_event_with_its_fields():
    listed = {row[0].strip("`"): (row[1], set(re.findall(r"`(\w+)`", row[2]))) for row in table("Events")}
    there: dict[str, tuple[set[str], set[str]]] = {}
    for _, level, event, fields, _ in calls():
        levels, known = there.setdefault(event, (set(), set()))
        levels.add(level)
        known |= fields
    assert set(listed) - set(there) == set(), "listed, and logged nowhere"
    assert set(there) - set(listed) == set(), "logged, and not listed"
    for event, (levels, fields) in there.items():
        assert listed[event][1] == fields, event
        assert levels == {""} or set(listed[event][0].split(", ")) == levels, event


def test_the_documentation_lists_every_field():
    assert {row[0].strip("`"): row[1] for row in table("Fields")} == FIELDS
    assert {field for *_, fields, _ in calls() for field in fields} <= set(FIELDS)


def test_no_field_has_a_name_that_is_taken():
    assert set(FIELDS) & TAKEN == set()


@pytest.fixture
def written():
    """What a JSON formatter makes of the records, a line each."""

    class Json(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            extra = {key: value for key, value in vars(record).items() if key not in TAKEN}
            return json.dumps({"message": record.getMessage(), "line": record.lineno, "file": record.filename, **extra})

    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Json())
    logger.addHandler(handler)
    before = logger.level
    logger.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logger.setLevel(before)
    logger.removeHandler(handler)


def test_a_json_formatter_gets_the_event_and_the_fields(written):
    log.warning("term.ended", "Term %(epoch)d is over: 100%% of %(entry)r.", epoch=7, entry="a %s")
    (line,) = written()
    assert line.pop("line") > 0
    assert line == {
        "message": "Term 7 is over: 100% of 'a %s'.",
        "event": "term.ended",
        "epoch": 7,
        "entry": "a %s",
        "file": "test_log.py",  # where it was logged, and not the module of the log
    }


def test_a_record_without_fields_and_one_at_a_computed_level(written):
    log.info("beat.recovered", "All is well again.")
    log.at(logging.ERROR, "redis.away", "Redis is away.", why="x")
    log.debug("term.ended", "Nobody listens to this.")
    assert [(one["event"], one["message"]) for one in written()] == [
        ("beat.recovered", "All is well again."),
        ("redis.away", "Redis is away."),
    ]


def test_a_message_fills_in_none_but_its_own_fields():
    for module, _, event, fields, source in calls():
        used = set(re.findall(r"%\((\w+)\)", source))
        assert used <= fields, (module, event)


def test_a_name_or_a_note_writes_no_line_of_its_own(caplog):
    log.warning("schedule.held", "Everything is held: %(why)s.", why="a\nERROR forged \x1b[31mred", count=1)
    assert caplog.messages == ["Everything is held: a ERROR forged \ufffd[31mred."]
    assert caplog.records[0].why == "a ERROR forged \ufffd[31mred"


def test_a_traceback_keeps_its_lines(caplog):
    log.error("beat.error", "It failed: %(why)s", why=traceback_of(ValueError("x")))
    assert caplog.messages == ["It failed: ValueError: x\n"]
